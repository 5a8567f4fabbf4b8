"""Link very many identifiers at once: what `services.link` does for some thousands, with the same result.

All identifiers and judgements of the workspace are looked at together, as arrays (`glance`). Nearly everybody is clear at
once and written by a handful of statements; whoever a guard might object to goes the way of the pipeline.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Final

import numpy as np
import pyarrow as pa
import structlog

from cdp.models import Cause, planning
from consent.gate import Identity, Permit
from identity import crowds, glance, golden, households, queries, records, refusals, services
from identity.glance import Crowd, Flags, Numbers
from identity.queries import Rules
from identity.resolver import Kind

log = structlog.get_logger()

IDENTIFIERS_AT_ONCE: Final = 20_000
FEW = IDENTIFIERS_AT_ONCE  # for whom it does not pay to look at everybody
A_GOOD_PART: Final = 8  # one in so many: to read everybody in a row is quicker then than to read these by key


def link(permit: Permit[Identity], identifier_ids: Collection[int], *, now: datetime) -> dict[int, Cause]:
    """Resolve the people behind these identifiers. Returns every profile that may look different now."""
    if len(identifier_ids) <= FEW:
        return dict(services.link(permit, dict.fromkeys(sorted(identifier_ids), Cause.LEARNT), now=now))
    golden.take_turn(permit)
    rules = queries.rules_of(permit.workspace_id)
    with planning.in_bulk():
        services.judge_sightings(identifier_ids, rules, now)
        crowd = _crowd(rules)
    seen = glance.look_at(crowd, rules.limits, rules.windows)
    named = np.isin(crowd.ids, np.fromiter(identifier_ids, np.int64, len(identifier_ids)))
    is_near = np.zeros(len(crowd.ids), dtype=np.bool_)
    is_near[seen.neighbourhoods[named]] = True
    is_clear = is_near[seen.neighbourhoods] & ~seen.is_doubtful
    touched = _link_clear(permit, crowd, seen.people, named, is_clear, now)
    doubtful = _side_by_side(crowd.ids, seen.neighbourhoods, named & seen.is_doubtful)
    for start in range(0, len(doubtful), IDENTIFIERS_AT_ONCE):
        chunk = doubtful[start : start + IDENTIFIERS_AT_ONCE]
        touched.update(services.link(permit, dict.fromkeys(chunk, Cause.LEARNT), now=now))
    return touched


def _side_by_side(ids: Numbers, neighbourhoods: Numbers, chosen: Flags) -> list[int]:
    """Those of one neighbourhood together: it is resolved as a whole, for whichever of them."""
    places = np.flatnonzero(chosen)
    nearby: list[int] = ids[places[np.argsort(neighbourhoods[places], kind="stable")]].tolist()
    return nearby


def _link_clear(
    permit: Permit[Identity], crowd: Crowd, people: Numbers, named: Flags, is_clear: Flags, now: datetime
) -> dict[int, Cause]:
    ids, before, after = crowd.ids[is_clear], crowd.profiles[is_clear], people[is_clear]
    is_moved = before != after
    with planning.in_bulk():
        services.move(
            ids[is_moved].tolist(), after[is_moved].tolist(), merged_away=ids[is_moved & (before == ids)].tolist()
        )
        refusals.keep(permit, ids.tolist(), (), now=now)
    touched = dict.fromkeys(people[is_clear & named].tolist(), Cause.LEARNT)
    touched.update(_causes(ids, before, after))
    _describe(permit, sorted(touched), len(crowd.ids), now)
    log.info("identifiers.linked", workspace=permit.workspace_id, identifiers=len(ids), moved=int(is_moved.sum()))
    return touched


def _describe(permit: Permit[Identity], profiles: Sequence[int], everybody: int, now: datetime) -> None:
    """Golden records and whom these people belong with: by key, unless they are a good part of everybody."""
    if len(profiles) * A_GOOD_PART < everybody:
        for start in range(0, len(profiles), IDENTIFIERS_AT_ONCE):
            chunk = profiles[start : start + IDENTIFIERS_AT_ONCE]
            golden.refresh_traits(permit, chunk)
            households.relate(permit, chunk, now=now)
        return
    changed = golden.refresh_traits_of_many(permit, profiles)
    households.relate_many(permit, profiles, sorted(changed), now=now)


def _causes(ids: Numbers, before: Numbers, after: Numbers) -> Iterator[tuple[int, Cause]]:
    """As `services.causes`, of arrays."""
    is_moved = before != after
    left, joined = np.unique(before[is_moved]), np.unique(after[is_moved])
    changed = np.union1d(left, joined)
    existed, exists = np.isin(changed, before), np.isin(changed, after)
    strangers = after[is_moved & (before != ids)]  # who came from a profile that was not their own
    is_split = np.where(existed, np.isin(changed, left), np.isin(changed, strangers)) & exists
    return zip(changed.tolist(), (Cause.SPLIT if split else Cause.MERGE for split in is_split), strict=True)


# -- everybody ------------------------------------------------------------------------------------------------------

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
_JUDGEMENT: Final = pa.schema([(name, pa.int64()) for name in ("left", "right", "is_same", "kind")])


def _crowd(rules: Rules) -> Crowd:
    everybody = records.table(_EVERYBODY, {}, _IDENTIFIER)
    standing = records.table(_STANDING, {"kinds": [kind.value for kind in Kind], **rules.blocking}, _JUDGEMENT)
    types = everybody["type"].combine_chunks().dictionary_encode()
    ids = everybody["id"].to_numpy()
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    left, is_left = crowds.places(ids, standing["left"].to_numpy())
    right, is_right = crowds.places(ids, standing["right"].to_numpy())
    are_known = is_left & is_right  # the gate hides both ends of a judgement alike
    return Crowd(
        ids=ids,
        kinds=types.indices.to_numpy().astype(np.int64)[order],
        types=types.dictionary.to_pylist(),
        profiles=everybody["profile"].to_numpy()[order],
        left=left[are_known],
        right=right[are_known],
        is_same=standing["is_same"].to_numpy()[are_known] == 1,
        judged_by=standing["kind"].to_numpy()[are_known],
    )
