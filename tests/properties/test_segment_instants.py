"""Whole numbers in place of calendars: clocks, units and anniversaries are those of `segments.language.periods`."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from segments.columnar.dialects import DIALECTS
from segments.columnar.instants import DAY, EPOCH, MICROSECOND, clock_of, days_that_come_round, micros_of, unit_number
from segments.language.periods import unit_of
from segments.language.reference import Facts, is_in
from segments.language.tree import Anniversary, CalendarUnit, Zone
from tests.factories.rules import HARD_ZONES

UNTIL = datetime(2040, 1, 1, tzinfo=UTC)
zones = st.sampled_from([ZoneInfo(name) for name in HARD_ZONES])
moments = st.datetimes(datetime(1950, 1, 1), datetime(2039, 12, 31), timezones=st.just(UTC))  # hypothesis adds the zone


@st.composite
def near_turns(draw):
    """A zone and an instant within a day of when its clocks change, often to the microsecond."""
    zone = draw(zones)
    begins = draw(st.sampled_from([begin for begin, _, _ in clock_of(zone, UNTIL)[1:]]))
    beside = draw(st.one_of(st.sampled_from([-1, 0, 1]), st.integers(-DAY, DAY)))
    return zone, EPOCH + (begins + beside) * MICROSECOND


@given(st.one_of(near_turns(), st.tuples(zones, moments)))
@settings(max_examples=500, deadline=None)
def test_clock__at_any_instant__shows_the_day_that_has_begun(zone_and_instant):
    zone, at = zone_and_instant
    micros = micros_of(at)
    [shift] = [shift for begins, ends, shift in clock_of(zone, UNTIL) if begins <= micros < ends]

    assert date(1970, 1, 1) + timedelta(days=(micros + shift) // DAY) == unit_of(at, CalendarUnit.DAYS, zone)


@given(st.lists(st.dates(date(1, 1, 1), date(9999, 12, 31)), min_size=2, max_size=50), st.sampled_from(CalendarUnit))
@settings(max_examples=20, deadline=None)
def test_unit_number__of_days__is_the_same_exactly_within_a_unit(days, unit):
    local = [micros_of(datetime(day.year, day.month, day.day, 23, 59, tzinfo=UTC)) for day in days]
    number = unit_number(DIALECTS["duckdb"], exp.column("local"), unit).sql("duckdb")
    asked = f"SELECT {number} FROM (SELECT unnest($1) AS local, generate_subscripts($1, 1) AS place) ORDER BY place"
    found = [row[0] for row in duckdb.execute(asked, [local]).fetchall()]

    first_days = [unit_of(EPOCH + each * MICROSECOND, unit, UTC) for each in local]
    assert {one: found[first_days.index(one)] for one in first_days} == dict(zip(first_days, found, strict=True))
    assert len(set(found)) == len(set(first_days))


@given(near_turns(), st.sampled_from([0, 1, 7, 300]), st.dates(date(1904, 1, 1), date(2030, 1, 1)))
@settings(max_examples=60, deadline=None)
def test_anniversary__of_any_day__comes_round_on_the_days_that_are_listed(zone_and_instant, ahead, born):
    zone, now = zone_and_instant
    rule = Anniversary("born", ahead, Zone.WORKSPACE)
    facts = Facts(traits={"born": born.isoformat()}, workspace_zone=zone)

    assert (f",{born:%m-%d}," in days_that_come_round(rule, now, zone)) == is_in(rule, facts, now)
