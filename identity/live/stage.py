"""The pipeline's stage: what became known of some identifiers is compared at once, then their people are resolved."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Final

import structlog

from cdp.models import Cause
from consent.gate import Identity, Permit
from identity import golden, queries, services
from identity.live import decisions, index, records
from identity.matching.compiled import Pair
from identity.models import BlockingIndex

log = structlog.get_logger()

# After these a record may say something else than before, or may be seen for the first time.
TELLING: Final = frozenset({Cause.LEARNT, Cause.CONSENT, Cause.DEFINITION})
RECORDS_AT_ONCE: Final = 2_000  # so that the pairs of a batch are bounded, too


def link(permit: Permit[Identity], subjects: Mapping[int, Cause], *, now: datetime) -> Mapping[int, Cause]:
    """As `services.link`, and before it the records among `subjects` are compared with all others, if the workspace has
    an index for its latest model.
    """
    golden.take_turn(permit)
    changed = [one for one, cause in subjects.items() if cause in TELLING]
    current = index.current_index(permit.workspace_id) if changed else None
    if current is None:
        return services.link(permit, subjects, now=now)
    origin = decisions.origin_of(workspace_id=permit.workspace_id, model_id=current.model_id, now=now)
    scored = compare(permit, current, changed)
    upper = index.upper_threshold(current)
    ends = decisions.judge(changed, [pair for pair in scored if pair[2] >= upper], origin)
    touched = services.link(permit, {**dict.fromkeys(ends, Cause.LEARNT), **subjects}, now=now)
    decisions.ask(changed, scored, origin)
    return touched


def compare(permit: Permit[Identity], current: BlockingIndex, changed: Iterable[int]) -> list[Pair]:
    """The pairs of these records that are worth a question or more; their keys are kept."""
    scored: dict[tuple[int, int], Pair] = {}
    remaining = iter(changed)
    while chunk := list(islice(remaining, RECORDS_AT_ONCE)):
        scored.update({pair[:2]: pair for pair in _compare(permit, current, chunk)})
    return list(scored.values())


def _compare(permit: Permit[Identity], current: BlockingIndex, changed: Collection[int]) -> list[Pair]:
    rules = queries.rules_of(permit.workspace_id)
    model = index.compiled(current)
    with model.at_work():
        arrivals = records.records_of(changed, rules)
        model.add(arrivals)
        kept, asked = model.keys()
        index.replace_keys(changed, kept, workspace_id=permit.workspace_id)
        pairs = records.pairs_sharing(asked) | records.pairs_decided(changed, asked)
        others = {end for pair in pairs for end in pair}.difference(row[0] for row in arrivals)
        model.add(records.records_of(others, rules))
        scored = model.weigh(pairs, index.lower_threshold(current))
    log.info("records.compared", workspace=permit.workspace_id, records=len(arrivals), pairs=len(pairs))
    return scored
