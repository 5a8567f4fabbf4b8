"""What a condition on events says of every profile of a batch: whether it holds, and when that could next change.

The same as `language.compile` makes in SQL, for counts, sums and averages in the periods whose ends follow from the time
of an event alone. What is not among these is left to the database.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
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


def answer(leaf: Event, stream: Stream, at: Instants) -> Answer:
    counted = _counted(leaf.measured.period, stream, at)
    number = counted.until - counted.since
    if isinstance(leaf.measured.measure, Count):
        is_true = _compared(leaf.comparison, number, leaf.value)
        thresholds = thresholds_of(leaf.comparison, leaf.value)
        ends = [counted.end(counted.until - wanted, number >= wanted) for wanted in thresholds if wanted > 0]
    else:
        is_true = _is_amount(leaf, stream, counted, number)
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
            return np.full(self.stream.size, NEVER)
        return self.stream.times(places, is_one, self.length)


def _counted(period: Period, stream: Stream, at: Instants) -> _Counted:
    opens, length = _lags(period)
    since, last = stream.starts, stream.ends
    if isinstance(period, Between):
        since = since if period.begins is None else stream.from_(micros(period.begins))
        last = last if period.ends is None else stream.from_(micros(period.ends))
    coming = stream.after(at - opens)
    until = np.clip(coming, since, last)
    if length is not None:
        since = np.minimum(stream.after(at - length), until)
    following = np.maximum(coming, since)
    return _Counted(stream, since, until, stream.times(following, following < last, opens), length)


def _lags(period: Period) -> tuple[int, int | None]:
    """How long after an event it begins to count, and how long after it that ends."""
    if isinstance(period, Window):
        return 0, period.seconds * _SECOND
    if isinstance(period, Past):
        earliest = period.earliest
        return period.latest.seconds * _SECOND, None if earliest is None else earliest.seconds * _SECOND
    return 0, None


def _is_amount(leaf: Event, stream: Stream, counted: _Counted, number: Places) -> Truths:
    """An average is compared without a division, and is missing where there is no value."""
    total = stream.sums[counted.until] - stream.sums[counted.since]
    measure = leaf.measured.measure
    is_average = isinstance(measure, Aggregate) and measure.of is Of.AVERAGE
    if not is_average:
        return _compared(leaf.comparison, total, leaf.value, scale=10**DECIMALS)
    return (number > 0) & _compared(leaf.comparison, total, leaf.value, scale=number * 10**DECIMALS)


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


def _compared(
    comparison: Comparison, found: NDArray[np.int64], value: Value, *, scale: NDArray[np.int64] | int = 1
) -> Truths:
    """`found` with the value times `scale`, in whole numbers: a value with decimals lies between two of them."""
    if comparison is Comparison.BETWEEN:
        low, high = _numbers(value)
        return _compared(Comparison.GREATER_OR_EQUAL, found, low, scale=scale) & _compared(
            Comparison.LESS_OR_EQUAL, found, high, scale=scale
        )
    (number,) = _numbers(value)
    millionths = int(number.scaleb(DECIMALS)) if _fits(number) else None
    if isinstance(scale, int) and scale == 1:
        return _compared_whole(comparison, found, number)
    if millionths is None:
        raise AssertionError(number)  # `is_countable` said that it fits
    against = np.asarray(scale) // 10**DECIMALS * millionths
    return _OPERATORS[comparison](found, against)


def _compared_whole(comparison: Comparison, found: NDArray[np.int64], number: Decimal) -> Truths:
    below, above = floor(number), ceil(number)
    if comparison in {Comparison.EQUALS, Comparison.NOT_EQUALS} and below != above:
        return np.full(len(found), comparison is Comparison.NOT_EQUALS)
    is_up = comparison in {Comparison.GREATER_OR_EQUAL, Comparison.LESS}
    return _OPERATORS[comparison](found, above if is_up else below)


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
