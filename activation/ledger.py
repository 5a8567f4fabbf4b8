"""The ledger of audience members: one row for each key that a destination holds, or should hold, or should lose.

Diffs are made against it and never against "what changed since". Three rules keep it a true mirror:

* A key that was ever part of a request leaves by a request. Only one that never was may be struck out.
* A key that two profiles share leaves with the last of them.
* Wishes and claims of one workspace take turns (`take_turn`), so that none decides on what the other just changed:
  without it two profiles could each leave a shared key to the other.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from activation.models import MemberState
from consent.gate import Advertising, Permit

_LEDGER = 5  # the advisory locks 0 to 4 are the stages' own
UNKNOWN_TRIES = 5  # then an unknown addition counts as present, so that it will be removed


@dataclass(frozen=True, slots=True)
class Wish:
    """A profile should be in an audience under this key."""

    audience_id: int
    profile_id: int
    identifier_type: str
    key: str


_TAKE_TURN = "SELECT pg_advisory_xact_lock(%s, %s)"

# A query of its own and no join: with the statistics of a young table a join read the ledger once for every wish.
_HELD = """
SELECT DISTINCT ON (audience_id, identifier_type, key) audience_id, identifier_type, key, run_id FROM audience_member
WHERE audience_id = ANY(%(audiences)s) AND key = ANY(%(keys)s) AND state = 'PRESENT' AND run_id IS NOT NULL
"""

_WANT = """
INSERT INTO audience_member AS m
    (workspace_id, audience_id, profile_id, identifier_type, key, state, reason, attempts, due_at, run_id, changed_at)
SELECT %(workspace)s, w.audience_id, w.profile_id, w.identifier_type, w.key,
       CASE WHEN w.run_id IS NULL THEN 'ADDING' ELSE 'PRESENT' END, '', 0, %(now)s, w.run_id, %(now)s
FROM unnest(%(audiences)s::bigint[], %(profiles)s::bigint[], %(types)s::text[], %(keys)s::text[], %(runs)s::bigint[])
     AS w (audience_id, profile_id, identifier_type, key, run_id)
ON CONFLICT (audience_id, profile_id, key) DO UPDATE
SET state = EXCLUDED.state, reason = '', attempts = 0, due_at = EXCLUDED.due_at, changed_at = EXCLUDED.changed_at,
    run_id = COALESCE(EXCLUDED.run_id, m.run_id)
WHERE m.state IN ('REMOVING', 'REMOVED')
"""

# NOT IN, which is hashed whatever the planner believes: an anti-join by nested loops took five seconds for a batch.
_UNWANT = """
UPDATE audience_member m SET state = 'REMOVING', reason = '', attempts = 0, due_at = %(now)s, changed_at = %(now)s
WHERE m.profile_id = ANY(%(concerned)s) AND m.state IN ('ADDING', 'PRESENT', 'REJECTED')
  AND (m.audience_id, m.profile_id, m.key) NOT IN (
    SELECT * FROM unnest(%(audiences)s::bigint[], %(profiles)s::bigint[], %(keys)s::text[])
)
RETURNING m.id
"""

_UNWANT_ROWS = """
UPDATE audience_member SET state = 'REMOVING', reason = '', attempts = 0, due_at = %(now)s, changed_at = %(now)s
WHERE id = ANY(%(rows)s) AND state = 'ADDING'
"""

# Strike out what need not be sent: somebody else wants the key, or it never was part of a request.
_STRIKE_OUT = """
UPDATE audience_member m SET state = 'REMOVED', changed_at = %(now)s
WHERE m.id = ANY(%(rows)s) AND m.state = 'REMOVING' AND (
    EXISTS (
        SELECT 1 FROM audience_member o
        WHERE o.audience_id = m.audience_id AND o.key = m.key AND o.identifier_type = m.identifier_type
          AND o.id <> m.id AND o.state IN ('ADDING', 'PRESENT')
    )
    OR NOT EXISTS (
        SELECT 1 FROM audience_member o
        WHERE o.audience_id = m.audience_id AND o.key = m.key AND o.identifier_type = m.identifier_type
          AND o.run_id IS NOT NULL
    )
)
"""

# An addition of what the destination has come to hold for another profile.
_ADOPT = """
UPDATE audience_member m SET state = 'PRESENT', run_id = held.run_id, reason = '', changed_at = %(now)s
FROM audience_member held
WHERE m.id = ANY(%(rows)s) AND m.state = 'ADDING' AND held.audience_id = m.audience_id AND held.key = m.key
  AND held.identifier_type = m.identifier_type AND held.id <> m.id AND held.state = 'PRESENT' AND held.run_id IS NOT NULL
"""

# Runs that failed for the time being, and whose rows have all gone elsewhere since.
_CLOSE_SUPERSEDED = """
UPDATE sync_run r SET finished_at = %(now)s, error = 'superseded'
FROM audience a
WHERE a.id = r.audience_id AND a.destination_id = %(destination)s AND r.finished_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM audience_member m
    WHERE m.run_id = r.id AND m.state = CASE r.operation WHEN 'ADD' THEN 'ADDING' ELSE 'REMOVING' END
)
"""

# Doubling from five seconds to an hour; `jitter` between a half and one.
_LATER = "least(3600, 5 * 2 ^ least(m.attempts, 12)::float8) * %(jitter)s"

_RECORD = (
    """
