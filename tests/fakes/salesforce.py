"""Salesforce: its token endpoint, and queries in the SOQL that the connector speaks. Anything else is refused."""

import base64
import re
from datetime import UTC, datetime
from functools import cache
from itertools import count
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.fakes.vendor import Answered, Asked, Vendor

SECRETS = {"client_id": "client-4711", "client_secret": "hidden-4711"}
DATA = "/services/data/v59.0/"
_SOQL = re.compile(
    r"SELECT (?P<fields>[\w., ]+) FROM (?P<object>\w+)(?: WHERE (?P<where>.+?))?"
    r" ORDER BY (?P<stamp>[\w.]+), Id(?: LIMIT (?P<limit>\d+))?"
)
_OUTER_AND = re.compile(r" AND (?![^(]*\))")
_AT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
_CONDITIONS = {
    "not_null": re.compile(r"(?P<field>[\w.]+) != null"),
    "from": re.compile(rf"(?P<field>[\w.]+) >= (?P<at>{_AT})"),
    "after": re.compile(
        rf"\((?P<field>[\w.]+) > (?P<at>{_AT}) OR \((?P=field) = (?P=at) AND Id > '(?P<id>[A-Za-z0-9]{{15,18}})'\)\)"
    ),
}
_SYSTEM = ("Id", "SystemModstamp", "IsDeleted")
FIELDS = {
    "Account": ("Name", "Industry", "SystemModstamp"),
    "Contact": (
        *_SYSTEM, "FirstName", "LastName", "Email", "MobilePhone", "Birthdate", "Title", "MailingStreet",
        "MailingPostalCode", "MailingCity", "MailingCountry",
    ),
    "Lead": (
        *_SYSTEM, "FirstName", "LastName", "Email", "MobilePhone", "Title", "Street", "PostalCode", "City", "Country",
        "Company", "Industry", "Status", "ConvertedContactId",
    ),
    "Opportunity": (
        *_SYSTEM, "Name", "StageName", "Amount", "Probability", "CloseDate", "IsClosed", "IsWon", "ContactId",
    ),
}  # fmt: skip
PREFIXES = {"Contact": "003", "Lead": "00Q", "Opportunity": "006", "Account": "001"}


@cache
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_of(object_name: str, number: int) -> str:
    return f"{PREFIXES[object_name]}{number:015}"


