"""What Postgres is taught for rules says what Python says: calendars of hard zones, dates as texts, letters."""

from calendar import isleap
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segments.language import periods
from segments.language.tree import CalendarUnit
from segments.language.written import FOLDED_FROM, folded
from tests.factories.rules import FAR_DATES, HARD_ZONES, NO_DATES
from tests.factories.segments import as_json

ZONES = (
    *HARD_ZONES,
    "UTC",
    "Antarctica/Casey",
    "America/Goose_Bay",
    "America/Moncton",
    "Asia/Pyongyang",
    "Africa/Monrovia",
)
BESIDES = (
    timedelta(hours=-1),
    timedelta(microseconds=-1),
    timedelta(0),
    timedelta(microseconds=1),
    timedelta(minutes=59),
)

on_a_database = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def asked(sql: str, *columns: list[Any]) -> list[Any]:
    """One expression over many rows of parameters: c0, c1 … are the columns, all texts."""
    names = [f"c{place}" for place in range(len(columns))]
    arrays = ", ".join(["%s::text[]"] * len(columns))
    with connection.cursor() as cursor:
        rows = f"unnest({arrays}) WITH ORDINALITY AS given ({', '.join(names)}, place)"
        cursor.execute(f"SELECT {sql} FROM {rows} ORDER BY place", list(columns))
        return [row[0] for row in cursor.fetchall()]


@given(st.sampled_from(ZONES), st.integers(1970, 2099), st.sampled_from(list(CalendarUnit)), st.integers(-3, 3))
@on_a_database
def test_calendar__of_a_hard_zone_in_any_year__is_that_of_the_periods(db, name, year, unit, shift):
    zone = ZoneInfo(name)
    midnights = [periods.beginning_of(date(year, 1, 1) + timedelta(days=day), zone) for day in range(366)]
    instants = [midnight + beside for midnight in midnights for beside in BESIDES]
    texts = [at.isoformat() for at in instants]

    starts = asked(f"core.local_start(c0::timestamptz, '{unit}', {shift}, '{name}')", texts)
    units = asked(f"core.local_unit(c0::timestamptz, '{unit}', '{name}')", texts)

    assert starts == [periods.start_of(at, unit, shift, zone) for at in instants]
    assert units == [periods.unit_of(at, unit, zone) for at in instants]


dates = st.dates(date(1970, 1, 1), date(2100, 12, 31))
leap_days = st.sampled_from([date(1988, 2, 29), date(2000, 2, 29), date(1999, 3, 1), date(2000, 2, 28)])


@given(st.lists(st.tuples(st.one_of(dates, leap_days), st.one_of(dates, leap_days)), min_size=1, max_size=50))
@on_a_database
def test_anniversary__of_any_day__is_the_first_that_is_not_over(db, pairs):
    born, today = ([each.isoformat() for each in column] for column in zip(*pairs, strict=True))

    found = asked("core.next_anniversary(c0::date, c1::date)", born, today)

    assert found == [next(day for day in anniversaries(*pair) if day >= pair[1]) for pair in pairs]


def anniversaries(born: date, today: date) -> list[date]:
    years = (today.year, today.year + 1)
    is_leap_day = (born.month, born.day) == (2, 29)
    return [date(year, 3, 1) if is_leap_day and not isleap(year) else born.replace(year) for year in years]


WRITTEN = (
    "2026-11-21",
    "2026-11-21T12:00Z",
    "2026-11-21T12:00:01.5+05:45",
    "1988-02-29",
    "1987-02-29",
    *NO_DATES,
    *FAR_DATES,
)


@pytest.mark.parametrize("value", [*WRITTEN, 20261121, None, True, ["2026-11-21"]])
def test_date__written_in_any_way__is_read_as_python_reads_it(db, value):
    expected = periods.instant_written(value)
    known = "extract(epoch FROM core.instant_written(c0::jsonb))"

    [instant] = asked(known, [as_json(value)])
    [day] = asked("core.date_written(c0::jsonb)", [as_json(value)])

    assert day == periods.date_written(value)
    if expected not in {periods.EARLIEST, periods.LATEST}:  # beyond what Python holds; Postgres goes on
        since = None if expected is None else expected - datetime(1970, 1, 1, tzinfo=UTC)
        assert (None if instant is None else round(instant * 10**6)) == (since and since // timedelta(microseconds=1))


HARD_LETTERS = "aZß\u0130\u0131\u017fÅéΣς1'\\%_ "
letters = st.one_of(
    st.sampled_from(FOLDED_FROM), st.sampled_from(HARD_LETTERS), st.characters(exclude_categories=["Cs", "Cc"])
)


@given(st.lists(st.text(letters, max_size=8), min_size=1, max_size=50))
@on_a_database
def test_folding__of_any_text__is_that_of_the_one_table(db, said):
    assert asked("core.folded(c0)", said) == [folded(each) for each in said]
    assert asked("core.folded(jsonb_build_array(c0, 1)) ->> 0", said) == [folded(each) for each in said]


@pytest.mark.parametrize(
    ("value", "zone"),
    [
        ("Europe/Paris", "Europe/Paris"), ("europe/paris", None), ("EST5EDT4", None), ("Nowhere/City", None), ("", None),
        (5, None), (["Europe/Paris"], None), ("UTC", "UTC"),
    ],
)  # fmt: skip
def test_zone__that_a_trait_names__is_one_that_both_know(db, value, zone):
    [found] = asked("core.zone_of(c0::jsonb)", [as_json(value)])

    assert found == zone
    assert (periods.zone_named(value) is not None if isinstance(value, str) else False) is (zone is not None)
