"""What a processor calls back is believed only if it signed it: everything else is one and the same refusal."""

import json
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from activation import erasing, opendsr_callbacks, services
from activation.destination import ErasureOutcome, ErasureReply
from cdp import http
from tests.fakes.authority import Authority
from tests.fakes.opendsr import FakeProcessor

DOMAIN = "dsr.processor.example"
REFERENCE = "a7551968-d5d6-44b2-9831-815ac9017798"


@dataclass(frozen=True)
class Ear:
    """Our address for the callbacks of one processor, and what was heard there."""

    client: Client
    path: str
    url: str
    heard: list[dict[str, Any]]

    def post(self, body: bytes, headers: dict[str, str], path: str = "") -> HttpResponse:
        return self.client.post(path or self.path, body, content_type="application/json", headers=headers)


@pytest.fixture(scope="module")
def authority():
    return Authority(timezone.now())


@pytest.fixture
def processor(authority, tmp_path, monkeypatch, settings):
    root = tmp_path / "root.pem"
    root.write_bytes(authority.root.pem)
    settings.OPENDSR_AUTHORITIES = str(root)
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(root))
    monkeypatch.setattr(http, "_resolve", lambda *_: ["127.0.0.1"])
    http.forget_hosts()
    opendsr_callbacks.forget_certificates()
    with FakeProcessor(DOMAIN, authority.issue(DOMAIN), tmp_path, token="hidden-4711") as host:
        yield host


@pytest.fixture
def ear(client, workspace, processor, monkeypatch, as_login):
    client.raise_request_exception = False
    path = f"/opendsr/callbacks/{workspace.slug}/processor"
    url = f"https://cdp.example.com{path}"
    made = services.create_destination(
        workspace_id=workspace.pk, slug="processor", kind="opendsr", secrets={"token": "hidden-4711"},
        config={"url": processor.url(), "callback_url": url}, now=timezone.now(),
    )  # fmt: skip
    heard = []
    monkeypatch.setattr(erasing, "hear_answer", lambda **said: heard.append(said), raising=False)
    as_login("web")
    yield Ear(client, path, url, heard)
    assert all((said["workspace_id"], said["destination_id"]) == (workspace.pk, made.pk) for said in heard)


@pytest.mark.parametrize(
    ("status", "more", "outcome"),
    [
        ("completed", {}, ErasureOutcome(ErasureReply.ACKNOWLEDGED, "completed")),
        ("completed", {"results_count": 0}, ErasureOutcome(ErasureReply.ACKNOWLEDGED, "completed")),
        ("completed", {"extensions": {DOMAIN: {"outcome": "refused"}}}, ErasureOutcome(ErasureReply.REFUSED, "refused")),
        ("completed", {"extensions": {"x.example": {"outcome": "refused"}}}, ErasureOutcome(ErasureReply.ACKNOWLEDGED, "completed")),
        ("cancelled", {}, ErasureOutcome(ErasureReply.REFUSED, "cancelled")),
        ("pending", {}, None),
        ("in_progress", {}, None),
    ],
)  # fmt: skip
def test_callback__that_is_signed__is_heard(ear, processor, status, more, outcome):
    answer = ear.post(*processor.callback(ear.url, REFERENCE, status, **more))

    assert answer.status_code == 202
    assert [(said["reference"], said["outcome"]) for said in ear.heard] == (
        [(uuid.UUID(REFERENCE), outcome)] if outcome else []
    )


def test_callback__under_the_old_names__is_heard(ear, processor):
    body, headers = processor.callback(ear.url, REFERENCE, "completed")

    old = {name.replace("OpenDSR", "OpenGDPR"): value for name, value in headers.items()}

    assert (ear.post(body, old).status_code, len(ear.heard)) == (202, 1)


def changed(headers, **changes):
    return {**headers, **{f"X-OpenDSR-{name.replace('_', '-')}": value for name, value in changes.items()}}


@pytest.mark.parametrize(
    "changes",
    [{"Signature": "AAAA"}, {"Signature": ""}, {"Processor_Domain": "evil.example"}, {"Processor_Domain": ""}],
)
def test_callback__that_is_not_signed_by_the_processor__is_refused(ear, processor, changes):
    body, headers = processor.callback(ear.url, REFERENCE, "completed")

    answer = ear.post(body, changed(headers, **changes))

    assert (answer.status_code, answer.json()["code"], ear.heard) == (403, "refused_callback", [])


