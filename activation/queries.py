"""What the gate shows of people who should be in an audience, and what waits to be sent."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from activation.models import MemberState
from consent.gate import Advertising, Permit

# A view of the purpose: who does not permit it to the recipient of an audience is no candidate of that audience.
_CANDIDATES = """
SELECT audience_id, profile_id, type, value FROM candidate
WHERE profile_id = ANY(%(profiles)s) AND (%(audience)s IS NULL OR audience_id = %(audience)s)
ORDER BY identifier_id
"""
_DUE_DESTINATIONS = """
SELECT d.id FROM destination d
WHERE d.is_enabled AND (d.paused_until IS NULL OR d.paused_until <= %(now)s)
  AND (d.leased_until IS NULL OR d.leased_until <= %(now)s)
  AND EXISTS (
    SELECT 1 FROM audience a JOIN audience_member m ON m.audience_id = a.id
    WHERE a.destination_id = d.id AND m.state IN ('ADDING', 'REMOVING') AND m.due_at <= %(now)s
      AND (a.is_enabled OR m.state = 'REMOVING')
  )
ORDER BY d.id
"""
# Removals before additions; an audience that was disabled still loses people.
_NEXT_BATCH = """
SELECT a.id, a.external_id, s.state
FROM audience a CROSS JOIN (VALUES ('REMOVING'), ('ADDING')) AS s (state)
WHERE a.destination_id = %(destination)s AND (a.is_enabled OR s.state = 'REMOVING') AND EXISTS (
    SELECT 1 FROM audience_member m
    WHERE m.audience_id = a.id AND m.state = s.state AND m.state IN ('ADDING', 'REMOVING') AND m.due_at <= %(now)s
)
ORDER BY s.state DESC, a.id LIMIT 1
"""
_OPEN_RUN = """
SELECT r.id, r.key FROM sync_run r
WHERE r.audience_id = %(audience)s AND r.operation = %(operation)s AND r.finished_at IS NULL AND EXISTS (
    SELECT 1 FROM audience_member m WHERE m.run_id = r.id AND m.state = %(state)s AND m.due_at <= %(now)s
)
ORDER BY r.id LIMIT 1
"""
_ROWS_OF_RUN = """
SELECT id, profile_id, identifier_type, key FROM audience_member WHERE run_id = %(run)s AND state = %(state)s
"""
_DUE_ROWS = """
SELECT id, profile_id, identifier_type, key FROM audience_member
WHERE audience_id = %(audience)s AND state = %(state)s AND state IN ('ADDING', 'REMOVING') AND due_at <= %(now)s
ORDER BY due_at, id LIMIT %(most)s
"""


@dataclass(frozen=True, slots=True)
class LedgerRow:
    id: int
    profile_id: int
    identifier_type: str
    key: str


@dataclass(frozen=True, slots=True)
class NextBatch:
    audience_id: int
    external_id: str
    state: MemberState


@dataclass(frozen=True, slots=True)
class OpenRun:
    id: int
    key: str


def candidates(
    permit: Permit[Advertising],  # noqa: ARG001  # its proof
    profiles: Collection[int],
    *,
    audience_id: int | None = None,
) -> Iterator[tuple[int, int, str, str]]:
    """(audience, profile, identifier type, value) of these profiles, as far as they permit its recipient now."""
    yield from _fetch(_CANDIDATES, {"profiles": list(profiles), "audience": audience_id})


def due_destinations(permit: Permit[Advertising], *, now: datetime) -> list[int]:  # noqa: ARG001  # its proof
    """Enabled, neither paused nor in the hands of another sender, with something to send."""
    return [found for (found,) in _fetch(_DUE_DESTINATIONS, {"now": now})]


def next_batch(destination_id: int, *, now: datetime) -> NextBatch | None:
    """The audience and the operation that come next."""
    found = _fetch(_NEXT_BATCH, {"destination": destination_id, "now": now})
    return NextBatch(found[0][0], found[0][1], MemberState(found[0][2])) if found else None


def open_run(batch: NextBatch, operation: str, *, now: datetime) -> OpenRun | None:
    """A request that was made and is not settled: it failed for the time being, or its sender died."""
    found = _fetch(_OPEN_RUN, {"audience": batch.audience_id, "operation": operation, "state": batch.state, "now": now})
    return OpenRun(*found[0]) if found else None


def rows_of_run(run_id: int, state: MemberState) -> list[LedgerRow]:
    return [LedgerRow(*row) for row in _fetch(_ROWS_OF_RUN, {"run": run_id, "state": state})]


def due_rows(batch: NextBatch, *, most: int, now: datetime) -> list[LedgerRow]:
    parameters = {"audience": batch.audience_id, "state": batch.state, "now": now, "most": most}
    return [LedgerRow(*row) for row in _fetch(_DUE_ROWS, parameters)]


def _fetch(statement: str, parameters: dict[str, Any]) -> Sequence[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())
