"""Some records against all others: their keys are kept, and the pairs that share one are weighed."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

import structlog

from consent.gate import Identity, Permit
from identity.live import index, records
from identity.matching.compiled import Pair
from identity.models import BlockingIndex
from identity.queries import Rules

log = structlog.get_logger()

Ends = tuple[int, int]

RECORDS_AT_ONCE: Final = 2_000  # so that the pairs of a batch are bounded, too


@dataclass(slots=True)
class Compared:
    """The pairs that are worth a question or more. `is_known` where anything was decided of these records before."""

    scored: list[Pair]
    is_known: bool


def compare(permit: Permit[Identity], current: BlockingIndex, changed: Iterable[int], rules: Rules) -> Compared:
    """Weigh these records against all others; their keys are kept."""
    scored: dict[tuple[int, int], Pair] = {}
    is_known = False
    remaining = iter(changed)
    while chunk := list(islice(remaining, RECORDS_AT_ONCE)):
        decided = records.decided_of(chunk)
        is_known |= bool(decided)
        scored.update({pair[:2]: pair for pair in _compare(permit, current, chunk, decided, rules)})
    return Compared(list(scored.values()), is_known)


def _compare(
    permit: Permit[Identity], current: BlockingIndex, changed: Collection[int], decided: Collection[Ends], rules: Rules
) -> list[Pair]:
    least = index.lower_threshold(current)
    arrivals = records.records_of(changed, rules)
    model = index.compiled(current, records=len(arrivals))
    with model.at_work():
        model.add(arrivals)
        kept, asked = model.keys()
        index.replace_keys(changed, index.of_keys(kept), workspace_id=permit.workspace_id)
        pairs = records.pairs_sharing(asked) | records.still_sharing(decided, asked)
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
