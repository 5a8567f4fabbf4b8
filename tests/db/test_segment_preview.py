"""How many would be in: exactly where there are few, else estimated and marked so, and never late."""

import time
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activation import reaching
from activation import services as activation
from activation.models import Destination
from cdp.kernel.purposes import Purpose
from consent.models import ConsentState
from segments import checking, services
from segments import preview as previewing
from segments.models import Membership, Segment
from tests.factories import IdentifierFactory, SourceFactory, say
from tests.factories.segments import happen, know, people

DAY = timedelta(days=1)
RULE = 'trait "city" = "Lille"'


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


@pytest.fixture
def many(monkeypatch):
    """Thirty people are many, and an exact count takes too long."""
    monkeypatch.setattr(previewing, "COUNTED_AT_ONCE", 20)
    monkeypatch.setattr(previewing, "FIRST_SAMPLE", 12)
    monkeypatch.setattr(previewing, "LARGEST_SAMPLE", 6)
    monkeypatch.setattr(previewing, "SECONDS", 0)
    monkeypatch.setattr(previewing, "_KEPT", {})


def preview(workspace, rule, now, **more):
    return services.preview(workspace_id=workspace.pk, definition=rule, now=now, **more)


def create(workspace, slug, rule, now) -> Segment:
    return services.create_segment(
        workspace_id=workspace.pk, slug=slug, name=slug.title(), definition=rule, author=None, now=now
    )


def test_few__are_counted_exactly_and_nothing_is_written(workspace, source, now):
    ada, grace, _ = people(3, workspace)
    for person in (ada, grace):
        know(person, source, city="Lille")

    found = preview(workspace, RULE, now)

    assert (found.count, found.is_exact, found.low, found.high, found.people) == (2, True, 2, 2, 3)
    assert (found.sample, sorted(found.matching)) == ([ada.pk, grace.pk], [ada.pk, grace.pk])
    assert (found.at, found.computed_at) == (now, now)
    assert not Segment.objects.exists()
    assert not Membership.objects.exists()


def test_many__are_estimated_from_a_sample_that_is_the_same_each_time(workspace, source, now, many):
    persons = people(30, workspace)
    for person in persons[::2]:
        know(person, source, city="Lille")

    found, again = preview(workspace, RULE, now), preview(workspace, RULE, now)

    assert (found.is_exact, found.people, found.low <= found.count <= found.high) == (False, 30, True)
    assert found.low <= 15 <= found.high
    assert 0 < len(found.matching) <= 18
    assert {*found.matching} <= {person.pk for person in persons[::2]}
    assert (found.count, found.sample) == (again.count, again.sample)


def test_matching__more_than_are_kept__are_drawn_by_chance_and_are_not_those_who_came_first(
    workspace, source, now, many, monkeypatch
):
    monkeypatch.setattr(previewing, "MOST_MATCHING", 3)
    for person in people(30, workspace):
        know(person, source, city="Lille")

    found = preview(workspace, RULE, now)

    assert len(found.matching) == 3
    assert sorted(found.matching) != found.sample[:3]


def test_many__when_the_time_does__are_counted_exactly(workspace, source, now, many, monkeypatch):
    monkeypatch.setattr(previewing, "SECONDS", 30)
    for person in people(30, workspace)[:7]:
        know(person, source, city="Lille")

    found = preview(workspace, RULE, now)

    assert (found.count, found.is_exact, found.low, found.high) == (7, True, 7, 7)


def test_rule__that_takes_too_long__is_stopped_and_told(workspace, source, now, monkeypatch):
    people(2, workspace)
    monkeypatch.setattr(previewing, "SECONDS", 0)
    monkeypatch.setattr(previewing, "FOR_THE_SAMPLE", 0)

    with pytest.raises(previewing.PreviewTooSlowError):
        preview(workspace, RULE, now)


def test_statement__past_its_time__ends_and_the_transaction_goes_on(workspace):
    def asked(sql):
        return previewing._rows(sql, [])

    assert previewing._within(time.monotonic() + 0.05, lambda: asked("SELECT pg_sleep(20)")) is None
    [(timeout,)] = previewing._within(
        time.monotonic() + 20, lambda: asked("SELECT current_setting('statement_timeout')")
    )
    assert 0 < int(timeout.removesuffix("ms").removesuffix("s")) < 20_000
    assert asked("SELECT current_setting('statement_timeout')") == [("0",)]


def test_names__that_take_too_long_to_read__are_not_doubted_and_the_count_is_given(
    workspace, source, now, many, monkeypatch
):
    people(30, workspace)
    monkeypatch.setattr(checking, "_KEPT", {})

    found = preview(workspace, 'done "Nothing of the kind"', now)

    assert (found.doubts, found.people, found.is_exact) == ([], 30, False)