UPDATE audience_member m
SET state = CASE WHEN r.status = 'SENT' THEN %(done)s
                 WHEN r.status = 'REJECTED' AND m.state = 'ADDING' THEN 'REJECTED'
                 WHEN r.status = 'UNKNOWN' AND m.state = 'ADDING' AND m.attempts >= %(tries)s THEN 'PRESENT'
                 ELSE m.state END,
    reason = r.code, changed_at = %(now)s,
    due_at = %(now)s + make_interval(secs => """
    + _LATER
    + """)
FROM unnest(%(types)s::text[], %(keys)s::text[], %(statuses)s::text[], %(codes)s::text[])
     AS r (identifier_type, key, status, code)
WHERE m.run_id = %(run)s AND m.state = %(state)s AND m.identifier_type = r.identifier_type AND m.key = r.key
"""
)

_POSTPONE = (
    """
UPDATE audience_member m
SET reason = %(reason)s, due_at = %(now)s + make_interval(secs => greatest(%(least)s, """
    + _LATER
    + """))
WHERE m.run_id = %(run)s AND m.state = %(state)s
"""
)


def take_turn(permit: Permit[Advertising]) -> None:
    """Until the end of the transaction nobody else changes the ledger of this workspace."""
    _execute(_TAKE_TURN, [_LEDGER, permit.workspace_id])


def make_wishes_true(
    permit: Permit[Advertising], wishes: Sequence[Wish], concerned: Collection[int], *, now: datetime
) -> None:
    """`wishes` are all that there are for the profiles `concerned`.

    A key that the destination already holds for another profile needs no request: after a merge nothing is sent. Hence
    adding comes first.
    """
    held = _held(wishes)
    wanted: dict[str, Any] = {
        "workspace": permit.workspace_id,
        "concerned": list(concerned),
        "audiences": [wish.audience_id for wish in wishes],
        "profiles": [wish.profile_id for wish in wishes],
        "types": [wish.identifier_type for wish in wishes],
        "keys": [wish.key for wish in wishes],
        "runs": [held.get((wish.audience_id, wish.identifier_type, wish.key)) for wish in wishes],
        "now": now,
    }
    _execute(_WANT, wanted)
    with connection.cursor() as cursor:
        cursor.execute(_UNWANT, wanted)
        leaving = [row for (row,) in cursor.fetchall()]
    strike_out(leaving, now=now)


def _held(wishes: Sequence[Wish]) -> dict[tuple[int, str, str], int]:
    """(audience, identifier type, key) of what destinations hold, and the run by which it came."""
    audiences = list({wish.audience_id for wish in wishes})
    with connection.cursor() as cursor:
        cursor.execute(_HELD, {"audiences": audiences, "keys": [wish.key for wish in wishes]})
        return {(audience, kind, key): run for audience, kind, key, run in cursor.fetchall()}


def give_up_additions(rows: Sequence[int], *, now: datetime) -> int:
    """These may not be added any more. Returns how many they were."""
    given_up = _execute(_UNWANT_ROWS, {"rows": rows, "now": now}) if rows else 0
    strike_out(rows, now=now)
    return given_up


def strike_out(rows: Sequence[int], *, now: datetime) -> int:
    """Of these removals, those that need no request. Returns how many they were."""
    return _execute(_STRIKE_OUT, {"rows": rows, "now": now}) if rows else 0


def adopt(rows: Sequence[int], *, now: datetime) -> int:
    """Of these additions, those that the destination already holds. Returns how many they were."""
    return _execute(_ADOPT, {"rows": rows, "now": now})


def close_superseded_runs(destination_id: int, *, now: datetime) -> None:
    """Nothing is left of them to send again."""
    _execute(_CLOSE_SUPERSEDED, {"destination": destination_id, "now": now})


@dataclass(frozen=True, slots=True)
class Verdict:
    identifier_type: str
    key: str
    status: str
    code: str


def record(
    run_id: int, state: MemberState, verdicts: Iterable[Verdict], *, done: MemberState, jitter: float, now: datetime
) -> None:
    """What became of the rows of a run. Those whose wish changed meanwhile keep the new wish."""
    said = list(verdicts)
    _execute(
        _RECORD,
        {
            "run": run_id,
            "state": state,
            "done": done,
            "types": [verdict.identifier_type for verdict in said],
            "keys": [verdict.key for verdict in said],
            "statuses": [verdict.status for verdict in said],
            "codes": [verdict.code for verdict in said],
            "tries": UNKNOWN_TRIES,
            "jitter": jitter,
            "now": now,
        },
    )


def postpone(run_id: int, state: MemberState, *, reason: str, at_least: float, jitter: float, now: datetime) -> None:
    """The rows of a run stay as they are and come again later, not before `at_least` seconds."""
    _execute(
        _POSTPONE,
        {"run": run_id, "state": state, "reason": reason, "least": at_least, "jitter": jitter, "now": now},
    )


def _execute(statement: str, parameters: Any) -> int:  # noqa: ANN401  # as the driver takes them
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)
