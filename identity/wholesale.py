"""Link very many identifiers at once: what `services.link` does for some thousands, with the same result.

Identifiers and judgements, of all whom it concerns or of the whole workspace, are looked at together, as arrays (`glance`).
Nearly everybody is clear at once and written by a handful of statements; whoever a guard might object to goes the way of
the pipeline.

Neighbourhoods have nothing in common, so very many are written in shares, by several transactions at a time: judgements,
people, golden records and what waits for the next stage. Each is whole whatever becomes of the others.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
import structlog

from cdp.models import Cause, Stage, outbox, planning
from consent.gate import Identity, Permit
from identity import aside, crowds, glance, golden, households, queries, records, refusals, services
from identity.glance import Crowd, Flags, Glance, Numbers
from identity.queries import Rules
from identity.resolver import Kind

log = structlog.get_logger()

IDENTIFIERS_AT_ONCE: Final = 20_000
FEW = 5_000  # for whom it does not pay to look at them as arrays
BY_KEY = 50_000  # up to so many are found by key with whom they know: quicker than to read everybody
MANY = 10_000  # for whom it pays to write by several transactions
SHARE = 150_000  # identifiers that one of them writes, about: between two a run can be cancelled
A_GOOD_PART: Final = 8  # one in so many: to read everybody in a row is quicker then than to read these by key

Judge = Callable[[pa.Table, pa.Table], None]  # takes judgements back, and writes pairs down as judged the same


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Those of which both ends are known, by the places of their ends."""

    table: pa.Table
    left: Numbers
    right: Numbers

    def of(self, chosen: Flags) -> pa.Table:
        return self.table.filter(chosen[self.left])


@dataclass(frozen=True, slots=True)
class _Task:
    """What a transaction must know to link a share of the crowd: of each identifier whether it was named, or one of its
    neighbourhood was; and what was judged. `everybody` is how many identifiers there are, without end where only some were
    looked at.
    """

    rules: Rules
    everybody: float
    crowd: Crowd
    seen: Glance
    is_named: Flags
    is_near: Flags
    outdated: _Pairs
    alike: _Pairs
    judge: Judge
    now: datetime

    def is_good_part(self, count: int) -> bool:
        return count * A_GOOD_PART >= self.everybody


def link(
    permit: Permit[Identity], outdated: pa.Table, alike: pa.Table, judge: Judge, *, writers: int, now: datetime
) -> int:
    """Take back these judgements of the machine and judge these pairs the same, so far as the purpose still sees both ends,
    and resolve the people behind them. Every profile that may look different then waits for the next stage. Returns how many
    pairs were judged.

    Of many, `writers` transactions write at a time, and then this one what is left. With one writer there is no other. After
    an error, as `judge` may raise one, no further share is begun.
    """
    ends = _ends_of(alike, outdated)
    if len(ends) <= FEW:
        seen_now = crowds.seen(ends)
        outdated, alike = seen_now.of(outdated), seen_now.of(alike)
        judge(outdated, alike)
        subjects = dict.fromkeys(sorted(_ends_of(alike, outdated)), Cause.LEARNT)
        _hand_over(permit, services.link(permit, subjects, now=now))
        return len(alike)
    golden.take_turn(permit)
    rules = queries.rules_of(permit.workspace_id)
    is_everybody = len(ends) > BY_KEY
    with planning.in_bulk() if is_everybody else planning.by_key():
        sighted = services.judge_sightings(ends, rules, now)
        people, standing = _everybody(rules) if is_everybody else _near_by(ends, rules)
    crowd, gone, new = _when_judged(people, standing, outdated, alike)
    seen = glance.look_at(crowd, rules.limits, rules.windows)
    everybody = len(crowd.ids) if is_everybody else math.inf
    is_named = _are_among(crowd, ends)
    task = _Task(rules, everybody, crowd, seen, is_named, _near(seen, is_named), gone, new, judge, now)
    # What only this transaction has written no other one sees.
    mine = _near(seen, _are_among(crowd, sighted))
    others = task.is_near & ~mine
    rounds = math.ceil(others.sum() / (SHARE * writers))
    shares = glance.shares(seen, others, rounds * writers) if writers > 1 and others.sum() > MANY else []
    with aside.at_work(permit.workspace_id, threads=writers) as begin:
        for share in shares:
            begin(partial(_write, task=task, chosen=share))
    _write(permit, task, ~np.logical_or.reduce([np.zeros_like(mine), *shares]))
    return len(new.table)


