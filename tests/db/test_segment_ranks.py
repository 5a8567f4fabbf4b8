"""Rankings: where they end, when they are found anew, and who hears of it."""

from datetime import timedelta
from decimal import Decimal

import pytest

from cdp import pipeline, tasks
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, OutboxRow, Stage
from consent import gate
from segments import lists, membership, queries, ranks, services
from segments.models import Membership, RankThreshold, Segment
from tests import outbox
from tests.factories import SourceFactory
from tests.factories.segments import happen, history, know, people

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
TOP_TWO = 'top 2 by sum of "amount" of "Order"'


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


def create(workspace, slug, rule, now) -> Segment:
    return services.create_segment(workspace_id=workspace.pk, slug=slug, name="", definition=rule, author=None, now=now)


def buyers(workspace, source, now, *amounts):
    """One person for each amount, who spent it."""
    persons = people(len(amounts), workspace)
    for person, amount in zip(persons, amounts, strict=True):
        if amount is not None:
            happen(person, source, "Order", now, {"amount": amount})
    return persons


def evaluate(workspace, subjects, now):
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        return dict(membership.evaluate(permit, subjects, now=now))


def handed_over(workspace) -> list[tuple[int, str]]:
    return sorted((subject, cause) for _, subject, cause in outbox.waiting(stage=Stage.SEGMENTS, workspace=workspace))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('top 2 by sum of "amount" of "Order"', [0, 1]),
        ('top 3 by sum of "amount" of "Order"', [0, 1, 2]),
        ('top 99 by sum of "amount" of "Order"', [0, 1, 2, 3]),
        ('lowest 1 by sum of "amount" of "Order"', [3]),
        ('top 50% by sum of "amount" of "Order"', [0, 1, 2]),
        ('top 1% by sum of "amount" of "Order"', [0]),
        ('lowest 25% by sum of "amount" of "Order"', [3]),
        ('not top 2 by sum of "amount" of "Order"', [2, 3, 4]),
        ('top 1 by trait "age"', [4]),
        ('top 5 by count of "Never"', []),
        ('top 2 by sum of "amount" of "Order" among segment "late"', [2, 3]),
    ],
)
def test_ranking__of_amounts_with_ties__has_inside_whom_it_says(workspace, source, now, rule, expected):
    persons = buyers(workspace, source, now, 30, 20, 20, Decimal("19.999999999"), None)
    know(persons[4], source, age=40)
    know(persons[2], source, age="41")
    for person in persons[2:]:
        know(person, source, late=True)
    create(workspace, "late", 'trait "late" = true', now)

    segment = create(workspace, "ranked", rule, now)

    wanted = [persons[place].pk for place in expected]
    assert queries.members_of(segment) == wanted
    for engine in ("postgres", "reference"):
        found = services.find_matching(workspace_id=workspace.pk, definition=rule, engine=engine, now=now)
        assert found.members == wanted


def test_ranking__of_one_leaf_in_two_segments__is_found_once_and_frozen(workspace, source, now):
    persons = buyers(workspace, source, now, 30, 20, 10)
    create(workspace, "first", TOP_TWO, now)
    happen(persons[2], source, "Order", now + HOUR, {"amount": 15})

    second = create(workspace, "second", f'{TOP_TWO} and not trait "x" exists', now + HOUR)
    evaluate(workspace, {persons[2].pk: Cause.EVENT}, now + HOUR)

    row = RankThreshold.objects.get()
    assert (row.value, row.profile_id, row.population) == (20, persons[1].pk, 3)
    assert (row.computed_at, row.refresh_at) == (now, now + DAY)
    # By the frozen end the third is inside as well, until the ranking is found anew.
    assert queries.members_of(second) == [person.pk for person in persons]


def test_refresh__that_is_due__hands_over_those_between_the_ends_and_nobody_else(workspace, source, now):
    persons = buyers(workspace, source, now, 50, 40, 30, 20, 10)
    segment = create(workspace, "ranked", TOP_TWO, now)
    happen(persons[3], source, "Order", now + HOUR, {"amount": 25})  # 45
    evaluate(workspace, {persons[3].pk: Cause.EVENT}, now + HOUR)
    inside_meanwhile = queries.members_of(segment)
    OutboxRow.objects.all().delete()

    assert ranks.refresh_due(workspace_id=workspace.pk, now=now + DAY - HOUR) == 0
    assert ranks.refresh_due(workspace_id=workspace.pk, now=now + DAY) == 1
    told = handed_over(workspace)
    evaluate(workspace, dict(told), now + DAY)

    assert inside_meanwhile == [persons[0].pk, persons[1].pk, persons[3].pk]
    assert told == [(persons[1].pk, Cause.RANK)]
    assert queries.members_of(segment) == [persons[0].pk, persons[3].pk]
    assert history(Membership.objects.filter(profile=persons[1].pk)) == [
        (persons[1].pk, now, Cause.DEFINITION, now + DAY, Cause.RANK)
    ]
    row = RankThreshold.objects.get()
    assert (row.value, row.profile_id, row.refresh_at, row.is_spread) == (45, persons[3].pk, now + 2 * DAY, True)
    assert ranks.refresh_due(workspace_id=workspace.pk, now=now + DAY) == 0


