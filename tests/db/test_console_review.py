"""The desk of a steward, as the login `web` serves it: pages, parts, refusals, and how much each costs."""

import json

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from identity.matching.relatives import RELATIVES
from identity.models import Judgement, ReviewPair, ReviewVerdict
from tests.factories.filled import console_user
from tests.factories.review import waiting_pair

FETCHED = {"X-Requested-With": "desk"}


@pytest.fixture
def pairs(workspace):
    return [waiting_pair(workspace, priority=worth) for worth in (3.0, 2.0, 1.0)]


def client_of(user):
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def ann(workspace, pairs):
    return console_user(workspace, "ann")


@pytest.fixture
def bob(workspace, pairs):
    return client_of(console_user(workspace, "bob"))


@pytest.fixture
def client(ann, bob, as_login):
    made = client_of(ann)
    as_login("web")
    return made


def page(name, *args):
    return reverse(f"admin:identity_reviewpair_{name}", args=args)


def test_desk__of_two_stewards__shows_each_another_pair(client, bob, pairs):
    mine, theirs = client.get(page("desk")), bob.get(page("desk"))

    assert [answer.context["pair"].pk for answer in (mine, theirs)] == [pairs[0].pk, pairs[1].pk]


def test_desk__of_a_pair_that_may_be_relatives__says_so_in_words(client, pairs):
    ReviewPair.objects.filter(pk=pairs[0].pk).update(evidence={"surname": 4.0, RELATIVES: -2.5})

    shown = client.get(page("desk")).text

    assert "<em>perhaps relatives</em>" in shown


def test_desk__in_french__opens(client):
    client.cookies["django_language"] = "fr"

    assert client.get(page("desk")).status_code == 200


def test_next__besides_what_is_shown__is_a_part_of_the_page_and_at_last_nothing(client, pairs):
    parts = [client.post(page("next_pair"), {"besides": besides}) for besides in ("", f"{pairs[0].pk},{pairs[1].pk}")]
    last = client.post(page("next_pair"), {"besides": ",".join(str(pair.pk) for pair in pairs)})

    assert [part.context["pair"].pk for part in parts] == [pairs[0].pk, pairs[2].pk]
    assert "<html" not in parts[0].text
    assert last.status_code == 204


def test_answer__of_the_script__says_what_it_did(client, pairs):
    answer = client.post(page("judge", pairs[0].pk), {"answer": "UNSURE"}, headers=FETCHED)

    assert json.loads(answer.content) == {"message": "Judged: unsure."}
    assert ReviewVerdict.objects.get().answer == "UNSURE"


def test_answer__on_anothers_pair__brings_back_the_reason(client, bob, pairs):
    bob.get(page("desk"))

    answer = client.post(page("judge", pairs[0].pk), {"answer": "SAME"}, headers=FETCHED)

    assert (answer.status_code, json.loads(answer.content)["code"]) == (409, "claimed_by_another")
    assert not Judgement.objects.exists()


def test_answer__that_is_none__is_refused(client, pairs):
    answer = client.post(page("judge", pairs[0].pk), {"answer": "PERHAPS"}, headers=FETCHED)

    assert answer.status_code == 409
    assert not ReviewVerdict.objects.exists()


def test_undo__without_the_script__leads_back_to_the_pair(client, pairs):
    client.post(page("judge", pairs[0].pk), {"answer": "SAME"})

    answer = client.post(page("undo"))

    assert (answer.status_code, answer.url) == (302, page("change", pairs[0].pk))
    assert ReviewPair.objects.get(pk=pairs[0].pk).judgement is None


def test_release__leaves_the_pairs_to_others(client, bob, pairs):
    client.get(page("desk"))

    assert client.post(page("release")).status_code == 204
    assert bob.get(page("desk")).context["pair"].pk == pairs[0].pk


def test_split__of_one_identifier_with_itself__is_refused(client, pairs):
    edge = f"{pairs[0].left_id}-{pairs[0].left_id}"

    answer = client.post(page("split", pairs[0].pk), {"edge": edge}, headers=FETCHED)

    assert (answer.status_code, json.loads(answer.content)["code"]) == (409, "same_identifier")


def test_bulk__without_a_weight__asks_for_one(client):
    answer = client.get(page("bulk"), {"answer": "SAME"})

    assert answer.context["form"].non_field_errors() == ["Give at least one weight."]


def test_bulk__looked_at_and_confirmed__is_judged(client, pairs):
    seen = client.get(page("bulk"), {"answer": "SAME", "least": "0"}).context["seen"]

    client.post(page("bulk"), {"answer": "SAME", "least": "0", "looked": "something else"})
    untouched = Judgement.objects.count()
    client.post(page("bulk"), {"answer": "SAME", "least": "0", "looked": seen.looked})

    assert (seen.total, untouched, Judgement.objects.count()) == (3, 0, 3)


def test_statistics__for_a_steward__open(client):
    assert client.get(page("statistics")).context["found"].waiting == 3


@pytest.mark.parametrize("name", ["desk", "bulk", "statistics"])
def test_page__for_a_member_without_permissions__is_refused(name, workspace, pairs, as_login):
    reader = client_of(console_user(workspace, "reader", is_superuser=False))
    as_login("web")

    assert reader.get(page(name)).status_code == 403


def test_next__whatever_waits__takes_as_many_queries(client, workspace, pairs):
    with CaptureQueriesContext(
        connection,
    ) as few:
        client.post(page("next_pair"))
    with CaptureQueriesContext(connection) as again:
        client.post(page("next_pair"), {"besides": str(pairs[0].pk)})

    assert len(again) == len(few) <= 32
