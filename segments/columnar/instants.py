"""Periods and clocks as whole numbers: microseconds since 1970, for engines that are to know nothing of calendars."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from sqlglot import exp

from segments.columnar.dialects import Dialect, whole
from segments.language.periods import EARLIEST, LATEST, beginning_of, bounds
from segments.language.tree import Ahead, Anniversary, Calendar, CalendarUnit, Period

MICROSECOND: Final = timedelta(microseconds=1)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DAY: Final = 86_400_000_000
SHIFT_OF_YEAR_0: Final = 719_468 * DAY
"""From 1 March of the year 0 to 1970: with it, days are never negative, and leap days end a year."""
MONDAY: Final = (3 - 719_468) % 7
FIRST_CLOCK: Final = datetime(1900, 1, 1, tzinfo=UTC)
_A_WEEK: Final = timedelta(days=7)  # no zone changes its clocks twice in less


def micros_of(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND


def widest_after(period: Period, now: datetime) -> datetime | None:
    """No event that counts now, in whatever zone, is as old as this. None: all may."""
    if period is None:
        return None
    if isinstance(period, Calendar):
        return _no_earlier(bounds(period, _no_earlier(now, 2), UTC)[0], 2)
    return bounds(period, now, UTC)[0]


def _no_earlier(at: datetime, days: int) -> datetime:
    return at - timedelta(days=days) if at - EARLIEST > timedelta(days=days) else EARLIEST


def bounds_in(period: Period | Ahead, now: datetime, zone: tzinfo) -> tuple[int, int]:
    """What counts now: after < micros <= until."""
    after, until = bounds(period, now, zone)
    return micros_of(after), micros_of(until)


# -- anniversaries --------------------------------------------------------------------------------------------------


def days_that_come_round(rule: Anniversary, now: datetime, zone: tzinfo) -> str:
    """The days of the year that do, as ",11-21,11-22,"."""
    near = now.astimezone(zone).date()
    days = (near + timedelta(days=shift) for shift in range(-2, rule.days_ahead + 3))
    found = [day for day in days if _is_round(rule, day, now, zone)]
    written = {f"{day:%m-%d}" for day in found}
    if any((day.month, day.day) == (3, 1) and not _is_leap(day.year) for day in found):
        written.add("02-29")
    return "".join(["," + day for day in sorted(written)]) + ","


def _is_round(rule: Anniversary, day: date, now: datetime, zone: tzinfo) -> bool:
    begins = beginning_of(day - timedelta(days=rule.days_ahead), zone)
    return begins <= now < beginning_of(day + timedelta(days=1), zone)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


# -- clocks ---------------------------------------------------------------------------------------------------------

Piece = tuple[int, int, int]
"""From an instant to another, and by how much the clocks are ahead of UTC."""


@lru_cache(maxsize=512)
def clock_of(zone: tzinfo, until: datetime) -> tuple[Piece, ...]:
    """What to add to an instant so that it lies in the calendar unit that has begun last, as `periods` says.

    That is what the clocks are ahead, but where they skip midnight, or show it twice: there the day begins with the
    earlier of the two offsets.
    """
    turns = list(_turns(zone, until))
    begins = [micros_of(EARLIEST), *(begin for begin, _ in turns)]
    shifts = [_offset(zone, FIRST_CLOCK), *(shift for _, shift in turns)]
    ends = [*begins[1:], micros_of(LATEST)]
    return tuple((begin, end, shift) for begin, end, shift in zip(begins, ends, shifts, strict=True) if begin < end)


def _turns(zone: tzinfo, until: datetime) -> Iterator[tuple[int, int]]:
    at = FIRST_CLOCK
    while at < until:
        following = at + _A_WEEK
        before, after = _offset(zone, at), _offset(zone, following)
        if before != after:
            turn = micros_of(_turn_between(zone, at, following))
            yield max(turn, _midnight_of_before(turn, before, after)), after
        at = following


def _midnight_of_before(turn: int, before: int, after: int) -> int:
    """The midnight that the clocks skip, or show twice, by the offset before; for long only the turn itself."""
    earlier, later = sorted((turn + before, turn + after))
    midnight = -(-earlier // DAY) * DAY
    if before < after:  # skipped: the day begins when the old clocks would have shown it
        return midnight - before if earlier <= midnight < later else turn
    # shown twice: the day has begun, and goes on until the new clocks show it again
    return midnight - after if earlier < midnight < later else turn


def _turn_between(zone: tzinfo, before: datetime, after: datetime) -> datetime:
    first, last = micros_of(before) // 1_000_000, micros_of(after) // 1_000_000
    while last - first > 1:
        middle = (first + last) // 2
        at = EPOCH + timedelta(seconds=middle)
        first, last = (middle, last) if _offset(zone, at) == _offset(zone, before) else (first, middle)
    return EPOCH + timedelta(seconds=last)


def _offset(zone: tzinfo, at: datetime) -> int:
    shift = at.astimezone(zone).utcoffset() or timedelta(0)
    return shift // MICROSECOND


# -- the number of a calendar unit, in whole numbers only -----------------------------------------------------------


def unit_number(dialect: Dialect, local: exp.Expr, unit: CalendarUnit) -> exp.Expr:
    """Of microseconds as clocks show them. Two are equal exactly when they lie in the same unit."""
    day = dialect.divided(_plus(local, SHIFT_OF_YEAR_0), DAY)
    if unit is CalendarUnit.DAYS:
        return day
    if unit is CalendarUnit.WEEKS:
        return dialect.divided(_plus(day, MONDAY), 7)
    return dialect.divided(_month_number(dialect, day), _MONTHS[unit])


_MONTHS: Final = {CalendarUnit.MONTHS: 1, CalendarUnit.QUARTERS: 3, CalendarUnit.YEARS: 12}


def _month_number(dialect: Dialect, day: exp.Expr) -> exp.Expr:
    """Counted from January of the year 0, by the lengths of four centuries, a century, four years and a year."""
    era = dialect.divided(day, 146_097)
    in_era = _minus(day, _times(era, 146_097))
    leaps = _minus(in_era, dialect.divided(in_era, 1_460))
    leaps = _minus(_plus_of(leaps, dialect.divided(in_era, 36_524)), dialect.divided(in_era, 146_096))
    year = dialect.divided(leaps, 365)
    before = _minus(_plus_of(_times(year, 365), dialect.divided(year, 4)), dialect.divided(year, 100))
    month = dialect.divided(_plus(_times(_minus(in_era, before), 5), 2), 153)
    return _plus(_plus_of(_times(_plus_of(_times(era, 400), year), 12), month), 2)


def _plus(value: exp.Expr, number: int) -> exp.Expr:
    return exp.paren(exp.Add(this=value.copy(), expression=whole(number)))


def _plus_of(value: exp.Expr, other: exp.Expr) -> exp.Expr:
    return exp.paren(exp.Add(this=value.copy(), expression=other.copy()))


def _minus(value: exp.Expr, other: exp.Expr) -> exp.Expr:
    return exp.paren(exp.Sub(this=value.copy(), expression=other.copy()))


def _times(value: exp.Expr, number: int) -> exp.Expr:
    return exp.paren(exp.Mul(this=value.copy(), expression=whole(number)))