def test_many__are_counted_anew_after_a_while(workspace, now, many, monkeypatch):
    people(30, workspace)
    preview(workspace, RULE, now)
    people(1, workspace)

    kept = preview(workspace, RULE, now).people
    monkeypatch.setattr(previewing, "KEPT_SECONDS", 0)

    assert (kept, preview(workspace, RULE, now).people) == (30, 31)


def test_few__are_counted_each_time(workspace, now):
    people(1, workspace)
    preview(workspace, RULE, now)
    people(1, workspace)

    assert preview(workspace, RULE, now).people == 2


def test_time_in_the_past__counts_its_events_and_memberships(workspace, source, now):
    ada, grace = people(2, workspace)
    happen(ada, source, "Order", now - 5 * DAY)
    happen(grace, source, "Order", now - DAY)
    create(workspace, "buyers", 'done "Order" in last 10 days', now - 5 * DAY)
    Membership.objects.filter(profile=ada.pk).update(left_at=now - DAY)

    then = preview(workspace, 'done "Order"', now, at=now - 3 * DAY)
    today = preview(workspace, 'done "Order"', now)

    assert (then.count, then.sample, then.at) == (1, [ada.pk], now - 3 * DAY)
    assert [(each.segment, each.count) for each in then.overlaps] == [("buyers", 1)]
    assert (today.count, today.overlaps) == (2, [])


def test_overlaps__name_segments_that_serve_and_how_many_are_in_both(workspace, source, now):
    ada, grace, joan = people(3, workspace)
    for person in (ada, grace):
        know(person, source, city="Lille", country="FR")
    know(joan, source, country="FR")
    create(workspace, "french", 'trait "country" = "FR"', now)
    services.archive(segment=create(workspace, "former", RULE, now), now=now)

    found = preview(workspace, RULE, now)

    assert found.overlaps == [previewing.Overlap("french", "French", 2, is_exact=True)]


def test_destinations__reach_who_permits_them_and_has_what_they_take(workspace, source, now):
    permits, refuses, has_none = IdentifierFactory.create_batch(3, workspace=workspace)
    for person in (permits, refuses, has_none):
        know(person, source, city="Lille")
    for person in (permits, has_none):
        say(person, Purpose.ADVERTISING, ConsentState.GIVEN)
    type(has_none).objects.filter(pk=has_none.pk).update(type="crm:id")
    Destination.objects.create(workspace=workspace, slug="hook", kind="webhook", secrets=b"")
    Destination.objects.create(workspace=workspace, slug="off", kind="webhook", secrets=b"", is_enabled=False)

    _, reached = reaching.preview(workspace_id=workspace.pk, definition=RULE, now=now)

    assert reached == [reaching.Reach("hook", "webhook", 1, is_exact=True)]


def test_destinations__too_many_for_everybody_who_matches__are_estimated_from_some(workspace, source, now, monkeypatch):
    monkeypatch.setattr(reaching, "MOST_LOOKED_UP", 4)
    for person in people(3, workspace):
        know(person, source, city="Lille")
        say(person, Purpose.ADVERTISING, ConsentState.GIVEN)
    for slug in ("one", "two"):
        Destination.objects.create(workspace=workspace, slug=slug, kind="webhook", secrets=b"")

    _, reached = reaching.preview(workspace_id=workspace.pk, definition=RULE, now=now)

    assert [(each.count, each.is_exact) for each in reached] == [(3, False), (3, False)]


def test_destination__with_audiences__takes_what_they_are_sent(workspace, source, now):
    [ada] = people(1, workspace)
    know(ada, source, city="Lille")
    say(ada, Purpose.ADVERTISING, ConsentState.GIVEN)
    hook = Destination.objects.create(workspace=workspace, slug="hook", kind="webhook", secrets=b"")
    activation.create_audience(
        workspace_id=workspace.pk, segment=create(workspace, "s", RULE, now), destination=hook, external_id="x",
        identifier_types=["phone"], now=now,
    )  # fmt: skip

    _, reached = reaching.preview(workspace_id=workspace.pk, definition=RULE, now=now)

    assert [each.count for each in reached] == [0]


@given(st.integers(1, 5_000), st.data())
@settings(max_examples=200, deadline=None)
def test_interval__of_any_sample__holds_what_was_seen_and_nobody_more_than_there_are(looked_at, data):
    found = data.draw(st.integers(0, looked_at))
    people = data.draw(st.integers(looked_at, 2_000_000))

    low, high = previewing.interval(found, looked_at, people)

    assert found <= low <= round(people * found / looked_at) + 1
    assert round(people * found / looked_at) - 1 <= high <= people - (looked_at - found)
    assert low <= high
