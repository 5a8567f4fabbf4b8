"""Entries and exits since a place in the feed: each once, in the order in which they became visible.

The order is made where they are written (migration 0011), so reading is a walk along one index. The purpose of the permit
sees entries of people who permit it, and hears of every exit of somebody whom it was shown; of who may not be seen any
more it hears the id alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import connection
from django.db.models import Max

from cdp.kernel.arrays import bigints
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models.tenancy import workspace_scope
from consent.gate import Permit
from consent.register_models import RetentionEvidence

ENTERED: Final = "entered"
LEFT: Final = "left"
SCHEDULE: Final = "membership_changes"
LOOKED_AT: Final = 10_000
"""Rows that one reading looks at, so that a segment where nothing happens costs no more than one where much does."""
LONGEST_WORK: Final = timedelta(days=1)
"""No transaction takes as long, so nothing is written down that much earlier than it is seen."""


class CursorExpiredError(TesseraError):
    """What came after this cursor is not kept any more: list the members anew, and go on from the cursor given there."""

    code = "cursor_expired"


@dataclass(frozen=True, slots=True)
class Position:
    """Everything up to `id` was read, at `at` the last time."""

    id: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    id: int
    segment: str
    profile: int
    is_entry: bool
    at: datetime | None
    """Null, as the cause is, where the person may not be seen any more."""
    cause: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    changes: Sequence[Change]
    position: Position
    is_end: bool
    """Nothing more was there at this moment."""


# Up to where one reading looks. Of the view only ids are asked, so nobody's permission is looked up for it.
_BOUND: Final = """
SELECT max(id), count(*) FROM (
    SELECT id FROM membership_change WHERE workspace_id = %(workspace)s AND id > %(after)s ORDER BY id LIMIT %(looked_at)s
) AS looked_at
"""
_READ: Final = """
SELECT c.id, s.slug, c.profile_id, c.is_entry, c.at, c.cause, c.recorded_at
FROM membership_change c JOIN segment s ON s.id = c.segment_id
WHERE c.workspace_id = %(workspace)s AND c.id > %(after)s AND c.id <= %(bound)s AND c.is_told
  AND (%(segments)s::bigint[] IS NULL OR c.segment_id = ANY(%(segments)s::bigint[]))
ORDER BY c.id LIMIT %(most)s
"""
_RECORDED: Final = "SELECT recorded_at FROM membership_change WHERE workspace_id = %s AND id = %s"
_END: Final = "SELECT COALESCE(max(id), 0) FROM membership_change WHERE workspace_id = %s"


def changes_after(
    permit: Permit[Purpose],
    position: Position,
    *,
    most: int,
    now: datetime,
    segments: Sequence[int] | None = None,
    up_to: int | None = None,
) -> Reading:
    """At most so many changes of these segments, or of all. `up_to` ends the reading at the position of another one."""
    given = {
        "workspace": permit.workspace_id, "after": position.id, "most": most, "looked_at": LOOKED_AT,
        "segments": None if segments is None else bigints(segments),
    }  # fmt: skip
    [(last, number)] = _rows(_BOUND, given)
    if last is None:
        return Reading([], Position(position.id, now), is_end=True)
    bound = last if up_to is None else min(last, up_to)
    rows = _rows(_READ, {**given, "bound": bound})
    told = [Change(*row[:-1]) for row in rows]
    if len(rows) == most:
        return Reading(told, Position(rows[-1][0], rows[-1][-1]), is_end=False)
    if number < LOOKED_AT:
        return Reading(told, Position(bound, now), is_end=True)
    recorded = _rows(_RECORDED, [permit.workspace_id, last])  # unless it is being deleted, and this one is late
    return Reading(told, Position(bound, recorded[0][0] if recorded else position.at), is_end=False)


def end_of_feed(permit: Permit[Purpose], *, now: datetime) -> Position:
    """Where somebody begins who lists the members next: what changes meanwhile comes twice, and nothing is missed."""
    [(last,)] = _rows(_END, [permit.workspace_id])
    return Position(last, now)


def refuse_expired(*, workspace_id: int, position: Position) -> None:
    """Raise `CursorExpiredError` when changes after the position may have been deleted, as their period ended."""
    with workspace_scope(workspace_id):
        deleted = RetentionEvidence.objects.filter(workspace_id=workspace_id, schedule=SCHEDULE)
        cutoff = deleted.aggregate(newest=Max("cutoff"))["newest"]
    if cutoff is not None and position.at - LONGEST_WORK < cutoff:
        raise CursorExpiredError


def told(change: Change) -> dict[str, Any]:
    """A change in the words of all who are told: ids, and nothing of the person."""
    at = change.at.astimezone(UTC).isoformat().replace("+00:00", "Z") if change.at else None
    word = ENTERED if change.is_entry else LEFT
    return {"segment": change.segment, "profile": change.profile, "change": word, "at": at, "cause": change.cause}


def _rows(sql: str, parameters: Any) -> list[Any]:  # noqa: ANN401  # as the cursor takes them
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
