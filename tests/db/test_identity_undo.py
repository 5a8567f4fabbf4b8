"""Taking back what a run or a model judged; what would change before it does; what a profile was on a day."""

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from cdp import rehearsal, retrospect
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier, IdentifierTrait, OutboxRow, Profile, Run, Stage, Trait
from consent import gate
from consent.models import ConsentState
from identity import registry, undoing
from identity import services as identity
from identity.models import Judgement, JudgementKind, LinkageModel, ModelActivation, Verdict
from identity.undoing import Scope, Undoing
from segments import services as segments
from segments.models import Membership
from tests.factories import LONG_AGO, IdentifierFactory, SourceFactory, say
from tests.outbox import subjects_waiting


@pytest.fixture
def shop(workspace):
    return SourceFactory(workspace=workspace, name="shop")


@pytest.fixture
def records(workspace, shop, now):
    """Three records of a shop, each with a city."""
    made = [IdentifierFactory(workspace=workspace, type="shop:id", value=str(number)) for number in range(3)]
    for place, one in enumerate(made):
        IdentifierTrait.objects.create(
            workspace=workspace, identifier=one, source=shop, name="city", value=f"city {place}",
            observed_at=now - timedelta(days=10 - place),
        )  # fmt: skip
    return made


@pytest.fixture
def model(workspace):
    def model(version):
        return LinkageModel.objects.create(
            workspace=workspace, version=version, settings={}, frequencies={}, metadata={}
        )

    return model


@pytest.fixture
def run(workspace, now):
    def run(kind=undoing.KIND_OF_RUN):
        return Run.objects.create(workspace=workspace, kind=kind, started_at=now, heartbeat_at=now)

    return run


@pytest.fixture
def judged(workspace, now):
    """The machine says that two are one person, as `linkage` writes it; `outdates` takes such a word back."""

    def judged(one, other, *, model, run, outdates=None, at=now):
        return Judgement.objects.create(
            workspace=workspace, left=one, right=other, verdict=Verdict.SAME, kind=JudgementKind.PROBABILISTIC,
            weight=0 if outdates else 12.5, evidence={} if outdates else {"surname": 5.0}, model=model, run=run,
            retracts=outdates, created_at=at,
        )  # fmt: skip

    return judged


@pytest.fixture
def link(workspace, now):
    def link(*identifiers):
        with gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk) as permit:
            return identity.link(permit, {one.pk: Cause.LEARNT for one in identifiers}, now=now)

    return link


@pytest.fixture
def undo(workspace, now):
    def undo(scope, number):
        return undoing.undo(workspace_id=workspace.pk, scope=scope, number=number, author=None, now=now)

    return undo


@pytest.fixture
def work_off(workspace, link):
    def work_off():
        waiting = subjects_waiting(stage=Stage.IDENTITY)
        OutboxRow.objects.filter(stage=Stage.IDENTITY).delete()
        return link(*Identifier.objects.filter(pk__in=waiting))

    return work_off


def people():
    return dict(Identifier.objects.values_list("pk", "profile_id"))


def standing():
    """What counts of the ledger: pair, kind and model."""
    retracted = Judgement.objects.exclude(retracts=None).values("retracts")
    rows = Judgement.objects.filter(retracts=None).exclude(pk__in=retracted)
    return sorted(rows.values_list("left_id", "right_id", "kind", "weight", "model__version"))


def everything():
    return (
        people(),
        sorted(Judgement.objects.values_list("pk", "retracts")),
        sorted(Trait.objects.values_list("profile_id", "name", "value", "identifier_id")),
        dict(Profile.objects.values_list("pk", "merged_into_id")),
        sorted(Membership.objects.values_list("profile_id", "entered_at", "left_at")),
        sorted(OutboxRow.objects.values_list("pk", "stage", "subject_id")),
    )


