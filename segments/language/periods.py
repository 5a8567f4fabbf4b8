"""When an event counts: the one place that turns the periods of rules into instants, for all engines to agree with.

Told twice, and tested to be the same. `stretch` goes from an event to the time during which it counts; `bounds` goes from
the present to the events that count now.

A calendar unit begins at midnight of its first day, as the clocks of its zone show it: later, by as much as the clocks
skip, where they show no midnight, and the earlier of the two where they show it twice. An instant belongs to the last
unit that has begun, even where the clocks have been set back over its beginning.
"""

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from segments.language.tree import Ahead, Between, Calendar, CalendarUnit, Past, Period, Window

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
LATEST: Final = datetime.max.replace(tzinfo=UTC)
MOMENT: Final = timedelta(microseconds=1)

Stretch = tuple[datetime, datetime | None]
"""From an instant (inclusive) to another (exclusive); None: for ever."""


def stretch(period: Period | Ahead, at: datetime, zone: tzinfo) -> Stretch | None:
    """While what happens at this instant counts. None: never. The zone is the one that the period names."""
    match period:
        case None:
            return at, None
        case Window():
            return at, _later(at, period)
        case Past(latest, earliest):
            return _later(at, latest), None if earliest is None else _later(at, earliest)
        case Ahead(window):
            return _moved(at, -window.seconds), at
        case Between(begins, ends):
            is_inside = (begins is None or begins <= at) and (ends is None or at < ends)
            return (at, None) if is_inside else None
        case Calendar(amount, unit, _, is_over):
            begins = start_of(at, unit, 1, zone) if is_over else at
            return begins, start_of(at, unit, amount + is_over, zone)


def bounds(period: Period | Ahead, now: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """What counts now lies after the first instant, and not after the second: after < e <= until."""
    match period:
        case None:
            return EARLIEST, now
        case Window():
            return _moved(now, -period.seconds), now
        case Past(latest, earliest):
            after = EARLIEST if earliest is None else _moved(now, -earliest.seconds)
            return after, _moved(now, -latest.seconds)
        case Ahead(window):
            return now, _moved(now, window.seconds)
        case Between(begins, ends):
            after = EARLIEST if begins is None else _just_before(begins)
            return after, now if ends is None else min(now, _just_before(ends))
        case Calendar(amount, unit, _, is_over):
            first = start_of(now, unit, -amount if is_over else 1 - amount, zone)
            until = _just_before(start_of(now, unit, 0, zone)) if is_over else now
            return _just_before(first), until


# -- calendars ------------------------------------------------------------------------------------------------------


def start_of(at: datetime, unit: CalendarUnit, shift: int, zone: tzinfo) -> datetime:
    """When the calendar unit of this instant began, or so many units later or earlier."""
    return beginning_of(shifted(unit_of(at, unit, zone), unit, shift), zone)


def unit_of(at: datetime, unit: CalendarUnit, zone: tzinfo) -> date:
    """The first day of the last unit that has begun."""
    shown = first_day(_local(at, zone).date(), unit)
    near = [shifted(shown, unit, shift) for shift in (1, 0, -1)]
    return next((day for day in near if beginning_of(day, zone) <= at), near[-1])


def beginning_of(day: date, zone: tzinfo) -> datetime:
    """The instant of its midnight."""
    return instant_of(datetime(day.year, day.month, day.day), zone)  # noqa: DTZ001  # a local time, as clocks show it


def instant_of(local: datetime, zone: tzinfo) -> datetime:
    """When the clocks of the zone show this. `fold=0`: the earlier of two; of none the one that the old offset gives."""
    try:
        return local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    except OverflowError:
        return LATEST if local.year > 1 else EARLIEST


def first_day(day: date, unit: CalendarUnit) -> date:
    """Of the unit that this day lies in."""
    match unit:
        case CalendarUnit.DAYS:
            return day
        case CalendarUnit.WEEKS:
            return _moved_day(day, -day.weekday())
        case CalendarUnit.MONTHS:
            return day.replace(day=1)
        case CalendarUnit.QUARTERS:
            return day.replace(month=day.month - (day.month - 1) % 3, day=1)
        case CalendarUnit.YEARS:
            return day.replace(month=1, day=1)


_MONTHS: Final = {CalendarUnit.MONTHS: 1, CalendarUnit.QUARTERS: 3, CalendarUnit.YEARS: 12}


def shifted(first: date, unit: CalendarUnit, shift: int) -> date:
    """The first day of the unit so many units later."""
    if unit in _MONTHS:
        year, month = divmod(first.year * 12 + first.month - 1 + shift * _MONTHS[unit], 12)
        return date.min if year < 1 else date.max if year > date.max.year else date(year, month + 1, 1)
    return _moved_day(first, shift * (7 if unit is CalendarUnit.WEEKS else 1))


# -- dates and zones that traits hold -------------------------------------------------------------------------------

WRITTEN_DATE: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
WRITTEN_TIME: Final = "T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,6})?)?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])"
"""Of ISO 8601 what every engine reads alike, as a pattern that they all know. Besides, there must be such a day."""
_WRITTEN: Final = re.compile(f"({WRITTEN_DATE})({WRITTEN_TIME})?")


def instant_written(value: object) -> datetime | None:
    """The midnight in UTC of a date, or the instant of a time with its zone; None for all else."""
    day = date_written(value)
    if day is None or not isinstance(value, str):
        return None
    if len(value) == len("2026-11-21"):
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except OverflowError:
        return EARLIEST if day.year == 1 else LATEST


def date_written(value: object) -> date | None:
    """The day that such a text begins with."""
    found = _WRITTEN.fullmatch(value) if isinstance(value, str) else None
    try:
        return date.fromisoformat(found[1]) if found else None
    except ValueError:
        return None


@cache
def zone_named(name: str) -> tzinfo | None:
    """The zone of this IANA name, if there is one: written exactly so."""
    return ZoneInfo(name) if name in _known_names() else None


@cache
def _known_names() -> frozenset[str]:
    return frozenset(available_timezones())


# -- instants, of which there are no more than datetimes can hold ---------------------------------------------------


def _later(at: datetime, window: Window) -> datetime:
    return _moved(at, window.seconds)


def _moved(at: datetime, seconds: int) -> datetime:
    try:
        return at + timedelta(seconds=seconds)
    except OverflowError:
        return EARLIEST if seconds < 0 else LATEST


def _moved_day(day: date, days: int) -> date:
    try:
        return day + timedelta(days=days)
    except OverflowError:
        return date.min if days < 0 else date.max


def _just_before(at: datetime) -> datetime:
    return at if at == EARLIEST else at - MOMENT


def _local(at: datetime, zone: tzinfo) -> datetime:
    try:
        return at.astimezone(zone)
    except OverflowError:
        return at
