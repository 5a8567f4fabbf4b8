"""Pairs that wait for stewards: who gets which, what an answer does, and what takes it back."""

import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from cdp.kernel.purposes import Purpose
from cdp.models import Identifier, OutboxRow
from consent import gate
from identity import services as identity
from identity.models import Answer, Judgement, Look, ReviewPair, ReviewRules, ReviewVerdict, Verdict
from identity.review import bulk, opinions, priority, queue, second_look, statistics, verdicts
from identity.review.showing import shown
from tests.factories import IdentifierFactory
from tests.factories.filled import console_user, fill
from tests.factories.review import waiting_pair


@pytest.fixture
def ann(workspace):
    return console_user(workspace, "ann")


@pytest.fixture
def bob(workspace):
    return console_user(workspace, "bob")


@pytest.fixture
def pairs(workspace):
    """Three, the one that is worth most last."""
    return [waiting_pair(workspace, priority=worth) for worth in (1.0, 2.0, 3.0)]


@pytest.fixture
def claim(workspace, now):
    def claim(steward, at=now, **more):
        return queue.claim_next(workspace_id=workspace.pk, steward=steward, now=at, **more)

    return claim


@pytest.fixture
def give(workspace, now):
    def give(steward, pair, answer, at=now):
        return verdicts.give_verdict(workspace_id=workspace.pk, pair_id=pair.pk, answer=answer, steward=steward, now=at)

    return give


@pytest.fixture
def undo(workspace, now):
    def undo(steward):
        return verdicts.undo_last(workspace_id=workspace.pk, steward=steward, now=now)

    return undo


@pytest.fixture
def large(workspace, pairs):
    """The last pair is a large merge: one steward is not enough."""
    ReviewRules.objects.create(workspace=workspace, largest_alone=2)
    pair = pairs[2]
    Identifier.objects.filter(pk=IdentifierFactory(workspace=workspace).pk).update(profile_id=pair.left_id)
    return pair


def current():
    return Judgement.objects.filter(retracts=None, retraction=None)


# -- who gets which ---------------------------------------------------------------------------------------------------


def test_claim__of_two_stewards__gives_each_the_best_that_is_left(pairs, ann, bob, claim, as_login):
    as_login("web")

    first, second, third, fourth = (
        claim(ann),
        claim(bob),
        claim(ann, besides=[pairs[2].pk]),
        claim(bob, besides=[pairs[1].pk]),
    )

    assert [first, second, third, fourth] == [pairs[2].pk, pairs[1].pk, pairs[0].pk, None]


def test_claim__of_whoever_comes_back__is_the_pair_that_they_left(pairs, ann, claim):
    assert claim(ann) == claim(ann) == pairs[2].pk


def test_claim__after_ten_minutes__is_anybodys(pairs, ann, bob, claim, now):
    claim(ann)

    just_before = claim(bob, at=now + timedelta(minutes=10) - timedelta(microseconds=1))
    queue.release(workspace_id=pairs[0].workspace_id, steward=bob)

    assert (just_before, claim(bob, at=now + timedelta(minutes=10))) == (pairs[1].pk, pairs[2].pk)


def test_release__of_one_steward__leaves_what_others_hold(pairs, workspace, ann, bob, claim):
    claim(ann)
    claim(bob)

    released = queue.release(workspace_id=workspace.pk, steward=ann)

    held = ReviewPair.objects.exclude(claimed_by=None).values_list("pk", "claimed_by")
    assert (released, list(held)) == (1, [(pairs[1].pk, bob.pk)])


