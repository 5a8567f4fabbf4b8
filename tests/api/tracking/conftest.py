"""A source with a key, and callers of the tracking paths."""

import base64
import json
import uuid

import pytest

from cdp.api.tracking import wakeups
from cdp.ingestion import backpressure, limits, sources
from cdp.ingestion import services as ingestion
from cdp.models import InboxBatch, SourceKind

GOOD = {"type": "track", "event": "Viewed", "userId": "u1", "messageId": "m1"}
ORIGIN = "https://shop.example"


@pytest.fixture
def write_key(workspace):
    return ingestion.create_source(workspace_id=workspace.pk, name="shop", kind=SourceKind.HTTP)[1]


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """No process remembers anything: no source, no pressure, no limit of another test."""
    monkeypatch.setattr(wakeups, "wake", lambda *_, **__: None)
    monkeypatch.setattr(backpressure, "_state", backpressure._State())
    monkeypatch.setattr(limits, "PREFIX", f"tests:{uuid.uuid4()}")
    monkeypatch.setattr(limits, "_silent_until", 0.0)
    sources._cache.clear()


def basic(credentials):
    return {"Authorization": "Basic " + base64.b64encode(credentials.encode()).decode()}


def post(client, path, body, headers=None, content_type="application/json", **more):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(path, data, content_type=content_type, headers=headers or {}, **more)


def kept_events():
    """All events of the inbox, in the order in which they came."""
    return [event for batch in InboxBatch.objects.order_by("pk") for event in json.loads(bytes(batch.body))["batch"]]
