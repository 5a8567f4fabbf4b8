"""A consent that goes the short way is recorded as by the view, and whatever is wrong with one the view says."""

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cdp.api import authentication, consent_calls
from cdp.models import ApiKey, Scope, Workspace
from cdp.models.keys import digest_of
from consent.models import ConsentRecord
from tests.api.tracking.test_short_way import call, one_connection  # noqa: F401  # a fixture that is used by itself

YESTERDAY = (timezone.now() - timedelta(days=1)).isoformat()
SAID = {"identifier": "email:ADA@example.com", "purpose": "advertising", "state": "GIVEN", "occurred_at": YESTERDAY}


@pytest.fixture
def ways(monkeypatch):
    """`short` or `long`, for each call in turn."""
    taken = []
    recorded = consent_calls.recorded

    def watched(environ):
        answer = recorded(environ)
        taken.append("long" if answer is None else "short")
        return answer

    monkeypatch.setattr(consent_calls, "recorded", watched)
    return taken


def post(caller, body, **environ):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"CONTENT_TYPE": "application/json", "HTTP_AUTHORIZATION": f"Bearer {caller.secret}", **environ}
    status, told, answer = call("/api/v1/consents", raw, **headers)
    return int(status[:3]), told["Content-Type"], json.loads(answer)


def test_consent__that_is_well_formed__takes_the_short_way_and_is_recorded(owner, ways):
    body = {"consents": [SAID, {**SAID, "key": "form-2", "recipient": "meta", "is_verified": True}]}

    assert post(owner, body) == (200, "application/json", {"recorded": 2, "duplicates": 0})
    assert ways == ["short"]
    assert list(ConsentRecord.objects.order_by("pk").values_list("state", "recipient", "is_verified")) == [
        ("GIVEN", "", False), ("GIVEN", "meta", True),
    ]  # fmt: skip


def test_consent__by_both_ways__is_one_and_the_same(owner, ways):
    assert owner.post("consents", {"consents": [SAID]}).json() == {"recorded": 1, "duplicates": 0}

    assert post(owner, {"consents": [SAID]})[2] == {"recorded": 0, "duplicates": 1}
    assert (ways, ConsentRecord.objects.count()) == (["short"], 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"purpose": "fame"},
        {"state": "PERHAPS"},
        {"occurred_at": "yesterday"},
        {"occurred_at": (timezone.now() + timedelta(days=1)).isoformat()},
        {"identifier": "ada"},
        {"identifier": "email:null"},
        {"key": ""},
        {"key": "k" * 101},
        {"recipient": "a\0b"},
        {"notice": 4711},
    ],
    ids="-".join,
)
def test_consent__that_is_wrong__is_refused_by_the_view_and_nothing_is_recorded(owner, ways, wrong):
    status, kind, answer = post(owner, {"consents": [{**SAID, "key": "1"}, {**SAID, **wrong}]})

    assert (status, kind, ways) == (400, "application/json", ["long"])
    assert {"code", "message"} <= answer.keys()
    assert not ConsentRecord.objects.exists()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"consents": []}', b"\xff", b'{"consents": 1}'])
def test_body__that_is_no_batch__is_refused_by_the_view(owner, ways, body):
    assert post(owner, body)[0] == 400
    assert ways == ["long"]


def test_key__without_the_scope_or_unknown__is_refused_by_the_view(caller, anonymous, ways):
    assert post(caller(Scope.CONSENTS_READ), {"consents": [SAID]})[0] == 403
    assert post(anonymous, {"consents": [SAID]})[0] == 401
    assert ways == ["long", "long"]
    assert not ConsentRecord.objects.exists()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda key: ApiKey.objects.filter(pk=key.pk).update(revoked_at=timezone.now()), 401),
        (lambda key: ApiKey.objects.filter(pk=key.pk).update(scopes=[Scope.CONSENTS_READ]), 403),
        (lambda key: Workspace.objects.filter(pk=key.workspace_id).update(closed_at=timezone.now()), 401),
    ],
    ids=["revoked", "without_the_scope", "of_a_closed_workspace"],
)
def test_key__that_ended_since_it_was_remembered__is_refused_at_once(owner, ways, change, status):
    assert post(owner, {"consents": [SAID]})[0] == 200
    change(ApiKey.objects.get(digest=digest_of(owner.secret)))

    assert post(owner, {"consents": [{**SAID, "key": "2"}]})[0] == status
    assert (ways, ConsentRecord.objects.count()) == (["short", "long"], 1)