def test_refresh__killed_before_it_told_anybody__is_told_by_the_next_one(workspace, source, now, monkeypatch):
    persons = buyers(workspace, source, now, 50, 40, 30)
    create(workspace, "ranked", TOP_TWO, now)
    happen(persons[2], source, "Order", now, {"amount": 15})
    monkeypatch.setattr(ranks, "_spread_next", lambda *_: False)
    ranks.refresh_due(workspace_id=workspace.pk, now=now + DAY)
    assert handed_over(workspace) == []
    monkeypatch.undo()

    assert ranks.refresh_due(workspace_id=workspace.pk, now=now + DAY) == 0

    assert handed_over(workspace) == [(persons[1].pk, Cause.RANK)]


def test_ranking__that_no_segment_uses_any_more__is_forgotten(workspace, source, now):
    buyers(workspace, source, now, 50, 40)
    segment = create(workspace, "ranked", TOP_TWO, now)
    services.archive(segment=segment, now=now)

    ranks.refresh_due(workspace_id=workspace.pk, now=now + DAY)

    assert not RankThreshold.objects.exists()


def test_ranking__of_how_long_ago__hands_over_everybody_for_all_deadlines_move(workspace, source, now):
    persons = people(3, workspace)
    for place, person in enumerate(persons):
        happen(person, source, "Order", now - place * DAY)
    create(workspace, "ranked", 'lowest 2 by days since last "Order"', now)
    OutboxRow.objects.all().delete()

    ranks.refresh_due(workspace_id=workspace.pk, now=now + DAY)

    assert handed_over(workspace) == [(person.pk, Cause.RANK) for person in persons]


def test_segment_by_hand_and_rank__together__are_both_felt(workspace, source, now):
    persons = buyers(workspace, source, now, 50, 40, 30)
    segment = create(workspace, "ranked", TOP_TWO, now)

    lists.exclude(segment=segment, profiles=[persons[0].pk], by=lists.By(), now=now)
    lists.include(segment=segment, profiles=[persons[2].pk], by=lists.By(), now=now)
    evaluate(workspace, {person.pk: Cause.LIST for person in persons}, now)

    assert queries.members_of(segment) == [persons[1].pk, persons[2].pk]


@pytest.mark.parametrize(("refreshed", "woken"), [(0, []), (2, [Stage.SEGMENTS])])
def test_task__that_found_rankings_anew__wakes_segments(workspace, monkeypatch, refreshed, woken):
    asked, told = [], []
    monkeypatch.setattr(pipeline, "open_workspaces", lambda: [workspace.pk])
    monkeypatch.setattr(ranks, "refresh_due", lambda **given: asked.append(given["workspace_id"]) or refreshed)
    monkeypatch.setattr(tasks, "wake", lambda stage, **_: told.append(stage))

    tasks.refresh_ranks()

    assert (asked, told) == ([workspace.pk], woken)


def test_members_of_a_ranked_segment__leave_the_ranking_when_they_leave_whom_it_is_among(workspace, source, now):
    persons = buyers(workspace, source, now, 50, 40, 30)
    for person in persons[:2]:
        happen(person, source, "View", now)
    create(workspace, "viewers", 'done "View" in last 1 day', now)
    segment = create(workspace, "ranked", f'{TOP_TWO} among segment "viewers"', now)
    before = queries.members_of(segment)

    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        membership.evaluate(permit, membership.due(permit, now=now + DAY, most=10), now=now + DAY)

    assert before == [persons[0].pk, persons[1].pk]
    assert history(Membership.objects.filter(segment=segment)) == [
        (person.pk, now, Cause.DEFINITION, now + DAY, Cause.REFERENCE) for person in persons[:2]
    ]


def test_ends__of_a_segment__say_since_when_they_hold_and_until(workspace, source, now):
    buyers(workspace, source, now, 50, 40)
    segment = create(workspace, "ranked", f"{TOP_TWO} refreshed every 6 hours", now)
    plain = create(workspace, "plain", 'done "Order"', now)

    [end] = ranks.ends_of(segment)

    assert end == ranks.End(f"{TOP_TWO} refreshed every 6 hours", 2, now, now + 6 * HOUR)
    assert ranks.ends_of(plain) == []
