"""We as controller: what a processor is asked, what its answers mean, and what it must not be asked."""

import json
import uuid
from datetime import UTC, datetime

import pytest
from django.utils import timezone

from activation import registry
from activation.destination import (
    Answer,
    DestinationConfigError,
    Erases,
    ErasureNotice,
    ErasureOutcome,
    ErasureReply,
    Failure,
    PreparedRequest,
)
from activation.destinations.opendsr import destination as opendsr
from cdp import http
from cdp.kernel.identifiers import Identifier
from tests.fakes.authority import Authority
from tests.fakes.opendsr import FakeProcessor

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DOMAIN = "dsr.processor.example"
REFERENCE = uuid.UUID("a7551968-d5d6-44b2-9831-815ac9017798")
ADA = [Identifier("email", "ada@example.com"), Identifier("user_id", "C-7"), Identifier("phone", "+33612345678")]
SECRETS = {"token": "hidden-4711"}
RECEIVED = ErasureOutcome(ErasureReply.ACKNOWLEDGED, "received")


@pytest.fixture
def processor(tmp_path, monkeypatch):
    """One that speaks TLS under its own name; its authority is trusted."""
    authority = Authority(timezone.now())
    root = tmp_path / "root.pem"
    root.write_bytes(authority.root.pem)
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(root))
    monkeypatch.setattr(http, "_resolve", lambda *_: ["127.0.0.1"])
    opendsr.forget_offers()
    http.forget_hosts()
    with FakeProcessor(DOMAIN, authority.issue(DOMAIN), tmp_path, token=SECRETS["token"]) as host:
        yield host
    opendsr.forget_offers()


@pytest.fixture
def erase(processor):
    """`erase(callback_url=…)`: one call of the destination, whose requests are really sent."""

    def call(identifiers=ADA, secrets=SECRETS, reference=REFERENCE, **config):
        made = registry.destination("opendsr", {"url": processor.url(), **config}, secrets)

        def send(request: PreparedRequest) -> Answer:
            proof = made.authorise(request, idempotency_key=str(reference), now=NOW)
            headers = {**request.headers, **proof}
            try:
                found = http.request(
                    request.method, request.url, body=request.body or None, headers=headers, retry=http.ONCE
                )
            except http.PermanentHttpError as error:
                found = error.response
            return Answer(found.status, found.headers, found.body)

        return made.erase(ErasureNotice(reference, identifiers, NOW), send)

    return call


def test_erasure__is_asked_for_in_the_words_that_the_processor_knows(erase, processor):
    outcome = erase()

    assert (outcome, processor.violations) == (RECEIVED, [])
    assert processor.requests[str(REFERENCE)] == {
        "regulation": "gdpr",
        "api_version": "2.0",
        "subject_request_id": str(REFERENCE),
        "subject_request_type": "erasure",
        "submitted_time": "2026-11-21T12:00:00Z",
        "subject_identities": [
            {
                "identity_type": "email",
                "identity_value": "b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72",
                "identity_format": "sha256",
            },
            {"identity_type": "controller_customer_id", "identity_value": "C-7", "identity_format": "raw"},
        ],
    }


def test_erasure__with_an_address_to_call_back__is_promised(erase, processor):
    callback = "https://cdp.example.com/opendsr/callbacks/default/processor"

    outcome = erase(callback_url=callback)

    assert outcome == ErasureOutcome(ErasureReply.PROMISED, "received")
    assert processor.requests[str(REFERENCE)]["status_callback_urls"] == [callback]


def test_erasure__asked_for_again__is_the_same_request(erase, processor):
    assert [erase(), erase()] == [RECEIVED, RECEIVED]
    assert (len(processor.requests), processor.violations) == (1, [])


def test_discovery__is_read_once(erase, processor):
    erase()
    erase(reference=uuid.uuid4())

    assert processor.asked == ["GET /v2/discovery", "POST /v2/requests", "POST /v2/requests"]


def test_version_one__is_spoken_where_it_is_configured(erase, processor):
    assert erase(api_version="1.0") == RECEIVED
    assert processor.asked == ["GET /discovery", "POST /opengdpr_requests"]


