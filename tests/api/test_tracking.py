"""The tracking calls as the published SDKs make them: which answer they get, byte for byte where it matters."""

import base64
import gzip
import json

import pytest
from django.db import DatabaseError, connection

from cdp.api import wakeups
from cdp.ingestion import accepting
from cdp.ingestion import services as ingestion
from cdp.models import InboxBatch, QuarantinedItem, SourceKind, Stage

GOOD = {"type": "track", "event": "Viewed", "userId": "u1", "messageId": "m1"}
KINDS = ("identify", "track", "page", "screen", "group", "alias")
COMPLETE = {"userId": "u1", "previousId": "a1", "groupId": "g1", "event": "Viewed", "messageId": "m1"}


@pytest.fixture
def write_key(workspace):
    return ingestion.create_source(workspace_id=workspace.pk, name="shop", kind=SourceKind.HTTP)[1]


@pytest.fixture(autouse=True)
def woken(monkeypatch):
    """Which stages were told that something waits."""
    calls = []
    monkeypatch.setattr(wakeups.WAKER, "tell", lambda *what: calls.append(what))
    return calls


def basic(user, *, colon=":"):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}{colon}".encode()).decode()}


def post(client, path, body, headers=None, content_type="application/json"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(path, data, content_type=content_type, headers=headers or {})


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", ["/v1/batch", "/v1/import"])
def test_batch__in_both_slash_forms__is_accepted(path, slash, client, write_key):
    answer = post(client, path + slash, {"batch": [GOOD]}, basic(write_key))

    assert answer.status_code == 200
    assert answer.json() == {"success": True, "accepted": 1, "rejected": []}
    assert InboxBatch.objects.count() == 1


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("kind", KINDS)
def test_single_call__in_both_slash_forms__is_an_event_of_its_path(kind, slash, client, write_key):
    answer = post(client, f"/v1/{kind}{slash}", COMPLETE, basic(write_key))

    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
    assert json.loads(InboxBatch.objects.get().body)["type"] == kind


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_content_type__whatever_it_claims__is_ignored(content_type, client, write_key):
    answer = post(client, "/v1/batch", {"batch": [GOOD]}, basic(write_key), content_type)

    assert answer.json()["accepted"] == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "gzip", "Content-Type": "application/x-www-form-urlencoded"},
        {},
    ],
)
def test_gzip__labelled_or_not__is_unpacked(headers, client, write_key):
    packed = gzip.compress(json.dumps({"batch": [GOOD]}).encode())

    answer = post(client, "/v1/batch", packed, {**basic(write_key), **headers})

    assert answer.json()["accepted"] == 1


def test_gzip__claimed_for_plain_json__is_read_as_plain(client, write_key):
    answer = post(client, "/v1/batch", {"batch": [GOOD]}, {**basic(write_key), "Content-Encoding": "gzip"})

    assert answer.json()["accepted"] == 1


def test_key__as_user_name_without_a_colon__is_taken(client, write_key):
    assert post(client, "/v1/batch", {"batch": [GOOD]}, basic(write_key, colon="")).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer token"}, {"Authorization": "Basic %%%"}, basic("wk_wrong")]
)
def test_key__in_the_body__counts_where_the_header_has_none_that_is_known(headers, client, write_key):
    answer = post(client, "/v1/batch", {"batch": [GOOD], "writeKey": write_key}, headers)

    assert answer.status_code == 200
    assert write_key not in bytes(InboxBatch.objects.get().body).decode()


def test_key__in_the_header__goes_before_the_one_in_the_body(client, workspace, write_key):
    other = ingestion.create_source(workspace_id=workspace.pk, name="other", kind=SourceKind.HTTP)[1]

    post(client, "/v1/batch", {"batch": [GOOD], "writeKey": other}, basic(write_key))

    assert InboxBatch.objects.get().source.name == "shop"


@pytest.mark.parametrize("key", [None, 3, "", "wk_wrong"])
def test_key__that_nobody_has__is_401_and_keeps_nothing(key, client, workspace):
    answer = post(client, "/v1/batch", {"batch": [GOOD], "writeKey": key})

    assert_problem(answer, 401, "unknown_write_key")


