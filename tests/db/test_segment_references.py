"""Segments that refer to segments: their order, what follows from what, and what is refused."""

from datetime import timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Stage
from consent import gate
from consent.models import ConsentState
from segments import backfill, lists, membership, queries, references, services
from segments.lists import By
from segments.models import Backfill, Membership, Segment, SegmentVersion
from tests import outbox
from tests.factories import SourceFactory, say
from tests.factories.segments import forget, happen, history, know, merge, people, split

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


def create(workspace, slug, rule, now) -> Segment:
    return services.create_segment(workspace_id=workspace.pk, slug=slug, name="", definition=rule, author=None, now=now)


def publish(segment, rule, now):
    return services.publish(segment=segment, definition=rule, author=None, now=now)


def evaluate(workspace, subjects, now):
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        return dict(membership.evaluate(permit, subjects, now=now))


def work(workspace, now):
    """What the pipeline does when deadlines may have come."""
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        return dict(membership.evaluate(permit, membership.due(permit, now=now, most=100), now=now))


def told(workspace) -> list[tuple[int, str]]:
    return [(subject, cause) for _, subject, cause in outbox.waiting(stage=Stage.ACTIVATION, workspace=workspace)]


def periods(segment):
    return history(Membership.objects.filter(segment=segment))


def test_arrival__that_changes_a_segment__changes_those_that_refer_to_it_in_the_same_step(workspace, source, now):
    ada, grace = people(2, workspace)
    third = create(workspace, "third", 'trait "x" = 1', now)  # made first, so that the order is not that of the ids
    buyers = create(workspace, "buyers", 'done "Order" in last 1 day', now)
    others = create(workspace, "others", 'not segment "buyers"', now)
    publish(third, 'not segment "others"', now)
    happen(ada, source, "Order", now + SECOND)

    changed = evaluate(workspace, {ada.pk: Cause.EVENT}, now + SECOND)

    assert changed == {ada.pk: Cause.EVENT}
    entered = (ada.pk, now + SECOND, Cause.EVENT, None, "")
    assert periods(buyers) == [entered]
    assert periods(others) == [
        (ada.pk, now, Cause.DEFINITION, now + SECOND, Cause.EVENT), (grace.pk, now, Cause.DEFINITION, None, ""),
    ]  # fmt: skip
    assert periods(third) == [entered]


def test_deadline__of_a_segment__changes_at_its_instant_those_that_refer_to_it_however_late_the_worker(
    workspace, source, now
):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    happen(ada, source, "Order", now + 3 * DAY)
    buyers = create(workspace, "buyers", 'done "Order" in last 1 day', now)
    others = create(workspace, "others", 'not segment "buyers"', now)
    third = create(workspace, "third", 'not segment "others"', now)

    changed = work(workspace, now + 10 * DAY)

    assert changed == {ada.pk: Cause.DEADLINE}
    first, last = (now, now + DAY), (now + 3 * DAY, now + 4 * DAY)
    assert periods(buyers) == [
        (ada.pk, first[0], Cause.DEFINITION, first[1], Cause.DEADLINE),
        (ada.pk, last[0], Cause.DEADLINE, last[1], Cause.DEADLINE),
    ]
    assert periods(others) == [
        (ada.pk, first[1], Cause.REFERENCE, last[0], Cause.REFERENCE),
        (ada.pk, last[1], Cause.REFERENCE, None, ""),
    ]
    assert periods(third) == [
        (ada.pk, first[0], Cause.DEFINITION, first[1], Cause.REFERENCE),
        (ada.pk, last[0], Cause.REFERENCE, last[1], Cause.REFERENCE),
    ]


