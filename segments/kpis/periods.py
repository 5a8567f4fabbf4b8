"""Days, weeks and months of a time zone, as instants. Weeks begin on Monday."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from segments.kpis.definitions import Period

# How far back figures of a new segment or definition go, at most.
MOST_PERIODS: Final = {Period.DAY: 92, Period.WEEK: 53, Period.MONTH: 25}


def zone_named(name: str) -> ZoneInfo:
    """UTC where the name means nothing."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, no name at all, or a directory of names
        return ZoneInfo("UTC")


def day_of(at: datetime, period: Period, zone: ZoneInfo) -> date:
    """The first day of the period that `at` lies in."""
    day = at.astimezone(zone).date()
    match period:
        case Period.DAY:
            return day
        case Period.WEEK:
            return day - timedelta(days=day.weekday())
        case Period.MONTH:
            return day.replace(day=1)


def next_day(day: date, period: Period) -> date:
    """The first day of the period after that which begins with `day`."""
    match period:
        case Period.DAY:
            return day + timedelta(days=1)
        case Period.WEEK:
            return day + timedelta(days=7)
        case Period.MONTH:
            return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def earliest_day(until: date, period: Period) -> date:
    """The first day of the oldest period that is computed when the one of `until` is running."""
    periods = MOST_PERIODS[period] - 1
    match period:
        case Period.DAY:
            return until - timedelta(days=periods)
        case Period.WEEK:
            return until - timedelta(weeks=periods)
        case Period.MONTH:
            months = until.year * 12 + until.month - 1 - periods
            return date(months // 12, months % 12 + 1, 1)


def begins(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which a day begins. A midnight that does not exist moves forward, of two it is the earlier."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def days_between(first: date, last: date, period: Period) -> Sequence[date]:
    """The first days of the periods from that of `first` to that of `last`, both included."""
    days = []
    while first <= last:
        days.append(first)
        first = next_day(first, period)
    return days
