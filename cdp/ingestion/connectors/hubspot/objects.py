"""What is read from HubSpot, and what its properties mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cdp.ingestion.connector import Stream

KEY: Final = "id"


@dataclass(frozen=True, slots=True)
class Kind:
    """An object of HubSpot: the property by which it is read, and what goes before its ids, which others have too."""

    object: str
    modified: str
    prefix: str = ""


KINDS: Final[Mapping[str, Kind]] = {
    "contacts": Kind("contacts", "lastmodifieddate"),
    "companies": Kind("companies", "hs_lastmodifieddate", "company-"),
}
ARCHIVED: Final = " archived"
STREAMS: Final = (
    Stream("contacts", "contacts"),
    Stream("contacts archived", "contacts"),
    Stream("companies", "companies", is_default=False),
    Stream("companies archived", "companies", is_default=False),
)
MAPPINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "contacts": {
        "key": KEY,
        "identifiers": {"email": "email", "phone": "mobilephone"},
        "traits": {
            "given_name": "firstname",
            "surname": "lastname",
            "date_of_birth": "date_of_birth",
            "job_title": "jobtitle",
            "street": "address",
            "postcode": "zip",
            "city": "city",
            "country": "country",
            "organisation": "company",
            "industry": "industry",
            "lifecycle_stage": "lifecyclestage",
        },
        "observed_at": "lastmodifieddate",
    },
    "companies": {
        "key": KEY,
        "traits": {
            "organisation": "name",
            "domain": "domain",
            "industry": "industry",
            "city": "city",
            "country": "country",
        },
        "observed_at": "hs_lastmodifieddate",
    },
}


def kind_of(stream: Stream) -> Kind:
    return KINDS[stream.rows]


def row_of(found: Mapping[str, Any], columns: Sequence[str], kind: Kind) -> dict[str, Any]:
    """These columns and no others. A key is text with the prefix of its kind."""
    properties = found.get("properties")
    values = properties if isinstance(properties, Mapping) else {}
    return {column: key_of(found, kind) if column == KEY else values.get(column) for column in columns}


def key_of(found: object, kind: Kind) -> str:
    number = number_of(found)
    return f"{kind.prefix}{number}" if number else ""


def number_of(found: object) -> int:
    """The id, which orders by its value as a number; 0 where there is none."""
    given = found.get("id") if isinstance(found, Mapping) else None
    return int(given) if isinstance(given, str) and given.isdecimal() and len(given) < 19 else 0
