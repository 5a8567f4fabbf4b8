"""What could not be understood: kept whole, with the reason, so that it can be mended and replayed.

Beside the text lies its *reading*: what one must know to read it as it would have been read when it came. For a call
that is the path and what the envelope said, for a row of a file its kind, the mapping and the region. See `replaying`.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import connection
from django.db.models import Count, QuerySet

from cdp.ingestion.bodies import storable_json
from cdp.ingestion.mentions import without_suppressed
from cdp.models import QuarantinedItem

NO_READING: Final[Mapping[str, Any]] = {}
_OF_THE_MOMENT: Final = frozenset({"sentAt"})  # a retry says another one, and is the same thing again


@dataclass(frozen=True, slots=True)
class Refused:
    """One event or row, as it came, and why it was refused. `place` is for people: `batch[3]`, `people.csv:17`.

    `reading` is JSON; things that came together should share one object.
    """

    place: str
    code: str
    message: str
    raw: bytes
    reading: Mapping[str, Any] = field(default_factory=lambda: NO_READING)


def reading_of_call(path_kind: str, *, sent_at: object, shared: Mapping[str, object]) -> Mapping[str, Any]:
    """Of an event that came by the tracking API: `shared` is what its envelope said for all events."""
    return {"call": path_kind, "sentAt": sent_at, **({"shared": dict(shared)} if shared else {})}


def reading_of_row(
    kind: str,
    *,
    mapping: Mapping[str, Any] | None,
    region: str,
    columns: Sequence[str],
    has_types: bool,
    dialect: Mapping[str, str] | None = None,
) -> Mapping[str, Any]:
    """Of a row of a file; `kind` is `records` or `events`, `columns` is what a line of text is cut into.

    `dialect` is how the rows of a CSV file are written, in the words of `dialects.Dialect`.
    """
    reading = {"rows": kind, "mapping": mapping, "region": region, "columns": list(columns), "has_types": has_types}
    return reading if dialect is None else {**reading, "dialect": dialect}


# -- keeping --------------------------------------------------------------------------------------------------------

# Shared by those who add, so that nobody takes a reading away between its insertion and its use. The first key is out
# of the reach of the pipeline's stages.
_HOLD_READINGS = "SELECT pg_advisory_xact_lock_shared(101, %s)"

_ADD_READINGS = """
INSERT INTO quarantine_reading (workspace_id, digest, body)
SELECT %s, digest, body FROM unnest(%s::bytea[], %s::jsonb[]) AS new (digest, body) ORDER BY digest
ON CONFLICT DO NOTHING
"""

_LIE_THERE = """
SELECT digest, code FROM quarantine WHERE source_id = %s AND digest = ANY(%s) AND discarded_at IS NULL
"""

# The same refused thing again, from a retry or a second load, is the one that lies there already.
_ADD = """
INSERT INTO quarantine (workspace_id, source_id, received_at, place, code, message, raw, digest, reading_id)
SELECT %(workspace)s, %(source)s, %(now)s, new.place, new.code, new.message, new.raw, new.digest, r.id
FROM unnest(
    %(places)s::text[], %(codes)s::text[], %(messages)s::text[], %(raws)s::text[], %(digests)s::bytea[],
    %(readings)s::bytea[]
) WITH ORDINALITY AS new (place, code, message, raw, digest, reading, nr)
LEFT JOIN quarantine_reading r ON r.workspace_id = %(workspace)s AND r.digest = new.reading
ORDER BY nr
ON CONFLICT DO NOTHING
"""

# If that one was discarded its text is gone: what comes now waits for somebody's decision like anything new.
_REOPEN = """
UPDATE quarantine q SET raw = new.raw, place = new.place, received_at = %(now)s, discarded_at = NULL, run_id = NULL,
    reading_id = (SELECT id FROM quarantine_reading WHERE workspace_id = %(workspace)s AND digest = new.reading)
FROM unnest(
    %(places)s::text[], %(codes)s::text[], %(raws)s::text[], %(digests)s::bytea[], %(readings)s::bytea[]
) AS new (place, code, raw, digest, reading)
WHERE q.source_id = %(source)s AND q.digest = new.digest AND q.code = new.code AND q.discarded_at IS NOT NULL
"""


def add(refused: Sequence[Refused], *, source_id: int, workspace_id: int, now: datetime) -> None:
    """Within the caller's transaction, which has a workspace. What names somebody suppressed is counted and not kept."""
    refused = without_suppressed(
        refused,
        lambda one: _storable(one.raw) + storable_json(one.reading),
        source_id=source_id,
        workspace_id=workspace_id,
    )
    rows = _new({(digest_of(one), one.code): one for one in refused}, source_id)
    if not rows:
        return
    bodies = {id(one.reading): storable_json(one.reading) for one in rows.values() if one.reading}
    digests = {key: hashlib.sha256(body.encode()).digest() for key, body in bodies.items()}
    columns: dict[str, Any] = {
        "workspace": workspace_id,
        "source": source_id,
        "now": now,
        "places": [one.place for one in rows.values()],
        "codes": [one.code for one in rows.values()],
        "messages": [one.message for one in rows.values()],
        "raws": [_storable(one.raw) for one in rows.values()],
        "digests": [digest for digest, _ in rows],
        "readings": [digests.get(id(one.reading)) for one in rows.values()],
    }
    with connection.cursor() as cursor:
        if bodies:
            cursor.execute(_HOLD_READINGS, [workspace_id % 2**31])
            cursor.execute(_ADD_READINGS, [workspace_id, list(digests.values()), list(bodies.values())])
        cursor.execute(_ADD, columns)
        cursor.execute(_REOPEN, columns)


