"""A version is computed beside the one that serves: whatever happens meanwhile, the swap is what is true at its instant."""

from datetime import datetime, timedelta
from unittest.mock import Mock

import pytest
from django.db import OperationalError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, OutboxRow, Run, RunState, Stage
from consent import gate
from consent.models import ConsentState
from segments import backfill, membership, publishing, queries
from segments.language import parse_text
from segments.models import Backfill, BackfillTouch, Deadline, Membership, Segment, StagedAnswer
from tests import outbox
from tests.factories import SourceFactory, say
from tests.factories.segments import happen, history, know, merge, people, split

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
RULE = 'done "Order" in last 2 days'


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


@pytest.fixture
def large(monkeypatch):
    """A workspace of three is a large one, and is looked at two by two; one may be left for the swap."""
    monkeypatch.setattr(backfill, "AT_ONCE", 2)
    monkeypatch.setattr(backfill, "SLICE", 2)
    monkeypatch.setattr(backfill, "LARGEST_SLICE", 2)
    monkeypatch.setattr(backfill, "SMALLEST_SLICE", 1)
    monkeypatch.setattr(backfill, "LEFT_FOR_THE_SWAP", 1)
    monkeypatch.setattr(backfill, "DEADLINES_AT_ONCE", 1)


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def create(workspace, rule, now, slug="segment") -> Segment:
    return publishing.create_segment(
        workspace_id=workspace.pk, slug=slug, name="", definition=rule, author=None, now=now
    )


def publish(segment, rule, now):
    return publishing.publish(segment=segment, definition=rule, author=None, now=now)


def turn(workspace, now) -> int:
    return backfill.work(workspace_id=workspace.pk, clock=Clock(now), seconds=0)


def finish(workspace, now) -> None:
    backfill.finish(workspace_id=workspace.pk, clock=Clock(now))


def evaluate(workspace, subjects, now) -> None:
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        due = membership.due(permit, now=now, most=100)
        membership.evaluate(permit, {**due, **subjects}, now=now)


def matching(workspace, rule, now) -> list[int]:
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        return list(queries.matching(permit, parse_text(rule), now=now).members)


def told(workspace) -> list[tuple[int, str]]:
    return [(subject, cause) for _, subject, cause in outbox.waiting(stage=Stage.ACTIVATION, workspace=workspace)]


def test_version__in_a_large_workspace__serves_when_it_is_computed(workspace, source, now, large):
    stays, goes, comes = people(3, workspace)
    for person in (stays, goes):
        happen(person, source, "Order", now - DAY)
    for person in (stays, comes):
        know(person, source, city="Lille")
    segment = create(workspace, RULE, now)
    finish(workspace, now)
    OutboxRow.objects.all().delete()

    published = publish(segment, 'trait "city" = "Lille"', now + SECOND)
    before = queries.members_of(segment)
    finish(workspace, now + 2 * SECOND)

    segment.refresh_from_db()
    assert (published.is_serving, published.members, before) == (False, 2, [stays.pk, goes.pk])
    assert (segment.live_version, segment.computed_at) == (published.version, now + 2 * SECOND)
    assert history(Membership.objects.filter(profile__in=[goes.pk, comes.pk])) == [
        (goes.pk, now, Cause.DEFINITION, now + 2 * SECOND, Cause.DEFINITION),
        (comes.pk, now + 2 * SECOND, Cause.DEFINITION, None, ""),
    ]
    assert sorted(told(workspace)) == [(goes.pk, Cause.DEFINITION), (comes.pk, Cause.DEFINITION)]
    run = Run.objects.get(pk=published.run.pk)
    assert (run.state, run.finished_at) == (RunState.DONE, now + 2 * SECOND)
    assert run.counts == {"looked_at": 3, "people": 3, "entered": 1, "left": 1, "members": 2}
    assert not Backfill.objects.exists()
    assert not StagedAnswer.objects.exists()


