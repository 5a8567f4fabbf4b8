"""Limits in time."""

from datetime import UTC, datetime, timedelta

import pytest

from identity.resolver import Judgement, Kind, Reason, resolve
from identity.windows import Window, Windows

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
TYPES = {1: "user_id", 2: "email", 3: "email", 4: "email"}


def seen_with(user, *others):
    return [Judgement(user, one, True, Kind.DETERMINISTIC, 30.0) for one in others]


def windows(most, days, *first_seen):
    dates = {one: START + timedelta(days=day) for one, day in zip((2, 3, 4), first_seen, strict=True)}
    return Windows({"email": Window(most, days)}, dates)


@pytest.mark.parametrize(
    ("dates", "refused"),
    [((0, 1, 2), {4}), ((0, 1, 30), set()), ((0, 29, 30), set()), ((0, 28, 29), {4})],
)
def test_window__refuses_what_is_too_much_within_its_days(dates, refused):
    resolution = resolve({**TYPES, 5: "crm:id"}, seen_with(1, 2, 3, 4), {}, windows(2, 30, *dates))

    assert {one.right for one in resolution.refusals} == refused
    assert all(resolution.clusters[one] == one for one in refused)


def test_window__of_an_identifier_without_a_date__does_not_count_it():
    known = Windows({"email": Window(1, 30)}, {2: START})

    resolution = resolve(TYPES, seen_with(1, 2, 3, 4), {}, known)

    assert set(resolution.clusters.values()) == {1}
    assert resolution.refusals == ()


def test_window__that_is_exceeded__says_that_the_address_is_shared():
    resolution = resolve(TYPES, seen_with(1, 2, 3, 4), {}, windows(2, 30, 0, 1, 2))

    assert [one.reason for one in resolution.refusals] == [Reason.SHARED]
