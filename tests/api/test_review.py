"""Review by HTTP: the next pair, an answer in a steward's name, taking it back, statistics."""

import pytest

from identity.models import Judgement, ReviewVerdict
from tests.factories.filled import console_user
from tests.factories.review import waiting_pair


@pytest.fixture
def pairs(workspace, as_login):
    made = [waiting_pair(workspace, priority=worth, weight=2.5) for worth in (1.0, 2.0)]
    console_user(workspace, "ann")
    console_user(workspace, "reader", is_superuser=False)
    as_login("web")
    return made


def test_next__gives_the_best_pair_and_claims_it(owner, pairs):
    body = owner.post("review/next", {"steward": "ann"}).json()["pair"]

    best = pairs[1]
    assert (body["id"], body["weight"], body["evidence"], body["look"]) == (best.pk, 2.5, {"surname": 2.5}, "NONE")
    assert body["left"] == {"id": best.left_id, "profile": best.left_id, "name": str(best.left)}
    assert body["claimed_until"] is not None


def test_judge__then_undo__writes_and_takes_back(owner, pairs):
    judged = owner.post(f"review/{pairs[1].pk}/judge", {"steward": "ann", "answer": "SAME"})
    undone = owner.post("review/undo", {"steward": "ann"})

    assert (judged.status_code, judged.json()["outcome"]) == (200, "JUDGED")
    assert undone.json()["pair"]["id"] == pairs[1].pk
    assert not Judgement.objects.filter(retracts=None, retraction=None).exists()
    again = owner.post("review/undo", {"steward": "ann"})
    assert (again.status_code, again.json()["code"]) == (409, "nothing_to_undo")


def test_skip__leaves_the_pair_to_others(owner, pairs):
    owner.post("review/next", {"steward": "ann"})

    skipped = owner.post(f"review/{pairs[1].pk}/skip", {"steward": "ann"}).json()
    following = owner.post("review/next", {"steward": "ann", "besides": [pairs[1].pk]}).json()["pair"]["id"]

    assert (skipped, following) == ({"released": 1}, pairs[0].pk)


def test_statistics__count_the_answers(owner, pairs):
    owner.post(f"review/{pairs[1].pk}/judge", {"steward": "ann", "answer": "UNSURE"})

    body = owner.get("review/statistics").json()

    assert (body["waiting"], body["judged"], body["stewards"][0]["unsure"]) == (2, 0, 1)


@pytest.mark.parametrize("steward", ["nobody", "reader"])
def test_judge__in_the_name_of_whoever_may_not__is_refused(steward, owner, pairs):
    answer = owner.post(f"review/{pairs[0].pk}/judge", {"steward": steward, "answer": "SAME"})

    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_steward")
    assert not ReviewVerdict.objects.exists()


def test_judge__by_a_stranger__finds_nothing(stranger, pairs):
    answer = stranger.post(f"review/{pairs[0].pk}/judge", {"steward": "ann", "answer": "SAME"})

    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_steward")


def test_judge__with_a_key_that_only_reads__is_forbidden(caller, pairs):
    reader = caller("review:read")

    assert reader.post(f"review/{pairs[0].pk}/judge", {"steward": "ann", "answer": "SAME"}).status_code == 403
    assert reader.get("review/statistics").status_code == 200


def test_review__without_a_key__asks_for_one(anonymous, pairs):
    assert anonymous.post("review/next", {"steward": "ann"}).status_code == 401
