"""Numbers of a whole batch compared as a condition asks: whole ones, and totals in millionths."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from math import ceil, floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from segments.arrays.streams import DECIMALS, Places
from segments.language.tree import Comparison, Event, Value

Truths = NDArray[np.bool_]

MOST: Final = Decimal(10**6)  # of a number that is compared: with it no product of a count overflows


def compared(leaf: Event, compare: Callable[[Comparison, Decimal], Truths]) -> Truths:
    if leaf.comparison is Comparison.BETWEEN:
        low, high = numbers_in(leaf.value)
        return compare(Comparison.GREATER_OR_EQUAL, low) & compare(Comparison.LESS_OR_EQUAL, high)
    (number,) = numbers_in(leaf.value)
    return compare(leaf.comparison, number)


def is_number(found: Places, comparison: Comparison, number: Decimal) -> Truths:
    """A number with decimals lies between two whole ones."""
    below, above = floor(number), ceil(number)
    if comparison in {Comparison.EQUALS, Comparison.NOT_EQUALS} and below != above:
        return np.full(len(found), comparison is Comparison.NOT_EQUALS)
    is_up = comparison in {Comparison.GREATER_OR_EQUAL, Comparison.LESS}
    truths: Truths = _OPERATORS[comparison](found, above if is_up else below)
    return truths


def is_amount(total: Places, number: Places | int, comparison: Comparison, amount: Decimal) -> Truths:
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


def thresholds_of(comparison: Comparison, value: Value) -> set[int]:
    """Whole numbers whose being reached or not decides the comparison."""
    if comparison is Comparison.BETWEEN:
        low, high = numbers_in(value)
        return {ceil(low), floor(high) + 1}
    (number,) = numbers_in(value)
    reaches, exceeds = ceil(number), floor(number) + 1
    if comparison in {Comparison.GREATER_OR_EQUAL, Comparison.LESS}:
        return {reaches}
    if comparison in {Comparison.GREATER, Comparison.LESS_OR_EQUAL}:
        return {exceeds}
    return {reaches, exceeds} if reaches == number else set()


def fits(number: Decimal) -> bool:
    return abs(number) <= MOST and number.scaleb(DECIMALS) == number.scaleb(DECIMALS).to_integral_value()


def numbers_in(value: Value) -> Iterator[Decimal]:
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, Decimal):
            yield each
