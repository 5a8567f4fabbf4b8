"""Learning from profiles: who is learnt from, what is stored, who is evaluated anew."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Event, Identifier, OutboxRow, Run, RunState, Stage
from consent import gate
from consent.models import ConsentState
from segments.learned import runs
from segments.learned.assignment import assign
from segments.learned.clustering import NoGroupsError
from segments.learned.features import customers_in
from segments.learned.runs import UnknownModelError
from segments.learned.specification import SpecificationError
from segments.learned.training import NobodyToLearnFromError
from segments.models import LearnedModel, Score
from tests.factories import IdentifierFactory, SourceFactory, say

SPECIFICATION = {"name": "value-groups", "k": {"min": 2, "max": 4}, "minimum_size": 10, "resamples": 5}
PEOPLE = 60


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


@pytest.fixture
def customers(workspace, source, now):
    """Twenty who buy often and lately, forty who came once long ago; a little different from each other."""
    people = IdentifierFactory.create_batch(PEOPLE, workspace=workspace)
    for number, person in enumerate(people):
        days, times, money = (3, 8, 50) if number < 20 else (300, 1, 10)
        buy(
            person,
            source,
            [now - timedelta(days=days + number % 5 + 2 * time) for time in range(times)],
            money + number % 7,
        )
    return people


def buy(person, source, times, money, name="Order Completed"):
    Event.objects.bulk_create(
        Event(
            workspace_id=source.workspace_id, source=source, identifier=person, kind="track", name=name,
            message_id=f"{person.pk}-{at.isoformat()}-{money}", occurred_at=at, received_at=at, seen_with=[],
            properties={"revenue": money}, context={},
        )
        for at in times
    )  # fmt: skip


def learn(workspace, now, **more):
    return runs.learn(workspace_id=workspace.pk, specification={**SPECIFICATION, **more}, input_file=None, now=now)


def scores():
    return dict(Score.objects.values_list("profile_id", "group"))


def waiting_for_segments():
    return sorted(
        OutboxRow.objects.filter(stage=Stage.SEGMENTS, cause=Cause.DEFINITION).values_list("subject_id", flat=True)
    )


def test_learn__from_profiles__gives_each_a_group(workspace, customers, now):
    report = learn(workspace, now)

    assert report["model"] == "value-groups v1"
    assert report["chosen"]["k"] == 2
    assert [(group["group"], group["size"]) for group in report["chosen"]["groups"]] == [
        ("loyal", 20),
        ("came-and-went", 40),
    ]
    assert scores() == {
        person.pk: "loyal" if number < 20 else "came-and-went" for number, person in enumerate(customers)
    }
    assert waiting_for_segments() == [person.pk for person in customers]
    assert report["stability"]["adjusted_rand"] == pytest.approx(1.0)
    assert report["metrics"]["silhouette"] > 0.8
    assert {each["k"] for each in report["metrics"]["criteria"]} == {2, 3, 4}


def test_learn__again_from_the_same_input__changes_nothing(workspace, customers, now):
    first = learn(workspace, now)
    before = scores()
    OutboxRow.objects.all().delete()

    second = learn(workspace, now)

    assert {**second, "seconds": None} == {**first, "seconds": None}
    assert scores() == before
    assert waiting_for_segments() == []
    assert LearnedModel.objects.count() == 1


def test_learn__after_purchases__hands_over_only_who_changed(workspace, source, customers, now):
    learn(workspace, now)
    OutboxRow.objects.all().delete()
    risen = customers[-1]
    buy(risen, source, [now - timedelta(days=2 + 2 * time) for time in range(8)], 55)

    report = learn(workspace, now)

    assert report["model"] == "value-groups v2"
    assert scores()[risen.pk] == "loyal"
    assert waiting_for_segments() == [risen.pk]
    assert set(Score.objects.values_list("model__version", flat=True)) == {2}


def test_learn__from_people_who_withdrew__sees_only_the_others(workspace, customers, now):
    withdrawn = customers[0]
    say(withdrawn, Purpose.LEARNING, ConsentState.WITHDRAWN)

    report = learn(workspace, now)

    assert report["metrics"]["customers"] == PEOPLE - 1
    assert withdrawn.pk not in scores()


def test_score__of_who_withdraws_learning_later__is_seen_by_no_purpose(workspace, customers, now):
    learn(workspace, now)

    say(customers[0], Purpose.LEARNING, ConsentState.WITHDRAWN, at=timezone.now())

    for purpose in (Purpose.LEARNING, Purpose.SEGMENTATION):
        with gate.permit(purpose, workspace_id=workspace.pk):
            assert set(scores()) == {person.pk for person in customers[1:]}


def test_learn__from_another_event__counts_no_other(workspace, source, customers, now):
    visitor = IdentifierFactory(workspace=workspace)
    buy(visitor, source, [now], 1_000, name="Product Viewed")

    learn(workspace, now)

    assert visitor.pk not in scores()


def test_customers__with_amounts_that_are_no_numbers__have_spent_the_rest(workspace, source, now):
    person = IdentifierFactory(workspace=workspace)
    for money in (10, "2.50", "ten", None, True, [1], {"a": 1}, "1e99", 0.1):
        buy(person, source, [now - timedelta(days=4)], money)
    buy(person, source, [now + timedelta(seconds=1)], 500)  # not yet

    with gate.permit(Purpose.LEARNING, workspace_id=workspace.pk) as permit:
        found = customers_in(permit, event="Order Completed", money="revenue", at=now)

    assert (found.ids, found.values.tolist()) == ([person.pk], [[4.0, 9.0, 12.6]])


def test_assign__with_the_stored_model__gives_the_groups_of_the_training(workspace, customers, now):
    learn(workspace, now)
    model = LearnedModel.objects.get()

    with gate.permit(Purpose.LEARNING, workspace_id=workspace.pk) as permit:
        found = customers_in(permit, event="Order Completed", money="revenue", at=now)

    assert dict(zip(found.ids, assign(model.result, found.values), strict=True)) == scores()
    assert assign(model.result, found.values[:0]) == []


def test_rescore__as_time_passes__moves_people_by_the_frozen_model(workspace, source, customers, now):
    learn(workspace, now)
    OutboxRow.objects.all().delete()
    newcomer = IdentifierFactory(workspace=workspace)
    buy(newcomer, source, [now - timedelta(days=3 + 2 * time) for time in range(8)], 52)

    assert runs.rescore(workspace_id=workspace.pk, name="value-groups", now=now) == PEOPLE + 1

    assert scores()[newcomer.pk] == "loyal"
    assert waiting_for_segments() == [newcomer.pk]
    assert LearnedModel.objects.count() == 1


def test_rescore__of_an_unknown_model__is_refused(workspace, now):
    with pytest.raises(UnknownModelError):
        runs.rescore(workspace_id=workspace.pk, name="nothing", now=now)


def test_scores__of_a_profile_that_was_merged_away__are_dropped(workspace, customers, now):
    learn(workspace, now)
    older, younger = customers[0], customers[1]
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk), connection.cursor() as cursor:
        cursor.execute("UPDATE identifier SET profile_id = %s WHERE id = %s", [older.pk, younger.pk])
        cursor.execute("UPDATE core.profile SET merged_into_id = %s WHERE id = %s", [older.pk, younger.pk])

    learn(workspace, now)

    assert set(scores()) == {person.pk for person in customers} - {younger.pk}


def test_learn__when_nobody_bought__is_refused_and_stores_nothing(workspace, now):
    with pytest.raises(NobodyToLearnFromError):
        learn(workspace, now)

    assert not LearnedModel.objects.exists()


def test_learn__with_a_wrong_specification__is_refused_before_anything_is_read(workspace, customers, now):
    with pytest.raises(SpecificationError):
        learn(workspace, now, clusters=3)

    assert not LearnedModel.objects.exists()


def test_learn__from_a_file__stores_a_model_and_scores_nobody(workspace, now, tmp_path):
    path = tmp_path / "customers.csv"
    rows = [
        (f"c{n}", 3 + n % 5, 8, 400 + n % 7) if n < 20 else (f"c{n}", 300 + n % 5, 1, 10 + n % 7) for n in range(PEOPLE)
    ]
    path.write_text("customer,recency,frequency,monetary\n" + "\n".join(",".join(map(str, row)) for row in rows))

    report = runs.learn(workspace_id=workspace.pk, specification=SPECIFICATION, input_file=path, now=now)

    assert [(group["group"], group["size"]) for group in report["chosen"]["groups"]] == [
        ("loyal", 20),
        ("came-and-went", 40),
    ]
    assert LearnedModel.objects.get().plot.startswith("<?xml")
    assert not Score.objects.exists()
    assert not Identifier.objects.exists()


def test_run__of_a_learning__tells_how_it_ended(workspace, customers, now):
    learn(workspace, now)
    with pytest.raises(NoGroupsError):
        learn(workspace, now, minimum_size=50)

    done, failed = Run.objects.order_by("pk")
    assert (done.kind, done.subject, done.state) == ("segments.learn", "value-groups", RunState.DONE)
    assert done.counts == {"customers": PEOPLE, "groups": 2}
    assert (failed.state, failed.error) == (RunState.FAILED, "no_stable_groups")
    assert failed.finished_at >= failed.started_at == now
