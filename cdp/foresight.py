"""What undoing would change, for whoever may not work under every purpose, as the API and the console.

The ledger is written as undoing would write it, the resolver says who everybody would be, and all is rolled back. Nobody
is moved, so who is merged or parted is exact; of what follows from that only the extent is told: how many values,
memberships and keys hang on the people who change. `cdp.rehearsal` says each of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction

from cdp.kernel.arrays import bigints
from cdp.kernel.purposes import Purpose
from cdp.models import Stage
from cdp.models.tenancy import workspace_scope
from cdp.rehearsal import SAMPLE, handed_over, members_of, newest_work
from identity import disputes, queries, undoing
from identity.undoing import Scope, Undoing


@dataclass(frozen=True, slots=True)
class Foresight:
    undone: Undoing
    merged: int
    split: int
    changed: int
    sample: Sequence[Mapping[str, Any]]
    traits: int
    memberships: int
    audience_members: int
    permitted: Mapping[str, int]


def of_undoing(*, workspace_id: int, scope: Scope, number: int, now: datetime) -> Foresight:
    with workspace_scope(workspace_id):
        start, waited = transaction.savepoint(), newest_work()
        done = undoing.undo(workspace_id=workspace_id, scope=scope, number=number, author=None, now=now)
        subjects = handed_over(workspace_id, Stage.IDENTITY, waited)
        before, after = _people(workspace_id, subjects, now)
        transaction.savepoint_rollback(start)
    with workspace_scope(workspace_id):
        return _foreseen(done, before, after, now)


def _people(workspace_id: int, subjects: Mapping[int, Any], now: datetime) -> tuple[dict[int, int], dict[int, int]]:
    """Identifier → profile, as it is and as it would be. Who objects to being recognised stays whose he is."""
    rules = queries.rules_of(workspace_id)
    around = queries.neighbourhood_of(subjects, rules)
    clusters = disputes.resolve(around, rules).clusters
    seen = _recognisable(around.profiles, now)
    return around.profiles, {one: clusters[one] if one in seen else around.profiles[one] for one in around.profiles}


_RECOGNISABLE: Final = """
SELECT id FROM identifier WHERE id = ANY(%s::bigint[]) AND permitted & %s <> 0
AND (permitted_until IS NULL OR permitted_until > %s)
"""


def _recognisable(identifiers: Mapping[int, int], now: datetime) -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute(_RECOGNISABLE, [bigints(identifiers), Purpose.IDENTITY.bit, now])
        return {one for (one,) in cursor.fetchall()}


def _foreseen(done: Undoing, before: Mapping[int, int], after: Mapping[int, int], now: datetime) -> Foresight:
    then, soon = members_of(before), members_of(after)
    changed = sorted(one for one in then.keys() | soon.keys() if then.get(one) != soon.get(one))
    moved = [one for one, profile in after.items() if before[one] != profile]
    return Foresight(
        undone=done,
        merged=sum(one not in soon for one in changed),
        split=sum(one not in then for one in changed),
        changed=len(changed),
        sample=[{"profile": one, "before": then.get(one, ()), "after": soon.get(one, ())} for one in changed[:SAMPLE]],
        **_hanging_on(moved, changed, now),
    )


_HANGING: Final = """
SELECT (SELECT count(*) FROM trait WHERE profile_id = ANY(%(profiles)s::bigint[])
        AND identifier_id = ANY(%(moved)s::bigint[])),
       (SELECT count(*) FROM membership WHERE profile_id = ANY(%(profiles)s::bigint[]) AND left_at IS NULL),
       (SELECT count(*) FROM audience_member WHERE profile_id = ANY(%(profiles)s::bigint[])
        AND state IN ('ADDING', 'PRESENT'))
"""
_PERMITTING: Final = """
SELECT count(*) FROM profile WHERE id = ANY(%s::bigint[]) AND merged_into_id IS NULL AND permitted & %s <> 0
AND (permitted_until IS NULL OR permitted_until > %s)
"""


def _hanging_on(moved: Sequence[int], profiles: Sequence[int], now: datetime) -> dict[str, Any]:
    ids = bigints(profiles)
    with connection.cursor() as cursor:
        cursor.execute(_HANGING, {"profiles": ids, "moved": bigints(moved)})
        traits, memberships, audience_members = cursor.fetchone()
        permitted = {}
        for purpose in (purpose for purpose in Purpose if purpose.is_gated):
            cursor.execute(_PERMITTING, [ids, purpose.bit, now])
            permitted[purpose.value] = cursor.fetchone()[0]
    return {
        "traits": traits, "memberships": memberships, "audience_members": audience_members, "permitted": permitted,
    }  # fmt: skip
