"""Reads stretches of time from the text form.

period := "in last" N ["calendar"] UNIT [zone] | "in previous" N "calendar" UNIT [zone] | "this" UNIT [zone]
        | "today" [zone] | "yesterday" [zone] | "in next" N UNIT | "in all time" | "more than" N UNIT "ago"
        | "between" N [UNIT] "and" N UNIT "ago" | "from" TIME ["until" TIME] | "until" TIME
zone   := "in utc" | "in workspace time" | "in profile time"
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from segments.language.errors import LanguageError, Span
from segments.language.tokens import Words
from segments.language.tree import Ahead, Between, Calendar, CalendarUnit, Past, Period, Unit, Window, Zone
from segments.language.written import ZONES, read_time

Written = Period | Ahead

UNITS: Final[Mapping[str, Unit]] = {word: unit for unit in Unit for word in (unit.value, unit.value[:-1])}
CALENDAR_UNITS: Final[Mapping[str, CalendarUnit]] = {
    word: unit for unit in CalendarUnit for word in (unit.value, unit.value[:-1])
}
_OPENERS: Final = ("this", "today", "yesterday", "more", "from", "until")
_DAYS: Final[Mapping[str, bool]] = {"today": False, "yesterday": True}


def sees_period(words: Words) -> bool:
    """`in (` lists values, and `between 18 and 30` is a comparison: only with a unit it is a period."""
    if words.sees("in"):
        return not words.sees("in (")
    if words.sees("between"):
        return any(words.peek(place).word in UNITS for place in (2, 4))
    return words.next.word in _OPENERS


def read_period(words: Words) -> Written:
    """The period that begins here, or None for all time."""
    start = words.span
    try:
        return _period(words)
    except LanguageError as error:
        raise error.at(start) from None


def read_period_of_events(words: Words) -> Period:
    """All time if there is none here. Events have all happened."""
    if not sees_period(words):
        return None
    start = words.span
    found = read_period(words)
    if isinstance(found, Ahead):
        raise LanguageError("period_of_dates", "`in next` is for dates that a trait holds, not for events", start)
    return found


def read_window(words: Words) -> Window:
    start, amount, unit = words.span, words.whole("A window"), read_unit(words)
    return _window(amount, unit, start)


def read_unit(words: Words) -> Unit:
    unit = UNITS.get(words.next.word)
    if unit is not None:
        words.skip()
        return unit
    if words.next.word in CALENDAR_UNITS:
        message = "Months, quarters and years differ in length: write `calendar` before them"
        raise LanguageError("unit_of_calendar", message, words.span, f"calendar {words.next.word}")
    raise words.unexpected(f"one of {', '.join(Unit)}", tuple(Unit))


def read_zone(words: Words) -> Zone:
    return next((zone for zone, written in ZONES.items() if words.take(f"in {written}")), Zone.PROFILE)


def read_calendar_unit(words: Words) -> CalendarUnit:
    if words.next.word not in CALENDAR_UNITS:
        raise words.unexpected(f"one of {', '.join(CalendarUnit)}", tuple(CalendarUnit))
    return CALENDAR_UNITS[words.skip().word]


def _period(words: Words) -> Written:
    opener = words.skip().word
    if opener in _DAYS:
        return Calendar(1, CalendarUnit.DAYS, read_zone(words), _DAYS[opener])
    if opener == "this":
        return Calendar(1, read_calendar_unit(words), read_zone(words))
    if opener == "more":
        return _more_than(words)
    if opener == "between":
        return _between_ago(words)
    if opener in {"from", "until"}:
        return _absolute(words, opener)
    return _in(words)


def _in(words: Words) -> Written:
    if words.take("all time"):
        return None
    if words.take("next"):
        return Ahead(read_window(words))
    if words.take("last"):
        return _last(words)
    if words.take("previous"):
        amount = words.whole("A window")
        words.take("calendar")
        return Calendar(amount, read_calendar_unit(words), read_zone(words), is_over=True)
    raise words.unexpected("`last`, `previous`, `next` or `all time`, or values in parentheses",
                           ("last", "previous", "next", "all"))  # fmt: skip


def _last(words: Words) -> Window | Calendar:
    start, amount = words.span, words.whole("A window")
    if words.take("calendar"):
        unit = read_calendar_unit(words)
        return Calendar(amount, unit, read_zone(words))
    return _window(amount, read_unit(words), start)


def _window(amount: int, unit: Unit, start: Span) -> Window:
    try:
        return Window(amount, unit)
    except LanguageError as error:
        raise error.at(start) from None


def _more_than(words: Words) -> Past:
    words.need("than")
    latest = read_window(words)
    words.need("ago")
    return Past(latest)


def _between_ago(words: Words) -> Past:
    """`between 30 and 60 days ago`: the first unit may be left out if it is the second one's."""
    start, amount = words.span, words.whole("A window")
    first = read_unit(words) if words.next.word in UNITS else None
    words.need("and")
    earliest = read_window(words)
    words.need("ago")
    return Past(_window(amount, first or earliest.unit, start), earliest)


def _absolute(words: Words, opener: str) -> Between:
    if opener == "until":
        return Between(None, _time(words))
    begins = _time(words)
    return Between(begins, _time(words) if words.take("until") else None)


def _time(words: Words) -> datetime:
    token = words.next
    if token.kind != "time":
        raise words.unexpected("a time such as 2026-11-21T12:00:00Z, or 2026-11-21 for its midnight in UTC")
    found = read_time(words.skip().text)
    if found is None:
        raise LanguageError("not_a_time", "There is no such day or time", token.span)
    return found