def test_body__is_not_read_before_the_signature_is_checked(ear, processor):
    _, headers = processor.callback(ear.url, REFERENCE, "completed")

    answers = [ear.post(body, headers) for body in (b"", b"{", b'{"request_status": "completed"}')]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(403, "refused_callback")] * 3


@pytest.mark.parametrize("path", ["/opendsr/callbacks/nowhere/processor", "/opendsr/callbacks/{}/another"])
def test_address__that_is_none__is_refused_alike(ear, processor, workspace, path):
    signed = processor.callback(ear.url, REFERENCE, "completed")
    refused = ear.post(b"{}", {})

    answer = ear.post(*signed, path.format(workspace.slug))

    assert (answer.status_code, answer.content, ear.heard) == (403, refused.content, [])


@pytest.mark.parametrize("kind", ["stranger", "ended", "other_name"])
def test_certificate__that_does_not_hold__is_refused(ear, processor, authority, kind):
    processor.signer = {
        "stranger": Authority(timezone.now()).issue(DOMAIN),
        "ended": authority.issue(DOMAIN, until=timezone.now() - timedelta(days=1)),
        "other_name": authority.issue("other.example"),
    }[kind]

    assert (ear.post(*processor.callback(ear.url, REFERENCE, "completed")).status_code, ear.heard) == (403, [])


def test_certificate__that_was_revoked_meanwhile__is_refused_and_logged(
    ear, processor, authority, tmp_path, settings, log
):
    revoked = tmp_path / "revoked"
    revoked.write_bytes(b"")
    settings.OPENDSR_REVOKED = str(revoked)
    assert ear.post(*processor.callback(ear.url, REFERENCE, "pending")).status_code == 202
    revoked.write_bytes(authority.revocations(processor.signer))

    answer = ear.post(*processor.callback(ear.url, REFERENCE, "completed"))

    assert (answer.status_code, answer.json()["code"], ear.heard) == (403, "refused_callback", [])
    assert {entry["code"] for entry in log.events if entry["event"] == "opendsr.callback_refused"} == {
        "revoked_certificate"
    }


def test_revocations__that_cannot_be_read__let_nobody_in(ear, processor, tmp_path, settings):
    settings.OPENDSR_REVOKED = str(tmp_path / "gone")

    assert (ear.post(*processor.callback(ear.url, REFERENCE, "completed")).status_code, ear.heard) == (403, [])


@pytest.mark.parametrize("url", ["https://evil.example/certificate.pem", "http://dsr.processor.example/c.pem", "", "x"])
def test_certificate__at_an_address_of_another_domain__is_not_fetched(ear, processor, url):
    processor.certificate_url = url or " "

    assert ear.post(*processor.callback(ear.url, REFERENCE, "completed")).status_code == 403
    assert processor.asked == ["GET /v2/discovery"]


def test_certificate__is_fetched_once_whoever_sends_nonsense(ear, processor):
    body, headers = processor.callback(ear.url, REFERENCE, "completed")

    right = [ear.post(body, headers) for _ in range(2)]
    wrong = [ear.post(body, changed(headers, Signature="AAAA")) for _ in range(3)]

    assert [answer.status_code for answer in right + wrong] == [202, 202, 403, 403, 403]
    assert processor.asked == ["GET /v2/discovery", "GET /certificate.pem"]


def test_certificate__that_was_renewed__is_fetched_when_the_old_one_no_longer_fits(
    ear, processor, authority, monkeypatch
):
    ear.post(*processor.callback(ear.url, REFERENCE, "completed"))
    processor.signer = authority.issue(DOMAIN)
    monkeypatch.setattr(opendsr_callbacks, "YOUNG_SECONDS", 0.0)

    assert ear.post(*processor.callback(ear.url, REFERENCE, "completed")).status_code == 202


@pytest.mark.parametrize(
    "changes",
    [
        {"status_callback_url": "https://evil.example/opendsr"}, {"subject_request_id": "7"}, {"request_status": "failed"},
        {"request_status": None}, {"extensions": 5}, {"controller_id": None},
    ],
)  # fmt: skip
def test_callback__that_is_signed_but_not_for_us__is_malformed(ear, processor, changes):
    answer = ear.post(*processor.callback(ear.url, REFERENCE, "completed", **changes))

    assert (answer.status_code, answer.json()["code"], ear.heard) == (400, "malformed_callback", [])


def test_body__that_is_too_large__is_refused_unread(ear):
    assert ear.post(json.dumps("x" * 70_000).encode(), {}).status_code == 413


def test_method__other_than_post__is_none(ear):
    assert ear.client.get(ear.path).status_code == 405
