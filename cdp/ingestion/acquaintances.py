"""Whom a load has met before: the ids of identifiers, and pairs that are written down, so that none is looked up twice.

Ten million rows may name half a million people. As values of Python these would take a hundred megabytes; here a number
takes 24 bytes, in tables that never grow: one that is full begins anew. After an erasure all do.
"""

import secrets
from collections import defaultdict
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cdp.ingestion.normalise import LONGEST_IDENTIFIER

SLOTS: Final = 2**19  # of a table, a power of two: 12 MiB
FULL: Final = 0.7  # of them: beyond, a search meets too many others
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)  # an odd number whose bits look random

Keys = npt.NDArray[np.uint64]
Values = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
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
            is_taken, is_it = self._looked_at(names, pending, slots)
            found[pending[is_it]] = self._value[slots[is_it]]
            goes_on = is_taken & ~is_it
            pending, slots = pending[goes_on], (slots[goes_on] + 1) % self._slots
        return found

    def put(self, names: Names, values: Values) -> None:
        """What is known already has another value from now on. Of names that come twice the last counts."""
        if self._size + len(values) > FULL * self._slots:
            self._empty()
        pending, slots = np.arange(len(values)), self._place(names)
        while len(pending):
            is_taken, is_it = self._looked_at(names, pending, slots)
            self._value[slots[is_it]] = values[pending[is_it]]
            first = _first_of_each(slots, ~is_taken)  # the others look again: it may be theirs
            self._settle(slots[first], names, pending[first], values)
            goes_on = ~is_it
            goes_on[first] = False
            pending, slots = pending[goes_on], ((slots + (is_taken & ~is_it)) % self._slots)[goes_on]

    def _looked_at(self, names: Names, pending: Values, slots: Values) -> tuple[Flags, Flags]:
        """Which of the slots are taken, and which of them by the very names that are pending there."""
        is_taken = self._value[slots] != 0
        is_it = is_taken & (self._first[slots] == names[0][pending]) & (self._second[slots] == names[1][pending])
        return is_taken, is_it

    def _settle(self, slots: Values, names: Names, places: Values, values: Values) -> None:
        self._first[slots], self._second[slots] = names[0][places], names[1][places]
        self._value[slots] = values[places]
        self._size += len(slots)

    def _place(self, names: Names) -> npt.NDArray[np.int64]:
        mixed = (names[0] ^ (names[1] * _MIX)) * _MIX
        return (mixed >> np.uint64(40)).astype(np.int64) % self._slots


def _first_of_each(slots: Values, chosen: Flags) -> Values:
    """The places of the chosen, of those that name one slot the first."""
    places = np.flatnonzero(chosen)
    _, first = np.unique(slots[places], return_index=True)
    return places[first]


class Acquaintances:
    """Of one load. Only what is committed may be put here."""

    def __init__(self) -> None:
        self._last_erasure = 0
        self.forget()

    def forget(self) -> None:
        self.ids: defaultdict[str, Table] = defaultdict(Table)
        """of each type of identifiers the ids by their names"""
        self.pairs = Table()
        self.are_new = False
        """whether most of the last strangers were unknown to everybody"""

    def forget_if_after(self, last_erasure: int) -> None:
        """Their ids may be gone."""
        if last_erasure != self._last_erasure:
            self.forget()
        self._last_erasure = last_erasure


_FACTORS: Final = np.frombuffer(secrets.token_bytes(2 * 8 * 4 * LONGEST_IDENTIFIER), np.uint64).reshape(2, -1)
_AT_ONCE: Final = 2_048  # values, whose letters as numbers stay in the cache of a processor


def names_of(values: Any) -> Names:  # noqa: ANN401  # an array of texts of Arrow, without nulls
    """128 bits of a value, which no process shares with another: that two people have the same is not to be expected.

    Multilinear hashing (Lemire and Kaser, Strongly universal string hashing is fast, 2014): each byte times a number drawn
    for its place, and the sum of that.
    """
    pieces = [_names_of(values.slice(first, _AT_ONCE)) for first in range(0, max(len(values), 1), _AT_ONCE)]
    first, second = (np.concatenate(halves) for halves in zip(*pieces, strict=True))
    return first, second


def _names_of(values: Any) -> Names:  # noqa: ANN401  # as above
    _, offsets, data = values.buffers()
    bounds = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    letters = np.frombuffer(data or b"", np.uint8)[bounds[0] : bounds[-1]].astype(np.uint64) + np.uint64(1)
    starts = bounds - bounds[0]
    places = np.arange(len(letters)) - np.repeat(starts[:-1], np.diff(starts))
    first, second = (_sums(letters * factors[places], starts) for factors in _FACTORS)
    return first, second


def _sums(terms: Keys, bounds: npt.NDArray[np.int32]) -> Keys:
    until = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms)])
    sums: Keys = until[bounds[1:]] - until[bounds[:-1]]
    return sums


def names_of_pairs(left: Values, right: Values) -> Names:
    return left.view(np.uint64), right.view(np.uint64)
