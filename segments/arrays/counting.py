"""What a condition on events says of every profile of a batch: whether it holds, and when that could next change.

The same as `language.compile.measures` makes in SQL. What is not countable is left to the database.
"""

from dataclasses import dataclass
from functools import partial, reduce
from typing import Final, TypeGuard

import numpy as np

from segments.arrays.comparing import Truths, compared, fits, is_amount, is_number, numbers_in, thresholds_of
from segments.arrays.periods import Counted, Counts
from segments.arrays.streams import NEVER, SECOND, Instants, Kind, awaited
from segments.language.compile.measures import FOREVER
from segments.language.tree import Aggregate, Count, End, Event, Leaf, Of, Sequence, Since

AMOUNTS: Final = frozenset({Of.SUM, Of.AVERAGE, Of.MINIMUM, Of.MAXIMUM})


@dataclass(frozen=True, slots=True)
class Answer:
    is_true: Truths
    change: Instants
    """NEVER where the passing of time alone changes nothing."""


def is_countable(leaf: Leaf) -> TypeGuard[Event | Sequence]:
    if not isinstance(leaf, Event):
        return isinstance(leaf, Sequence)
    measure = leaf.measured.measure
    if isinstance(measure, Aggregate):
        return measure.of is Of.DISTINCT or (measure.of in AMOUNTS and all(map(fits, numbers_in(leaf.value))))
    return isinstance(measure, Count | Since)


def answer(leaf: Event, kind: Kind, counts: Counts) -> Answer:
    found, measure = counts.counted(kind, leaf.measured.period), leaf.measured.measure
    match measure:
        case Since():
            return _since(leaf, measure, found)
        case Aggregate(Of.DISTINCT):
            return _number(leaf, found.last_of_equals)
        case Aggregate(of):
            return Answer(_is_amount(leaf, of, found), found.turns)
        case _:
            return _number(leaf, found)


def _number(leaf: Event, found: Counted) -> Answer:
    """There are so many until the newest but so many ends to count."""
    thresholds = [wanted for wanted in thresholds_of(leaf.comparison, leaf.value) if wanted > 0]
    ends = [found.end(found.until - wanted, found.number >= wanted) for wanted in thresholds]
    return Answer(compared(leaf, partial(is_number, found.number)), reduce(np.minimum, ends, found.begins))


def _since(leaf: Event, since: Since, found: Counted) -> Answer:
    """So many whole units have passed once the instant is reached at which the last of them ends."""
    is_any = found.number > 0
    happened = found.stream.times(found.since if since.end is End.FIRST else found.until - 1, is_any)
    passed = (found.stream.at - happened) // (since.unit.seconds * SECOND)
    turns = [happened + units * since.unit.seconds * SECOND for units in _passing(leaf, since)]
    ahead = [np.where(is_any & (each > found.stream.at), awaited(each), NEVER) for each in turns]
    is_true = is_any & compared(leaf, partial(is_number, passed))
    return Answer(is_true, reduce(np.minimum, [found.begins, found.ends(happened), *ahead]))


def _passing(leaf: Event, since: Since) -> list[int]:
    """How many units, as far as so many ever pass."""
    thresholds = thresholds_of(leaf.comparison, leaf.value)
    return [units for units in thresholds if 0 < units * since.unit.seconds <= FOREVER]


def _is_amount(leaf: Event, of: Of, found: Counted) -> Truths:
    """An average is compared without a division. Of no value only the sum is known."""
    is_any = found.number > 0
    if of in {Of.MINIMUM, Of.MAXIMUM}:
        return is_any & compared(leaf, partial(is_amount, found.stream.extremes(of, found.since, found.until), 1))
    if of is Of.AVERAGE:
        return is_any & compared(leaf, partial(is_amount, found.total, found.number))
    return compared(leaf, partial(is_amount, found.total, 1))
