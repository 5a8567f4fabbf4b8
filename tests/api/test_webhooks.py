"""The address that other systems send to: which answer they get, and what is kept when they get it."""

import json

import pytest
import time_machine
from django.db import DatabaseError

from cdp.api import wakeups
from cdp.ingestion import deliveries
from cdp.ingestion.webhook import Settings
from cdp.models import Connection, InboxBatch, QuarantinedItem, Stage
from cdp.models.secrets import encrypted
from tests.fakes.senders import GENERIC, NOW, SENDERS, SURVEYMONKEY, TYPEFORM

EACH_SENDER = pytest.mark.parametrize("sender", SENDERS, ids=lambda sender: sender.kind.value.lower())


@pytest.fixture(autouse=True)
def at_noon():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def woken(monkeypatch):
    calls = []
    monkeypatch.setattr(wakeups.WAKER, "tell", lambda *what: calls.append(what))
    return calls


def post(client, source, sender, body=None, *, slash="", headers=None):
    body = sender.body() if body is None else body
    headers = sender.headers(body) if headers is None else headers
    return client.post(f"/v1/webhooks/{source.pk}{slash}", body, content_type="application/json", headers=headers)


def assert_problem(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["message"]


@EACH_SENDER
@pytest.mark.parametrize("slash", ["", "/"])
def test_delivery__that_is_genuine__is_200_and_kept(sender, slash, client, workspace):
    answer = post(client, sender.connect(workspace), sender, slash=slash)

    assert answer.status_code == 200
    assert answer.json() == {"success": True, "accepted": sender.calls, "quarantined": 0, "announced": sender.announced}
    assert sum(len(json.loads(bytes(batch.body))["batch"]) for batch in InboxBatch.objects.all()) == sender.calls


@EACH_SENDER
def test_delivery__with_a_wrong_signature__is_401_and_says_no_secret(sender, client, workspace):
    answer = post(client, sender.connect(workspace), sender, headers={})

    assert_problem(answer, 401, "wrong_signature")
    assert not any(secret in answer.content.decode() for secret in sender.secrets.values())
    assert not InboxBatch.objects.exists()


def test_delivery__that_is_stale__is_401(client, workspace):
    source = GENERIC.connect(workspace)
    body = GENERIC.body()

    with time_machine.travel("2026-11-21T13:00:00Z", tick=False):
        answer = post(client, source, GENERIC, body, headers=GENERIC.headers(body, at=NOW))

    assert_problem(answer, 401, "stale_signature")
    assert not InboxBatch.objects.exists()


@EACH_SENDER
def test_delivery__that_nobody_can_read__is_answered_as_the_sender_needs_it(sender, client, workspace):
    answer = post(client, sender.connect(workspace), sender, b"{")

    assert answer.status_code == sender.malformed_status
    assert (answer.json().get("code"), answer.json().get("quarantined")) in {("invalid_json", None), (None, 1)}
    assert QuarantinedItem.objects.get().raw == "{"


def test_address__that_nobody_has__is_404(client, workspace):
    assert_problem(client.post("/v1/webhooks/4711"), 404, "unknown_webhook")
    assert_problem(client.post(f"/v1/webhooks/{10**30}"), 404, "unknown_webhook")


def test_connection__that_is_switched_off__is_403(client, workspace):
    source = TYPEFORM.connect(workspace)
    Connection.objects.update(is_enabled=False)

    assert_problem(post(client, source, TYPEFORM), 403, "connection_disabled")


@pytest.mark.parametrize("method", ["head", "get"])
def test_address__that_is_asked_whether_somebody_is_here__is_200(method, client, workspace):
    source = SURVEYMONKEY.connect(workspace)

    assert getattr(client, method)(f"/v1/webhooks/{source.pk}").status_code == 200


def test_method__that_nobody_sends__is_405(client, workspace):
    answer = client.put("/v1/webhooks/1")

    assert_problem(answer, 405, "method_not_allowed")
    assert answer["Allow"] == "GET, HEAD, POST"


def test_body__that_is_too_large__is_413(client, workspace, settings):
    settings.TRACKING_BODY_BYTES = 1_000
    source = TYPEFORM.connect(workspace)

    assert_problem(post(client, source, TYPEFORM, b" " * 1_001), 413, "body_too_large")
    assert not QuarantinedItem.objects.exists()


@pytest.mark.parametrize("fault", ["database", "settings", "keys"])
def test_delivery__that_cannot_be_taken_now__is_503_so_that_it_comes_again(
    fault, client, workspace, monkeypatch, settings
):
    source = GENERIC.connect(workspace)
    if fault == "database":
        monkeypatch.setattr(deliveries, "accept_calls", _failing)
    elif fault == "settings":
        Connection.objects.update(config={**GENERIC.config, "mapping": {}})
    else:
        settings.FIELD_ENCRYPTION_KEYS = []

    answer = post(client, source, GENERIC)

    assert answer.status_code == 503
    assert not InboxBatch.objects.exists()
    assert not QuarantinedItem.objects.exists()


def test_delivery__when_it_is_committed__wakes_the_stage(client, workspace, woken, django_capture_on_commit_callbacks):
    source = TYPEFORM.connect(workspace)

    with django_capture_on_commit_callbacks(execute=True):
        post(client, source, TYPEFORM)

    assert woken == [(Stage.INGESTION, workspace.pk)]


def test_delivery__that_is_only_announced__wakes_nobody(client, workspace, woken, django_capture_on_commit_callbacks):
    source = SURVEYMONKEY.connect(workspace)

    with django_capture_on_commit_callbacks(execute=True):
        post(client, source, SURVEYMONKEY)

    assert woken == []


def test_delivery__with_a_token_alone__is_taken(client, workspace):
    source = GENERIC.connect(workspace)
    settings = Settings({"mapping": GENERIC.config["mapping"]}, {"token": "t"})
    Connection.objects.update(config=settings.config, secrets=encrypted(settings.secrets))

    answer = post(client, source, GENERIC, headers={"Authorization": "Bearer t"})

    assert answer.json()["accepted"] == 2
    assert_problem(post(client, source, GENERIC, headers={"Authorization": "Bearer other"}), 401, "wrong_signature")


def _failing(*_, **__):
    raise DatabaseError
