"""What something would change, before it is done: do it, look, and roll back.

The stages themselves run, each under its own purpose, in one transaction that ends as if it had never been. So what is
told is what would happen and no estimate: who is merged or parted, which values of the golden record change, who enters
or leaves which segment, what audiences would gain or lose, and what people permit. Two things are left out: enrichment,
which would ask providers and cost money, and sending.

For the seconds that it takes the worker of this workspace waits. Whom the deed touches is held in memory.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Final

from django.db import connection, transaction

from activation import services as activation
from cdp.kernel.arrays import bigints
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Stage
from consent import gate
from identity import registry, undoing
from identity import services as identity
from identity.undoing import Scope
from segments import services as segments

SAMPLE: Final = 20
AT_ONCE: Final = 10_000
PURPOSES: Final = tuple(purpose for purpose in Purpose if purpose.is_gated)

Subjects = dict[int, Cause]
Facts = Mapping[Hashable, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """How many are affected, and the first of them by id: what it was, and what it would be."""

    count: int
    sample: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Changes:
    """`counts` says how many of which kind; each of the others is keyed by profile, segment or audience."""

    deed: Mapping[str, Any]
    counts: Mapping[str, int]
    profiles: Change
    traits: Change
    memberships: Change
    audiences: Change
    consents: Change


@dataclass(slots=True)
class _State:
    identifiers: dict[Hashable, Any] = field(default_factory=dict)  # identifier → profile
    traits: dict[Hashable, Any] = field(default_factory=dict)  # (profile, name) → value with its origin
    memberships: dict[Hashable, Any] = field(default_factory=dict)  # (profile, segment) → True while open
    audiences: dict[Hashable, Any] = field(default_factory=dict)  # (profile, audience, key) → held or not
    consents: dict[Hashable, Any] = field(default_factory=dict)  # profile → purposes


def undo(*, workspace_id: int, scope: Scope, number: int, now: datetime) -> Changes:
    """What `identity.undoing.undo` would change."""

    def deed() -> Mapping[str, Any]:
        done = undoing.undo_as_operator(workspace_id=workspace_id, scope=scope, number=number, now=now)
        return {"retracted": done.retracted, "restored": done.restored}

    return rehearse(deed, workspace_id=workspace_id, now=now)


def resolve(*, workspace_id: int, version: int | None, now: datetime) -> Changes:
    """What linking all records with this version of the model would change; without one, with the active model."""
    from identity import linkage  # noqa: PLC0415  # DuckDB and Splink, which the console's preview of an undo need not load

    def deed() -> Mapping[str, Any]:
        with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id):
            registry.keep_active(registry.model_or_active(workspace_id, version), author=None, now=now)
        found = linkage.resolve(workspace_id=workspace_id, clock=lambda: now)
        return {name: found[name] for name in ("pairs", "judgements", "review")}

    return rehearse(deed, workspace_id=workspace_id, now=now)


def rehearse(deed: Callable[[], Mapping[str, Any]], *, workspace_id: int, now: datetime) -> Changes:
    """`deed` writes to the ledger of judgements and hands over what is to be resolved; it may be anything that does."""
    with transaction.atomic():
        start = transaction.savepoint()
        waited = newest_work()
        told = deed()
        touched = _run_stages(workspace_id, waited, now)
        after = _state(workspace_id, touched)
        transaction.savepoint_rollback(start)
        before = _state(workspace_id, touched)
    return _changes(told, before, after)


# -- doing it -------------------------------------------------------------------------------------------------------


def _run_stages(workspace_id: int, waited: int, now: datetime) -> list[int]:
    """Returns every profile that may look different now."""
    touched: Subjects = {}
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id) as permit:
        waiting = iter(handed_over(workspace_id, Stage.IDENTITY, waited).items())
        while chunk := dict(islice(waiting, AT_ONCE)):
            touched.update(identity.link(permit, chunk, now=now))
    touched.update(handed_over(workspace_id, Stage.ENRICHMENT, waited))
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        onward = dict(segments.evaluate(permit, touched, now=now))
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id) as permit:
        activation.reconcile(permit, onward, now=now)
    return sorted(touched.keys() | onward.keys())


# What waited before is no part of it, nor what others hand over meanwhile: only rows of this transaction are in progress
# and yet seen. Those with a later id are of our day, so their number of a transaction is of the present epoch.
_NEWEST: Final = "SELECT COALESCE(max(id), 0) FROM outbox"
_HANDED_OVER: Final = """
SELECT unnest(COALESCE(subjects, ARRAY[subject_id])), cause FROM outbox
WHERE workspace_id = %s AND stage = %s AND id > %s AND pg_xact_status(
    (((pg_current_xact_id()::text::bigint >> 32) << 32) | xmin::text::bigint)::text::xid8
) = 'in progress'
"""


def newest_work() -> int:
    """To be told what a deed hands over from what waited before it."""
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST)
        return int(cursor.fetchone()[0])


def handed_over(workspace_id: int, stage: Stage, after: int) -> Subjects:
    """What this transaction has handed over to a stage since `after`."""
    with connection.cursor() as cursor:
        cursor.execute(_HANDED_OVER, [workspace_id, stage, after])
        return {subject: Cause(cause) for subject, cause in cursor.fetchall()}


# -- looking --------------------------------------------------------------------------------------------------------

_MEMBERS: Final = "SELECT id, profile_id FROM identifier WHERE profile_id = ANY(%s::bigint[])"
_TRAITS: Final = """
SELECT profile_id, name, value::text || source_id || '/' || identifier_id FROM trait WHERE profile_id = ANY(%s::bigint[])
"""
_MEMBERSHIPS: Final = """
SELECT m.profile_id, s.slug, true FROM membership m JOIN segment s ON s.id = m.segment_id
WHERE m.left_at IS NULL AND m.profile_id = ANY(%s::bigint[])
"""
_AUDIENCES: Final = """
SELECT m.profile_id, d.slug || '/' || a.external_id, m.key, true
FROM audience_member m JOIN audience a ON a.id = m.audience_id JOIN destination d ON d.id = a.destination_id
WHERE m.state IN ('ADDING', 'PRESENT') AND m.profile_id = ANY(%s::bigint[])
"""
_PERMITTED: Final = "SELECT id FROM profile WHERE id = ANY(%s::bigint[])"


def _state(workspace_id: int, profiles: Sequence[int]) -> _State:
    """Each part under the purpose that may see it."""
    ids, state = bigints(profiles), _State()
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id):
        state.identifiers = _facts(_MEMBERS, ids)
        state.traits = _facts(_TRAITS, ids)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id):
        state.memberships = _facts(_MEMBERSHIPS, ids)
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id):
        state.audiences = _facts(_AUDIENCES, ids)
    state.consents = _permitted(workspace_id, ids)
    return state


def _facts(query: str, ids: str) -> dict[Hashable, Any]:
    """The last column by those before it."""
    with connection.cursor() as cursor:
        cursor.execute(query, [ids])
        return {key[0] if len(key) == 1 else tuple(key): value for *key, value in cursor.fetchall()}


def _permitted(workspace_id: int, ids: str) -> dict[Hashable, Any]:
    """What the gate would answer: of each purpose, whether it sees the profile."""
    found: dict[Hashable, tuple[str, ...]] = {}
    for purpose in PURPOSES:
        with gate.permit(purpose, workspace_id=workspace_id), connection.cursor() as cursor:
            cursor.execute(_PERMITTED, [ids])
            for (profile,) in cursor.fetchall():
                found[profile] = (*found.get(profile, ()), purpose.value)
    return found


# -- telling --------------------------------------------------------------------------------------------------------


def _changes(deed: Mapping[str, Any], before: _State, after: _State) -> Changes:
    then, soon = members_of(before.identifiers), members_of(after.identifiers)
    profiles = _difference(then, soon)
    memberships = _difference(before.memberships, after.memberships)
    audiences = _difference(_held(before), _held(after))
    # Who is merged away or comes back permits nothing or everything anew: that is no change of anybody's consent.
    consents = [key for key in _difference(before.consents, after.consents) if key in then and key in soon]
    traits = _difference(before.traits, after.traits)
    counts = {
        "merged": sum(one not in soon for one in profiles),
        "split": sum(one not in then for one in profiles),
        "entered": sum(one in after.memberships for one in memberships),
        "left": sum(one not in after.memberships for one in memberships),
        "added": sum(one in after.audiences for one in _difference(before.audiences, after.audiences)),
        "removed": sum(one not in after.audiences for one in _difference(before.audiences, after.audiences)),
    }
    return Changes(
        deed=deed,
        counts=counts,
        profiles=_told(profiles, ("profile",), then, soon),
        traits=Change(len(traits), [{"profile": one[0], "trait": one[1]} for one in traits[:SAMPLE]]),
        memberships=_told(memberships, ("profile", "segment"), before.memberships, after.memberships),
        audiences=_told(audiences, ("profile", "audience"), _held(before), _held(after)),
        consents=_told(consents, ("profile",), before.consents, after.consents),
    )


def members_of(profiles: Mapping[Any, Any]) -> dict[Any, list[Any]]:
    """Profile → its identifiers in order, of identifier → profile."""
    members: dict[Any, list[Any]] = {}
    for one, profile in sorted(profiles.items()):
        members.setdefault(profile, []).append(one)
    return members


def _held(state: _State) -> Counter[Hashable]:
    """How many keys of a profile an audience holds. The keys themselves are nobody's business."""
    keys: Iterable[Any] = state.audiences
    return Counter((profile, audience) for profile, audience, _ in keys)


def _difference(before: Facts, after: Facts) -> list[Any]:
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def _told(keys: Sequence[Any], names: Iterable[str], before: Facts, after: Facts) -> Change:
    names = tuple(names)
    sample = [
        {
            **dict(zip(names, key if isinstance(key, tuple) else (key,), strict=True)),
            "before": before.get(key),
            "after": after.get(key),
        }
        for key in keys[:SAMPLE]
    ]
    return Change(len(keys), sample)
