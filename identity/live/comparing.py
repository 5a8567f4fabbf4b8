"""Some records against all others: their keys are kept, and the pairs that share one are weighed."""

from collections.abc import Collection, Iterable
from itertools import islice
from typing import Final

import structlog

from consent.gate import Identity, Permit
from identity import queries
from identity.live import index, records
from identity.matching.compiled import Pair
from identity.models import BlockingIndex

log = structlog.get_logger()

RECORDS_AT_ONCE: Final = 2_000  # so that the pairs of a batch are bounded, too


def compare(permit: Permit[Identity], current: BlockingIndex, changed: Iterable[int]) -> list[Pair]:
    """The pairs of these records that are worth a question or more; their keys are kept."""
    scored: dict[tuple[int, int], Pair] = {}
    remaining = iter(changed)
    while chunk := list(islice(remaining, RECORDS_AT_ONCE)):
        scored.update({pair[:2]: pair for pair in _compare(permit, current, chunk)})
    return list(scored.values())


def _compare(permit: Permit[Identity], current: BlockingIndex, changed: Collection[int]) -> list[Pair]:
    rules, least = queries.rules_of(permit.workspace_id), index.lower_threshold(current)
    arrivals = records.records_of(changed, rules)
    model = index.compiled(current, records=len(arrivals))
    with model.at_work():
        model.add(arrivals)
        kept, asked = model.keys()
        index.replace_keys(changed, kept, workspace_id=permit.workspace_id)
        pairs = records.pairs_sharing(asked) | records.pairs_decided(changed, asked)
        ends = {end for pair in pairs for end in pair}
        others = records.records_of(ends.difference(row[0] for row in arrivals), rules)
        log.info("records.compared", workspace=permit.workspace_id, records=len(arrivals), pairs=len(pairs))
        for_all = index.compiled(current, records=len(arrivals) + len(others))
        if for_all is model:
            model.add(others)
            return model.weigh(pairs, least)
    with for_all.at_work():
        for_all.add([*arrivals, *others])
        return for_all.weigh(pairs, least)