def test_undo__a_run__retracts_what_it_judged_and_says_again_what_it_outdated(
    records, model, run, judged, link, undo, work_off
):
    first, second = model(1), model(2)
    one, two, three = records
    old = judged(one, two, model=first, run=run())
    link(*records)
    before = people(), standing()
    later = run()
    judged(one, two, model=second, run=later, outdates=old)
    judged(two, three, model=second, run=later)
    link(*records)
    assert people() == {one.pk: one.pk, two.pk: two.pk, three.pk: two.pk}

    done = undo(Scope.RUN, later.pk)
    work_off()

    assert done == Undoing(retracted=1, restored=1, identifiers=3)
    assert (people(), standing()) == before
    assert {row.profile_id: row.value for row in Trait.objects.all()} == {one.pk: "city 1", three.pk: "city 2"}


def test_undo__a_run_twice__writes_once(records, model, run, judged, undo):
    first, second, later = model(1), model(2), run()
    old = judged(records[0], records[1], model=first, run=run())
    judged(records[0], records[1], model=second, run=later, outdates=old)
    judged(records[1], records[2], model=second, run=later)
    undo(Scope.RUN, later.pk)
    before = Judgement.objects.count()

    again = undo(Scope.RUN, later.pk)

    assert (again, Judgement.objects.count()) == (Undoing(0, 0, 0), before)


def test_undo__a_model__takes_back_all_its_runs_and_nothing_else(
    records, model, run, judged, link, undo, work_off, now
):
    first, second = model(1), model(2)
    one, two, three = records
    kept = judged(one, two, model=first, run=run())
    judged(one, three, model=second, run=run())
    judged(two, three, model=second, run=run())
    link(*records)

    done = undo(Scope.MODEL, 2)
    work_off()

    assert done == Undoing(retracted=2, restored=0, identifiers=3)
    assert people() == {one.pk: one.pk, two.pk: one.pk, three.pk: three.pk}
    assert standing() == [(one.pk, two.pk, "PROBABILISTIC", 12.5, 1)]
    assert not Judgement.objects.filter(retracts=kept).exists()
    assert set(Judgement.objects.exclude(retracts=None).values_list("kind", "model", "created_at")) == {
        ("STEWARD", second.pk, now)
    }


def test_undo__a_judgement__hands_both_ends_over(records, model, run, judged, link, undo, work_off):
    judgement = judged(records[0], records[1], model=model(1), run=run())
    link(*records)

    done = undo(Scope.JUDGEMENT, judgement.pk)
    again = undo(Scope.JUDGEMENT, judgement.pk)
    work_off()

    assert (done, again) == (Undoing(1, 0, 2), Undoing(0, 0, 0))
    assert people() == {one.pk: one.pk for one in records}


def test_undo__a_run_of_something_else__is_refused_and_nothing_is_written(records, model, run, judged, undo):
    judged(records[0], records[1], model=model(1), run=run())
    other = run(kind="load")
    before = everything()

    for scope, number, error in (
        (Scope.RUN, other.pk, undoing.UnknownRunError),
        (Scope.RUN, 10**9, undoing.UnknownRunError),
        (Scope.MODEL, 7, registry.UnknownModelError),
        (Scope.JUDGEMENT, 10**9, undoing.UnknownJudgementError),
    ):
        with pytest.raises(error):
            undo(scope, number)

    assert everything() == before


# -- the registry ---------------------------------------------------------------------------------------------------


def test_active_model__nothing_was_activated__is_the_newest(workspace, model):
    assert registry.active_model(workspace.pk) is None
    model(1)
    newest = model(2)

    assert registry.active_model(workspace.pk) == newest


def test_activate__an_earlier_version__rolls_back_and_a_training_changes_nothing(workspace, model, now):
    first, _ = model(1), model(2)
    registry.activate(workspace_id=workspace.pk, version=2, author=None, now=now)

    registry.activate(workspace_id=workspace.pk, version=1, author=None, now=now)
    registry.activate(workspace_id=workspace.pk, version=1, author=None, now=now)
    model(3)

    assert registry.active_model(workspace.pk) == first
    assert ModelActivation.objects.count() == 2