def _new(rows: Mapping[tuple[bytes, str], Refused], source_id: int) -> Mapping[tuple[bytes, str], Refused]:
    """Those that do not lie there yet."""
    if not rows:
        return rows
    with connection.cursor() as cursor:
        cursor.execute(_LIE_THERE, [source_id, [digest for digest, _ in rows]])
        known = {(bytes(digest), code) for digest, code in cursor.fetchall()}
    return {key: one for key, one in rows.items() if key not in known}


def digest_of(one: Refused) -> bytes:
    """The same text that was to be read in another way is another thing."""
    lasting = {name: value for name, value in one.reading.items() if name not in _OF_THE_MOMENT}
    return hashlib.sha256(one.raw + (storable_json(lasting).encode() if lasting else b"")).digest()


def _storable(raw: bytes) -> str:
    return raw.decode(errors="replace").replace("\x00", "\ufffd")


# -- settling -------------------------------------------------------------------------------------------------------

_MARK_REPLAYED = "UPDATE quarantine SET replayed_at = %s, run_id = %s WHERE id = ANY(%s)"
_NOTE_REFUSED = """
UPDATE quarantine q SET tried_at = %s, tried_code = again.code
FROM unnest(%s::bigint[], %s::text[]) AS again (id, code) WHERE q.id = again.id
"""
_DISCARD = """
UPDATE quarantine SET raw = '', reading_id = NULL, discarded_at = %s, run_id = %s WHERE id = ANY(%s)
"""
_UNUSED_READINGS = """
SELECT id FROM quarantine_reading r
WHERE workspace_id = %s AND NOT EXISTS (SELECT FROM quarantine q WHERE q.reading_id = r.id) LIMIT %s
"""
_TAKE_READINGS = "SELECT pg_advisory_xact_lock(101, %s)"
_DROP_READINGS = """
DELETE FROM quarantine_reading r WHERE id = ANY(%s) AND NOT EXISTS (SELECT FROM quarantine q WHERE q.reading_id = r.id)
"""


def mark_replayed(ids: Sequence[int], *, run_id: int, now: datetime) -> None:
    _execute(_MARK_REPLAYED, [now, run_id, list(ids)])


def note_refused(code_by_id: Mapping[int, str], *, now: datetime) -> None:
    """They stay as they came; what was tried did not do."""
    _execute(_NOTE_REFUSED, [now, list(code_by_id), list(code_by_id.values())])


def discard(ids: Sequence[int], *, run_id: int, now: datetime) -> None:
    """The text goes; that there was something, when, and why it was refused stays."""
    _execute(_DISCARD, [now, run_id, list(ids)])


def drop_unused_readings(*, workspace_id: int, most: int = 10_000) -> int:
    """An envelope may hold personal data as well: it goes after the last item that came in it. Returns how many went.

    In a transaction of its own: while it waits for those who add, it must hold nothing that they may wait for.
    """
    with connection.cursor() as cursor:
        cursor.execute(_UNUSED_READINGS, [workspace_id, most])
        unused = [key for (key,) in cursor.fetchall()]
        if unused:
            cursor.execute(_TAKE_READINGS, [workspace_id % 2**31])
            cursor.execute(_DROP_READINGS, [unused])
        return len(unused)


def _execute(statement: str, parameters: Sequence[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


# -- choosing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chosen:
    """Some of the quarantine. What is left empty does not restrict; `place` may hold `*` for anything."""

    ids: Sequence[int] = ()
    source: str = ""
    code: str = ""
    place: str = ""
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""

    def as_json(self) -> dict[str, Any]:
        moments = {"since": self.since and self.since.isoformat(), "until": self.until and self.until.isoformat()}
        return {name: value for name, value in {**asdict(self), **moments}.items() if value}

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> "Chosen":
        moments = {name: datetime.fromisoformat(kept[name]) for name in ("since", "until") if name in kept}
        return cls(**{**kept, **moments})

    def __str__(self) -> str:
        """For the list of runs: without the text that was searched for, which may be personal."""
        named = {"source": self.source, "code": self.code, "ids": ", ".join(map(str, self.ids[:10]))}
        return " ".join(f"{name} {value}" for name, value in named.items() if value) or "everything that waits"


def items_in(chosen: Chosen, *, workspace_id: int) -> QuerySet[QuarantinedItem]:
    """Waiting, replayed and discarded ones."""
    items = QuarantinedItem.objects.filter(workspace=workspace_id)
    if chosen.ids:
        items = items.filter(pk__in=chosen.ids)
    if chosen.source:
        items = items.filter(source__name=chosen.source)
    if chosen.code:
        items = items.filter(code=chosen.code)
    if chosen.place:
        items = items.filter(place__regex=f"^{'.*'.join(map(re.escape, chosen.place.split('*')))}$")
    if chosen.since:
        items = items.filter(received_at__gte=chosen.since)
    if chosen.until:
        items = items.filter(received_at__lt=chosen.until)
    return items.filter(raw__icontains=chosen.text) if chosen.text else items


def waiting_in(chosen: Chosen, *, workspace_id: int) -> QuerySet[QuarantinedItem]:
    """Those with which nothing was done yet: what a replay or a discarding means."""
    return items_in(chosen, workspace_id=workspace_id).filter(replayed_at=None, discarded_at=None)


def waiting_by_code(*, workspace_id: int) -> list[tuple[str, int]]:
    counted = waiting_in(Chosen(), workspace_id=workspace_id).values_list("code").annotate(number=Count("pk"))
    return list(counted.order_by("-number", "code"))
