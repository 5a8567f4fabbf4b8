"""Stretches of time as people say them: each begins with a space and follows what it says the time of."""

from datetime import UTC, datetime

from segments.language.sentence_words import Words, variant
from segments.language.tree import Ahead, Between, Calendar, CalendarUnit, Past, Period, Unit, Window, Zone


def said_period(period: Period | Ahead, words: Words) -> str:
    match period:
        case None:
            return ""
        case Window():
            return _of_window("window", period, words)
        case Ahead(window):
            return _of_window("ahead", window, words)
        case Past():
            return _ago(period, words)
        case Between():
            return _absolute(period, words)
        case Calendar():
            return f"{_calendar(period, words)}{said_zone(period.zone, words)}"


def said_zone(zone: Zone, words: Words) -> str:
    return words[f"zone_{zone}"]


def units_of(unit: Unit | CalendarUnit, words: Words) -> str:
    return words[f"units_{unit}"]


def gender_of(unit: Unit | CalendarUnit, words: Words) -> str:
    return words.get(f"gender_{unit}", "")


def length(window: Window, words: Words) -> str:
    """A length of time by itself: 2 days, or a day."""
    name = variant(words, "length", _single(window), gender_of(window.unit, words))
    return name.format(amount=window.amount, unit=words[f"unit_{window.unit}"], units=units_of(window.unit, words))


def of_length(name: str, window: Window, words: Words, **parts: str) -> str:
    """A template that has a length of time in it. Before "un jour" French elides."""
    return variant(words, name, _single(window)).format(length=length(window, words), **parts)


def every(window: Window, words: Words) -> str:
    return _of_window("refresh", window, words)


def _of_window(name: str, window: Window, words: Words) -> str:
    template = variant(words, name, _single(window), gender_of(window.unit, words))
    return template.format(
        amount=window.amount,
        unit=words[f"unit_{window.unit}"],
        units=units_of(window.unit, words),
        length=length(window, words),
    )


def _single(window: Window) -> str:
    return "single" if window.amount == 1 else ""


def _ago(period: Past, words: Words) -> str:
    latest, earliest = period.latest, period.earliest
    if earliest is None:
        return of_length("more_than", latest, words)
    return words["between_ago"].format(latest=_shorter(latest, earliest, words), earliest=length(earliest, words))


def _shorter(latest: Window, earliest: Window, words: Words) -> str:
    """Between 30 and 60 days: the unit is said once."""
    return str(latest.amount) if latest.unit is earliest.unit else length(latest, words)


# -- calendars ------------------------------------------------------------------------------------------------------


def _calendar(period: Calendar, words: Words) -> str:
    unit = period.unit
    if period.amount == 1:
        return words[f"{'previous' if period.is_over else 'this'}_{unit}"]
    name = "over" if period.is_over else "calendar"
    template = words.get(f"{name}_{unit}") or variant(words, name, gender_of(unit, words))
    return template.format(amount=period.amount, units=units_of(unit, words))


def _absolute(period: Between, words: Words) -> str:
    begins = _moment(period.begins, words) if period.begins else ""
    ends = _moment(period.ends, words) if period.ends else ""
    name = "from_until" if begins and ends else "from" if begins else "until"
    return words[name].format(begins=begins, ends=ends)


def _moment(at: datetime, words: Words) -> str:
    at = at.astimezone(UTC)
    month = words["months"].split()[at.month - 1]
    date = variant(words, "date", "first" if at.day == 1 else "").format(day=at.day, month=month, year=at.year)
    clock = at.time().isoformat().removesuffix(":00")
    return date if clock == "00:00" else words["time"].format(date=date, clock=clock)
