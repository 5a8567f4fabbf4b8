"""Events of a batch of profiles as sorted arrays: what is counted in them is found by binary search, not one by one.

Times are whole microseconds since 2000, as Postgres keeps them. A key joins the place of the profile in the batch and
the time, so one array holds the events of all profiles in their order, and one search answers for all of them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cdp.kernel.errors import TesseraError
from segments.language.tree import Of

Instants = NDArray[np.int64]
"""Microseconds since 2000, one for each profile."""
Places = NDArray[np.int64]
Kind = tuple[int, int | None]
"""Of events: which of those that rules ask for, and which of their values."""

EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
SECOND: Final = 10**6
NEVER: Final = 2**62
MOST_PROFILES: Final = 1_000
DECIMALS: Final = 6
MISSING, INEXACT = -(2**63), -(2**63) + 1  # in place of a value: there is none, or it does not fit in here
_BITS, _SHIFT = 53, 2**52  # times from 1858 to 2142 in the lower bits, the place of the profile above them
_END = (datetime(9999, 1, 1, tzinfo=UTC) - EPOCH) // MICROSECOND


class UncountableError(TesseraError):
    """These events do not fit into arrays: the database has to count them."""

    code = "uncountable"


def micros(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND


def moment(instant: int) -> datetime:
    return EPOCH + instant * MICROSECOND


def instants_of(keys: NDArray[np.int64]) -> Instants:
    instants: Instants = (keys & (2**_BITS - 1)) - _SHIFT
    return instants


def profiles_of(keys: NDArray[np.int64]) -> Places:
    return keys >> _BITS


def awaited(instants: Instants) -> Instants:
    """Datetimes end with the year 9999: for what would come later nobody waits."""
    return np.where(instants < _END, instants, NEVER)


@dataclass(frozen=True, slots=True)
class Batch:
    """Whom it is about, in order of id and each once, and as of when for each."""

    profiles: NDArray[np.int64]
    at: Instants


@dataclass(frozen=True)
class Stream:
    """Events of one kind, in the order of profiles and times. `values` are millionths, or numbers of equal values."""

    keys: NDArray[np.int64]
    at: Instants
    values: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _later: dict[int, Places] = field(default_factory=dict)

    @cached_property
    def starts(self) -> Places:
        return np.searchsorted(self.keys, self._base)

    @cached_property
    def ends(self) -> Places:
        places: Places = np.searchsorted(self.keys, self._base + (2**_BITS - 1), side="right")
        return places

    def later_than(self, lag: int) -> Places:
        """For each profile the place of the first event that was not yet so many microseconds ago. Many rules ask alike."""
        if lag not in self._later:
            self._later[lag] = np.searchsorted(self.keys, self._base + (self.at - lag + _SHIFT), side="right")
        return self._later[lag]

    def not_before(self, instant: int | Instants) -> Places:
        """For each profile the place of the first event that is not earlier."""
        within = np.clip(instant, -_SHIFT, _SHIFT - 1)  # a time before all events, or after them, is as good as any
        places: Places = np.searchsorted(self.keys, self._base + (within + _SHIFT))
        return places

    def times(self, places: Places, is_one: NDArray[np.bool_], later: int = 0) -> Instants:
        """When the events at these places happened, so much later; never, where there is none."""
        return np.where(is_one, self._instants.take(places, mode="clip") + later, NEVER)

    @cached_property
    def _instants(self) -> Instants:
        """Of all events, and never at the end."""
        return np.append(instants_of(self.keys), NEVER)

    @cached_property
    def sums(self) -> NDArray[np.int64]:
        """Of the values before each place."""
        if float(np.abs(self.values.astype(np.float64)).sum()) > 2**62:
            raise UncountableError
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.values)])

    def extremes(self, of: Of, since: Places, until: Places) -> NDArray[np.int64]:
        """For each profile the least or greatest value from one place to before another: any number where there is none."""
        smallest = np.minimum if of is Of.MINIMUM else np.maximum
        slices = np.stack([since, until], axis=1).ravel()
        found: NDArray[np.int64] = smallest.reduceat(np.append(self.values, 0), slices)[::2]
        return found

    @cached_property
    def next_equal(self) -> Places:
        """For each event the place of the next one of the same profile with the same value; beyond all where there is none."""
        profiles = profiles_of(self.keys)
        order = np.lexsort((self.values, profiles))
        is_equal = (np.diff(profiles[order]) == 0) & (np.diff(self.values[order]) == 0)
        following = np.full(len(order), len(order))
        following[order[:-1][is_equal]] = order[1:][is_equal]
        return following

    @cached_property
    def _base(self) -> NDArray[np.int64]:
        return np.arange(len(self.at), dtype=np.int64) << _BITS


@dataclass(frozen=True, slots=True)
class Events:
    """All events that any rule counts, sorted; `kinds` holds a bit for each kind that an event is of."""

    keys: NDArray[np.int64]
    kinds: Sequence[NDArray[np.int64]]
    values: Mapping[int, NDArray[np.int64]]
    at: Instants

    def stream(self, kind: int, value: int | None = None) -> Stream:
        """The events of a kind; with a value, those that have it. Raises where one does not fit."""
        is_one = (self.kinds[kind // KINDS_A_COLUMN] >> (kind % KINDS_A_COLUMN)) & 1 == 1
        if value is None:
            return Stream(self.keys[is_one], self.at)
        values = self.values[value]
        if (values[is_one] == INEXACT).any():
            raise UncountableError
        is_one &= values != MISSING
        return Stream(self.keys[is_one], self.at, values[is_one])


KINDS_A_COLUMN: Final = 62


def events_of(batch: Batch, columns: Sequence[bytes | str | None], kind_columns: int) -> Events:
    """From columns as Postgres sends them: profiles, times, kinds, values, which are numbers or a text of JSON. Raises where
    a time does not fit.
    """
    profiles, times, *others = (_decoded(column) for column in columns)
    if len(times) and (times.min() <= -_SHIFT or times.max() >= _SHIFT):
        raise UncountableError
    keys = (np.searchsorted(batch.profiles, profiles) << _BITS) + times + _SHIFT
    order = np.argsort(keys, kind="stable")
    sorted_ones = [column[order] for column in others]
    values = dict(enumerate(sorted_ones[kind_columns:]))
    return Events(keys[order], sorted_ones[:kind_columns], values, batch.at)


def _decoded(column: bytes | str | None) -> NDArray[np.int64]:
    return _numbered(column) if isinstance(column, str) else numbers(column)


def _numbered(values: str) -> NDArray[np.int64]:
    """Equal numbers for equal values: 1 is 1.0, but neither "1" nor true. Null is missing."""
    known: dict[tuple[bool, Any], int] = {(False, None): MISSING}
    decoded = json.loads(f"[{values}]", parse_int=Decimal, parse_float=Decimal)
    return np.array([known.setdefault((isinstance(each, bool), each), len(known)) for each in decoded], np.int64)


def numbers(column: Any, kind: str = ">i8") -> NDArray[np.int64]:  # noqa: ANN401  # bytes of whichever kind the driver gives
    """Of a column as Postgres sends it; nothing where it is null."""
    return np.frombuffer(column or b"", dtype=kind).astype(np.int64)