def test_query_string__is_no_place_for_a_key(client, write_key):
    assert_problem(post(client, f"/v1/batch?writeKey={write_key}", {"batch": [GOOD]}), 401, "unknown_write_key")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[]", "invalid_json"),
        (b"event=Viewed&userId=1", "invalid_json"),
        (b"{}", "missing_batch"),
        (b"\x1f\x8b\x08broken", "invalid_json"),
    ],
)
def test_body__that_is_no_batch__is_400_in_json(body, code, client, write_key):
    assert_problem(post(client, "/v1/batch", body, basic(write_key)), 400, code)


def test_body__over_the_cap__is_413(client, write_key, settings):
    settings.TRACKING_BODY_BYTES = 1_000

    assert_problem(post(client, "/v1/batch", b" " * 1_001, basic(write_key)), 413, "body_too_large")


def test_body__over_what_a_form_may_have__is_taken(client, write_key, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10

    assert post(client, "/v1/batch", {"batch": [GOOD]}, basic(write_key)).json()["accepted"] == 1


def test_bomb__is_413_and_is_never_unpacked(client, write_key):
    bomb = gzip.compress(b"[" * 200_000_000, compresslevel=1)

    assert_problem(post(client, "/v1/batch", bomb, basic(write_key)), 413, "body_too_large")


def test_cap__by_default__takes_what_the_largest_sdk_sends(client, write_key):
    """An SDK may flush at 4 MiB."""
    events = [{**GOOD, "messageId": f"m{n}", "properties": {"text": "x" * 30_000}} for n in range(140)]

    assert post(client, "/v1/batch", {"batch": events}, basic(write_key)).json()["accepted"] == 140


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch", "head"])
def test_method__other_than_post__is_405_and_never_a_redirect(method, client, workspace):
    answer = getattr(client, method)("/v1/batch")

    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"
    assert answer.headers["Content-Type"] == "application/json"


def test_bad_event__in_a_good_batch__is_rejected_alone_and_quarantined(client, write_key):
    batch = [
        GOOD,
        {"type": "track", "event": "Viewed", "messageId": "bad"},
        {**GOOD, "properties": {"x": "y" * 33_000}},
    ]

    answer = post(client, "/v1/batch", {"batch": batch}, basic(write_key))

    assert answer.status_code == 200
    assert answer.json() == {
        "success": True,
        "accepted": 1,
        "rejected": [
            {"index": 1, "messageId": "bad", "code": "missing_identity"},
            {"index": 2, "messageId": "m1", "code": "event_too_large"},
        ],
    }
    assert QuarantinedItem.objects.count() == 2


@pytest.mark.parametrize("raw", [b"\\u0000", b"\\ud800", b"\xff", b"\x00", b"\\ufffe"])
def test_text__that_cannot_be_stored_as_it_is__is_accepted_all_the_same(raw, client, write_key):
    body = b'{"batch": [{"type": "track", "event": "a%s", "userId": "u", "properties": {"p%s": NaN}}]}' % (raw, raw)

    assert post(client, "/v1/batch", body, basic(write_key)).json()["accepted"] == 1


def test_database__that_fails__is_503_so_that_the_client_comes_again(client, write_key, monkeypatch):
    def fail(*_, **__):
        raise DatabaseError

    monkeypatch.setattr(accepting, "_append", fail)

    assert_problem(post(client, "/v1/batch", {"batch": [GOOD]}, basic(write_key)), 503, "append_failed")


def test_stage__is_woken_when_the_batch_is_committed(
    client, workspace, write_key, woken, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        post(client, "/v1/batch", {"batch": [GOOD]}, basic(write_key))
        assert woken == []

    assert woken == [(Stage.INGESTION, workspace.pk)]


def test_stage__is_not_woken_for_nothing(client, write_key, woken, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        post(client, "/v1/batch", {"batch": [{"type": "track"}]}, basic(write_key))

    assert callbacks == []


def assert_problem(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert set(answer.json()) == {"code", "message"}
    assert answer.headers["Content-Type"] == "application/json"
    assert not InboxBatch.objects.exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM outbox")
        assert cursor.fetchone() == (0,)
