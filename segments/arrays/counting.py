"""What a condition on events says of every profile of a batch: whether it holds, and when that could next change.

The same as `language.compile` makes in SQL, for counts, sums and averages in the periods whose ends follow from the time
of an event alone. What is not among these is left to the database.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial, reduce
from math import ceil, floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from segments.arrays.streams import DECIMALS, NEVER, Instants, Places, Stream, micros
from segments.language.tree import (
    Aggregate,
    Between,
    Comparison,
    Count,
    Event,
    Leaf,
    Of,
    Past,
    Period,
    Value,
    Window,
)  # fmt: skip

Truths = NDArray[np.bool_]

SUMMED: Final = frozenset({Of.SUM, Of.AVERAGE})
MOST: Final = Decimal(10**6)  # of a number that is compared: with it no product of a count overflows
_SECOND: Final = 10**6


@dataclass(frozen=True, slots=True)
class Answer:
    is_true: Truths
    change: Instants
    """NEVER where the passing of time alone changes nothing."""


def is_countable(leaf: Leaf) -> bool:
    if not isinstance(leaf, Event) or not isinstance(leaf.measured.period, Window | Past | Between | None):
        return False
    measure = leaf.measured.measure
    if isinstance(measure, Count):
        return True
    return isinstance(measure, Aggregate) and measure.of in SUMMED and all(map(_fits, _numbers(leaf.value)))


def answer(leaf: Event, stream: Stream) -> Answer:
    counted = _counted(leaf.measured.period, stream)
    number = counted.until - counted.since
    if isinstance(leaf.measured.measure, Count):
        is_true = _compared(leaf, partial(_is_number, number))
        thresholds = thresholds_of(leaf.comparison, leaf.value)
        ends = [counted.end(counted.until - wanted, number >= wanted) for wanted in thresholds if wanted > 0]
    else:
        is_true = _is_measured(leaf, counted, number)
        ends = [counted.end(counted.since, number > 0)]
    return Answer(is_true, reduce(np.minimum, ends, counted.begins))


@dataclass(frozen=True, slots=True)
class _Counted:
    """For each profile the events that count: those from place `since` before place `until`."""

    stream: Stream
    since: Places
    until: Places
    begins: Instants
    """When the next one begins to count."""
    length: int | None
    """After so many microseconds an event counts no more; none: it counts for ever."""

    def end(self, places: Places, is_one: Truths) -> Instants:
        """When the events at these places cease to count."""
        if self.length is None:
            return np.full(len(self.stream.at), NEVER)
        return self.stream.times(places, is_one, self.length)


def _counted(period: Period, stream: Stream) -> _Counted:
    if isinstance(period, Between):
        return _counted_between(period, stream)
    opens, length = _lags(period)
    until = stream.later_than(opens)
    since = stream.starts if length is None else stream.later_than(length)
    return _Counted(stream, since, until, stream.times(until, until < stream.ends, opens), length)


def _counted_between(period: Between, stream: Stream) -> _Counted:
    first = stream.starts if period.begins is None else stream.not_before(micros(period.begins))
    last = stream.ends if period.ends is None else stream.not_before(micros(period.ends))
    coming = np.maximum(stream.later_than(0), first)
    return _Counted(stream, first, np.minimum(coming, last), stream.times(coming, coming < last), None)


def _lags(period: Period) -> tuple[int, int | None]:
    """How long after an event it begins to count, and how long after it that ends."""
    if isinstance(period, Window):
        return 0, period.seconds * _SECOND
    if isinstance(period, Past):
        earliest = period.earliest
        return period.latest.seconds * _SECOND, None if earliest is None else earliest.seconds * _SECOND
    return 0, None


def _is_measured(leaf: Event, counted: _Counted, number: Places) -> Truths:
    """An average is compared without a division, and is missing where there is no value."""
    sums = counted.stream.sums
    total = sums[counted.until] - sums[counted.since]
    if isinstance(leaf.measured.measure, Aggregate) and leaf.measured.measure.of is Of.AVERAGE:
        return (number > 0) & _compared(leaf, partial(_is_amount, total, number))
    return _compared(leaf, partial(_is_amount, total, 1))


def thresholds_of(comparison: Comparison, value: Value) -> set[int]:
    """Counts whose being reached or not decides the comparison."""
    if comparison is Comparison.BETWEEN:
        low, high = _numbers(value)
        return {ceil(low), floor(high) + 1}
    (number,) = _numbers(value)
    reaches, exceeds = ceil(number), floor(number) + 1
    if comparison in {Comparison.GREATER_OR_EQUAL, Comparison.LESS}:
        return {reaches}
    if comparison in {Comparison.GREATER, Comparison.LESS_OR_EQUAL}:
        return {exceeds}
    return {reaches, exceeds} if reaches == number else set()


def _compared(leaf: Event, compare: Callable[[Comparison, Decimal], Truths]) -> Truths:
    if leaf.comparison is Comparison.BETWEEN:
        low, high = _numbers(leaf.value)
        return compare(Comparison.GREATER_OR_EQUAL, low) & compare(Comparison.LESS_OR_EQUAL, high)
    (number,) = _numbers(leaf.value)
    return compare(leaf.comparison, number)


def _is_number(found: Places, comparison: Comparison, number: Decimal) -> Truths:
    """A number with decimals lies between two whole ones."""
    below, above = floor(number), ceil(number)
    if comparison in {Comparison.EQUALS, Comparison.NOT_EQUALS} and below != above:
        return np.full(len(found), comparison is Comparison.NOT_EQUALS)
    is_up = comparison in {Comparison.GREATER_OR_EQUAL, Comparison.LESS}
    truths: Truths = _OPERATORS[comparison](found, above if is_up else below)
    return truths


def _is_amount(total: Places, number: Places | int, comparison: Comparison, amount: Decimal) -> Truths:
    """The total of so many, in millionths, with as many times the amount."""
    truths: Truths = _OPERATORS[comparison](total, number * int(amount.scaleb(DECIMALS)))
    return truths


_OPERATORS: Final = {
    Comparison.EQUALS: np.equal,
    Comparison.NOT_EQUALS: np.not_equal,
    Comparison.GREATER: np.greater,
    Comparison.GREATER_OR_EQUAL: np.greater_equal,
    Comparison.LESS: np.less,
    Comparison.LESS_OR_EQUAL: np.less_equal,
}


def _fits(number: Decimal) -> bool:
    return abs(number) <= MOST and number.scaleb(DECIMALS) == number.scaleb(DECIMALS).to_integral_value()


def _numbers(value: Value) -> Iterator[Decimal]:
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, Decimal):
            yield each
