"""What is read from Salesforce, in which order, and what its fields mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cdp.ingestion.connector import OWN_KEY_TYPE, Shape, Stream

# Not fields of Salesforce, but made of them.
MODIFIED_AT: Final = "ModifiedAt"  # the later of the record's time and its account's
EVENT: Final = "Event"
VERSION: Final = "Version"  # tells every change of an opportunity from the others


@dataclass(frozen=True, slots=True)
class Order:
    """Rows of `object` by `stamp`. Of a parent's stamp: the rows whose parent has changed."""

    object: str
    stamp: str
    condition: str = ""
    sees_deleted: bool = True


STREAMS: Final = (
    Stream("Contact", "Contact"),
    Stream("Account", "Contact"),
    Stream("Lead", "Lead"),
    Stream("Opportunity", "Opportunity", Shape.EVENTS, is_default=False),
)
ORDERS: Final[Mapping[str, Order]] = {
    "Contact": Order("Contact", "SystemModstamp"),
    "Account": Order("Contact", "Account.SystemModstamp", "Account.SystemModstamp != null"),
    "Lead": Order("Lead", "SystemModstamp"),
    "Opportunity": Order("Opportunity", "SystemModstamp", "ContactId != null", sees_deleted=False),
}
MAPPINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "Contact": {
        "key": "Id",
        "identifiers": {"email": "Email", "phone": "MobilePhone"},
        "traits": {
            "given_name": "FirstName",
            "surname": "LastName",
            "date_of_birth": "Birthdate",
            "job_title": "Title",
            "street": "MailingStreet",
            "postcode": "MailingPostalCode",
            "city": "MailingCity",
            "country": "MailingCountry",
            "organisation": "Account.Name",
            "industry": "Account.Industry",
        },
        "observed_at": MODIFIED_AT,
    },
    "Lead": {
        "key": "Id",
        "identifiers": {"email": "Email", "phone": "MobilePhone", OWN_KEY_TYPE: "ConvertedContactId"},
        "traits": {
            "given_name": "FirstName",
            "surname": "LastName",
            "job_title": "Title",
            "street": "Street",
            "postcode": "PostalCode",
            "city": "City",
            "country": "Country",
            "organisation": "Company",
            "industry": "Industry",
            "lead_status": "Status",
        },
        "observed_at": MODIFIED_AT,
    },
    "Opportunity": {
        "key": VERSION,
        "event": EVENT,
        "identifiers": {OWN_KEY_TYPE: "ContactId"},
        "properties": {
            "opportunity": "Id",
            "name": "Name",
            "stage": "StageName",
            "value": "Amount",
            "probability": "Probability",
            "close_date": "CloseDate",
        },
        "observed_at": MODIFIED_AT,
    },
}

_MADE_OF: Final[Mapping[str, tuple[str, ...]]] = {EVENT: ("IsClosed", "IsWon"), VERSION: (), MODIFIED_AT: ()}
_ALWAYS: Final = ("Id", "SystemModstamp")


def fields_for(columns: Sequence[str], order: Order) -> list[str]:
    """The fields to ask for, each once, so that these columns can be made of them."""
    wanted = [*_ALWAYS, *(["IsDeleted"] if order.sees_deleted else [])]
    if order.object == "Contact":
        wanted.append("Account.SystemModstamp")
    for column in columns:
        wanted += _MADE_OF.get(column, (column,))
    return list(dict.fromkeys(wanted))


def row_of(record: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """These columns and no others: both streams that bring a contact bring the same row."""
    return {column: _MAKERS[column](record) if column in _MAKERS else value_in(record, column) for column in columns}


def value_in(record: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401  # whatever Salesforce holds there
    value: Any = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _modified_at(record: Mapping[str, Any]) -> str | None:
    times = [value_in(record, "SystemModstamp"), value_in(record, "Account.SystemModstamp")]
    return max((time for time in times if isinstance(time, str)), default=None)


def _event(record: Mapping[str, Any]) -> str:
    if record.get("IsWon"):
        return "Opportunity Won"
    return "Opportunity Lost" if record.get("IsClosed") else "Opportunity Updated"


def _version(record: Mapping[str, Any]) -> str:
    return f"{record.get('Id')}@{record.get('SystemModstamp')}"


_MAKERS: Final = {MODIFIED_AT: _modified_at, EVENT: _event, VERSION: _version}
