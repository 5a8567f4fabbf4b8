"""Which events count now, for every profile of a batch, and when one begins or ends to: `language.periods` in arrays."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from segments.arrays.calendars import Clocks
from segments.arrays.comparing import Truths
from segments.arrays.streams import NEVER, SECOND, Events, Instants, Kind, Places, Stream, micros, profiles_of
from segments.language.tree import Between, Calendar, Past, Period, Window

Moved = Callable[[Instants], Instants]
"""From when something happened, to when it begins or ends to count."""


@dataclass(frozen=True)
class Counted:
    """For each profile the events that count: those from place `since` before place `until`."""

    stream: Stream
    since: Places
    until: Places
    begins: Instants
    """When the next one begins to count."""
    ending: Moved | None
    """None: an event counts for ever."""

    @cached_property
    def number(self) -> Places:
        return self.until - self.since

    @cached_property
    def total(self) -> NDArray[np.int64]:
        """Of their values."""
        return self.stream.sums[self.until] - self.stream.sums[self.since]

    @cached_property
    def turns(self) -> Instants:
        """When the next one begins to count, or the oldest ends to: what is made of all of them may then be another."""
        return np.minimum(self.begins, self.end(self.since, self.number > 0))

    @cached_property
    def is_each(self) -> Truths:
        """Of every event of the stream, whether it counts."""
        profiles, places = profiles_of(self.stream.keys), np.arange(len(self.stream.keys))
        truths: Truths = (places >= self.since[profiles]) & (places < self.until[profiles])
        return truths

    @cached_property
    def last_of_equals(self) -> "Counted":
        """Of equal values the one that ends to count last: so many are different, until that one does."""
        profiles = profiles_of(self.stream.keys)
        last = Stream(self.stream.keys[self.is_each & (self.stream.next_equal >= self.until[profiles])], self.stream.at)
        return replace(self, stream=last, since=last.starts, until=last.ends)

    def ends(self, instants: Instants) -> Instants:
        """When what happened at these instants ceases to count; never, of what never happened."""
        if self.ending is None:
            return np.full(len(instants), NEVER)
        return np.where(instants < NEVER, self.ending(instants), NEVER)

    def end(self, places: Places, is_one: Truths) -> Instants:
        """When the events at these places cease to count."""
        return self.ends(self.stream.times(places, is_one))


@dataclass(frozen=True)
class Counts:
    """What is counted of the events of a batch. Many rules ask alike."""

    events: Events
    clocks: Clocks
    _streams: dict[Kind, Stream] = field(default_factory=dict)
    _counted: dict[tuple[Kind, Period], Counted] = field(default_factory=dict)

    def stream(self, kind: Kind) -> Stream:
        """Raises `UncountableError` where an event does not fit."""
        if kind not in self._streams:
            self._streams[kind] = self.events.stream(*kind)
        return self._streams[kind]

    def counted(self, kind: Kind, period: Period) -> Counted:
        if (kind, period) not in self._counted:
            self._counted[kind, period] = _counted(period, self.stream(kind), self.clocks)
        return self._counted[kind, period]


def _counted(period: Period, stream: Stream, clocks: Clocks) -> Counted:
    match period:
        case Calendar():
            return _in_calendar(period, stream, clocks)
        case Between():
            return _between(period, stream)
        case Past(latest, earliest):
            return _ago(latest.seconds * SECOND, None if earliest is None else earliest.seconds * SECOND, stream)
        case Window():
            return _ago(0, period.seconds * SECOND, stream)
        case None:
            return _ago(0, None, stream)


def _ago(opens: int, length: int | None, stream: Stream) -> Counted:
    """An event counts from so many microseconds after it, until so many."""
    until = stream.later_than(opens)
    since = stream.starts if length is None else stream.later_than(length)
    begins = stream.times(until, until < stream.ends, opens)
    return Counted(stream, since, until, begins, None if length is None else lambda instants: instants + length)


def _between(period: Between, stream: Stream) -> Counted:
    first = stream.starts if period.begins is None else stream.not_before(micros(period.begins))
    last = stream.ends if period.ends is None else stream.not_before(micros(period.ends))
    coming = np.maximum(stream.later_than(0), first)
    return Counted(stream, first, np.minimum(coming, last), stream.times(coming, coming < last), None)


def _in_calendar(period: Calendar, stream: Stream, clocks: Clocks) -> Counted:
    units, amount = clocks.units(period), period.amount
    now = units.beginning(stream.at, 0)
    since = stream.not_before(units.beginning(stream.at, -amount if period.is_over else 1 - amount))
    until = stream.not_before(now) if period.is_over else stream.later_than(0)
    coming = stream.times(until, until < stream.ends)
    begins = np.where(coming < NEVER, units.beginning(coming, 1), NEVER) if period.is_over else coming
    return Counted(stream, since, until, begins, lambda instants: units.beginning(instants, amount + period.is_over))
