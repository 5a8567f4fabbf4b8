"""Definitions of figures: what is read, what is refused and where, and the periods of a time zone."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segments.kpis.definitions import KINDS, InvalidKpiError, Period, as_json, read_kpi
from segments.kpis.periods import begins, day_of, days_between, earliest_day, next_day, zone_named
from segments.kpis.ready_made import READY_MADE

CONVERSION = {"kind": "CONVERSION", "event": "Order"}


def test_definition__is_written_with_all_that_was_left_out():
    assert as_json(read_kpi(CONVERSION)) == {
        "kind": "CONVERSION", "period": "MONTH", "settles_days": 7, "event": "Order", "where": {}, "who": "DURING",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "place", "message"),
    [
        ({"kind": "LUCK"}, "kind", "Invalid value 'LUCK'."),
        ({"kind": "CONVERSION"}, None, "Object missing required field `event`."),
        ({**CONVERSION, "event": ""}, "event", "Expected `str` of length >= 1."),
        ({**CONVERSION, "evnet": "x"}, None, "Object contains unknown field `evnet`."),
        ({**CONVERSION, "period": "YEAR"}, "period", "Invalid enum value 'YEAR'."),
        ({**CONVERSION, "settles_days": -1}, "settles_days", "Expected `int` >= 0."),
        ({**CONVERSION, "where": {"a": [1]}}, "where[...]", "Expected `bool | int | float | str`, got `array`."),
        ({**CONVERSION, "event": "a\x00"}, None, "A text holds a NUL, which no event can hold."),
        ([], None, "Expected `object`, got `array`."),
    ],
)
def test_definition__that_makes_no_sense__is_refused_with_its_place(data, place, message):
    with pytest.raises(InvalidKpiError) as refused:
        read_kpi(data)

    assert (refused.value.details.get("place"), refused.value.message) == (place, message)


def test_ready_made__are_all_read_and_of_every_kind():
    read = [read_kpi({name: value for name, value in told.items() if name != "name"}) for told in READY_MADE.values()]

    assert {type(kpi) for kpi in read} == set(KINDS.values())


def test_renewal__stands_when_its_last_contract_had_its_time():
    kpi = read_kpi({"kind": "RENEWAL", "due": "D", "renewed": "R", "key": "k", "within_days": 40})

    assert kpi.settling_time == timedelta(days=40)


def test_day__whose_midnight_does_not_exist__begins_when_it_does():
    beirut = zone_named("Asia/Beirut")  # where clocks go forward at midnight

    assert begins(date(2024, 3, 31), beirut) == datetime(2024, 3, 30, 22, tzinfo=UTC)


def test_zone__that_means_nothing__is_utc():
    assert {zone_named(name).key for name in ("", "Nowhere", "../etc", "Europe")} == {"UTC"}


def test_periods__of_a_year__are_those_of_the_calendar():
    assert [str(day) for day in days_between(date(2025, 11, 1), date(2026, 2, 1), Period.MONTH)] == [
        "2025-11-01", "2025-12-01", "2026-01-01", "2026-02-01",
    ]  # fmt: skip
    assert earliest_day(date(2026, 1, 1), Period.MONTH) == date(2024, 1, 1)
    assert earliest_day(date(2026, 1, 5), Period.WEEK) == date(2025, 1, 6)
    assert day_of(datetime(2026, 1, 4, 23, 30, tzinfo=UTC), Period.WEEK, zone_named("Europe/Paris")) == date(2026, 1, 5)


@given(
    at=st.datetimes(datetime(2000, 1, 2), datetime(2060, 1, 1), timezones=st.just(UTC)),
    period=st.sampled_from(Period),
    name=st.sampled_from(["UTC", "Europe/Paris", "Asia/Beirut", "Pacific/Apia", "America/Sao_Paulo"]),
)
def test_period__of_an_instant__always_holds_it(at, period, name):
    zone = zone_named(name)
    day = day_of(at, period, zone)

    assert begins(day, zone) <= at < begins(next_day(day, period), zone)
