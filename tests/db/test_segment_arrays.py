"""Conditions that are answered in arrays, at their borders: what holds, and the exact instant at which it next changes."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from cdp.kernel.purposes import Purpose
from consent import gate
from segments.arrays import answers, plan
from segments.arrays.streams import NEVER, Batch, micros, moment
from segments.language import parse_text
from tests.factories import SourceFactory
from tests.factories.segments import happen, know, people

D, H, US = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)
NOW = timedelta(0)


def answer(workspace, rule, instants):
    """Of each profile at its instant: whether it is in, and how much later that changes. Nothing is left to SQL."""
    profiles = np.array(sorted(instants), np.int64)
    batch = Batch(profiles, np.array([micros(instants[profile]) for profile in profiles.tolist()], np.int64))
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk):
        planned = plan.plan_of({0: parse_text(rule)}, {})
        assert len(planned.counted) == planned.size
        [found] = answers.answers_of(planned, batch).rules
    return {
        profile: (bool(is_in), None if change == NEVER else moment(change) - instants[profile])
        for profile, is_in, change in zip(profiles.tolist(), found.is_true.tolist(), found.change.tolist(), strict=True)
    }


def answer_of_one(workspace, rule, events, now):
    """Of somebody with these events, among others who have some just before and after in the order of profiles."""
    source = SourceFactory(workspace=workspace)
    before, ada, after = people(3, workspace)
    for name, since, *properties in events:
        happen(ada, source, name, now + since, *properties)
    for other in (before, after):
        for name in ("View", "Order", "Cart"):
            happen(other, source, name, now - H, {"sku": 7, "amount": 7})
    everybody = dict.fromkeys([each.profile_id for each in (before, ada, after)], now)
    return answer(workspace, rule, everybody)[ada.profile_id]


@pytest.mark.parametrize(
    ("rule", "events", "found"),
    [
        ('days since last "Order" >= 3', [("Order", -3 * D)], (True, None)),
        ('days since last "Order" >= 3', [("Order", -3 * D + US)], (False, US)),
        ('days since last "Order" >= 3', [("Order", -9 * D), ("Order", -D)], (False, 2 * D)),
        ('days since last "Order" >= 3', [("Order", -9 * D), ("Order", H)], (True, H)),
        ('days since last "Order" < 3', [], (False, None)),
        ('days since last "Order" >= 0', [("Order", H)], (False, H)),
        ('days since first "Order" = 3', [("Order", -3 * D), ("Order", -D)], (True, D)),
        ('hours since first "Order" between 1 and 2.5', [("Order", -H)], (True, 2 * H)),
        ('days since last "Order" in last 5 days >= 1', [("Order", -5 * D + US)], (True, US)),
        ('days since first "Order" in last 5 days >= 2', [("Order", -5 * D + H), ("Order", -D)], (True, H)),
        ('weeks since last "Order" < 500000', [("Order", -D)], (True, None)),
        ('weeks since last "Order" < 100000000', [("Order", -D)], (True, None)),
    ],
)
def test_time_since_an_event__reaches_whole_units__at_the_instant(workspace, now, rule, events, found):
    assert answer_of_one(workspace, rule, events, now) == found


@pytest.mark.parametrize(
    ("rule", "events", "found"),
    [
        ('done "View" then "Order" within 1 day', [("View", -2 * D), ("Order", -D)], (False, None)),
        ('done "View" then "Order" within 1 day', [("View", -2 * D), ("Order", -D - US)], (True, None)),
        ('done "View" then "Order" within 1 day', [("View", -D), ("Order", -D)], (False, None)),
        ('done "View" then "Order" within 1 day', [("Order", -D), ("View", -H)], (False, None)),
        ('done "View" then "Order" within 1 day', [("View", NOW), ("Order", H)], (False, H)),
        ('done "View" then "Order" within 1 day', [], (False, None)),
        ('done "View" then "Cart" then "Order"', [("View", -9 * D), ("Cart", -D), ("Order", NOW)], (True, None)),
        ('done "View" then "Cart" then "Order"', [("Cart", -9 * D), ("View", -D), ("Order", NOW)], (False, None)),
        ('done "View" then "View"', [("View", -D)], (False, None)),
        ('done "View" then "Order" without "Cart"', [("View", -D), ("Cart", -D), ("Order", NOW)], (True, None)),
        ('done "View" then "Order" without "Cart"', [("View", -D), ("Cart", -H), ("Order", NOW)], (False, None)),
        (
            'done "View" then "Order" without "Cart"',
            [("View", -D), ("Cart", -2 * H), ("View", -H), ("Order", NOW)],
            (True, None),
        ),
        (
            'done "View" then "Order" within 1 day in last 7 days',
            [("View", -7 * D), ("Order", -7 * D + H)],
            (False, None),
        ),
        (
            'done "View" then "Order" within 1 day in last 7 days',
            [("View", -7 * D + US), ("View", -7 * D + H), ("Order", -7 * D + 2 * H)],
            (True, H),
        ),
        ('done "View" then not "Order" within 1 day', [("View", -D)], (True, None)),
        ('done "View" then not "Order" within 1 day', [("View", -D + US)], (False, US)),
        ('done "View" then not "Order" within 1 day', [("View", -D), ("Order", NOW)], (True, None)),
        ('done "View" then not "Order" within 1 day', [("View", -D), ("Order", -US)], (False, None)),
        ('done "View" then not "Order" within 1 day', [("View", -D), ("Order", -D)], (True, None)),
    ],
)
def test_sequence__at_its_borders__is_as_told(workspace, now, rule, events, found):
    assert answer_of_one(workspace, rule, events, now) == found


@pytest.mark.parametrize(
    ("values", "number"),
    [
        ([], 0),
        ([1, 1, 1], 1),
        ([1, "1", True, "true"], 4),
        ([0, False, ""], 3),
        ([None, [1], {"a": 1}, "é"], 1),
        ([10**30, 10**30 + 1, 0.5, 0.25], 4),
    ],
)
def test_different_values__of_any_kind__are_counted_once_each(workspace, now, values, number):
    events = [("View", -place * H, {"sku": value}) for place, value in enumerate(values)]

    assert answer_of_one(workspace, f'distinct "sku" of "View" = {number}', events, now)[0]


def test_different_values__of_which_one_comes_again__are_fewer_when_its_last_event_ends_to_count(workspace, now):
    events = [("View", -place * D, {"sku": sku}) for place, sku in ((6, "a"), (5, "b"), (4, "c"), (2, "a"), (1, "c"))]

    assert answer_of_one(workspace, 'distinct "sku" of "View" in last 7 days >= 3', events, now) == (True, 2 * D)
    assert answer_of_one(workspace, 'distinct "sku" of "View" in last 7 days <= 1', events, now) == (False, 5 * D)


@pytest.mark.parametrize(
    ("rule", "events", "found"),
    [
        ('minimum "amount" of "Order" in last 7 days < 5', [4, 9], (True, 6 * D)),
        ('maximum "amount" of "Order" in last 7 days = 9', [4, 9], (True, 6 * D)),
        ('maximum "amount" of "Order" in last 7 days > 5', [], (False, None)),
        ('minimum "amount" of "Order" < 5', ["4", None], (False, None)),
    ],
)
def test_least_and_greatest__of_numbers_alone__are_known_while_one_counts(workspace, now, rule, events, found):
    happened = [("Order", -D, {"amount": amount}) for amount in events]

    assert answer_of_one(workspace, rule, happened, now) == found


# -- calendars ------------------------------------------------------------------------------------------------------

IN_PARIS = datetime(2026, 10, 25, 12, tzinfo=UTC)
"""Of the day that has 25 hours there: from 22:00 UTC of the day before to 23:00 UTC."""


@pytest.mark.parametrize(
    ("rule", "at", "found"),
    [
        ('count of "View" today >= 1', -14 * H, (True, 11 * H)),
        ('count of "View" today >= 1', -14 * H - US, (False, None)),
        ('count of "View" today >= 1', H, (False, H)),
        ('count of "View" yesterday >= 1', -14 * H, (False, 11 * H)),
        ('count of "View" yesterday >= 1', -14 * H - US, (True, 11 * H)),
        ('count of "View" yesterday >= 1', -38 * H - US, (False, None)),
        ('sum of "sku" of "View" in last 2 calendar days > 1', -38 * H, (True, 11 * H)),
        ('distinct "sku" of "View" in last 2 calendar weeks >= 1', NOW, (True, 11 * H + 7 * D)),
        ('count of "View" today in utc >= 1', -12 * H, (True, 12 * H)),
        (
            'count of "View" in last 1200 calendar years >= 1',
            NOW,
            (True, datetime(3225, 12, 31, 23, tzinfo=UTC) - IN_PARIS),
        ),
        ('done "View" then "Order" today', -14 * H, (False, None)),
        ('done "View" then not "Order" within 2 hours today', -14 * H, (True, 11 * H)),
    ],
)
def test_calendar__where_clocks_are_changed__turns_when_they_show_midnight(workspace, rule, at, found):
    workspace.time_zone = "Europe/Paris"
    workspace.save()

    assert answer_of_one(workspace, rule, [("View", at, {"sku": 2})], IN_PARIS) == found


def test_calendar__of_people_in_several_zones__is_that_of_each(workspace):
    workspace.time_zone = "Europe/Paris"
    workspace.save()
    source = SourceFactory(workspace=workspace)
    zones = ["Asia/Kathmandu", "Nowhere/City", "America/Havana", None]
    persons = people(len(zones), workspace)
    for person, zone in zip(persons, zones, strict=True):
        happen(person, source, "View", IN_PARIS - 17 * H)
        if zone:
            know(person, source, timezone=zone)
    at = {
        person.profile_id: IN_PARIS - (H if zone == "Nowhere/City" else NOW)
        for person, zone in zip(persons, zones, strict=True)
    }

    found = answer(workspace, 'count of "View" today >= 1', at)

    assert [found[person.profile_id] for person in persons] == [
        (True, 6 * H + 15 * timedelta(minutes=1)), (False, None), (False, None), (False, None),
    ]  # fmt: skip
