"""Dates in ISO 8601, from the ways in which people and programs write them. What is ambiguous says so.

The region decides whether day or month comes first; without one the day does, and the other reading is told.
A year of two digits needs a pivot: with 26, `26` is 2026 and `27` is 1927. Serial numbers of Excel are read when asked.
"""

import re
from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from datetime import date as calendar_date
from functools import lru_cache
from typing import Final

from cdp.ingestion.normalise.values import MOST_CACHED, Normal, Quality, folded, spaced

BIRTH_PIVOT: Final = 26  # of dates of birth; it moves with `VERSION`, since this module reads no clock

_EARLIEST_YEAR, _LATEST_YEAR = 1800, 2199
_LONGEST: Final = 64
_LAST_SERIAL: Final = 109_574  # of Excel: 2199-12-30
_FIRST_TRUE_SERIAL: Final = 61  # before it Excel counts a 29th of February 1900 that was none

_YEAR_FIRST = re.compile(r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})(?:[T ].*)?")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/. ])(\d{1,2})\2(\d{4}|\d{2})(?:[T ,]+\d{1,2}[:h].*)?")
_WEEK = re.compile(r"\d{4}-?W\d{2}-?[1-7]")
_DAY_NAMED = re.compile(
    r"(\d{1,2})(?:st|nd|rd|th|er|\.)?[\s.\-/]*(?:of |de )?([^\W\d_]{3,})[.,]?[\s\-/]*(\d{4}|\d{2})(?:[T ,].*)?"
)
_NAMED_DAY = re.compile(r"([^\W\d_]{3,})[.,]?[\s\-]*(\d{1,2})(?:st|nd|rd|th|er)?[\s,\-]+(\d{4}|\d{2})(?:[T ,].*)?")
_WEEKDAY = re.compile(
    r"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?[.,]?\s+"
    r"|(?:lun|mar|mer(?:cre)?|jeu|ven(?:dre)?|sam(?:e)?)(?:di)?[.,]?\s+|dim(?:anche)?[.,]?\s+"
)
_EPOCH = re.compile(r"-?(?:\d{9,10}|\d{12,13})(?:\.\d+)?")
_SERIAL = re.compile(r"\d{1,6}(?:\.\d+)?")

_MONTH_FIRST: Final = frozenset({"US", "PH", "FM", "GU", "PR", "VI", "AS", "MP", "PW", "MH"})
_MONTHS: Final = {
    folded(word): number
    for number, words in enumerate(
        (
            "january jan janvier janv", "february feb février fév févr", "march mar mars", "april apr avril avr",
            "may mai", "june jun juin", "july jul juillet juil", "august aug août", "september sep sept septembre",
            "october oct octobre", "november nov novembre", "december dec décembre déc",
        ),
        start=1,
    )
    for word in words.split()
}  # fmt: skip


def date(raw: object, *, region: str = "", pivot: int | None = None) -> str | None:
    """ISO 8601. Of 03/04/2020 the day comes first, but where `region` writes the month first."""
    found = read(raw, region=region, pivot=pivot)
    return found.value if found else None


def date_of_birth(raw: object, *, region: str = "") -> Normal | None:
    return read(raw, region=region, pivot=BIRTH_PIVOT)


def read(
    raw: object,
    *,
    region: str = "",
    pivot: int | None = None,
    has_serials: bool = False,
) -> Normal | None:
    """A date that cannot be is None; one that can be two days has both as `readings`."""
    if isinstance(raw, datetime):
        raw = raw.date()
    written = raw.isoformat() if isinstance(raw, calendar_date) else spaced(raw)
    return _read(written, region.upper(), pivot, has_serials) if len(written) <= _LONGEST else None


@lru_cache(MOST_CACHED)
def _read(written: str, region: str, pivot: int | None, has_serials: bool) -> Normal | None:  # noqa: FBT001  # keys of the cache
    readings = tuple(dict.fromkeys(_readings(written, region, pivot, has_serials=has_serials)))
    if not readings:
        return None
    if len(readings) > 1:
        return Normal(readings[0], Quality.AMBIGUOUS, ("several_days",), readings)
    return Normal(readings[0])


def _readings(written: str, region: str, pivot: int | None, *, has_serials: bool) -> Iterator[str]:
    if found := _YEAR_FIRST.fullmatch(written):
        yield from _day(int(found[1]), int(found[3]), int(found[4]))
    elif found := _YEAR_LAST.fullmatch(written):
        yield from _in_either_order(int(found[1]), int(found[3]), found[4], region, pivot)
    elif _WEEK.fullmatch(written) and written.isascii():
        yield from _week(written)
    elif _EPOCH.fullmatch(written):
        yield from _epoch(float(written))
    elif has_serials and _SERIAL.fullmatch(written):
        yield from _serial(int(float(written)))
    else:
        yield from _named(written.lower(), pivot)


def _in_either_order(one: int, two: int, year: str, region: str, pivot: int | None) -> Iterator[str]:
    """As the region writes it. Without a region what can be only one of the two is that, and else both are told."""
    day, month = (two, one) if region in _MONTH_FIRST else (one, two)
    for full in _years(year, pivot):
        yield from _day(full, month, day)
        if not region:
            yield from _day(full, day, month)


def _named(written: str, pivot: int | None) -> Iterator[str]:
    """`mar 3 mars` is a Tuesday, `mar 3` is in March: the weekday is looked for where there is no date without."""
    yield from _day_and_month(written, pivot) or _day_and_month(_WEEKDAY.sub("", written, count=1), pivot)


def _day_and_month(words: str, pivot: int | None) -> list[str]:
    if (found := _DAY_NAMED.fullmatch(words)) and (month := _MONTHS.get(folded(found[2]))):
        day, year = found[1], found[3]
    elif (found := _NAMED_DAY.fullmatch(words)) and (month := _MONTHS.get(folded(found[1]))):
        day, year = found[2], found[3]
    else:
        return []
    return [one for full in _years(year, pivot) for one in _day(full, month, int(day))]


def _years(year: str, pivot: int | None) -> list[int]:
    """Of two digits up to the pivot this century is likelier, and the last one possible."""
    if len(year) == 4:
        return [int(year)]
    if pivot is None:
        return []
    return [2000 + int(year), 1900 + int(year)] if int(year) <= pivot else [1900 + int(year)]


def _day(year: int, month: int, day: int) -> Iterator[str]:
    if _EARLIEST_YEAR <= year <= _LATEST_YEAR and 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]:
        yield calendar_date(year, month, day).isoformat()


def _week(written: str) -> Iterator[str]:
    try:
        found = calendar_date.fromisoformat(written)
    except ValueError:
        return
    yield from _day(found.year, found.month, found.day)


def _epoch(number: float) -> Iterator[str]:
    found = datetime.fromtimestamp(0, tz=UTC) + timedelta(seconds=number / 1000 if abs(number) >= 1e11 else number)
    yield from _day(found.year, found.month, found.day)


def _serial(number: int) -> Iterator[str]:
    if _FIRST_TRUE_SERIAL <= number <= _LAST_SERIAL:
        yield (calendar_date(1899, 12, 30) + timedelta(days=number)).isoformat()