class Salesforce(Vendor):
    kind = "SALESFORCE"
    config = {"domain": "acme.my"}
    secrets = SECRETS

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in FIELDS}
        self.page_size = 3
        self.used, self.allowed = 10, 5_000
        self.unreadable: set[str] = set()
        self.refresh_token = "refresh-4711"
        self._tokens: set[str] = set()
        self._numbers = count(1)
        self._results: dict[str, list[dict[str, Any]]] = {}

    # -- what a test does there -------------------------------------------------------------------------------------

    def put(self, number: int, at: datetime, object_name: str = "Contact", **fields: object) -> str:
        key = key_of(object_name, number)
        kept = self.rows[object_name].get(key, {"Id": key, "IsDeleted": False})
        self.rows[object_name][key] = {**kept, **fields, "SystemModstamp": at}
        return key

    def person(self, number: int, at: datetime, email: str = "") -> str:
        return self.put(number, at, FirstName=f"Ada{number}", Email=email or f"ada{number}@example.com")

    def delete(self, number: int, at: datetime) -> None:
        self.put(number, at, IsDeleted=True)

    def restore(self, number: int, at: datetime) -> None:
        self.put(number, at, IsDeleted=False)

    def spoil(self, number: int, at: datetime) -> None:
        """A row without its key."""
        self.put(number, at)
        self.rows["Contact"][key_of("Contact", number)]["Id"] = None

    def expire_token(self) -> None:
        self._tokens.clear()

    def expire_locators(self) -> None:
        self._results.clear()

    def throttle(self) -> None:
        self.fail(403, [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}])

    # -- what it answers --------------------------------------------------------------------------------------------

    def respond(self, asked: Asked) -> Answered:
        if asked.path == "/services/oauth2/token":
            return self._token(asked)
        self._check_token(asked)
        self.used += 1
        if asked.path in {DATA + "query/", DATA + "queryAll/"}:
            found = self._found(asked.query["q"], sees_deleted=asked.path.endswith("queryAll/"))
            return self._page(found)
        locator = asked.path.removeprefix(DATA + "query/")
        if locator not in self._results:
            raise Answered(400, [{"message": "invalid query locator", "errorCode": "INVALID_QUERY_LOCATOR"}])
        return self._page(self._results.pop(locator))

    def _token(self, asked: Asked) -> Answered:
        assert asked.method == "POST"
        form = asked.form
        if form["grant_type"] == "client_credentials":
            basic = base64.b64encode(f"{SECRETS['client_id']}:{SECRETS['client_secret']}".encode()).decode()
            is_right = asked.headers["Authorization"] == f"Basic {basic}"
        elif form["grant_type"] == "refresh_token":
            is_right = (form["client_id"], form["refresh_token"]) == (SECRETS["client_id"], self.refresh_token)
        else:
            is_right = self._is_asserted(form)
        if not is_right:
            raise Answered(400, {"error": "invalid_grant", "error_description": "ada@example.com is not known"})
        token = f"00D-{next(self._numbers)}"
        self._tokens.add(token)
        return Answered(200, {"access_token": token, "instance_url": "https://acme.my.salesforce.com"})

    def _is_asserted(self, form: dict[str, str]) -> bool:
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        claims = jwt.decode(
            form["assertion"], private_key().public_key(), algorithms=["RS256"], audience="https://login.salesforce.com"
        )
        return (claims["iss"], claims["sub"]) == (SECRETS["client_id"], "integration@acme.example")

    def _check_token(self, asked: Asked) -> None:
        if asked.headers.get("Authorization", "").removeprefix("Bearer ") not in self._tokens:
            raise Answered(401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}])
        if self.used >= self.allowed:
            raise Answered(403, [{"message": "limit", "errorCode": "REQUEST_LIMIT_EXCEEDED"}])

    def _found(self, soql: str, *, sees_deleted: bool) -> list[dict[str, Any]]:
        parts = _SOQL.fullmatch(soql)
        assert parts, soql
        name = parts["object"]
        if name in self.unreadable:
            raise Answered(400, [{"message": "sObject type is not supported", "errorCode": "INVALID_TYPE"}])
        fields = parts["fields"].split(", ")
        self._check_fields(name, fields)
        rows = [self._joined(row) for row in self.rows[name].values() if sees_deleted or not row["IsDeleted"]]
        for condition in _OUTER_AND.split(parts["where"] or ""):
            rows = [row for row in rows if not condition or _holds(condition, row)]
        rows.sort(key=lambda row: (row[parts["stamp"]], row["Id"] or ""))
        return [_shown(row, fields) for row in rows[: int(parts["limit"] or len(rows))]]

    def _check_fields(self, name: str, fields: list[str]) -> None:
        assert len(fields) == len(set(fields))
        for field in fields:
            parent, _, own = field.rpartition(".")
            if own not in FIELDS[parent or name]:
                raise Answered(400, [{"message": f"No such column '{field}'", "errorCode": "INVALID_FIELD"}])

    def _joined(self, row: dict[str, Any]) -> dict[str, Any]:
        account = self.rows["Account"].get(row.get("AccountId", ""), {})
        return {**row, "Account": account, "Account.SystemModstamp": account.get("SystemModstamp")}

    def _page(self, found: list[dict[str, Any]]) -> Answered:
        records, rest = found[: self.page_size], found[self.page_size :]
        page: dict[str, Any] = {"totalSize": len(found), "done": not rest, "records": records}
        if rest:
            locator = f"01g{next(self._numbers):012}-{self.page_size}"
            self._results[locator] = rest
            page["nextRecordsUrl"] = f"{DATA}query/{locator}"
        return Answered(200, page, Sforce_Limit_Info=f"api-usage={self.used}/{self.allowed}")


def _holds(condition: str, row: dict[str, Any]) -> bool:
    for name, form in _CONDITIONS.items():
        if match := form.fullmatch(condition):
            value = row.get(match["field"])
            if name == "not_null":
                return value is not None
            at = datetime.fromisoformat(match["at"])
            if name == "from":
                return value >= at
            return value > at or (value == at and (row["Id"] or "") > match["id"])
    raise AssertionError(condition)


def _shown(row: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    """Times as Salesforce writes them; fields of a parent lie inside it, and no parent is null."""
    shown: dict[str, Any] = {"attributes": {"type": "Contact", "url": "/services/data"}}
    for field in fields:
        parent, _, own = field.rpartition(".")
        if not parent:
            shown[own] = _written(row.get(own))
        elif row[parent]:
            shown.setdefault(parent, {"attributes": {"type": parent}})[own] = _written(row[parent].get(own))
        else:
            shown[parent] = None
    return shown


def _written(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    return value
