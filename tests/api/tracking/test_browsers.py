"""What a page of another site may do: ask first, read every answer, and find its settings."""

import gzip

import pytest
from django.db import DatabaseError

from cdp.ingestion import accepting, sources
from cdp.ingestion import services as ingestion
from cdp.models import WriteKey
from tests.api.tracking.conftest import GOOD, ORIGIN, basic, post

PATHS = [
    "/v1/batch", "/v1/t", "/v1/identify/", "/v1/m", "/v1/projects/wk_x/settings", "/pixel/v1/page", "/beacon/v1/batch",
    "/v1/consent.js",
]  # fmt: skip
ASKING = {
    "Origin": ORIGIN, "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-retry-count",
}  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_preflight__without_a_key__is_answered(path, client):
    """No database: this test has none."""
    answer = client.options(path, headers=ASKING)

    assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, b"", "text/plain")
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Origin" in answer.headers["Vary"].split(", ")
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST"
    allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "content-type", "x-retry-count"} <= set(allowed)
    assert answer.headers["Access-Control-Max-Age"] == "86400"
    assert "Access-Control-Allow-Credentials" not in answer.headers


def assert_shared(answer):
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After, X-RateLimit-Reset"
    assert "Origin" in answer.headers["Vary"].split(", ")
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_answer__to_a_page__may_be_read(client, write_key):
    answer = post(client, "/v1/t", {**GOOD, "writeKey": write_key}, {"Origin": ORIGIN})

    assert answer.status_code == 200
    assert_shared(answer)


def test_answer__to_a_server__says_nothing_of_browsers(client, write_key):
    answer = post(client, "/v1/t", {**GOOD, "writeKey": write_key})

    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("post", "/v1/batch", b"{", 400),
        ("post", "/v1/batch", b'{"batch": [], "writeKey": "wk_wrong"}', 401),
        ("post", "/v1/unheard-of", b"", 404),
        ("get", "/v1/projects/wk_wrong/settings", b"", 404),
        ("put", "/v1/t", b"", 405),
        ("post", "/v1/t", b" " * 2_000, 413),
    ],
)
def test_error__to_a_page__may_be_read(method, path, body, status, client, workspace, settings):
    settings.TRACKING_BODY_BYTES = 1_000

    answer = getattr(client, method)(path, body, content_type="text/plain", headers={"Origin": ORIGIN})

    assert answer.status_code == status
    assert {"code", "message"} <= set(answer.json())
    assert_shared(answer)


def test_failure__of_the_database__may_be_read(client, write_key, monkeypatch):
    def fail(*_, **__):
        raise DatabaseError

    monkeypatch.setattr(accepting, "_append", fail)

    answer = post(client, "/v1/t", {**GOOD, "writeKey": write_key}, {"Origin": ORIGIN})

    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "append_failed", "1")
    assert_shared(answer)


def test_failure__that_nobody_foresaw__is_500_in_json_and_may_be_read(client, write_key, monkeypatch):
    def fail(**_):
        raise KeyError("ada@example.com")

    monkeypatch.setattr(ingestion, "accept_call", fail)
    client.raise_request_exception = False

    answer = post(client, "/v1/t", {**GOOD, "writeKey": write_key}, {"Origin": ORIGIN})

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "ada" not in answer.text
    assert_shared(answer)


# -- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
def test_settings__of_a_key__name_this_host(slash, client, write_key):
    answer = client.get(f"/v1/projects/{write_key}/settings{slash}", headers={"Host": "localhost:8123"})

    assert answer.status_code == 200
    document = answer.json()
    destination = document["integrations"]["Segment.io"]
    assert (destination["apiKey"], destination["apiHost"]) == (write_key, "localhost:8123/v1")
    assert destination["versionSettings"] == {"version": "4.4.7", "componentTypes": ["browser"]}
    assert document["plan"] == {name: {"__default": {"enabled": True}} for name in ("track", "identify", "group")}
    assert document["analyticsNextEnabled"] is True
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert "Origin" in answer.headers["Vary"].split(", ")


@pytest.mark.parametrize(
    ("headers", "has_tls", "protocol"),
    [({}, False, "http"), ({"X-Forwarded-Proto": "https"}, False, "https"), ({}, True, "https")],
)
def test_settings__behind_tls__name_https(headers, has_tls, protocol, client, write_key, settings):
    settings.SESSION_COOKIE_SECURE = has_tls

    answer = client.get(f"/v1/projects/{write_key}/settings", headers=headers)

    assert answer.json()["integrations"]["Segment.io"]["protocol"] == protocol


def test_settings__of_a_revoked_key__are_404_in_json(client, write_key, now):
    WriteKey.objects.update(revoked_at=now)

    answer = client.get(f"/v1/projects/{write_key}/settings")

    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_write_key")
    assert "Cache-Control" not in answer.headers


def test_settings__while_the_database_is_away__are_503(client, write_key, monkeypatch):
    def fail(_):
        raise DatabaseError

    monkeypatch.setattr(sources, "source_of", fail)

    assert client.get(f"/v1/projects/{write_key}/settings").status_code == 503


def test_head__of_settings__has_no_body(client, write_key):
    answer = client.head(f"/v1/projects/{write_key}/settings")

    assert (answer.status_code, answer.content) == (200, b"")


def test_header__of_a_key__is_no_cookie(client, write_key):
    """Nothing that a browser keeps by itself takes part: so no site can call in somebody's name."""
    answer = post(client, "/v1/batch", {"batch": [GOOD]}, {**basic(f"{write_key}:"), "Origin": ORIGIN})

    assert not answer.cookies


# -- the consent snippet --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/consent.js", "/v1/consent.js/"])
def test_snippet__is_served_to_every_site_without_a_key(path, client):
    """No database: this test has none."""
    answer = client.get(path, headers={"Origin": ORIGIN})

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert b"window.tessera" in answer.content
    assert_shared(answer)


def test_snippet__is_small(client):
    assert len(gzip.compress(client.get("/v1/consent.js").content)) < 4_000


def test_snippet__that_the_browser_has__is_not_sent_again(client):
    etag = client.get("/v1/consent.js").headers["ETag"]

    answer = client.get("/v1/consent.js", headers={"If-None-Match": etag})

    assert (answer.status_code, answer.content) == (304, b"")


def test_snippet__that_is_written_to__says_how_to_ask(client):
    answer = client.post("/v1/consent.js", headers={"Origin": ORIGIN})

    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")
    assert_shared(answer)
