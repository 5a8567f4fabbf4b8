"""Periods: while an event counts, and which events count, are one meaning told twice."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segments.language.periods import MOMENT, beginning_of, bounds, start_of, stretch, unit_of
from segments.language.tree import CalendarUnit
from tests.factories.rules import HARD_ZONES, periods, trait_periods

zones = st.sampled_from(HARD_ZONES).map(ZoneInfo)
calendar_units = st.sampled_from(list(CalendarUnit))
instants = st.datetimes(datetime(1970, 1, 1), datetime(2100, 12, 31), timezones=st.just(UTC))
# An instant beside a beginning or an end says more than one in the middle of nowhere.
besides = st.sampled_from([-MOMENT, timedelta(0), MOMENT, timedelta(minutes=30), timedelta(hours=-1)])


@settings(max_examples=800, deadline=None)
@given(st.one_of(periods, trait_periods), instants, instants, zones, besides)
def test_event__counts_by_its_stretch__exactly_when_it_lies_in_the_bounds(period, at, anywhere, zone, beside):
    counts = stretch(period, at, zone)
    instants_tried = [anywhere, at + beside]
    if counts is not None:
        instants_tried += [edge + beside for edge in counts if edge is not None]

    for now in instants_tried:
        after, until = bounds(period, now, zone)
        is_counted = counts is not None and counts[0] <= now and (counts[1] is None or now < counts[1])
        assert (after < at <= until) is is_counted


@settings(max_examples=400, deadline=None)
@given(instants, calendar_units, zones, st.integers(-40, 40), besides)
def test_units__of_any_zone__follow_each_other_and_hold_every_instant(at, unit, zone, shift, beside):
    edge = start_of(at, unit, shift, zone) + beside

    begins, ends = start_of(edge, unit, 0, zone), start_of(edge, unit, 1, zone)
    assert begins <= edge < ends
    assert start_of(ends, unit, 0, zone) == ends
    assert begins == beginning_of(unit_of(edge, unit, zone), zone)


@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        ("Europe/Paris", date(2026, 3, 29), datetime(2026, 3, 28, 23)),
        ("America/Sao_Paulo", date(2018, 11, 4), datetime(2018, 11, 4, 3)),  # begins at 01:00
        ("America/Havana", date(2026, 11, 1), datetime(2026, 11, 1, 4)),  # midnight comes twice
        ("America/St_Johns", date(2006, 10, 29), datetime(2006, 10, 29, 2, 30)),  # back over midnight
        ("Pacific/Apia", date(2011, 12, 30), datetime(2011, 12, 30, 10)),  # a day that never was
        ("Pacific/Apia", date(2011, 12, 31), datetime(2011, 12, 30, 10)),
    ],
)
def test_day__where_clocks_are_changed__begins_at_its_midnight(zone, day, expected):
    assert beginning_of(day, ZoneInfo(zone)) == expected.replace(tzinfo=UTC)


def test_instant__after_clocks_went_back_over_midnight__belongs_to_the_day_that_had_begun():
    zone = ZoneInfo("America/St_Johns")
    begun = datetime(2006, 10, 29, 2, 30, tzinfo=UTC)

    shown_again = begun + timedelta(minutes=10)
    assert shown_again.astimezone(zone).date() == date(2006, 10, 28)
    assert unit_of(shown_again, CalendarUnit.DAYS, zone) == date(2006, 10, 29)
    assert unit_of(begun - MOMENT, CalendarUnit.DAYS, zone) == date(2006, 10, 28)
