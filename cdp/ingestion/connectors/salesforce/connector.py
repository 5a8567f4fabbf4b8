"""Salesforce, by SOQL in the order of (SystemModstamp, Id).

Within a query the pages are fetched by its locator, which Salesforce keeps for a while; when it is gone the query is
made anew from the last record that was read. `queryAll` shows what was deleted, until its recycle bin is emptied.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final, TypeVar

from cdp.http import session_for_library
from cdp.ingestion.connector import (
    ConnectorConfigError,
    Page,
    Position,
    Stream,
    TokenBucket,
    TransientConnectorError,
    load_extra,
    moment_of,
    text_of,
)
from cdp.ingestion.connectors.salesforce.failures import SessionExpiredError, named_failures
from cdp.ingestion.connectors.salesforce.login import log_in
from cdp.ingestion.connectors.salesforce.objects import MAPPINGS, ORDERS, STREAMS, Order, fields_for, row_of, value_in

REQUESTS_PER_SECOND: Final = 10
AN_HOUR: Final = 3600.0
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?){0,3}")
_FIELD = re.compile(r"[A-Za-z]\w{0,80}(\.[A-Za-z]\w{0,80}){0,4}", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?")

T = TypeVar("T")


class Salesforce:
    kind: ClassVar[str] = "SALESFORCE"
    streams: ClassVar[Sequence[Stream]] = STREAMS
    mappings: ClassVar[Mapping[str, Mapping[str, Any]]] = MAPPINGS
    overlap: ClassVar[timedelta] = timedelta(minutes=10)
    example: ClassVar[Mapping[str, Any]] = {"domain": "acme.my", "quota_share": 0.8}
    secrets: ClassVar[Sequence[str]] = ("client_id", "client_secret", "refresh_token", "private_key")

    def __init__(self, config: Mapping[str, Any], secrets: Mapping[str, str], url: str = "") -> None:
        self._library = load_extra("simple_salesforce", extra="salesforce")
        domain = config.get("domain")
        if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
            raise ConnectorConfigError("`domain` is what stands before .salesforce.com, for example acme.my or login.")
        self._domain = domain
        self._quota_share = config.get("quota_share", self.example["quota_share"])
        if not isinstance(self._quota_share, int | float) or not 0 < self._quota_share <= 1:
            raise ConnectorConfigError("`quota_share` is the share of the daily requests to use, for example 0.8.")
        self._username, self._secrets = str(config.get("username", "")), secrets
        self._session = session_for_library(via=url)
        self._bucket = TokenBucket(REQUESTS_PER_SECOND)
        self._client: Any = None

    def check(self, stream: Stream, columns: Sequence[str]) -> None:
        query = _query(ORDERS[stream.name], columns, Position(), most=1)
        self._ask(lambda client: client.query(query, include_deleted=ORDERS[stream.name].sees_deleted))

    def pages(self, stream: Stream, columns: Sequence[str], after: Position) -> Iterator[Page]:
        order = ORDERS[stream.name]
        answer = self._begin(order, columns, after)
        while True:
            records, locator = _read(answer)
            after = _position(records, order, after, locator)
            yield Page(
                rows=[_row(record, columns) for record in records if not _is_deleted(record)],
                deleted=[key for record in records if _is_deleted(record) and (key := _id(record))],
                position=after,
                is_last=not locator,
            )
            if not locator:
                return
            answer = self._more(locator)

    def _begin(self, order: Order, columns: Sequence[str], after: Position) -> Mapping[str, Any]:
        if after.hint:
            try:
                return self._more(after.hint)
            except TransientConnectorError as error:
                if error.reason != "invalid_query_locator":
                    raise
        query = _query(order, columns, after)
        return self._ask(lambda client: client.query(query, include_deleted=order.sees_deleted))

    def _more(self, locator: str) -> Mapping[str, Any]:
        return self._ask(lambda client: client.query_more(locator))

    def _ask(self, request: Callable[[Any], T]) -> T:
        """A session that has expired is replaced once; one that is refused at once will be refused again."""
        for _ in range(2):
            try:
                return self._attempt(request)
            except SessionExpiredError as error:
                self._client, refused = None, error
        raise refused

    def _attempt(self, request: Callable[[Any], T]) -> T:
        self._bucket.take()
        with named_failures(self._library):
            if self._client is None:
                self._client = log_in(self._session, self._domain, self._username, self._secrets)
            self._spare_the_quota()
            return request(self._client)

    def _spare_the_quota(self) -> None:
        """The organisation's daily requests are for others too."""
        usage = self._client.api_usage.get("api-usage")
        if usage and usage.used >= usage.total * self._quota_share:
            self._client.api_usage = {}  # known anew from the next answer: the day goes on
            raise TransientConnectorError(reason="quota_share", retry_after=AN_HOUR)


# -- questions and answers ------------------------------------------------------------------------------------------


def _query(order: Order, columns: Sequence[str], after: Position, most: int = 0) -> str:
    fields = fields_for(columns, order)
    for name in fields:
        if not _FIELD.fullmatch(name):
            raise ConnectorConfigError(f"The mapping names {name!r}, which can be no field of Salesforce.")
    conditions = [text for text in (order.condition, _comes_after(order.stamp, after)) if text]
    return " ".join(
        [
            "SELECT", ", ".join(fields), "FROM", order.object,
            *(["WHERE", " AND ".join(conditions)] if conditions else []),
            "ORDER BY", f"{order.stamp}, Id", *(["LIMIT", str(most)] if most else []),
        ]
    )  # fmt: skip


def _comes_after(stamp: str, after: Position) -> str:
    """Times and ids come from answers and from our own table: they are checked, because SOQL takes no parameters."""
    moment = moment_of(after.at)
    if moment is None:
        return ""
    at = text_of(moment)
    if not _ID.fullmatch(after.key):
        return f"{stamp} >= {at}"
    return f"({stamp} > {at} OR ({stamp} = {at} AND Id > '{after.key}'))"


def _read(answer: object) -> tuple[Sequence[object], str]:
    """The records, and the locator of the next page if there is one."""
    if not isinstance(answer, Mapping) or not isinstance(records := answer.get("records"), list):
        raise TransientConnectorError(reason="unexpected_answer")
    if answer.get("done", True):
        return records, ""
    return records, str(answer.get("nextRecordsUrl", "")).rstrip("/").rpartition("/")[2]


def _row(record: object, columns: Sequence[str]) -> object:
    return row_of(record, columns) if isinstance(record, Mapping) else record


def _is_deleted(record: object) -> bool:
    return isinstance(record, Mapping) and record.get("IsDeleted") is True


def _id(record: object) -> str:
    key = record.get("Id") if isinstance(record, Mapping) else None
    return key if isinstance(key, str) and _ID.fullmatch(key) else ""


def _position(records: Sequence[object], order: Order, before: Position, locator: str) -> Position:
    """Of the last record that has a place. One without is read again, until it has or others come after it."""
    for record in reversed(records):
        moment = moment_of(value_in(record, order.stamp)) if isinstance(record, Mapping) else None
        if moment and (key := _id(record)):
            return Position(text_of(moment), key, locator)
    return Position(before.at, before.key, locator)
