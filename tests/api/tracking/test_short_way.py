"""The way of the busiest calls past the middleware: the same answers, and no error page."""

import io
import json

import pytest
from django.core.handlers.wsgi import get_path_info
from django.core.signals import request_finished, request_started
from django.db import DatabaseError, close_old_connections

from cdp import wsgi
from cdp.api.tracking import calls, paths
from cdp.models import InboxBatch


@pytest.fixture(autouse=True)
def one_connection():
    """What a server does around each request would close the connection that the test's transaction lives on."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


GOOD = {"messageId": "m1", "userId": "u1", "event": "Viewed"}


def call(path, body, **environ):
    """Status, headers and body of an answer of the WSGI application."""
    heard = {}
    given = {
        "REQUEST_METHOD": "POST", "PATH_INFO": path, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body),
        "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80", "HTTP_HOST": "127.0.0.1", "wsgi.url_scheme": "http", **environ,
    }  # fmt: skip
    assert get_path_info(given) == path
    answer = wsgi.application(given, lambda status, headers: heard.update(status=status, **dict(headers)))
    return heard["status"], heard, b"".join(answer)


def test_short_way__is_taken_by_every_call_in_both_slash_forms():
    assert len(paths.SHORT_WAY) == 2 * len(paths.KIND_BY_PATH)


def test_call__on_the_short_way__is_kept(write_key):
    status, headers, answer = call("/v1/track/", json.dumps({**GOOD, "writeKey": write_key}).encode())

    assert (status, headers["Content-Type"]) == ("200 OK", "application/json")
    assert json.loads(answer) == {"success": True, "accepted": 1, "rejected": []}
    assert InboxBatch.objects.count() == 1


def test_call__of_a_page__may_be_read_by_it(write_key):
    _, headers, _ = call(
        "/v1/t", json.dumps({**GOOD, "writeKey": write_key}).encode(), HTTP_ORIGIN="https://shop.example"
    )

    assert headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert headers["Vary"] == "Origin"


def test_call__that_is_refused__is_an_error_with_its_length_and_nothing_is_kept(write_key):
    status, headers, answer = call("/v1/batch", b"[]")

    assert (status, json.loads(answer)["code"]) == ("400 Bad Request", "invalid_json")
    assert headers["Content-Length"] == str(len(answer))
    assert not InboxBatch.objects.exists()


def test_call__that_cannot_be_stored__is_to_come_again(write_key, monkeypatch):
    def fail(*_, **__):
        raise DatabaseError

    monkeypatch.setattr(wsgi, "close_old_connections", lambda: None)
    monkeypatch.setattr(calls.ingestion, "accept_call", fail)

    status, headers, answer = call("/v1/batch", b"{}")

    assert (status, json.loads(answer)["code"]) == ("503 Service Unavailable", "append_failed")
    assert headers["Retry-After"] == "1"


def test_call__that_goes_wrong_as_nobody_foresaw__is_500_in_json_and_says_nothing_of_it(write_key, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("secret")

    monkeypatch.setattr(calls.ingestion, "accept_call", fail)

    status, headers, answer = call("/v1/batch", b"{}", HTTP_ORIGIN="https://shop.example")

    assert (status, headers["Content-Type"]) == ("500 Internal Server Error", "application/json")
    assert headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert json.loads(answer)["code"] == "internal_error"
    assert b"secret" not in answer


@pytest.mark.parametrize("path", ["/v1/nothing", "/health/live"])
def test_path__that_is_no_call__goes_the_long_way(path, db):
    status, headers, _ = call(path, b"", REQUEST_METHOD="GET")

    assert status in {"404 Not Found", "200 OK"}
    assert headers["X-Content-Type-Options"] == "nosniff"
