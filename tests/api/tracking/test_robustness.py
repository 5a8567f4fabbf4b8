"""Whatever comes, the answer is JSON that an SDK understands, never a failure of ours; and what was kept can be stored."""

import gzip
import json

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cdp import pipeline
from cdp.models import InboxBatch, OutboxRow, QuarantinedItem, Stage
from tests.api.tracking.conftest import GOOD, basic

# The fixtures are the same for all examples: each example undoes what it wrote.
SETTINGS = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}

NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**19), 1e308, 0.1])
TEXTS = st.text(max_size=20) | st.sampled_from(["\x00", "\ud800", "￿", "null", "x" * 600, "2026-11-25T12:00:00Z", "-1"])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([
    "type", "userId", "anonymousId", "messageId", "timestamp", "originalTimestamp", "sentAt", "event", "name", "category",
    "properties", "traits", "context", "integrations", "groupId", "previousId", "writeKey", "channel", "_metadata",
])  # fmt: skip
KINDS = st.sampled_from(["identify", "track", "page", "screen", "group", "alias", "TRACK"])
CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        "ip": JSON, "direct": st.booleans() | JSON, "traits": JSON, "consent": JSON,
        "externalIds": JSON | st.lists(st.dictionaries(st.sampled_from(["id", "type", "collection", "encoding"]), JSON)),
    },
)  # fmt: skip
EVENTS = st.one_of(
    JSON,
    st.dictionaries(NAMES, JSON, max_size=8),
    st.builds(
        lambda kind, context, more: {**GOOD, "previousId": "a", "groupId": "g", **more, "type": kind, "context": context},
        KINDS, CONTEXTS, st.dictionaries(NAMES, JSON, max_size=3),
    ),
)  # fmt: skip
PATHS = st.sampled_from(
    ["/v1/batch", "/v1/b/", "/v1/import", "/v1/track", "/v1/i", "/v1/g/", "/v1/a", "/beacon/v1/batch"]
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["Authorization", "Content-Encoding", "Content-Type", "X-Retry-Count", "X-Forwarded-For", "Origin"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40)
    | st.sampled_from(
        ["Bearer x", "Basic", "Basic Og==", "Basic ////", "gzip", "br", "multipart/form-data", "1.2.3.4, x"]
    ),
    max_size=4,
)


@pytest.fixture
def send(client, write_key):
    """Sends one body, and undoes it afterwards."""

    def once(path, body, headers):
        sent = dict(headers)
        content_type = sent.pop("Content-Type", "application/json")
        return client.post(path, body, content_type=content_type, headers=sent, REMOTE_ADDR="203.0.113.9")

    return once


def rolled_back(examine):
    with transaction.atomic():
        examine()
        transaction.set_rollback(True)


def as_bytes(value):
    """As careless clients write it: NaN, infinities, halves of surrogate pairs."""
    return json.dumps(value).encode()


def assert_understood(answer, items):
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.status_code in {200, 400, 401, 413}
    if answer.status_code != 200:
        assert set(answer.json()) == {"code", "message"}
        assert not InboxBatch.objects.exists()
        assert not QuarantinedItem.objects.exists()
    elif items is not None:
        assert answer.json()["accepted"] + len(answer.json()["rejected"]) == items


@settings(max_examples=150, **SETTINGS)
@given(path=PATHS, body=st.binary(max_size=200), headers=HEADERS, is_packed=st.booleans(), cut=st.integers(0, 40))
@example(path="/v1/batch", body=b"[" * 200, headers={}, is_packed=False, cut=0)
@example(path="/v1/batch", body=b'{"batch":' + b"[" * 100_000, headers={}, is_packed=False, cut=0)
@example(path="/v1/track", body=b'{"userId":' + b'{"a":' * 50_000, headers={}, is_packed=False, cut=0)
@example(path="/v1/track", body=b"9" * 5_000, headers={}, is_packed=False, cut=0)
def test_bytes__of_any_kind__get_an_answer_in_json(path, body, headers, is_packed, cut, send):
    if is_packed:
        body = gzip.compress(body)[: None if cut > 20 else -cut or None]

    def examine():
        assert_understood(send(path, body, headers), None)

    rolled_back(examine)


@settings(max_examples=100, **SETTINGS)
@given(events=st.lists(EVENTS, max_size=4), envelope=st.dictionaries(NAMES, JSON, max_size=4), headers=HEADERS)
def test_batch__of_anything__accounts_for_every_event_and_what_is_kept_can_be_stored(
    events, envelope, headers, send, workspace, write_key, now
):
    body = as_bytes({**envelope, "batch": events})
    headers = {**headers, **basic(f"{write_key}:")}

    def examine():
        answer = send("/v1/batch", body, headers)
        assert answer.status_code == 200
        assert_understood(answer, len(events))
        assert_stored(workspace, now)

    rolled_back(examine)


@settings(max_examples=150, **SETTINGS)
@given(path=PATHS, event=EVENTS, headers=HEADERS, has_key=st.booleans())
def test_call__of_anything__is_one_event_or_an_error(path, event, headers, has_key, send, workspace, write_key, now):
    body = as_bytes({**event, "writeKey": write_key} if isinstance(event, dict) and has_key else event)

    def examine():
        assert_understood(send(path, body, headers), None)
        assert_stored(workspace, now)

    rolled_back(examine)


@settings(max_examples=100, **SETTINGS)
@given(
    query=st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=80),
    kind=st.sampled_from(["track", "page"]),
)
def test_pixel__with_any_query__is_an_image(query, kind, client, workspace, write_key, now):
    def examine():
        answer = client.get(f"/pixel/v1/{kind}", QUERY_STRING=f"writeKey={write_key}&{query}")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/gif")
        assert_stored(workspace, now)

    rolled_back(examine)


def assert_stored(workspace, now):
    pipeline.advance(Stage.INGESTION, workspace_id=workspace.pk, now=now)
    assert not OutboxRow.objects.exclude(failed_at=None).exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM inbox")
        assert cursor.fetchone() == (0,)
