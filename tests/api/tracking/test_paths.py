"""Every path, with and without a slash at its end; and what is no path or no method is an error in JSON."""

import pytest

from cdp.api.tracking.requests import body_of
from cdp.ingestion.bodies import BodyTooLargeError
from cdp.models import InboxBatch
from tests.api.tracking.conftest import GOOD, basic, kept_events, post

COMPLETE = {"userId": "u1", "previousId": "a1", "groupId": "g1", "event": "Viewed", "messageId": "m1"}
LETTERS = {"i": "identify", "t": "track", "p": "page", "s": "screen", "g": "group", "a": "alias"}
EACH_SLASH = pytest.mark.parametrize("slash", ["", "/"])


@EACH_SLASH
@pytest.mark.parametrize(("letter", "kind"), LETTERS.items())
def test_letter__of_a_browser_sdk__is_an_event_of_that_type(letter, kind, slash, client, write_key):
    answer = post(client, f"/v1/{letter}{slash}", {**COMPLETE, "writeKey": write_key}, content_type="text/plain")

    assert (answer.status_code, answer.json()) == (200, {"success": True, "accepted": 1, "rejected": []})
    assert [event["type"] for event in kept_events()] == [kind]


@EACH_SLASH
def test_letter_of_a_batch__takes_many(slash, client, write_key):
    answer = post(client, f"/v1/b{slash}", {"batch": [GOOD, {**GOOD, "messageId": "m2"}]}, basic(f"{write_key}:"))

    assert (answer.status_code, answer.json()["accepted"]) == (200, 2)


@EACH_SLASH
def test_metrics_of_an_sdk__are_answered_and_not_kept(slash, client, workspace):
    answer = post(client, f"/v1/m{slash}", {"series": [{"type": "Counter", "metric": "invoke"}]})

    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert not InboxBatch.objects.exists()


@EACH_SLASH
def test_beacon__has_its_key_in_the_query(slash, client, write_key):
    path = f"/beacon/v1/batch{slash}?writeKey={write_key}"

    answer = post(client, path, {"batch": [GOOD]}, content_type="text/plain;charset=UTF-8")

    assert (answer.status_code, answer.json()) == (200, {"success": True, "accepted": 1, "rejected": []})
    assert [event["messageId"] for event in kept_events()] == ["m1"]


def test_beacon__with_a_key_that_nobody_has__is_401(client, workspace):
    answer = post(client, "/beacon/v1/batch?writeKey=wk_wrong", {"batch": [GOOD]})

    assert (answer.status_code, answer.json()["code"]) == (401, "unknown_write_key")
    assert not InboxBatch.objects.exists()


@pytest.mark.parametrize(
    "path",
    ["/v1/x", "/v1/", "/v1", "/v1/batch/more", "/v1/batch//", "/v1/BATCH", "/v1/merge", "/beacon/v1/track", "/pixel"],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_path__that_does_not_exist__is_404_in_json(method, path, client, workspace):
    answer = getattr(client, method)(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch", "head"])
@pytest.mark.parametrize("path", ["/v1/t", "/v1/m/", "/beacon/v1/batch"])
def test_method__that_a_call_does_not_have__is_405_in_json(method, path, client, workspace):
    answer = getattr(client, method)(path)

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["/pixel/v1/track", "/v1/projects/wk_x/settings"])
def test_method__that_reading_does_not_have__is_405_in_json(path, client, workspace):
    client.handler.enforce_csrf_checks = True

    answer = client.post(path)

    assert (answer.status_code, answer.headers["Allow"], answer.json()["code"]) == (405, "GET", "method_not_allowed")


def test_body__over_the_cap__is_read_to_its_end_before_the_answer(rf, settings):
    """A sender that still sends would hear of no answer, and send the same again."""
    settings.TRACKING_BODY_BYTES = 100_000
    request = rf.post("/v1/batch", b"x" * 300_000, content_type="text/plain")

    with pytest.raises(BodyTooLargeError):
        body_of(request.META)

    assert request.META["wsgi.input"].read() == b""


class Chunks:
    """A body without a length, as a web server hands it over: in pieces of its own choice."""

    def __init__(self, *parts):
        self.parts = list(parts)

    def read(self, most):
        part = self.parts.pop(0) if self.parts else b""
        assert len(part) <= most
        return part


def test_body__without_a_length__is_read_to_its_end(rf):
    request = rf.post("/v1/batch")
    request.META |= {
        "CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": Chunks(b'{"ba', b"tch", b'": []}'),
    }  # fmt: skip

    assert body_of(request.META) == b'{"batch": []}'


def test_body__without_a_length_and_over_the_cap__is_refused(rf, settings):
    settings.TRACKING_BODY_BYTES = 5
    request = rf.post("/v1/batch")
    request.META |= {
        "CONTENT_LENGTH": "",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input": Chunks(b"123", b"456", b"789"),
    }

    with pytest.raises(BodyTooLargeError):
        body_of(request.META)
