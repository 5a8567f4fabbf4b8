"""What people say comes in by batches, once, and is felt at once."""

from datetime import timedelta
from unittest.mock import Mock, call

import pytest
from django.utils import timezone

from cdp.api import wakeups
from cdp.models import Stage
from consent.models import ConsentRecord, Notice

ADA = "email:ada@example.com"
YESTERDAY = (timezone.now() - timedelta(days=1)).isoformat()
NOTICE = {
    "key": "cookies",
    "version": 1,
    "locale": "fr",
    "text": "Nous utilisons…",
    "valid_from": "2026-01-01T00:00:00Z",
}


def said(**changes):
    return {
        "identifier": "email:ADA@example.com",
        "purpose": "advertising",
        "state": "GIVEN",
        "occurred_at": YESTERDAY,
        "key": "1",
        "is_verified": True,
        **changes,
    }


@pytest.fixture
def as_web(as_login):
    as_login("web")


@pytest.fixture
def wake(monkeypatch):
    """Stands for whoever tells the broker."""
    stand_in = Mock()
    monkeypatch.setattr(wakeups.WAKER, "tell", stand_in)
    return stand_in


def test_post__records_and_wakes_segments(
    owner, ada, workspace, wake, as_web, as_login, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        answer = owner.post("consents", {"consents": [said()]})

    assert (answer.status_code, answer.json()) == (200, {"recorded": 1, "duplicates": 0})
    assert wake.mock_calls == [call(stage, workspace.pk) for stage in (Stage.ACTIVATION, Stage.SEGMENTS)]
    now_allowed = owner.get("consents", identifier=ADA).json()["purposes"]
    assert {"purpose": "advertising", "allowed": True} in [
        {name: each[name] for name in ("purpose", "allowed")} for each in now_allowed
    ]


def test_post__again__records_nothing(owner, as_web):
    owner.post("consents", {"consents": [said()]})

    answer = owner.post("consents", {"consents": [said(), said(key="2")]})

    assert answer.json() == {"recorded": 1, "duplicates": 1}


def test_post__with_a_key_for_something_else__is_a_conflict(owner, as_web):
    owner.post("consents", {"consents": [said()]})

    answer = owner.post("consents", {"consents": [said(state="WITHDRAWN")]})

    assert (answer.status_code, answer.json()["code"]) == (409, "consent_key_reused")
    assert answer.json()["details"] == {"statements": [0]}


@pytest.mark.parametrize(
    ("changes", "code", "details"),
    [
        ({"identifier": "ada"}, "invalid_statement", {"faults": [{"statement": 1, "fault": "identifier_syntax"}]}),
        (
            {"identifier": "email:no"},
            "invalid_statement",
            {"faults": [{"statement": 1, "fault": "invalid_identifier"}]},
        ),
        (
            {"occurred_at": "2999-01-01T00:00:00Z"},
            "invalid_statement",
            {"faults": [{"statement": 1, "fault": "occurred_in_the_future"}]},
        ),
        (
            {"expires_at": "2020-01-01T00:00:00Z"},
            "invalid_statement",
            {"faults": [{"statement": 1, "fault": "expires_before_it_occurred"}]},
        ),
        (
            {"purpose": "mischief"},
            "validation_failed",
            {"consents": {"1": {"purpose": ['"mischief" is not a valid choice.']}}},
        ),
    ],
)
def test_post__with_one_bad_statement__refuses_the_batch(owner, changes, code, details, as_web, as_login):
    answer = owner.post("consents", {"consents": [said(key="fine"), said(**changes)]})

    assert (answer.status_code, answer.json()["code"], answer.json()["details"]) == (400, code, details)
    as_login("none")
    assert not ConsentRecord.objects.exists()


def test_post__with_a_notice_of_another_workspace__is_refused(owner, stranger, as_web, as_login):
    foreign = stranger.post("notices", NOTICE).json()["id"]

    answer = owner.post("consents", {"consents": [said(notice=foreign)]})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_statement")
    assert answer.json()["details"] == {"faults": [{"statement": 0, "fault": "unknown_notice"}]}
    as_login("none")
    assert not ConsentRecord.objects.exists()


@pytest.mark.parametrize("body", [{}, {"consents": []}, {"consents": "x"}, [], None])
def test_post__of_another_shape__is_refused(owner, body, as_web):
    answer = owner.post("consents", body)

    assert (answer.status_code, answer.json()["code"]) == (400, "validation_failed")


@pytest.mark.parametrize("changes", [{"notice": 10**30}, {"key": "a\0"}, {"identifier": "crm:id:a\0b"}])
def test_post__of_a_value_that_does_not_fit__is_refused(owner, changes, as_web):
    assert owner.post("consents", {"consents": [said(**changes)]}).status_code == 400


def test_get__of_an_identifier_that_nobody_knows_yet__answers_from_the_ledger(owner, as_web):
    owner.post("consents", {"consents": [said(purpose="analytics", state="REFUSED")]})

    body = owner.get("consents", identifier=ADA).json()

    (analytics,) = [each for each in body["purposes"] if each["purpose"] == "analytics"]
    assert (analytics["allowed"], analytics["rule"], analytics["changes_at"]) == (False, "denied", None)
    assert len(analytics["why"]) == 2
    assert [(each["purpose"], each["state"], each["is_verified"]) for each in body["records"]] == [
        ("analytics", "REFUSED", True)
    ]


def test_get__without_an_identifier__is_refused(owner, as_web):
    answer = owner.get("consents")

    assert (answer.status_code, answer.json()["code"]) == (400, "identifier_syntax")


def test_get__for_a_stranger__tells_nothing(owner, stranger, as_web):
    owner.post("consents", {"consents": [said()]})

    assert stranger.get("consents", identifier=ADA).json()["records"] == []


def test_purposes__tell_the_ground_of_each(owner, as_web):
    purposes = owner.get("purposes").json()["purposes"]

    assert {each["purpose"]: each["legal_basis"] for each in purposes}["advertising"] == "CONSENT"
    assert {each["scope"] for each in purposes} == {"PERSON"}
    assert len(purposes) == 7


def test_notices__are_kept_once_and_never_changed(owner, stranger, as_web, as_login):
    first = owner.post("notices", NOTICE)
    again = owner.post("notices", NOTICE)
    other = owner.post("notices", {**NOTICE, "text": "Autre chose"})

    assert (first.status_code, again.json()) == (200, first.json())
    assert (other.status_code, other.json()["code"]) == (409, "notice_exists")
    assert [each["text"] for each in owner.get("notices").json()["notices"]] == ["Nous utilisons…"]
    assert stranger.get("notices").json()["notices"] == []
    as_login("none")
    assert Notice.objects.count() == 1


CALLS = [
    ("get", "consents", {"identifier": ADA}, "consents:write"),
    ("post", "consents", {"body": {"consents": [said()]}}, "consents:read"),
    ("get", "purposes", {}, "consents:write"),
    ("get", "notices", {}, "consents:write"),
    ("post", "notices", {"body": NOTICE}, "consents:read"),
]


@pytest.mark.parametrize(("method", "path", "arguments", "other_scope"), CALLS)
def test_call__without_the_scope_or_a_key__is_refused_and_records_nothing(
    caller, anonymous, method, path, arguments, other_scope, as_login
):
    member = caller(other_scope, "profiles:read")
    as_login("web")

    assert getattr(member, method)(path, **arguments).status_code == 403
    assert getattr(anonymous, method)(path, **arguments).status_code == 401
    as_login("none")
    assert not ConsentRecord.objects.exists()
    assert not Notice.objects.exists()