def test_claim__by_many_at_once__never_gives_one_pair_twice(committed):
    stewards = [console_user(committed, f"steward{number}") for number in range(6)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('tessera.workspace', %s, true)", [str(committed.pk)])
        made = {waiting_pair(committed, priority=number).pk for number in range(12)}
    claimed, now = [], timezone.now()

    def work(steward):
        mine = []
        for _ in range(2):
            mine.append(queue.claim_next(workspace_id=committed.pk, steward=steward, now=now, besides=mine))
        claimed.extend(mine)
        connection.close()

    threads = [threading.Thread(target=work, args=[steward]) for steward in stewards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(claimed) == sorted(made)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('tessera.workspace', %s, true)", [str(committed.pk)])
        ReviewPair.objects.all().delete()


# -- what an answer does ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [Answer.SAME, Answer.NOT_SAME])
def test_answer__that_decides__is_a_judgement_and_work_for_the_stage(answer, pairs, ann, claim, give, as_login):
    as_login("web")
    claim(ann)

    given = give(ann, pairs[2], answer)

    judgement = current().get()
    pair = ReviewPair.objects.get(pk=pairs[2].pk)
    assert given.outcome == verdicts.Outcome.JUDGED
    assert (judgement.verdict, judgement.author, judgement.evidence) == (answer, ann, {"weight": 1.0, "model": 1})
    assert (pair.judgement, pair.claimed_by, pair.look) == (judgement, None, Look.NONE)
    assert OutboxRow.objects.filter(stage="IDENTITY", subject_id=pair.left_id).exists()
    assert claim(ann) == pairs[1].pk


def test_answer__unsure__keeps_the_pair_from_this_steward_alone(pairs, ann, bob, give, claim):
    given = give(ann, pairs[2], Answer.UNSURE)

    assert given.outcome == verdicts.Outcome.UNSURE
    assert (claim(ann), claim(bob)) == (pairs[1].pk, pairs[2].pk)
    assert not Judgement.objects.exists()


def test_answer__given_twice__is_one(pairs, ann, give):
    first, second = give(ann, pairs[0], Answer.SAME), give(ann, pairs[0], Answer.SAME)

    assert (first.verdict, first.outcome) == (second.verdict, second.outcome)
    assert Judgement.objects.count() == ReviewVerdict.objects.count() == 1


def test_answer__after_unsure__takes_its_place(pairs, ann, give):
    give(ann, pairs[0], Answer.UNSURE)

    give(ann, pairs[0], Answer.NOT_SAME)

    assert list(ReviewVerdict.objects.filter(withdrawn_at=None).values_list("answer", flat=True)) == ["NOT_SAME"]


def test_answer__on_what_another_looks_at__is_refused(pairs, ann, bob, claim, give, now):
    claim(ann)

    with pytest.raises(verdicts.ClaimedByAnotherError):
        give(bob, pairs[2], Answer.SAME)

    assert not ReviewVerdict.objects.exists()
    assert give(bob, pairs[2], Answer.SAME, at=now + timedelta(minutes=10)).outcome == verdicts.Outcome.JUDGED


def test_answer__on_what_another_judged__is_refused(pairs, ann, bob, give):
    give(ann, pairs[2], Answer.SAME)

    with pytest.raises(verdicts.JudgedAlreadyError):
        give(bob, pairs[2], Answer.NOT_SAME)

    assert current().get().verdict == Verdict.SAME


def test_answer__on_no_pair__is_refused(workspace, ann, now):
    with pytest.raises(verdicts.UnknownPairError):
        verdicts.give_verdict(workspace_id=workspace.pk, pair_id=0, answer=Answer.SAME, steward=ann, now=now)


# -- taking back ------------------------------------------------------------------------------------------------------


def test_undo__of_a_judgement__retracts_it_and_gives_the_pair_back(pairs, ann, bob, give, undo, claim, as_login):
    as_login("web")
    give(ann, pairs[2], Answer.SAME)

    undone = undo(ann)

    assert undone.pk == pairs[2].pk
    assert not current().filter(verdict=Verdict.SAME).exists()
    assert (claim(ann), claim(bob)) == (pairs[2].pk, pairs[1].pk)


def test_undo__twice__takes_back_the_one_before(pairs, ann, give, undo):
    give(ann, pairs[0], Answer.UNSURE)
    give(ann, pairs[1], Answer.NOT_SAME)

    assert [undo(ann).pk, undo(ann).pk] == [pairs[1].pk, pairs[0].pk]
    with pytest.raises(verdicts.NothingToUndoError):
        undo(ann)


def test_undo__of_somebody_else__does_not_touch_my_answer(pairs, ann, bob, give, undo):
    give(ann, pairs[0], Answer.SAME)

    with pytest.raises(verdicts.NothingToUndoError):
        undo(bob)

    assert current().get().verdict == Verdict.SAME


def test_answer__after_its_judgement_was_retracted_elsewhere__counts_again(pairs, workspace, ann, give, now):
    first = give(ann, pairs[0], Answer.SAME)
    identity.retract(workspace_id=workspace.pk, judgement_id=first.verdict.judgement_id, author=ann, now=now)

    give(ann, pairs[0], Answer.SAME)

    assert ReviewPair.objects.get(pk=pairs[0].pk).judgement_id is not None
    assert ReviewVerdict.objects.filter(withdrawn_at=None).count() == 1


def test_split__of_a_person__parts_the_two_for_good(workspace, ann, now):
    left, right = IdentifierFactory(workspace=workspace), IdentifierFactory(workspace=workspace)
    Identifier.objects.filter(pk=right.pk).update(profile_id=left.profile_id)
    said = identity.judge(
        workspace_id=workspace.pk, left_id=left.pk, right_id=right.pk, verdict=Verdict.SAME, author=ann, evidence={},
        now=now,
    )  # fmt: skip

    undone = verdicts.split_here(workspace_id=workspace.pk, left_id=left.pk, right_id=right.pk, steward=ann, now=now)

    assert (undone.retracted, undone.judgement.verdict) == ((said.pk,), Verdict.NOT_SAME)


# -- a second pair of eyes --------------------------------------------------------------------------------------------


def test_large_merge__of_one_steward__is_only_proposed(large, ann, bob, give, claim):
    given = give(ann, large, Answer.SAME)

    large.refresh_from_db()
    assert (given.outcome, large.look, large.proposed_by, large.judgement) == ("PROPOSED", Look.PROPOSED, ann, None)
    assert not Judgement.objects.exists()
    assert claim(ann) != large.pk
    assert claim(bob) == large.pk


def test_large_merge__that_its_own_steward_confirms__is_refused(large, ann, give):
    give(ann, large, Answer.SAME)

    with pytest.raises(verdicts.SecondStewardNeededError):
        give(ann, large, Answer.NOT_SAME)

    assert not Judgement.objects.exists()


@pytest.mark.parametrize(("answer", "look"), [(Answer.SAME, Look.CONFIRMED), (Answer.NOT_SAME, Look.REFUSED)])
def test_large_merge__when_a_second_steward_answers__is_judged(answer, look, large, ann, bob, give):
    give(ann, large, Answer.SAME)

    given = give(bob, large, answer)

    large.refresh_from_db()
    assert (given.outcome, large.look, large.second) == (verdicts.Outcome.JUDGED, look, bob)
    assert (current().get().verdict, current().get().author) == (answer, bob)


def test_large_merge__of_which_the_confirmation_is_taken_back__waits_again(large, ann, bob, give, undo):
    give(ann, large, Answer.SAME)
    give(bob, large, Answer.SAME)

    with pytest.raises(verdicts.JudgedAlreadyError):
        undo(ann)
    undo(bob)
    large.refresh_from_db()
    assert (large.look, large.second, large.judgement) == (Look.PROPOSED, None, None)
    undo(ann)
    large.refresh_from_db()
    assert (large.look, large.proposed_by) == (Look.NONE, None)


def test_large_merge__that_is_none__needs_nobody_else(large, ann, give):
    assert give(ann, large, Answer.NOT_SAME).outcome == verdicts.Outcome.JUDGED


def test_merge__of_people_in_many_audiences__is_large(workspace, ann, now):
    filled = fill(workspace, console_user(workspace), now)
    ReviewRules.objects.create(workspace=workspace, most_audiences_alone=0)

    merge = second_look.merge_of(filled.pair)

    assert (merge.identifiers, merge.audiences, merge.needs_second) == (2, 1, True)


@pytest.mark.parametrize(
    "change",
    [
        {"look": "PROPOSED"}, {"look": "CONFIRMED", "proposed_by": "ann"}, {"proposed_by": "ann"},
        {"look": "CONFIRMED", "proposed_by": "ann", "second": "ann"},
    ],
)  # fmt: skip
def test_second_look__that_is_none__is_refused_by_the_database(change, pairs, ann):
    change = {name: ann if value == "ann" else value for name, value in change.items()}

    with pytest.raises(IntegrityError, match=r"review_pair_(look|second)"), transaction.atomic():
        ReviewPair.objects.filter(pk=pairs[0].pk).update(**change)


# -- what an answer is worth ------------------------------------------------------------------------------------------


def weighed(workspace):
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk) as permit:
        return priority.weigh(permit)


def test_priority__weighed_twice__changes_nothing_the_second_time(workspace, as_login):
    for weight in (-6.0, 0.0, 3.0, 5_000.0):
        waiting_pair(workspace, weight=weight)
    as_login("worker_identity")

    assert (weighed(workspace), weighed(workspace)) == (3, 0)


def test_priority__grows_with_uncertainty_size_places_and_disagreement(workspace, now):
    filled = fill(workspace, console_user(workspace), now)
    plain = waiting_pair(workspace, weight=0.0)
    certain = waiting_pair(workspace, weight=6.0)
    doubted = waiting_pair(workspace, weight=0.0, opinion=0.9)
    grown = waiting_pair(workspace, weight=0.0)
    Identifier.objects.filter(pk=IdentifierFactory(workspace=workspace).pk).update(profile_id=grown.left_id)
    ReviewPair.objects.filter(pk=filled.pair.pk).update(weight=0.0)

    weighed(workspace)

    worth = dict(ReviewPair.objects.values_list("pk", "priority"))
    assert worth[plain.pk] == pytest.approx(1.0)
    assert worth[certain.pk] == pytest.approx(0.1147, abs=1e-4)
    assert worth[doubted.pk] == pytest.approx(1.4)
    assert worth[grown.pk] == pytest.approx(1.6931, abs=1e-4)
    assert worth[filled.pair.pk] == pytest.approx(
        2.3863, abs=1e-4
    )  # in one segment each, and one audience between them


# -- the second opinion -----------------------------------------------------------------------------------------------


def test_opinions__without_judgements__come_from_ecm_and_are_the_same_again(workspace, now, as_login):
    alike = [waiting_pair(workspace, evidence={"name": 4.0, "city": 2.0, "dob": 5.0}) for _ in range(12)]
    apart = [waiting_pair(workspace, evidence={"name": 1.0, "city": -2.0, "dob": -5.0}) for _ in range(12)]
    as_login("worker_identity")

    first = opinions.give_opinions(workspace_id=workspace.pk, now=now)
    second = opinions.give_opinions(workspace_id=workspace.pk, now=now)

    as_login("web")
    said = dict(ReviewPair.objects.values_list("pk", "opinion"))
    assert first == second
    assert (first["pairs"], first["by"]) == (24, "ECM")
    assert all(said[pair.pk] > 0.5 for pair in alike)
    assert all(said[pair.pk] < 0.5 for pair in apart)
    assert ReviewPair.objects.first().opinion_basis["versions"]["recordlinkage"] == "0.16"


def test_opinions__with_fifty_judgements__learn_what_the_stewards_mean(workspace, ann, now, give):
    """These stewards go by the city alone, whatever the model weighs."""
    for number in range(50):
        city = 2.0 if number % 2 else -2.0
        pair = waiting_pair(workspace, evidence={"name": float(number % 3), "city": city})
        give(ann, pair, Answer.SAME if city > 0 else Answer.NOT_SAME)
    here = waiting_pair(workspace, evidence={"name": 0.0, "city": 2.0})
    there = waiting_pair(workspace, evidence={"name": 2.0, "city": -2.0})

    formed = opinions.give_opinions(workspace_id=workspace.pk, now=now)

    said = dict(ReviewPair.objects.filter(judgement=None).values_list("pk", "opinion"))
    assert (formed["by"], formed["pairs"], formed["learnt_from"]) == ("LOGISTIC", 2, 50)
    assert said[here.pk] > 0.9
    assert said[there.pk] < 0.1


def test_opinions__without_the_extra__say_which_one_is_missing(workspace, now, monkeypatch):
    pair = waiting_pair(workspace, evidence={"name": 1.0})
    monkeypatch.setitem(__import__("sys").modules, "identity.review.classifiers", None)

    with pytest.raises(opinions.SecondOpinionMissingError, match="second-opinion"):
        opinions.give_opinions(workspace_id=workspace.pk, now=now)

    assert ReviewPair.objects.get(pk=pair.pk).opinion is None


def test_opinions__where_nothing_tells_pairs_apart__are_none(workspace, now):
    waiting_pair(workspace, evidence={"name": 1.0})

    assert opinions.give_opinions(workspace_id=workspace.pk, now=now)["by"] == "NOBODY"


# -- many at once -----------------------------------------------------------------------------------------------------


def test_bulk__of_what_was_looked_at__is_judged(workspace, ann, now, as_login):
    light, heavy, heavier = (waiting_pair(workspace, weight=weight) for weight in (1.0, 3.0, 4.0))
    as_login("web")
    meant = {
        "workspace_id": workspace.pk,
        "chosen": bulk.Chosen(3.0),
        "answer": Answer.SAME,
        "steward": ann,
        "now": now,
    }
    seen = bulk.preview(**meant)

    done = bulk.judge_all(**meant, looked=seen.looked)

    assert (seen.total, seen.ids) == (2, (heavier.pk, heavy.pk))
    assert (done.judged, done.proposed) == (2, 0)
    assert list(ReviewPair.objects.filter(judgement=None)) == [light]


def test_bulk__when_others_wait_meanwhile__judges_nothing(workspace, ann, now):
    waiting_pair(workspace, weight=3.0)
    meant = {
        "workspace_id": workspace.pk,
        "chosen": bulk.Chosen(3.0),
        "answer": Answer.SAME,
        "steward": ann,
        "now": now,
    }
    seen = bulk.preview(**meant)
    waiting_pair(workspace, weight=3.5)

    with pytest.raises(bulk.ChangedMeanwhileError):
        bulk.judge_all(**meant, looked=seen.looked)

    assert not Judgement.objects.exists()


def test_bulk__of_large_merges__proposes_them_and_leaves_out_what_others_hold(large, workspace, ann, bob, claim, now):
    assert claim(bob, besides=[large.pk]) is not None
    meant = {
        "workspace_id": workspace.pk,
        "chosen": bulk.Chosen(0.0),
        "answer": Answer.SAME,
        "steward": ann,
        "now": now,
    }

    done = bulk.judge_all(**meant, looked=bulk.preview(**meant).looked)

    assert (done.judged, done.proposed) == (1, 1)


# -- statistics and the page ------------------------------------------------------------------------------------------


def test_statistics__of_two_stewards__count_and_compare(large, pairs, workspace, ann, bob, give, undo, now):
    ReviewPair.objects.filter(pk=pairs[0].pk).update(opinion=0.9)
    give(ann, pairs[0], Answer.SAME)
    give(ann, pairs[1], Answer.UNSURE, at=now + timedelta(seconds=6))
    give(ann, large, Answer.SAME, at=now + timedelta(seconds=12))
    give(bob, large, Answer.SAME)
    give(bob, pairs[1], Answer.NOT_SAME)
    undo(bob)

    found = statistics.statistics_of(workspace_id=workspace.pk)

    assert (found.waiting, found.proposed, found.judged) == (1, 0, 2)
    assert [(one.username, one.same, one.not_same, one.unsure) for one in found.stewards] == [
        ("ann", 2, 0, 1), ("bob", 1, 0, 0),
    ]  # fmt: skip
    assert (found.stewards[0].pairs_an_hour, found.stewards[0].agrees_with_stewards) == (600.0, 1.0)
    assert (found.stewards[0].agrees_with_opinion, found.stewards[1].pairs_an_hour) == (1.0, None)


def test_shown__of_large_people__is_bounded(workspace, pairs):
    made = [IdentifierFactory(workspace=workspace).pk for _ in range(40)]
    Identifier.objects.filter(pk__in=made).update(profile_id=pairs[0].left_id)

    seen = shown(pairs[0])

    assert (len(seen.nodes), seen.hidden_nodes) == (31, 11)
    assert seen.merge.identifiers == 42