def test_new_version__of_a_segment__changes_those_that_refer_to_it_and_tells_activation(workspace, source, now):
    ada, grace = people(2, workspace)
    know(ada, source, country="FR")
    know(grace, source, country="BE")
    french = create(workspace, "here", 'trait "country" = "FR"', now)
    others = create(workspace, "elsewhere", 'not segment "here"', now)
    nobody = create(workspace, "nobody", 'segment "elsewhere" and segment "here"', now)
    before = told(workspace)

    publish(french, 'trait "country" = "BE"', now + DAY)

    assert queries.members_of(others) == [ada.pk]
    assert periods(others) == [
        (ada.pk, now + DAY, Cause.REFERENCE, None, ""),
        (grace.pk, now, Cause.DEFINITION, now + DAY, Cause.REFERENCE),
    ]
    assert periods(nobody) == []
    assert sorted(told(workspace)[len(before) :]) == [
        (ada.pk, Cause.DEFINITION), (ada.pk, Cause.REFERENCE), (grace.pk, Cause.DEFINITION), (grace.pk, Cause.REFERENCE),
    ]  # fmt: skip


def test_referring_segment__published_late__reads_what_was_due_before(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    buyers = create(workspace, "buyers", 'done "Order" in last 1 day', now)

    others = create(workspace, "others", 'not segment "buyers"', now + 2 * DAY)

    assert periods(buyers) == [(ada.pk, now, Cause.DEFINITION, now + DAY, Cause.DEADLINE)]
    assert periods(others) == [(ada.pk, now + 2 * DAY, Cause.DEFINITION, None, "")]


def test_deadline__missed_in_another_segment__does_not_take_a_referring_one_back_in_time(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    create(workspace, "unrelated", 'done "Order" in last 1 day', now)
    create(workspace, "buyers", 'done "Order" in last 9 days', now)
    happen(ada, source, "View", now + 2 * DAY)
    both = create(workspace, "both", 'segment "buyers" and done "View"', now + 2 * DAY)

    work(workspace, now + 2 * DAY)

    assert periods(both) == [(ada.pk, now + 2 * DAY, Cause.DEFINITION, None, "")]


def test_withdrawal_merge_and_undo__are_felt_in_every_level(workspace, source, now):
    ada, other = people(2, workspace)
    happen(ada, source, "Order", now)
    happen(other, source, "Order", now)
    once = create(workspace, "once", 'count of "Order" = 1', now)
    same = create(workspace, "same", 'segment "once"', now)
    before = periods(same)

    merge(ada, other)
    evaluate(workspace, {ada.pk: Cause.MERGE, other.pk: Cause.MERGE}, now + DAY)
    merged = queries.members_of(once), queries.members_of(same)
    split(other)
    evaluate(workspace, {ada.pk: Cause.SPLIT, other.pk: Cause.SPLIT}, now + 2 * DAY)
    undone = periods(same)
    say(ada, Purpose.SEGMENTATION, ConsentState.WITHDRAWN)
    evaluate(workspace, {ada.pk: Cause.CONSENT}, now + 3 * DAY)

    assert merged == ([], [])
    assert undone == before
    assert queries.members_of(once) == queries.members_of(same) == [other.pk]
    assert periods(same)[0] == (ada.pk, now, Cause.DEFINITION, now + 3 * DAY, Cause.CONSENT)


def test_person__included_or_excluded_by_hand__is_so_whatever_the_rule_says_and_it_is_told_why(workspace, source, now):
    ada, grace, third = people(3, workspace)
    know(ada, source, country="FR")
    segment = create(workspace, "french", 'trait "country" = "FR"', now)
    same = create(workspace, "same", 'segment "french"', now)

    lists.exclude(segment=segment, profiles=[ada.pk], by=By(reason="asked"), now=now)
    lists.include(segment=segment, profiles=[grace.pk, ada.pk], by=By(), now=now)
    lists.exclude(segment=segment, profiles=[ada.pk], by=By(), now=now)
    evaluate(workspace, {person.pk: Cause.LIST for person in (ada, grace, third)}, now + SECOND)

    assert queries.members_of(segment) == queries.members_of(same) == [grace.pk]
    assert periods(segment) == [
        (ada.pk, now, Cause.DEFINITION, now + SECOND, Cause.LIST), (grace.pk, now + SECOND, Cause.LIST, None, ""),
    ]  # fmt: skip
    why = services.why(workspace_id=workspace.pk, slug="french", profile_id=ada.pk, now=now + SECOND)
    assert (why.is_in, [(each.condition, each.is_true) for each in why.reasons]) == (
        False, [('trait "country" = "FR"', True), ('listed "+french"', False), ('listed "-french"', True)],
    )  # fmt: skip

    publish(segment, 'trait "country" = "BE"', now + DAY)
    assert queries.members_of(segment) == [grace.pk]
    lists.leave_to_rule(segment=segment, profiles=[grace.pk], by=By(), now=now + DAY)
    evaluate(workspace, {grace.pk: Cause.LIST}, now + DAY)
    assert queries.members_of(segment) == queries.members_of(same) == []


def test_circle__of_any_length__is_refused_with_its_path_and_nothing_is_published(workspace, now):
    a = create(workspace, "a", 'trait "x" = 1', now)
    create(workspace, "b", 'segment "a"', now)
    create(workspace, "c", 'trait "y" = 1 or not segment "b"', now)

    with pytest.raises(references.CircularReferenceError, match="a → c → b → a") as refused:
        publish(a, 'segment "c"', now)
    with pytest.raises(references.CircularReferenceError, match="a → a"):
        publish(a, 'trait "x" = 2 and segment "a"', now)

    assert refused.value.details == {"path": ["a", "c", "b", "a"]}
    assert SegmentVersion.objects.count() == 3


def test_ranking_among_a_segment__counts_as_a_reference(workspace, now):
    a = create(workspace, "a", 'trait "x" = 1', now)
    create(workspace, "b", 'top 10 by count of "Order" among segment "a"', now)

    with pytest.raises(references.CircularReferenceError, match="a → b → a"):
        publish(a, 'segment "b"', now)


def test_reference__to_a_segment_that_does_not_serve__is_refused(workspace, now):
    gone = create(workspace, "gone", 'trait "x" = 1', now)
    services.archive(segment=gone, now=now)

    with pytest.raises(references.UnknownReferenceError, match="gone, never"):
        create(workspace, "a", 'segment "gone" or segment "never"', now)

    assert not Segment.objects.filter(slug="a").exists()


def test_segment__that_another_one_needs__is_not_archived(workspace, source, now):
    [ada] = people(1, workspace)
    know(ada, source, x=1)
    a = create(workspace, "a", 'trait "x" = 1', now)
    b = create(workspace, "b", 'segment "a"', now)

    with pytest.raises(references.SegmentNeededError, match="Segments refer to a: b"):
        services.archive(segment=a, now=now)

    a.refresh_from_db()
    assert a.archived_at is None
    assert queries.members_of(a) == [ada.pk]
    assert services.archive(segment=b, now=now) == 1
    assert services.archive(segment=a, now=now) == 1


# -- versions that are computed beside the one that serves ----------------------------------------------------------


@pytest.fixture
def large(monkeypatch):
    """A workspace in which a version is computed slice by slice."""
    monkeypatch.setattr(backfill, "AT_ONCE", 0)
    monkeypatch.setattr(backfill, "SLICE", 1)


def test_version_under_way__hears_of_what_changes_in_a_segment_that_it_refers_to(workspace, source, now, large):
    ada, _ = people(2, workspace)
    buyers = create(workspace, "buyers", 'done "Order" in last 1 day', now)
    backfill.finish(workspace_id=workspace.pk, clock=lambda: now)
    happen(ada, source, "Order", now)
    evaluate(workspace, {ada.pk: Cause.EVENT}, now)

    others = create(workspace, "others", 'not segment "buyers" and trait "x" exists', now)
    know(ada, source, x=1)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        under_way = Backfill.objects.get()
        for _ in range(3):
            backfill._advance(permit, under_way, lambda: now)  # turn by turn
    work(workspace, now + 2 * DAY)
    backfill.finish(workspace_id=workspace.pk, clock=lambda: now + 2 * DAY)

    assert queries.members_of(buyers) == []
    assert queries.members_of(others) == [ada.pk]
    assert not Backfill.objects.exists()


def test_circle__with_a_version_under_way__is_refused(workspace, now, large):
    a = create(workspace, "a", 'trait "x" = 1', now)
    b = create(workspace, "b", 'trait "x" = 1', now)
    backfill.finish(workspace_id=workspace.pk, clock=lambda: now)
    publish(a, 'segment "b"', now)

    with pytest.raises(references.CircularReferenceError, match="b → a → b"):
        publish(b, 'segment "a"', now)
    with pytest.raises(references.SegmentNeededError):
        services.archive(segment=b, now=now)


# -- always ---------------------------------------------------------------------------------------------------------

BASES = ('done "Order" in last 2 days', 'count of "Order" in last 3 days >= 2', 'trait "x" = 1', 'done "View"')


@st.composite
def chains(draw):
    """Rules of which each may refer to those before it: s0, s1, …"""
    rules = [draw(st.sampled_from(BASES)), draw(st.sampled_from(BASES))]
    for place in range(2, draw(st.integers(3, 5))):
        one, other = (draw(st.integers(0, place - 1)) for _ in range(2))
        negation = draw(st.sampled_from(["", "not "]))
        last = draw(st.sampled_from([f'segment "s{other}"', *BASES]))
        rules.append(f'{negation}segment "s{one}" {draw(st.sampled_from(["and", "or"]))} {last}')
    return rules


def inlined(rules, place) -> str:
    text = rules[place]
    for other in reversed(range(place)):
        text = text.replace(f'segment "s{other}"', f"({inlined(rules, other)})")
    return text


moves = st.one_of(
    st.tuples(st.just("happen"), st.integers(0, 1), st.sampled_from(["Order", "View"]), st.integers(-4, 2)),
    st.tuples(st.just("know"), st.integers(0, 1), st.booleans()),
    st.tuples(st.just("wait"), st.integers(1, 60)),
    st.tuples(st.just("publish"), st.integers(0, 1), st.sampled_from(BASES)),
)


@pytest.mark.slow
@given(chains(), st.lists(moves, min_size=1, max_size=5))
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_referring_segments__whatever_happens__are_always_the_inlined_rules(workspace, now, rules, steps):
    with transaction.atomic():
        source, persons, at = SourceFactory(workspace=workspace), people(2, workspace), now
        segments = [create(workspace, f"s{place}", rule, at) for place, rule in enumerate(rules)]
        twins = [create(workspace, f"twin{place}", inlined(rules, place), at) for place in range(len(rules))]
        for kind, *rest in steps:
            touched = {}
            if kind == "happen":
                person = persons[rest[0]]
                happen(person, source, rest[1], at + rest[2] * DAY / 2)
                touched = {person.pk: Cause.EVENT}
            elif kind == "know":
                person = persons[rest[0]]
                know(person, source, x=1) if rest[1] else forget(person, "x")
                touched = {person.pk: Cause.LEARNT}
            elif kind == "wait":
                at += rest[0] * timedelta(hours=1)
            else:
                place, rules[rest[0]] = rest
                publish(segments[place], rules[place], at)
                for other, twin in enumerate(twins):
                    publish(twin, inlined(rules, other), at)
            with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
                waiting = membership.due(permit, now=at, most=100)
                membership.evaluate(permit, {**waiting, **touched}, now=at)

            for segment, twin in zip(segments, twins, strict=True):
                assert queries.members_of(segment) == queries.members_of(twin)
                assert [row[:2] + row[3:4] for row in periods(segment)] == [row[:2] + row[3:4] for row in periods(twin)]
        transaction.set_rollback(True)