def _write(permit: Permit[Identity], task: _Task, chosen: Flags) -> None:
    """What was judged of the chosen, and the people behind those of them who were named."""
    task.judge(task.outdated.of(chosen), task.alike.of(chosen))
    _link_clear(permit, task, chosen & task.is_near & ~task.seen.is_doubtful)
    doubtful = _side_by_side(task.crowd.ids, task.seen.neighbourhoods, chosen & task.is_named & task.seen.is_doubtful)
    for chunk in _in_chunks(doubtful):
        subjects = dict.fromkeys(chunk, Cause.LEARNT)
        _hand_over(permit, services.link(permit, subjects, now=task.now, rules=task.rules))


def _ends_of(*tables: pa.Table) -> set[int]:
    return {end for pairs in tables for name in ("left_id", "right_id") for end in pairs[name].to_pylist()}


def _are_among(crowd: Crowd, identifier_ids: Collection[int]) -> Flags:
    return np.isin(crowd.ids, np.fromiter(identifier_ids, np.int64, len(identifier_ids)))


def _near(seen: Glance, chosen: Flags) -> Flags:
    """Everybody in the neighbourhoods of these."""
    is_near = np.zeros_like(chosen)
    is_near[seen.neighbourhoods[chosen]] = True
    return is_near[seen.neighbourhoods]


def _side_by_side(ids: Numbers, neighbourhoods: Numbers, chosen: Flags) -> list[int]:
    """Those of one neighbourhood together: it is resolved as a whole, for whichever of them."""
    places = np.flatnonzero(chosen)
    nearby: list[int] = ids[places[np.argsort(neighbourhoods[places], kind="stable")]].tolist()
    return nearby


def _hand_over(permit: Permit[Identity], touched: Mapping[int, Cause]) -> None:
    outbox.hand_over(touched, stage=Stage.ENRICHMENT, workspace_id=permit.workspace_id)


def _link_clear(permit: Permit[Identity], task: _Task, chosen: Flags) -> None:
    if not chosen.any():
        return
    ids, before, after = (each[chosen] for each in (task.crowd.ids, task.crowd.profiles, task.seen.people))
    is_moved = before != after
    with planning.in_bulk() if task.is_good_part(len(ids)) else planning.by_key():
        services.move(
            ids[is_moved].tolist(), after[is_moved].tolist(), merged_away=ids[is_moved & (before == ids)].tolist()
        )
        refusals.keep(permit, ids.tolist(), (), now=task.now)
    changed = dict(_causes(ids, before, after))
    _describe(permit, task, sorted(changed), np.intersect1d(list(changed), after).tolist())
    _hand_over(permit, dict.fromkeys(task.seen.people[chosen & task.is_named].tolist(), Cause.LEARNT) | changed)
    log.info("identifiers.linked", workspace=permit.workspace_id, identifiers=len(ids), moved=int(is_moved.sum()))


def _describe(permit: Permit[Identity], task: _Task, profiles: Sequence[int], living: Sequence[int]) -> None:
    """Golden records of the living, and whom these people belong with: by key, unless they are a good part of everybody. Who
    rests on the same identifiers as before looks the same.

    Of those who were merged away the golden record is gone already. To look for it would find each row that just went.
    """
    are_good_part = task.is_good_part(len(profiles))
    changed = [
        one
        for chunk in ([living] if are_good_part else _in_chunks(living))
        for one in golden.refreshed_traits(permit, chunk, are_good_part=are_good_part)
    ]
    households.relate_many(permit, profiles, sorted(changed), now=task.now)


def _in_chunks(profiles: Sequence[int]) -> Iterator[Sequence[int]]:
    return (profiles[start : start + IDENTIFIERS_AT_ONCE] for start in range(0, len(profiles), IDENTIFIERS_AT_ONCE))


def _causes(ids: Numbers, before: Numbers, after: Numbers) -> Iterator[tuple[int, Cause]]:
    """As `services.causes`, of arrays."""
    is_moved = before != after
    left, joined = np.unique(before[is_moved]), np.unique(after[is_moved])
    changed = np.union1d(left, joined)
    existed, exists = np.isin(changed, before), np.isin(changed, after)
    strangers = after[is_moved & (before != ids)]  # who came from a profile that was not their own
    is_split = np.where(existed, np.isin(changed, left), np.isin(changed, strangers)) & exists
    return zip(changed.tolist(), (Cause.SPLIT if split else Cause.MERGE for split in is_split), strict=True)


# -- the crowd ------------------------------------------------------------------------------------------------------

_EVERYBODY: Final = "COPY (SELECT id, type, profile_id FROM identifier) TO STDOUT (FORMAT csv)"
_IDENTIFIER: Final = pa.schema([("id", pa.int64()), ("type", pa.string()), ("profile", pa.int64())])