def test_version__in_a_small_workspace__serves_at_once_and_says_how_long_it_took(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)

    published = publish(create(workspace, 'done "View"', now), RULE, now)

    assert (published.is_serving, published.entered, published.left, published.members) == (True, 1, 0, 1)
    assert published.run.counts == {"entered": 1, "left": 0, "members": 1}
    assert published.run.finished_at >= now
    assert not Backfill.objects.exists()


def test_arrival__after_its_slice__is_in_at_the_swap(workspace, source, now, large):
    first, *_ = people(3, workspace)
    create(workspace, RULE, now)
    assert turn(workspace, now) == 1  # the first two

    happen(first, source, "Order", now)
    evaluate(workspace, {first.pk: Cause.EVENT}, now)
    assert list(BackfillTouch.objects.values_list("profile_id", flat=True)) == [first.pk]
    finish(workspace, now + SECOND)

    assert queries.members_of(Segment.objects.get()) == [first.pk]
    assert not BackfillTouch.objects.exists()


def test_answer__that_time_changes_before_the_swap__is_that_of_the_swap(workspace, source, now, large):
    ada, *_ = people(3, workspace)
    happen(ada, source, "Order", now - 2 * DAY + SECOND)
    create(workspace, RULE, now)
    while turn(workspace, now) and not Run.objects.get().bookmark["is_sliced"]:
        pass
    assert StagedAnswer.objects.get().is_in

    finish(workspace, now + SECOND)

    assert not Membership.objects.exists()
    assert not Deadline.objects.exists()


def test_deadlines__written_before_the_swap_of_a_version_that_is_given_up__end_nothing(workspace, source, now, large):
    persons = people(3, workspace)
    for person in persons:
        happen(person, source, "Order", now)
    segment = create(workspace, RULE, now)
    while not Deadline.objects.exists():
        assert turn(workspace, now) == 1
    assert (Deadline.objects.count(), Membership.objects.exists()) == (1, False)
    turn(workspace, now)
    assert (Deadline.objects.count(), Membership.objects.exists()) == (2, False)

    publishing.cancel_publication(segment=segment, now=now)
    evaluate(workspace, {person.pk: Cause.DEADLINE for person in persons}, now + 2 * DAY)

    assert not Deadline.objects.exists()
    assert not Membership.objects.exists()


def test_swap__while_many_deadlines_are_late__comes_after_them(workspace, source, now, large):
    for person in people(3, workspace):
        happen(person, source, "Order", now)
    create(workspace, 'done "Order" in last 1 day', now, slug="leaving")
    finish(workspace, now)
    create(workspace, RULE, now + 3 * DAY / 2, slug="entering")

    finish(workspace, now + 3 * DAY / 2)

    leaving, entering = (Membership.objects.filter(segment__slug=slug) for slug in ("leaving", "entering"))
    assert {(row.left_at, row.left_cause) for row in leaving} == {(now + DAY, Cause.DEADLINE)}
    assert {(row.entered_at, row.left_at) for row in entering} == {(now + 3 * DAY / 2, None)}


def test_person__who_withdraws_before_the_swap__does_not_enter(workspace, source, now, large):
    ada, *_ = people(3, workspace)
    happen(ada, source, "Order", now)
    create(workspace, RULE, now)
    turn(workspace, now)

    say(ada, Purpose.SEGMENTATION, ConsentState.REFUSED)
    finish(workspace, now)

    assert not Membership.objects.exists()


