"""From an event to an audience, and out of it again: every stage of the pipeline, and a receiver outside."""

import hashlib
import json

import pytest
from django.utils import timezone

from activation import services as activation
from activation.models import AudienceMember
from cdp import http, pipeline
from cdp.ingestion import services as ingestion
from cdp.kernel.purposes import Purpose
from cdp.models import Identifier
from consent.models import ConsentState
from segments import services as segments
from tests.factories import SourceFactory, say
from tests.fakes.audiences import SIGNING_KEY
from tests.fakes.receiver import FailingReceiver


@pytest.fixture
def receiver():
    http.forget_hosts()
    with FailingReceiver(SIGNING_KEY) as made:
        yield made
    assert made.violations == []


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace, default_region="FR")


@pytest.fixture
def audience(workspace, receiver):
    now = timezone.now()
    segment = segments.create_segment(
        workspace_id=workspace.pk,
        slug="buyers",
        name="Buyers",
        definition='count of "Order Completed" >= 1',
        author=None,
        now=now,
    )
    destination = activation.create_destination(
        workspace_id=workspace.pk,
        slug="ads",
        kind="webhook",
        config={"url": receiver.url},
        secrets={"signing_key": SIGNING_KEY},
        now=now,
    )
    return activation.create_audience(
        workspace_id=workspace.pk,
        destination=destination,
        segment=segment,
        external_id="buyers",
        identifier_types=["email"],
        now=now,
    )


def buy(source, email, message_id):
    event = {
        "type": "track", "event": "Order Completed", "messageId": message_id, "userId": f"of {email}",
        "properties": {"email": email}, "timestamp": timezone.now().isoformat(),
    }  # fmt: skip
    body = json.dumps({"batch": [event]}).encode()
    ingestion.accept(source=source, body=body, path_kind="batch", received_at=timezone.now())


def drain(workspace):
    assert pipeline.drain(workspace_id=workspace.pk, now=timezone.now, timeout=30)


def key_of(email):
    return hashlib.sha256(email.encode()).hexdigest()


def address(email):
    return Identifier.objects.get(type="email", value=email)


def test_buyer__who_permits_advertising__arrives_and_leaves_when_they_withdraw(workspace, source, audience, receiver):
    buy(source, "Ada@Example.com", "m1")
    buy(source, "bob@example.com", "m2")
    drain(workspace)
    assert receiver.members("buyers") == set()

    for email in ("ada@example.com", "bob@example.com"):
        say(address(email), Purpose.ADVERTISING, ConsentState.GIVEN, at=timezone.now())
    drain(workspace)
    assert receiver.members("buyers") == {key_of("ada@example.com"), key_of("bob@example.com")}

    say(address("ada@example.com"), Purpose.ADVERTISING, ConsentState.WITHDRAWN, at=timezone.now())
    drain(workspace)

    assert receiver.members("buyers") == {key_of("bob@example.com")}
    assert dict(AudienceMember.objects.values_list("key", "state")) == {
        key_of("ada@example.com"): "REMOVED",
        key_of("bob@example.com"): "PRESENT",
    }


def test_everything__replayed__sends_nothing_more(workspace, source, audience, receiver):
    buy(source, "ada@example.com", "m1")
    drain(workspace)
    say(address("ada@example.com"), Purpose.ADVERTISING, ConsentState.GIVEN, at=timezone.now())
    drain(workspace)
    assert receiver.requests == 1

    buy(source, "ada@example.com", "m1")
    drain(workspace)
    activation.refresh_audience(workspace_id=workspace.pk, audience=audience, now=timezone.now())
    drain(workspace)

    assert receiver.requests == 1
    assert receiver.members("buyers") == {key_of("ada@example.com")}
