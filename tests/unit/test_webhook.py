"""What a webhook is sent, and how its answers are read."""

import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest

from activation.destination import (
    SENT,
    Answer,
    DestinationConfigError,
    Failure,
    MemberKey,
    Operation,
    Outcome,
    RowResult,
    RowStatus,
    failure_of,
)
from activation.destinations.webhook.destination import Webhook, signature

URL = "https://example.com/audiences"
KEYS = [MemberKey("email", "a" * 64), MemberKey("crm:id", "b" * 64)]


@pytest.fixture
def webhook():
    return Webhook({"url": URL}, {"signing_key": "key"})


@pytest.fixture
def request_(webhook):
    (only,) = webhook.build_requests(Operation.ADD, "loyal", KEYS)
    return only


def answer(status, body=b""):
    return Answer(status, {}, body)


# Published with a vendor's own formatter, for addresses and numbers in canonical form.
@pytest.mark.parametrize(
    ("identifier_type", "value", "expected"),
    [
        ("email", "alexz@example.com", "509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a"),
        ("phone", "+18005550100", "fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30"),
        ("email", "", None),
        ("email", "  ", None),
    ],
)
def test_key__is_the_digest_of_the_canonical_value_and_never_of_nothing(identifier_type, value, expected, webhook):
    assert webhook.format_key(identifier_type, value) == expected


def test_request__says_audience_operation_and_members(webhook, request_):
    assert json.loads(request_.body) == {
        "audience": "loyal",
        "operation": "add",
        "members": [{"email_sha256": "a" * 64}, {"crm:id_sha256": "b" * 64}],
    }
    assert (request_.method, request_.url, list(request_.rows)) == ("POST", URL, [0, 1])
    assert dict(request_.headers) == {"Content-Type": "application/json"}


def test_proof__is_the_signature_over_time_and_body(webhook, request_):
    proof = webhook.authorise(request_, idempotency_key="once", now=datetime(2026, 11, 21, 12, tzinfo=UTC))

    expected = hmac.new(b"key", b"1795262400." + request_.body, hashlib.sha256).hexdigest()
    assert proof == {
        "Idempotency-Key": "once",
        "Tessera-Timestamp": "1795262400",
        "Tessera-Signature": f"v1={expected}",
    }


def test_signature__of_a_fixed_example():
    """For whoever writes a receiver in another language."""
    assert signature("whsec", "1700000000", b'{"a":1}') == (
        "v1=" + hmac.new(b"whsec", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    )


def test_proof__without_a_key__is_refused(request_):
    with pytest.raises(DestinationConfigError):
        Webhook({"url": URL}, {}).authorise(request_, idempotency_key="k", now=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("config", [{}, {"url": ""}, {"url": 5}, {"url": "ftp://example.com"}])
def test_configuration__without_an_address__is_refused(config):
    with pytest.raises(DestinationConfigError):
        Webhook(config, {})


@pytest.mark.parametrize(
    "body", [b"", b"ok", b"[]", b"{}", b'{"results": null}', b'{"results": [{"index": 9}]}', b"\xff"]
)
def test_answer__without_results__takes_everything(body, webhook, request_):
    assert webhook.parse(request_, answer(204, body)) == Outcome(rows=[SENT, SENT])


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"status": "rejected", "code": "invalid_hash"}, RowResult(RowStatus.REJECTED, "invalid_hash")),
        ({"status": "REJECTED"}, RowResult(RowStatus.REJECTED, "rejected")),
        ({"status": "unknown", "code": "Try Later!"}, RowResult(RowStatus.UNKNOWN, "try_later_")),
        ({"status": "never heard of"}, RowResult(RowStatus.UNKNOWN, "unknown")),
        ({"status": "ok"}, SENT),
        ({"status": "rejected", "code": "x" * 500}, RowResult(RowStatus.REJECTED, "x" * 64)),
    ],
)
def test_answer__about_one_member__leaves_the_others(said, expected, webhook, request_):
    body = json.dumps({"results": [{"index": 1, **said}, {"index": 7, "status": "rejected"}]}).encode()

    assert webhook.parse(request_, answer(200, body)) == Outcome(rows=[SENT, expected])


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (400, Failure.ABORT_BATCH), (409, Failure.ABORT_BATCH), (413, Failure.ABORT_BATCH),
        (422, Failure.ABORT_BATCH), (401, Failure.ABORT_DESTINATION), (403, Failure.ABORT_DESTINATION),
        (404, Failure.ABORT_DESTINATION), (410, Failure.ABORT_DESTINATION), (302, Failure.ABORT_DESTINATION),
        (408, Failure.RETRY), (425, Failure.RETRY), (429, Failure.RETRY), (500, Failure.RETRY), (503, Failure.RETRY),
    ],
)  # fmt: skip
def test_status__says_what_to_do(status, failure, webhook, request_):
    assert webhook.parse(request_, answer(status, b"<html>")) == Outcome(failure, f"http_{status}")


def test_unauthorised__asks_for_new_credentials_where_there_are_any():
    assert failure_of(401) is Failure.REFRESH