def test_worker__that_is_killed_in_a_turn__is_followed_by_one_that_goes_on(workspace, source, now, large, monkeypatch):
    persons = people(5, workspace)
    for person in persons:
        happen(person, source, "Order", now)
    create(workspace, RULE, now)
    turn(workspace, now)
    at_first = Run.objects.values("position", "counts", "heartbeat_at").get()

    with monkeypatch.context() as broken:
        broken.setattr(backfill, "_save_progress", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            turn(workspace, now)
    assert Run.objects.values("position", "counts", "heartbeat_at").get() == at_first
    finish(workspace, now)

    assert queries.members_of(Segment.objects.get()) == [person.pk for person in persons]
    assert Run.objects.get().counts["looked_at"] == 5


def test_run__that_fails__is_tried_with_fewer_and_fails_where_people_see_it(workspace, source, now, large, monkeypatch):
    people(3, workspace)
    segment = create(workspace, RULE, now)
    monkeypatch.setattr(backfill, "_stage", Mock(side_effect=OperationalError("secret")))

    for _ in range(backfill.MOST_FAILURES - 1):
        assert turn(workspace, now) == 0
    run = Run.objects.get()
    assert (run.state, run.error, run.bookmark["slice"]) == (RunState.RUNNING, "OperationalError", 1)
    assert turn(workspace, now) == 0

    run.refresh_from_db()
    assert (run.state, run.error) == (RunState.FAILED, "OperationalError")
    assert not Backfill.objects.exists()
    segment.refresh_from_db()
    assert segment.live_version is None


def test_run__that_fails_once__says_nothing_of_it_when_it_goes_on(workspace, now, large, monkeypatch):
    people(3, workspace)
    create(workspace, RULE, now)
    with monkeypatch.context() as broken:
        broken.setattr(backfill, "_stage", Mock(side_effect=OperationalError))
        turn(workspace, now)

    finish(workspace, now)

    run = Run.objects.get()
    assert (run.state, run.error, run.bookmark["failures"]) == (RunState.DONE, "", 0)


def test_second_version__takes_the_place_of_one_that_is_computed(workspace, source, now, large):
    ada, grace, _ = people(3, workspace)
    happen(ada, source, "Order", now)
    know(grace, source, city="Lille")
    segment = create(workspace, RULE, now)
    turn(workspace, now)

    publish(segment, 'trait "city" = "Lille"', now)
    finish(workspace, now)

    assert list(Run.objects.order_by("pk").values_list("state", flat=True)) == [RunState.CANCELLED, RunState.DONE]
    assert queries.members_of(segment) == [grace.pk]
    assert history(Membership.objects.filter(profile=ada.pk)) == []


def test_cancelled__it_leaves_the_version_that_serves(workspace, source, now, large):
    ada, *_ = people(3, workspace)
    happen(ada, source, "Order", now)
    segment = create(workspace, RULE, now)
    finish(workspace, now)
    publish(segment, 'done "View"', now)
    turn(workspace, now)

    assert publishing.cancel_publication(segment=segment, now=now)
    assert not publishing.cancel_publication(segment=segment, now=now)
    finish(workspace, now)

    segment.refresh_from_db()
    assert (segment.live_version.number, queries.members_of(segment)) == (1, [ada.pk])
    assert not StagedAnswer.objects.exists()


def test_run__cancelled_among_the_runs__ends_at_the_next_turn(workspace, now, large):
    people(3, workspace)
    segment = create(workspace, RULE, now)
    Run.objects.update(state=RunState.CANCELLED)

    finish(workspace, now)

    segment.refresh_from_db()
    assert segment.live_version is None
    assert not Backfill.objects.exists()


def test_archived__while_it_is_computed__it_does_not_come_back(workspace, source, now, large):
    ada, *_ = people(3, workspace)
    happen(ada, source, "Order", now)
    segment = create(workspace, RULE, now)
    finish(workspace, now)
    publish(segment, RULE, now)

    publishing.archive(segment=segment, now=now)
    finish(workspace, now)

    segment.refresh_from_db()
    assert (segment.archived_at, queries.members_of(segment)) == (now, [])


def test_going_back__publishes_the_former_definition_as_a_new_version(workspace, source, now):
    ada, grace = people(2, workspace)
    happen(ada, source, "Order", now)
    know(grace, source, city="Lille")
    segment = create(workspace, RULE, now)
    publish(segment, 'trait "city" = "Lille"', now)

    published = publishing.go_back(segment=segment, number=1, author=None, now=now)

    assert (published.version.number, published.entered, published.left) == (3, 1, 1)
    assert queries.members_of(segment) == [ada.pk]


def test_versions_of_two_segments__are_computed_one_after_the_other(workspace, source, now, large):
    people(3, workspace)
    create(workspace, RULE, now, "first")
    create(workspace, RULE, now, "second")

    turn(workspace, now)

    looked_at = dict(Run.objects.values_list("subject", "counts__looked_at"))
    assert looked_at == {"first": 2, "second": 0}


RULES = (
    RULE,
    'not done "Order" in last 1 day',
    'count of "Order" in last 2 days >= 2 or trait "city" = "Lille"',
    'done "Order" and not done "View" in last 2 days',
)
steps = st.one_of(
    st.tuples(st.just("turn"), st.integers(0, 3)),
    st.tuples(st.just("happen"), st.integers(0, 3), st.sampled_from(["Order", "View"]), st.integers(-3, 1)),
    st.tuples(st.just("pass"), st.sampled_from([SECOND, DAY / 2, DAY, DAY + SECOND])),
    st.tuples(st.just("merge"), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("split"), st.integers(0, 3)),
    st.tuples(st.just("refuse"), st.integers(0, 3)),
    st.tuples(st.just("know"), st.integers(0, 3)),
)


class Meanwhile:
    """What the pipeline does while a version is computed: every fact is followed by the evaluation of whom it touches."""

    def __init__(self, workspace, source, now) -> None:
        self.workspace, self.source, self.now = workspace, source, now
        self.people = people(4, workspace)
        self.refused: set[int] = set()

    def do(self, name: str, *given) -> None:
        getattr(self, f"do_{name}")(*given)

    def do_turn(self, number: int) -> None:
        for _ in range(number):
            turn(self.workspace, self.now)

    def do_pass(self, time: timedelta) -> None:
        self.now += time
        evaluate(self.workspace, {}, self.now)

    def do_happen(self, place: int, name: str, days: int) -> None:
        happen(self.people[place], self.source, name, self.now + days * DAY)
        evaluate(self.workspace, {self.people[place].profile_id: Cause.EVENT}, self.now)

    def do_know(self, place: int) -> None:
        know(self.people[place], self.source, city="Lille")
        evaluate(self.workspace, {self.people[place].profile_id: Cause.LEARNT}, self.now)

    def do_refuse(self, place: int) -> None:
        if place in self.refused:
            return
        self.refused.add(place)
        say(self.people[place], Purpose.SEGMENTATION, ConsentState.REFUSED)
        evaluate(self.workspace, {self.people[place].profile_id: Cause.CONSENT}, self.now)

    def do_merge(self, survivor: int, other: int) -> None:
        one, two = self.people[min(survivor, other)], self.people[max(survivor, other)]
        if one.profile_id == one.pk and two.profile_id == two.pk and one is not two and not self._has_others(two):
            merge(one, two)
            evaluate(self.workspace, {one.pk: Cause.MERGE, two.pk: Cause.MERGE}, self.now)

    def do_split(self, place: int) -> None:
        one = self.people[place]
        if (former := one.profile_id) != one.pk:
            split(one)
            evaluate(self.workspace, {former: Cause.SPLIT, one.pk: Cause.SPLIT}, self.now)

    def _has_others(self, person) -> bool:
        return any(each.profile_id == person.pk for each in self.people if each is not person)


@pytest.mark.slow
@given(st.sampled_from(RULES), st.sampled_from(RULES), st.lists(steps, max_size=12))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_swap__whatever_happened_meanwhile__is_a_computation_at_its_instant(
    workspace, source, now, large, before, after, happenings
):
    with transaction.atomic():
        world = Meanwhile(workspace, source, now)
        segment = create(workspace, before, now)
        finish(workspace, now)
        publish(segment, after, now)

        for step in happenings:
            world.do(*step)
        finish(workspace, world.now)
        evaluate(workspace, {}, world.now)

        segment.refresh_from_db()
        assert segment.live_version.number == 2
        assert queries.members_of(segment) == matching(workspace, after, world.now)
        for later in (DAY / 2, DAY, 2 * DAY, 4 * DAY):
            evaluate(workspace, {}, world.now + later)
            assert queries.members_of(segment) == matching(workspace, after, world.now + later)
        transaction.set_rollback(True)
    connection.needs_rollback = False