def test_training__a_model_that_weighs_otherwise__is_warned_of(workspace, model, log):
    levels = [{"label_for_charts": "same", "m_probability": 0.9, "u_probability": u} for u in (0.9, 0.01)]
    made = [
        LinkageModel.objects.create(
            workspace=workspace, version=10 + number, frequencies={}, metadata={},
            settings={"comparisons": [{"output_column_name": "surname", "comparison_levels": [level]}]},
        )
        for number, level in enumerate(levels)
    ]  # fmt: skip

    registry.watch_drift(made[1])

    told = {"workspace": workspace.pk, "version": 11, "since": 10, "weights": 1}
    assert log.has("linkage_model.drifted", level="warning", **told)


def test_activate__an_unknown_version__is_refused(workspace, model, now):
    model(1)

    with pytest.raises(registry.UnknownModelError):
        registry.activate(workspace_id=workspace.pk, version=2, author=None, now=now)

    assert not ModelActivation.objects.exists()


def test_models__by_command__are_listed_shown_compared_and_activated(workspace, capsys):
    for version, match in ((1, 0.9), (2, 0.1)):
        levels = [{"label_for_charts": "same", "m_probability": match, "u_probability": 0.01}]
        settings = {"comparisons": [{"output_column_name": "surname", "comparison_levels": levels}]}
        LinkageModel.objects.create(
            workspace=workspace, version=version, settings=settings, frequencies={}, metadata={"rows": 10}
        )

    def command(*arguments):
        call_command("identity", "models", *arguments, "--json", workspace=workspace.slug)
        return json.loads(capsys.readouterr().out)

    activated, listed = command("activate", "1"), command("list")
    shown, compared = command("show", "1"), command("compare", "1", "2")

    assert activated["active"] == 1
    assert [(one["version"], one["is_active"], one["rows"]) for one in listed["models"]] == [
        (2, False, 10),
        (1, True, 10),
    ]
    assert shown["chart"] == [{"comparison": "surname", "level": "same", "weight": 6.492, "length": 1.0}]
    assert (compared["alerts"], compared["shifts"][0]["is_alarming"]) == (1, True)
    with pytest.raises(CommandError, match="names 2 versions"):
        call_command("identity", "models", "compare", "1", workspace=workspace.slug)


# -- before it happens ----------------------------------------------------------------------------------------------


@pytest.fixture
def in_a_city(workspace, now):
    segment = segments.create_segment(
        workspace_id=workspace.pk,
        slug="first-city",
        name="x",
        definition='trait "city" = "city 0"',
        author=None,
        now=now,
    )
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        segments.evaluate(permit, dict.fromkeys(people(), Cause.LEARNT), now=now)
    return segment


def test_rehearsal__of_an_undo__tells_what_then_happens_and_changes_nothing(
    workspace, records, model, run, judged, link, undo, work_off, in_a_city, now
):
    one, two, _ = records
    say(two, Purpose.ADVERTISING, ConsentState.GIVEN)
    link(*records)
    done = run()
    judged(one, two, model=model(1), run=done)
    link(*records)
    before = everything()

    changes = rehearsal.undo(workspace_id=workspace.pk, scope=Scope.RUN, number=done.pk, now=now)

    assert everything() == before
    assert changes.deed == {"retracted": 1, "restored": 0}
    assert changes.profiles.sample == [
        {"profile": one.pk, "before": [one.pk, two.pk], "after": [one.pk]},
        {"profile": two.pk, "before": None, "after": [two.pk]},
    ]
    assert changes.traits.sample == [{"profile": one.pk, "trait": "city"}, {"profile": two.pk, "trait": "city"}]
    assert changes.memberships.sample == [{"profile": one.pk, "segment": "first-city", "before": None, "after": True}]
    assert (changes.counts["merged"], changes.counts["split"], changes.counts["entered"]) == (0, 1, 1)
    (consent,) = changes.consents.sample
    assert (consent["profile"], set(consent["before"]) - set(consent["after"])) == (one.pk, {"advertising"})
    undo(Scope.RUN, done.pk)
    work_off()
    assert people()[two.pk] == two.pk