# As `queries.heard_of`: what stands, and where two were seen together with a value that is nobody's, nothing was said.
_STANDING: Final = f"""
COPY (
    WITH standing AS MATERIALIZED (
        SELECT left_id, right_id, verdict, kind FROM judgement j
        WHERE retracts_id IS NULL AND NOT EXISTS (SELECT FROM judgement later WHERE later.retracts_id = j.id)
    ),
    seen AS (SELECT left_id, right_id FROM standing WHERE kind = 'DETERMINISTIC'),
    blocked AS MATERIALIZED (
        SELECT id FROM identifier
        WHERE id IN (SELECT left_id FROM seen UNION SELECT right_id FROM seen) AND {queries.IS_BLOCKED}
    )
    SELECT left_id, right_id, (verdict = 'SAME')::int, array_position(%(kinds)s::varchar[], kind) - 1 FROM standing s
    WHERE kind <> 'DETERMINISTIC' OR NOT EXISTS (SELECT FROM blocked b WHERE b.id = s.left_id OR b.id = s.right_id)
) TO STDOUT (FORMAT csv)
"""  # noqa: S608  # our own constant
_JUDGEMENT: Final = pa.schema([(name, pa.int64()) for name in ("left_id", "right_id", "is_same", "kind")])

_KINDS: Final = {kind: place for place, kind in enumerate(Kind)}


def _everybody(rules: Rules) -> tuple[pa.Table, pa.Table]:
    """Identifiers and judgements of the workspace."""
    given = {"kinds": [kind.value for kind in Kind], **rules.blocking}
    return records.table(_EVERYBODY, {}, _IDENTIFIER), records.table(_STANDING, given, _JUDGEMENT)


def _near_by(identifier_ids: Collection[int], rules: Rules) -> tuple[pa.Table, pa.Table]:
    """The same of all that the people of these rest on. Those behind a shared identifier are there, each alone: nothing is
    decided of them, for who is near such an identifier is doubtful.
    """
    near = queries.neighbourhood_of(identifier_ids, rules)
    types = {**near.ends, **near.types}
    people = {
        "id": list(types),
        "type": list(types.values()),
        "profile": [near.profiles.get(one, one) for one in types],
    }
    judgements = {
        "left_id": [one.left for one in near.judgements],
        "right_id": [one.right for one in near.judgements],
        "is_same": [int(one.is_same) for one in near.judgements],
        "kind": [_KINDS[one.kind] for one in near.judgements],
    }
    return pa.table(people, schema=_IDENTIFIER), pa.table(judgements, schema=_JUDGEMENT)


def _when_judged(
    people: pa.Table, standing: pa.Table, outdated: pa.Table, alike: pa.Table
) -> tuple[Crowd, _Pairs, _Pairs]:
    """The crowd, as it is when these judgements of the machine will have been taken back and these pairs judged the same."""
    types = people["type"].combine_chunks().dictionary_encode()
    ids = people["id"].to_numpy()
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    former, gone, new = (_known(ids, pairs) for pairs in (standing, outdated, alike))
    is_machine = former.table["kind"].to_numpy() == _KINDS[Kind.PROBABILISTIC]
    counts = ~(is_machine & np.isin(_numbers(ids, former), _numbers(ids, gone)))
    crowd = Crowd(
        ids=ids,
        kinds=types.indices.to_numpy().astype(np.int64)[order],
        types=types.dictionary.to_pylist(),
        profiles=people["profile"].to_numpy()[order],
        left=np.append(former.left[counts], new.left),
        right=np.append(former.right[counts], new.right),
        is_same=np.append(former.table["is_same"].to_numpy()[counts] == 1, np.ones(len(new.left), dtype=np.bool_)),
        judged_by=np.append(
            former.table["kind"].to_numpy()[counts], np.full(len(new.left), _KINDS[Kind.PROBABILISTIC])
        ),
        parting=(gone.left, gone.right),
    )
    return crowd, gone, new


def _known(ids: Numbers, pairs: pa.Table) -> _Pairs:
    """The gate hides both ends of a judgement alike."""
    (one, is_one), (other, is_other) = (crowds.places(ids, pairs[end].to_numpy()) for end in ("left_id", "right_id"))
    are_known = is_one & is_other
    return _Pairs(pairs.filter(are_known), one[are_known], other[are_known])


def _numbers(ids: Numbers, pairs: _Pairs) -> Numbers:
    """Of each pair one of its own."""
    return pairs.left * len(ids) + pairs.right