@pytest.mark.parametrize(
    ("types", "supports", "identifiers", "code"),
    [
        (["access"], [("email", "raw")], ADA, "no_erasure"),
        (["erasure"], [("android_id", "raw")], ADA, "no_identity_in_common"),
        (["erasure"], [("email", "raw")], ADA[2:], "no_identity_in_common"),
        (["erasure"], [("email", "sha3")], ADA, "no_identity_in_common"),
    ],
)
def test_processor__that_cannot_erase_this_person__is_not_asked(erase, processor, types, supports, identifiers, code):
    processor.types, processor.supports = types, supports

    assert erase(identifiers) == ErasureOutcome(ErasureReply.UNSUPPORTED, code)
    assert processor.requests == {}


def test_processor__that_refuses_the_token__has_refused(erase, processor):
    assert erase(secrets={"token": "wrong"}) == ErasureOutcome(ErasureReply.REFUSED, "discovery_http_401")


@pytest.mark.parametrize("status", [400, 403, 404, 409])
def test_processor__that_refuses_the_request__has_refused(erase, processor, status):
    erase(reference=uuid.uuid4())
    processor.planned = [status]

    assert erase() == ErasureOutcome(ErasureReply.REFUSED, f"http_{status}")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_processor__that_is_away__ends_the_call_and_is_asked_again_later(erase, processor, status):
    processor.planned = [status]
    with pytest.raises(http.TransientHttpError):
        erase()

    assert erase() == RECEIVED


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"supported_identities": 5}', b"<html>"])
def test_discovery__that_is_none__is_a_refusal(body):
    made = registry.destination("opendsr", registry.example("opendsr"))
    opendsr.forget_offers()

    outcome = made.erase(ErasureNotice(REFERENCE, ADA, NOW), lambda _: Answer(200, {}, body))

    assert outcome == ErasureOutcome(ErasureReply.REFUSED, "discovery_invalid")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"subject_request_id": "0b7d6a0e-6f43-4b0c-9d3c-6a7b8c9d0e1f"}'])
def test_answer__to_another_request__is_none_to_this(body):
    made = registry.destination("opendsr", {"url": "https://other.example.com"})
    offer = {
        "supported_identities": [{"identity_type": "email", "identity_format": "raw"}],
        "supported_subject_request_types": ["erasure"],
    }
    answers = [Answer(200, {}, json.dumps(offer).encode()), Answer(201, {}, body)]

    outcome = made.erase(ErasureNotice(REFERENCE, ADA, NOW), lambda _: answers.pop(0))

    opendsr.forget_offers()
    assert outcome == ErasureOutcome(ErasureReply.REFUSED, "answer_to_another_request")


@pytest.mark.parametrize(
    "config",
    [
        {}, {"url": "http://dsr.example.com"}, {"url": "https://"}, {"url": "https://a:b@dsr.example.com"}, {"url": 5},
        {"url": "https://dsr.example.com?a=b"}, {"url": "https://dsr.example.com", "callback_url": "http://x.example.com"},
        {"url": "https://dsr.example.com", "api_version": "3.0"}, {"url": "https://[bad"},
    ],
)  # fmt: skip
def test_configuration__that_cannot_work__is_refused(config):
    with pytest.raises(DestinationConfigError):
        registry.destination("opendsr", config)


def test_destination__keeps_no_audiences_and_hears_of_everybody():
    made = registry.destination("opendsr", registry.example("opendsr"), {"token": "t"})
    nothing = PreparedRequest("POST", "https://dsr.example.com", {}, b"", ())

    assert (made.erases, made.limits.rows, made.refresh()) == (Erases.EVERYBODY, 0, False)
    assert made.format_key("email", "ada@example.com") is None
    assert made.build_requests("ADD", "loyal", []) == []
    assert made.parse(nothing, Answer(200, {}, b"")).failure is None
    assert made.parse(nothing, Answer(401, {}, b"")).failure is Failure.ABORT_DESTINATION


def test_destination__without_a_token__sends_nothing():
    made = registry.destination("opendsr", registry.example("opendsr"))

    with pytest.raises(DestinationConfigError):
        made.authorise(PreparedRequest("GET", "https://x", {}, b"", ()), idempotency_key="k", now=NOW)