def test_rehearsal__what_waited_before__is_no_part_of_it(workspace, records, model, run, judged, now):
    one, two, three = records
    done = run()
    judged(one, two, model=model(1), run=done)
    identity.judge(
        workspace_id=workspace.pk, left_id=two.pk, right_id=three.pk, verdict=Verdict.SAME, author=None, evidence={},
        now=now,
    )  # fmt: skip

    changes = rehearsal.undo(workspace_id=workspace.pk, scope=Scope.RUN, number=done.pk, now=now)

    assert [one["profile"] for one in changes.profiles.sample] == [two.pk, three.pk]
    assert people() == {each.pk: each.pk for each in records}


def test_undo__by_command__previews_then_does(workspace, records, model, run, judged, link, work_off, capsys):
    done = run()
    judged(records[0], records[1], model=model(1), run=done)
    link(*records)

    call_command("identity", "undo", "--run", str(done.pk), "--preview", "--json", workspace=workspace.slug)
    preview = json.loads(capsys.readouterr().out)
    unchanged = people()
    call_command("identity", "undo", "--run", str(done.pk), "--json", workspace=workspace.slug)
    work_off()

    assert preview["counts"]["split"] == 1
    assert unchanged[records[1].pk] == records[0].pk
    assert json.loads(capsys.readouterr().out) == {"retracted": 1, "restored": 0, "identifiers": 2}
    assert people()[records[1].pk] == records[1].pk


# -- what it was ----------------------------------------------------------------------------------------------------


def test_history__before_and_after_a_merge_and_its_undo__is_what_stood_then(
    workspace, records, model, run, judged, undo, now
):
    one, two, three = records
    Identifier.objects.update(created_at=now - timedelta(days=30))
    judgement = judged(one, two, model=model(1), run=run(), at=now - timedelta(days=20))
    judged(two, three, model=judgement.model, run=judgement.run, at=now - timedelta(days=5))
    undo(Scope.JUDGEMENT, judgement.pk)

    def members(profile, days):
        past = retrospect.profile_at(workspace_id=workspace.pk, profile_id=profile.pk, at=now - timedelta(days=days))
        return past["profile"], past["identifiers"]

    assert members(two, 40) == (None, [])
    assert members(two, 25) == (two.pk, [two.pk])
    assert members(two, 15) == (one.pk, [one.pk, two.pk])
    assert members(three, 1) == (one.pk, [one.pk, two.pk, three.pk])
    assert members(one, 0) == (one.pk, [one.pk])


def test_history__traits_and_memberships__as_far_as_they_can_be_known(workspace, records, in_a_city, shop, now, capsys):
    one = records[0]
    Identifier.objects.update(created_at=LONG_AGO)
    IdentifierTrait.objects.create(
        workspace=workspace, identifier=one, source=shop, name="colour", value="red", observed_at=now
    )
    Membership.objects.create(
        workspace=workspace, segment=in_a_city, profile_id=one.pk, version=in_a_city.live_version,
        entered_at=now - timedelta(days=5), entered_cause=Cause.EVENT, left_at=now - timedelta(days=3),
        left_cause=Cause.EVENT,
    )  # fmt: skip

    day = (now - timedelta(days=4)).date().isoformat()
    call_command("identity", "history", str(one.pk), "--at", day, "--json", workspace=workspace.slug)
    past = json.loads(capsys.readouterr().out)

    assert past["profile"] == one.pk
    assert (past["traits"]["city"]["value"], past["unknown_traits"]) == ("city 0", ["colour"])
    assert [one["segment"] for one in past["memberships"]] == ["first-city"]
    with pytest.raises(CommandError, match="no time"):
        call_command("identity", "history", str(one.pk), "--at", "yesterday", workspace=workspace.slug)
