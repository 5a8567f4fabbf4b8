"""Calendar units as the clocks of each profile show them: a table of their beginnings about the instants of the batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, tzinfo
from functools import lru_cache
from itertools import count

import numpy as np

from segments.arrays.streams import NEVER, Batch, Instants, Places, awaited, micros, moment
from segments.language.periods import beginning_of, shifted, unit_of
from segments.language.tree import Calendar, CalendarUnit, Zone


@dataclass(frozen=True, slots=True)
class Units:
    """Of each zone the places of its profiles, and when the units begin, in order."""

    tables: Sequence[tuple[Places, Instants]]

    def beginning(self, instants: Instants, shift: int) -> Instants:
        """For each profile when the unit begins that comes so many after the one of its instant. Of what lies beyond the
        table that is its end: too early, but still to come.
        """
        found = np.full(len(instants), NEVER)
        for profiles, beginnings in self.tables:
            places = np.searchsorted(beginnings, instants[profiles], side="right") - 1 + shift
            found[profiles] = beginnings.take(places, mode="clip")
        return found


@dataclass(frozen=True)
class Clocks:
    """Of a batch: the places of its profiles by their own zone, and the zone of the workspace."""

    batch: Batch
    zones: Sequence[tuple[tzinfo, Places]]
    workspace: tzinfo
    _units: dict[Calendar, Units] = field(default_factory=dict)

    def units(self, period: Calendar) -> Units:
        """As far from the instants of the batch as the period reaches."""
        if period not in self._units:
            first, last = (moment(int(at)) for at in (self.batch.at.min(), self.batch.at.max()))
            self._units[period] = Units([
                (profiles, _beginnings(
                    zone, period.unit, unit_of(first, period.unit, zone), unit_of(last, period.unit, zone), period.amount
                ))
                for zone, profiles in self._zones(period.zone)
            ])  # fmt: skip
        return self._units[period]

    def _zones(self, zone: Zone) -> Sequence[tuple[tzinfo, Places]]:
        if zone is Zone.PROFILE:
            return self.zones
        return [(self.workspace if zone is Zone.WORKSPACE else UTC, np.arange(len(self.batch.at)))]


@lru_cache(maxsize=256)
def _beginnings(zone: tzinfo, unit: CalendarUnit, first: date, last: date, reach: int) -> Instants:
    """From so many units before the first one to one more after the last."""
    between = next(number for number in count() if shifted(first, unit, number) >= last)
    days = (shifted(first, unit, shift) for shift in range(-reach, between + reach + 2))
    return awaited(np.array([micros(beginning_of(day, zone)) for day in days], np.int64))
