"""One month is a month of the calendar."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.deadlines import Doubt, days_left, deadlines, months_after

PARIS = ZoneInfo("Europe/Paris")
ZONES = st.sampled_from([ZoneInfo("UTC"), PARIS, ZoneInfo("Pacific/Apia"), ZoneInfo("America/Sao_Paulo")])
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
SPANS = st.timedeltas(timedelta(), timedelta(days=40))


def at(text):
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("received", "months", "due"),
    [
        ("2026-01-15T10:00+00:00", 1, "2026-02-15T10:00+00:00"),
        ("2026-01-31T10:00+00:00", 1, "2026-02-28T10:00+00:00"),
        ("2028-01-31T10:00+00:00", 1, "2028-02-29T10:00+00:00"),
        ("2026-12-31T10:00+00:00", 1, "2027-01-31T10:00+00:00"),
        ("2026-11-30T10:00+00:00", 3, "2027-02-28T10:00+00:00"),
        # In Paris it is February already, and from March on an hour earlier in UTC.
        ("2026-01-31T23:30+00:00", 1, "2026-02-28T23:30+00:00"),
        ("2026-03-15T10:00+00:00", 1, "2026-04-15T09:00+00:00"),
    ],
)
def test_months_after__received__same_day_or_end_of_month(received, months, due):
    assert months_after(at(received), months, PARIS) == at(due)


def test_deadlines__extended__has_two_more_months():
    found = deadlines(
        at("2026-01-31T10:00+00:00"), is_extended=True, doubts=[], now=at("2026-02-01T00:00+00:00"), zone=PARIS
    )

    assert found.first_due_at == at("2026-02-28T10:00+00:00")
    assert found.due_at == at("2026-04-30T09:00+00:00")


@given(MOMENTS, st.integers(1, 3), ZONES)
def test_months_after__always__is_the_named_month_and_never_a_later_day(moment, months, zone):
    before, after = moment.astimezone(zone), months_after(moment, months, zone).astimezone(zone)

    assert (after.year * 12 + after.month) - (before.year * 12 + before.month) == months
    assert after.day <= before.day
    assert after.day == before.day or (after + timedelta(days=1)).day == 1


@given(MOMENTS, ZONES, st.lists(st.tuples(SPANS, SPANS), max_size=4), st.booleans())
def test_deadlines__always__move_by_what_was_doubted_and_by_nothing_else(moment, zone, spans, is_extended):
    doubts = [Doubt(moment + start, moment + start + length) for start, length in spans]
    plain = deadlines(moment, is_extended=is_extended, doubts=[], now=moment, zone=zone)

    found = deadlines(moment, is_extended=is_extended, doubts=doubts, now=moment, zone=zone)

    moved = sum((length for _, length in spans), timedelta())
    assert found.first_due_at - plain.first_due_at == found.due_at - plain.due_at == moved
    assert found.first_due_at <= found.due_at
    assert (found.first_due_at == found.due_at) is not is_extended


@given(MOMENTS, ZONES, SPANS)
def test_deadlines__while_doubted__stay_as_far_away_as_they_were(moment, zone, passed):
    doubt = Doubt(moment)

    found = deadlines(moment, is_extended=False, doubts=[doubt], now=moment + passed, zone=zone)

    assert found.due_at - (moment + passed) == months_after(moment, 1, zone) - moment


@pytest.mark.parametrize(
    ("now", "days"), [("2026-02-28T22:59+00:00", 0), ("2026-02-28T23:01+00:00", -1), ("2026-02-20T12:00+00:00", 8)]
)
def test_days_left__counts_days_of_the_calendar(now, days):
    assert days_left(at("2026-02-28T10:00+00:00"), at(now), PARIS) == days
