"""HubSpot, by its search in the order of (time of modification, id).

A search is paged by counting results, so a record that changes meanwhile would push another over the edge of a page,
and it ends after 10,000. So no page is counted: each asks for what was modified after the last time that is complete.
Where one time fills a page, as after an import, its records are read in the order of their ids. What is archived no
search finds; it is listed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

from cdp.ingestion.connector import (
    ConnectorConfigError,
    Page,
    Position,
    Stream,
    TransientConnectorError,
    moment_of,
    text_of,
)
from cdp.ingestion.connectors.hubspot.client import Client
from cdp.ingestion.connectors.hubspot.objects import (
    ARCHIVED,
    KEY,
    MAPPINGS,
    STREAMS,
    Kind,
    key_of,
    kind_of,
    number_of,
    row_of,
)

SEARCHED: Final = 200  # the most that a search gives
LISTED: Final = 100
ALL_READ: Final = "~"  # as a key: all records of this very time
_PROPERTY = re.compile(r"[a-z][a-z0-9_]{0,99}")
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class HubSpot:
    kind: ClassVar[str] = "HUBSPOT"
    streams: ClassVar[Sequence[Stream]] = STREAMS
    mappings: ClassVar[Mapping[str, Mapping[str, Any]]] = MAPPINGS
    overlap: ClassVar[timedelta] = timedelta(minutes=10)  # so late the search may know of a change
    example: ClassVar[Mapping[str, Any]] = {}
    secrets: ClassVar[Sequence[str]] = ("access_token", "client_id", "client_secret", "refresh_token")

    def __init__(self, config: Mapping[str, Any], secrets: Mapping[str, str], url: str = "") -> None:
        del config  # nothing of its own
        self._client = Client(secrets, url)

    def check(self, stream: Stream, columns: Sequence[str]) -> None:
        self._client.search(kind_of(stream).object, _search(kind_of(stream), columns, [], most=1))

    def pages(self, stream: Stream, columns: Sequence[str], after: Position) -> Iterator[Page]:
        if stream.name.endswith(ARCHIVED):
            return self._archived(kind_of(stream), after)
        return self._modified(kind_of(stream), columns, after)

    def _modified(self, kind: Kind, columns: Sequence[str], after: Position) -> Iterator[Page]:
        while True:
            within = after.key.isdecimal()
            page = (self._of_one_time if within else self._of_later_times)(kind, columns, after)
            if page.position == after and not page.is_last:
                raise TransientConnectorError(reason="no_progress")
            yield page
            if page.is_last:
                return
            after = page.position

    def _of_one_time(self, kind: Kind, columns: Sequence[str], after: Position) -> Page:
        """The records of this very time whose ids come after this one."""
        same_time = [_filter(kind.modified, "EQ", _milliseconds(after)), _filter("hs_object_id", "GT", after.key)]
        found = self._client.search(kind.object, _search(kind, columns, same_time, by="hs_object_id"))
        is_complete = len(found) < SEARCHED
        last = ALL_READ if is_complete else str(max(map(number_of, found)) or after.key)
        return _page(kind, columns, found, Position(after.at, last))

    def _of_later_times(self, kind: Kind, columns: Sequence[str], after: Position) -> Page:
        """The next records, and whether there are more: of a full page all but those of its last time."""
        operator = "GT" if after.key == ALL_READ else "GTE"
        later = [_filter(kind.modified, operator, _milliseconds(after))] if after.at else []
        found = self._client.search(kind.object, _search(kind, columns, later))
        placed = [(moment, one) for one in found if (moment := _modified_at(one, kind))]
        is_last = len(found) < SEARCHED
        if not placed:
            return _page(kind, columns, found, after, is_last=is_last)
        last = max(moment for moment, _ in placed)
        if is_last:
            return _page(kind, columns, found, Position(text_of(last), ALL_READ), is_last=True)
        complete = [one for one in found if _modified_at(one, kind) != last]
        reached = max((moment for moment, _ in placed if moment != last), default=None)
        if reached is None:
            return _page(kind, columns, [], Position(text_of(last), "0"))
        return _page(kind, columns, complete, Position(text_of(reached), ALL_READ))

    def _archived(self, kind: Kind, after: Position) -> Iterator[Page]:
        """All that is archived, each time: the list has no order by time. After the end it begins anew."""
        place = after.key
        while True:
            found, place = self._client.archived(kind.object, place, LISTED)
            deleted = [key for one in found if (key := key_of(one, kind))]
            yield Page([], deleted, Position(key=place), is_last=not place)
            if not place:
                return


# -- questions and answers ------------------------------------------------------------------------------------------


def _search(
    kind: Kind,
    columns: Sequence[str],
    filters: Sequence[Mapping[str, str]],
    by: str = "",
    most: int = SEARCHED,
) -> dict[str, Any]:
    properties = [name for name in dict.fromkeys((*columns, kind.modified)) if name != KEY]
    for name in properties:
        if not _PROPERTY.fullmatch(name):
            raise ConnectorConfigError(f"The mapping names {name!r}, which can be no property of HubSpot.")
    return {
        "filterGroups": [{"filters": list(filters)}] if filters else [],
        "sorts": [{"propertyName": by or kind.modified, "direction": "ASCENDING"}],
        "properties": properties,
        "limit": most,
    }


def _filter(name: str, operator: str, value: str) -> dict[str, str]:
    return {"propertyName": name, "operator": operator, "value": value}


def _milliseconds(position: Position) -> str:
    moment = moment_of(position.at) or _BEGINNING
    return str((moment - _BEGINNING) // timedelta(milliseconds=1))


def _modified_at(found: object, kind: Kind) -> datetime | None:
    properties = found.get("properties") if isinstance(found, Mapping) else None
    return moment_of(properties.get(kind.modified)) if isinstance(properties, Mapping) else None


def _page(
    kind: Kind, columns: Sequence[str], found: Sequence[object], position: Position, *, is_last: bool = False
) -> Page:
    rows = [row_of(one, columns, kind) if isinstance(one, Mapping) else one for one in found]
    return Page(rows, [], position, is_last)
