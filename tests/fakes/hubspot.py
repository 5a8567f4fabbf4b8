"""HubSpot: its token endpoint, search and list of contacts and companies. What its documentation forbids is refused."""

import json
from datetime import UTC, datetime
from itertools import count
from typing import Any

from tests.fakes.vendor import Answered, Asked, Vendor

OAUTH = {"client_id": "client-4711", "client_secret": "hidden-4711", "refresh_token": "refresh-4711"}
KEPT_NAMES = {"contacts": "lastmodifieddate", "companies": "hs_lastmodifieddate"}
MOST_FOUND = 10_000
FORBIDDEN = {"status": "error", "category": "MISSING_SCOPES", "message": "ada@example.com may not"}


def key_of(number: int) -> str:
    return str(number)


class HubSpot(Vendor):
    kind = "HUBSPOT"
    config: dict[str, Any] = {}
    secrets = OAUTH

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in KEPT_NAMES}
        self.unreadable: set[str] = set()
        self._archived: set[tuple[str, str]] = set()
        self._tokens: set[str] = set()
        self._numbers = count(1)

    # -- what a test does there -------------------------------------------------------------------------------------

    def put(self, number: int, at: datetime, object_name: str = "contacts", **properties: object) -> str:
        key = str(number)
        kept = self.rows[object_name].pop(key, {"id": key, "properties": {}})
        changed = {**kept["properties"], **properties, "hs_object_id": key, KEPT_NAMES[object_name]: at}
        self.rows[object_name][key] = {**kept, "properties": changed}
        return key

    def person(self, number: int, at: datetime, email: str = "") -> str:
        return self.put(number, at, firstname=f"Ada{number}", email=email or f"ada{number}@example.com")

    def delete(self, number: int, at: datetime) -> None:
        self.put(number, at)
        self._archived.add(("contacts", str(number)))

    def restore(self, number: int, at: datetime) -> None:
        self.put(number, at)
        self._archived.discard(("contacts", str(number)))

    def spoil(self, number: int, at: datetime) -> None:
        """A row without its key."""
        self.put(number, at)
        self.rows["contacts"][str(number)]["id"] = None

    def allow(self, token: str) -> str:
        """The token of a private app."""
        self._tokens.add(token)
        return token

    def expire_token(self) -> None:
        self._tokens.clear()

    def throttle(self) -> None:
        policy = {"status": "error", "errorType": "RATE_LIMIT", "policyName": "DAILY", "message": "ada@example.com"}
        self.fail(429, policy)

    # -- what it answers --------------------------------------------------------------------------------------------

    def respond(self, asked: Asked) -> Answered:
        if asked.path == "/oauth/v1/token":
            return self._token(asked)
        if asked.headers.get("Authorization", "").removeprefix("Bearer ") not in self._tokens:
            raise Answered(401, {"status": "error", "category": "EXPIRED_AUTHENTICATION", "message": "expired"})
        head, name, *rest = asked.path.removeprefix("/crm/v3/objects").split("/")
        assert head == ""
        if name in self.unreadable:
            raise Answered(403, FORBIDDEN)
        if rest == ["search"]:
            assert asked.method == "POST"
            return self._search(name, json.loads(asked.body))
        assert (rest, asked.method) == ([], "GET")
        return self._listed(name, asked.query)

    def _token(self, asked: Asked) -> Answered:
        if asked.form != {"grant_type": "refresh_token", **OAUTH}:
            raise Answered(400, {"status": "BAD_REFRESH_TOKEN", "message": "missing or unknown refresh token"})
        token = f"CJ-{next(self._numbers)}"
        self._tokens.add(token)
        return Answered(200, {"access_token": token, "expires_in": 1800, "token_type": "bearer"})

    def _search(self, name: str, question: dict[str, Any]) -> Answered:
        assert set(question) <= {"filterGroups", "sorts", "properties", "limit", "after", "query"}
        if not 0 < question["limit"] <= 200 or int(question.get("after", 0)) + question["limit"] > MOST_FOUND:
            raise Answered(400, {"status": "error", "category": "VALIDATION_ERROR", "message": "limit"})
        assert len(question["filterGroups"]) <= 5
        assert len(question["sorts"]) == 1
        rows = [row for key, row in self.rows[name].items() if (name, key) not in self._archived]
        for group in question["filterGroups"]:
            for one in group["filters"]:
                rows = [row for row in rows if _passes(one, row)]
        by = question["sorts"][0]
        assert by["direction"] == "ASCENDING"
        rows.reverse()  # of equal ones the order is not promised: here the newest comes first
        rows.sort(key=lambda row: _comparable(by["propertyName"], row))
        first = int(question.get("after", 0))
        results = [self._shown(row, question["properties"]) for row in rows[first : first + question["limit"]]]
        return Answered(200, {"total": len(rows), "results": results})

    def _listed(self, name: str, query: dict[str, str]) -> Answered:
        assert query["archived"].lower() == "true"
        assert int(query["limit"]) <= 100
        keys = sorted((key for kind, key in self._archived if kind == name), key=int)
        rest = [key for key in keys if int(key) > int(query.get("after", 0))]
        page = rest[: self.list_size]
        answer: dict[str, Any] = {"results": [{"id": key, "archived": True, "properties": {}} for key in page]}
        if len(rest) > len(page):
            answer["paging"] = {"next": {"after": page[-1], "link": "https://api.hubapi.com/"}}
        return Answered(200, answer)

    list_size = 2

    def _shown(self, row: dict[str, Any], names: list[str]) -> dict[str, Any]:
        properties = {name: _written(row["properties"].get(name)) for name in (*names, "hs_object_id")}
        return {**row, "properties": properties, "archived": False}


def _comparable(name: str, row: dict[str, Any]) -> int:
    value = row["properties"][name]
    return int(value.timestamp() * 1000) if isinstance(value, datetime) else int(value)


def _passes(one: dict[str, str], row: dict[str, Any]) -> bool:
    assert set(one) == {"propertyName", "operator", "value"}
    value, wanted = _comparable(one["propertyName"], row), int(one["value"])
    return {"EQ": value == wanted, "GT": value > wanted, "GTE": value >= wanted}[one["operator"]]


def _written(value: Any) -> Any:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z" if isinstance(value, datetime) else value