def test_key__that_is_remembered__is_not_looked_up_again(owner, ways):
    post(owner, {"consents": [SAID]})

    with CaptureQueriesContext(connection) as asked:
        post(owner, {"consents": [{**SAID, "key": "2"}]})

    assert ways == ["short", "short"]
    assert not [one["sql"] for one in asked if "k.digest = " in one["sql"]]


def test_keys__of_more_senders_than_are_remembered__begin_anew(owner, caller, ways, monkeypatch):
    monkeypatch.setattr(authentication, "_MOST_REMEMBERED", 1)
    monkeypatch.setattr(authentication, "_remembered", {})
    other = caller(Scope.CONSENTS_WRITE)

    for number, one in enumerate((owner, other, owner)):
        post(one, {"consents": [{**SAID, "key": f"{number}"}]})

    assert list(authentication._remembered) == [digest_of(owner.secret)]
    assert (ways, ConsentRecord.objects.count()) == (["short"] * 3, 3)


def test_time__without_a_zone__is_read_by_the_view_as_ever(owner, ways):
    naive = {**SAID, "occurred_at": YESTERDAY[:19]}

    assert post(owner, {"consents": [naive]})[2] == {"recorded": 1, "duplicates": 0}
    assert ways == ["long"]


@pytest.mark.parametrize(
    ("field", "moment"), [("occurred_at", "0001-01-01T00:00:00+14:00"), ("expires_at", "9999-12-31T23:59:59-14:00")]
)
def test_time__that_no_calendar_has_in_utc__is_refused_by_the_view(field, moment, owner, ways):
    status, _, answer = post(owner, {"consents": [{**SAID, field: moment}]})

    assert (status, answer["code"], ways) == (400, "validation_failed", ["long"])
    assert answer["details"] == {"consents": {"0": {field: ["Datetime value out of range."]}}}
    assert not ConsentRecord.objects.exists()


def test_batch__takes_the_short_way_and_is_recorded_as_by_the_view(owner, ways):
    many = {"consents": [{**SAID, "key": f"{number}"} for number in range(500)]}

    assert post(owner, many)[2] == {"recorded": 500, "duplicates": 0}
    assert post(owner, many)[2] == owner.post("consents", many).json() == {"recorded": 0, "duplicates": 500}
    assert (ways, ConsentRecord.objects.count()) == (["short", "short"], 500)


def test_batch__with_one_that_is_wrong__is_refused_whole_by_the_view(owner, ways):
    many = [{**SAID, "key": f"{number}"} for number in range(200)]

    status, _, answer = post(owner, {"consents": [*many, {**SAID, "identifier": "email:null"}]})

    assert (status, ways) == (400, ["long"])
    assert answer["details"]["faults"][0]["statement"] == 200
    assert not ConsentRecord.objects.exists()


def test_batch__by_a_key_that_was_revoked_meanwhile__records_nothing(owner, ways):
    assert post(owner, {"consents": [SAID]})[0] == 200
    ApiKey.objects.filter(digest=digest_of(owner.secret)).update(revoked_at=timezone.now())

    assert post(owner, {"consents": [{**SAID, "key": f"{number}"} for number in range(200)]})[0] == 401
    assert (ways, ConsentRecord.objects.count()) == (["short", "long"], 1)


def test_body__that_is_too_large_or_no_json__takes_the_long_way(owner, ways, monkeypatch):
    assert post(owner, {"consents": [SAID]}, CONTENT_TYPE="text/plain")[0] == 415
    monkeypatch.setattr(consent_calls, "MOST_BYTES", 100)

    assert post(owner, {"consents": [SAID]})[2] == {"recorded": 1, "duplicates": 0}
    assert ways == ["long", "long"]


def test_batch__of_more_than_are_recorded_at_once__is_refused_by_the_view(owner, ways):
    assert post(owner, {"consents": [SAID] * 10_001})[2]["code"] == "too_many_statements"
    assert (ways, ConsentRecord.objects.count()) == (["long"], 0)
