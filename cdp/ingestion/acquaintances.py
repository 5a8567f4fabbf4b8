"""Whom a load has met before: the ids of identifiers, and pairs that are written down, so that none is looked up twice.

Ten million rows may name half a million people. As values of Python these would take a hundred megabytes; here a number
takes 24 bytes, in tables that never grow: one that is full begins anew. After an erasure all do.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

SLOTS: Final = 2**19  # of a table, a power of two: 12 MiB
FULL: Final = 0.7  # of them: beyond, a search meets too many others
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)  # an odd number whose bits look random

Keys = npt.NDArray[np.uint64]
Values = npt.NDArray[np.int64]
Names = tuple[Keys, Keys]
"""two numbers for each of what is looked up"""


class Table:
    """From two numbers to a third, which is not 0: open addressing with linear probing, a block of keys at a time."""

    def __init__(self, slots: int = SLOTS) -> None:
        self._slots = slots
        self._empty()

    def _empty(self) -> None:
        self._size = 0
        self._first, self._second = np.zeros(self._slots, np.uint64), np.zeros(self._slots, np.uint64)
        self._value = np.zeros(self._slots, np.int64)

    def find(self, names: Names) -> Values:
        """0 for what is not known."""
        found = np.zeros(len(names[0]), np.int64)
        pending, slots = np.arange(len(found)), self._place(names)
        while len(pending):
            is_taken = self._value[slots] != 0
            is_it = is_taken & (self._first[slots] == names[0][pending]) & (self._second[slots] == names[1][pending])
            found[pending[is_it]] = self._value[slots[is_it]]
            goes_on = is_taken & ~is_it
            pending, slots = pending[goes_on], (slots[goes_on] + 1) % self._slots
        return found

    def put(self, names: Names, values: Sequence[int]) -> None:
        """What is known already has another value from now on. Of names that come twice the last counts."""
        if self._size + len(values) > FULL * self._slots:
            self._empty()
        parts = (*names, self._place(names))
        for first, second, place, value in zip(*(part.tolist() for part in parts), values, strict=True):
            self._put(first, second, place, value)

    def _put(self, first: int, second: int, place: int, value: int) -> None:
        while self._value[place] and (self._first[place], self._second[place]) != (first, second):
            place = (place + 1) % self._slots
        self._size += not self._value[place]
        self._first[place], self._second[place], self._value[place] = first, second, value

    def _place(self, names: Names) -> npt.NDArray[np.int64]:
        mixed = (names[0] ^ (names[1] * _MIX)) * _MIX
        return (mixed >> np.uint64(40)).astype(np.int64) % self._slots


class Acquaintances:
    """Of one load. Only what is committed may be put here."""

    def __init__(self) -> None:
        self._last_erasure = 0
        self.forget()

    def forget(self) -> None:
        self.ids: defaultdict[str, Table] = defaultdict(Table)
        """of each type of identifiers the ids by their names"""
        self.pairs = Table()

    def forget_if_after(self, last_erasure: int) -> None:
        """Their ids may be gone."""
        if last_erasure != self._last_erasure:
            self.forget()
        self._last_erasure = last_erasure


def names_of(values: Sequence[str]) -> Names:
    """128 bits of a value, which no process shares with another: that two people have the same is not to be expected."""
    return _numbers(values), _numbers([f"{value}~" for value in values])


def _numbers(values: Sequence[str]) -> Keys:
    return np.fromiter(map(hash, values), np.int64, len(values)).view(np.uint64)


def names_of_pairs(left: Sequence[int], right: Sequence[int]) -> Names:
    return np.array(left, np.uint64), np.array(right, np.uint64)
