"""Periods: while an event counts, and which events count, are one meaning told twice."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segments.language.periods import (
    EARLIEST,
    LATEST,
    MOMENT,
    beginning_of,
    bounds,
    instant_written,
    start_of,
    stretch,
    unit_of,
    zone_named,
)
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-28", datetime(2026, 3, 28, tzinfo=UTC)),
        ("2026-03-28T12:30Z", datetime(2026, 3, 28, 12, 30, tzinfo=UTC)),
        ("2026-03-28T12:30:15.123456+05:45", datetime(2026, 3, 28, 6, 45, 15, 123456, tzinfo=UTC)),
        ("2026-03-28T12:30:15.1-02:00", datetime(2026, 3, 28, 14, 30, 15, 100000, tzinfo=UTC)),
        ("0001-01-01T00:00:00+01:00", EARLIEST),
        ("9999-12-31T23:59:59-01:00", LATEST),
        *((text, None) for text in (
            "2026-02-30", "2026-3-28", "2026-03-28 12:00Z", "2026-03-28T12:00:00", "0000-01-01", "٢٠٢٦-03-28", "2026-03-28\n",
            "2026-03-28T24:00Z", "2026-03-28T12:00:60Z", "2026-03-28T12:00:00.1234567Z", "2026-03-28T12:00+15:00", "20260328",
        )),
    ],
)  # fmt: skip
def test_text__that_is_a_date_or_a_time_with_its_zone__is_an_instant(text, expected):
    assert instant_written(text) == expected
    assert instant_written([text]) is None


@pytest.mark.parametrize("name", ["europe/paris", "Nowhere/City", "UTC+3", "", "posix/Europe/Paris", "Etc/../UTC"])
def test_zone__that_is_no_iana_name__is_none(name):
    assert zone_named(name) is None
    assert zone_named("Europe/Paris") == ZoneInfo("Europe/Paris")
