"""OpenDSR from end to end: a controller has a person erased here, and we have them erased at a processor."""

import json
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from activation import opendsr_callbacks, services
from activation.destinations.opendsr import destination as opendsr
from cdp import http, tasks
from cdp.kernel.identifiers import Identifier as Named
from cdp.models import Identifier
from consent import erasure, execution, suppression
from consent.models import DataRequest, DsrCallback, ErasureOrder
from consent.opendsr import controllers, turns
from tests.factories import IdentifierFactory
from tests.fakes.authority import Authority
from tests.fakes.opendsr import FakeProcessor

OURS, THEIRS = "dsr.example.com", "dsr.processor.example"
NUMBER = "a7551968-d5d6-44b2-9831-815ac9017798"
ADA = "ada@example.com"


@pytest.fixture(autouse=True)
def _one_house(settings, tmp_path, monkeypatch):
    settings.ERASURE_LEDGER = tmp_path / "ledger" / "erasures.jsonl"
    monkeypatch.setattr(tasks, "wake_opendsr", lambda: None)
    http.forget_hosts()
    opendsr.forget_offers()
    opendsr_callbacks.forget_certificates()


@pytest.fixture
def authority(settings, tmp_path):
    made = Authority(timezone.now())
    paths = made.issue(OURS).write(tmp_path, "ours")
    settings.OPENDSR_DOMAIN, settings.OPENDSR_CERTIFICATE, settings.OPENDSR_KEY = OURS, *map(str, paths)
    root = tmp_path / "root.pem"
    root.write_bytes(made.root.pem)
    settings.OPENDSR_AUTHORITIES = str(root)
    return made


def test_controller__has_a_person_erased_and_hears_when_it_is_done(workspace, client, as_login, authority):
    IdentifierFactory(workspace=workspace, value=ADA)
    given = {"hosts": ["controller.example.com"], "now": timezone.now()}
    _, token = controllers.register_controller(workspace_id=workspace.pk, slug="acme", **given)
    headers = {"Authorization": f"Bearer {token}"}
    identity = {"identity_type": "email", "identity_value": ADA, "identity_format": "raw"}
    body = {
        "regulation": "gdpr", "subject_request_id": NUMBER, "subject_request_type": "erasure",
        "submitted_time": timezone.now().isoformat(), "subject_identities": [identity],
        "status_callback_urls": ["https://controller.example.com/callbacks"],
    }  # fmt: skip

    def status():
        as_login("web")
        return client.get(f"/v2/requests/{NUMBER}", headers=headers).json()["request_status"]

    def turn():
        as_login("rights")
        turns.take_turn(workspace_id=workspace.pk, now=timezone.now())

    as_login("web")
    client.post("/v2/requests", json.dumps(body), content_type="application/json", headers=headers)
    seen = [status()]
    turn()
    seen.append(status())
    turn()  # nothing is done yet, and so nothing is said to be
    seen.append(status())
    as_login("rights")
    execution.carry_out_next(workspace_id=workspace.pk, now=timezone.now())
    turn()
    seen.append(status())

    assert seen == ["pending", "in_progress", "in_progress", "completed"]
    assert not Identifier.objects.filter(value=ADA).exists()
    assert suppression.suppressed_in(workspace.pk, [("email", ADA)]) == {("email", ADA)}
    assert DataRequest.objects.get().work.erasure is not None
    assert list(DsrCallback.objects.order_by("step").values_list("status", flat=True)) == ["in_progress", "completed"]


def test_processor__is_told_of_an_erasure_and_its_signed_word_settles_it(
    workspace, client, as_login, authority, tmp_path, monkeypatch, settings
):
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", settings.OPENDSR_AUTHORITIES)
    monkeypatch.setattr(http, "_resolve", lambda *_: ["127.0.0.1"])
    path = f"/opendsr/callbacks/{workspace.slug}/processor"
    now = timezone.now()
    IdentifierFactory(workspace=workspace, value=ADA)
    with FakeProcessor(THEIRS, authority.issue(THEIRS), tmp_path, token="hidden-4711") as processor:
        services.create_destination(
            workspace_id=workspace.pk, slug="processor", kind="opendsr", secrets={"token": "hidden-4711"}, now=now,
            config={"url": processor.url(), "callback_url": f"https://{OURS}{path}"},
        )  # fmt: skip
        erasure.erase_person(workspace_id=workspace.pk, identifier=Named("email", ADA), now=now)
        as_login("worker_activation")
        services.send_due(workspace_id=workspace.pk, now=now + timedelta(minutes=1))
        as_login("web")
        order = ErasureOrder.objects.get()
        promised = (order.answer, str(order.reference))
        signed = processor.callback(f"https://{OURS}{path}", str(order.reference), "completed")
        forged = client.post(path, signed[0] + b" ", content_type="application/json", headers=signed[1])
        between = ErasureOrder.objects.get().answer
        heard = [client.post(path, signed[0], content_type="application/json", headers=signed[1]) for _ in range(2)]

    assert (processor.violations, [*processor.requests]) == ([], [promised[1]])
    assert uuid.UUID(promised[1]).version == 4
    assert (promised[0], forged.status_code, between) == ("PENDING", 403, "PENDING")
    assert [answer.status_code for answer in heard] == [202, 202]
    assert ErasureOrder.objects.values_list("answer", "code").get() == ("ACKNOWLEDGED", "completed")
