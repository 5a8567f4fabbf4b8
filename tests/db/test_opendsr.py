"""OpenDSR from inside: the command, the console, the doctor, and what two workers or a lost one leave behind."""

import json
import threading
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from cdp import tasks
from cdp.kernel.identifiers import Identifier
from cdp.models.keys import digest_of
from cdp.models.tenancy import workspace_scope
from consent import requests
from consent.models import DataRequest, DsrCallback, DsrController, DsrRequest
from consent.opendsr import calling, controllers, processor, receiving, turns
from consent.opendsr.controllers import BadHostError, ControllerExistsError, UnknownControllerError
from consent.opendsr.words import Version
from consent.request_states import RequestState
from consent.requests import NoPackageError
from consent.rights import Right
from tests.factories.filled import console_user
from tests.fakes.authority import Authority

DOMAIN = "dsr.example.com"
CALLED = "https://controller.example.com/callbacks"
NUMBER = "a7551968-d5d6-44b2-9831-815ac9017798"
IDENTITY = {"identity_type": "email", "identity_value": "ada@example.com", "identity_format": "raw"}
BODY = json.dumps(
    {
        "regulation": "gdpr", "subject_request_id": NUMBER, "subject_request_type": "access",
        "submitted_time": "2026-10-31T09:00:00Z", "subject_identities": [IDENTITY],
    }
).encode()  # fmt: skip


@pytest.fixture
def acme(workspace, now):
    row, token = controllers.register_controller(
        workspace_id=workspace.pk, slug="acme", hosts=["controller.example.com"], now=now
    )
    row.token = token
    return row


@pytest.fixture
def cover(acme, workspace, now):
    """`cover(Right.ERASURE)`: what `receive` leaves, without its way there. Then the worker of rights goes on."""

    def make(kind=Right.ERASURE, **more):
        step = {"workspace_id": workspace.pk, "by": f"controller:{acme.pk}", "now": now}
        who = [Identifier("email", "ada@example.com")]
        request = requests.receive_request(kind=kind, identifiers=who, received_at=now, **step)
        requests.verify_by_hand(request_id=request.pk, how="vouched for", **step)
        return DsrRequest.objects.create(
            workspace=workspace, controller=acme, request=request, version="2.0", body_digest=b"x" * 32,
            subject_request_id=NUMBER, received_at=now, promised_at=now,
            callback_urls=[CALLED], **more,
        )  # fmt: skip

    return make


# -- controllers ----------------------------------------------------------------------------------------------------


def test_token__opens_its_controller_and_only_its_digest_is_kept(acme, workspace):
    assert controllers.controller_of(acme.token) == acme
    assert acme.digest == digest_of(acme.token)
    assert acme.token.startswith(f"dsr_{workspace.pk}.")


def test_token__of_a_closed_workspace__opens_nothing(acme, workspace, now):
    type(workspace).objects.filter(pk=workspace.pk).update(closed_at=now)

    with pytest.raises(UnknownControllerError):
        controllers.controller_of(acme.token)


def test_controller__of_a_name_that_is_taken__is_not_made(acme, workspace, now):
    with pytest.raises(ControllerExistsError):
        controllers.register_controller(workspace_id=workspace.pk, slug="acme", hosts=[], now=now)

    assert DsrController.objects.get().digest == acme.digest


@pytest.mark.parametrize(
    "host",
    [
        "https://x.example",
        "x.example/",
        "X.example",
        "",
        "x.example:",
        "-x.example",
        "user@x.example",
        "*",
        "x y",
        "a" * 254,
    ],
)
def test_controller__with_a_host_that_is_none__is_not_made(workspace, now, host):
    with pytest.raises(BadHostError):
        controllers.register_controller(workspace_id=workspace.pk, slug="acme", hosts=[host], now=now)

    assert not DsrController.objects.exists()


def test_command__makes_lists_and_revokes_controllers(workspace, as_login):
    as_login("operator")

    def run(*arguments):
        out = StringIO()
        call_command("opendsr", *arguments, "--workspace", workspace.slug, "--json", stdout=out)
        return json.loads(out.getvalue())

    made = run(
        "create", "acme", "--host", "x.example", "--host", "y.example:8443", "--email", "dpo@x.example", "--lenient"
    )
    listed = run("list")
    opened = controllers.controller_of(made["token"]).slug
    revoked = run("revoke", "acme")

    described = {
        "controller": "acme", "hosts": ["x.example", "y.example:8443"], "email": "dpo@x.example", "is_lenient": True,
        "revoked_at": None,
    }  # fmt: skip
    assert (made["controller"], opened, listed) == ("acme", "acme", {"controllers": [described]})
    assert revoked["revoked_at"] is not None
    with pytest.raises(UnknownControllerError):
        controllers.controller_of(made["token"])
    with pytest.raises(UnknownControllerError):
        run("revoke", "nobody")


def test_console__shows_a_new_token_once_and_refuses_what_is_no_host(workspace, as_login):
    client = Client()
    client.force_login(console_user(workspace))
    as_login("web")
    page = reverse("admin:consent_dsrcontroller_add")

    refused = client.post(page, {"slug": "acme", "callback_hosts": "https://x.example"})
    shown = client.post(page, {"slug": "acme", "callback_hosts": "x.example,y.example:8443", "email": "dpo@x.example"})

    made = DsrController.objects.get()
    assert (refused.status_code, shown.status_code) == (200, 200)
    assert (made.callback_hosts, made.digest) == (["x.example", "y.example:8443"], digest_of(shown.context["secret"]))
    change = client.get(reverse("admin:consent_dsrcontroller_change", args=[made.pk]))
    assert shown.context["secret"] not in change.text


# -- what the database holds ----------------------------------------------------------------------------------------


def test_cover__of_one_id_twice__is_refused_by_the_database(cover):
    first = cover()

    with pytest.raises(IntegrityError), transaction.atomic():
        cover(Right.ACCESS)

    assert DsrRequest.objects.get() == first


def test_rows__of_another_workspace__do_not_exist(cover, workspace, as_login):
    cover()
    as_login("rights")

    assert turns.take_turn(workspace_id=workspace.pk + 1, now=timezone.now()) == 0
    assert DataRequest.objects.get().state == RequestState.RECEIVED


@pytest.mark.parametrize("login", ["worker_ingestion", "worker_activation", "operator"])
def test_requests__are_read_by_those_alone_who_answer_them(cover, as_login, login):
    cover()
    as_login(login)

    with pytest.raises(ProgrammingError), transaction.atomic():
        DsrRequest.objects.first()


# -- turns ----------------------------------------------------------------------------------------------------------


def test_turn__begins_what_waits_and_does_not_complete_what_is_not_done(cover, workspace, now, as_login, monkeypatch):
    cover()

    def refuse(**_: object) -> None:
        raise NoPackageError

    monkeypatch.setattr(requests, "complete_request", refuse)
    as_login("rights")

    noted = [turns.take_turn(workspace_id=workspace.pk, now=now) for _ in range(2)]

    assert DataRequest.objects.get().state == RequestState.IN_PROGRESS
    assert noted == [1, 0]
    assert DsrCallback.objects.values_list("status", "url").get() == ("in_progress", CALLED)
    assert not DsrRequest.objects.get().is_settled


def test_task__of_the_worker_of_rights__takes_the_turns_of_all_workspaces(cover, as_login):
    cover()
    as_login("rights")

    tasks.work_on_opendsr()

    assert DataRequest.objects.get().state != RequestState.RECEIVED
    assert DsrCallback.objects.filter(attempts=0).exists()


def test_turn__leaves_alone_what_an_officer_refused_meanwhile(cover, workspace, now, as_login):
    request = cover().request
    requests.refuse_request(workspace_id=workspace.pk, request_id=request.pk, reason="x", by="user:1", now=now)
    as_login("rights")

    turns.take_turn(workspace_id=workspace.pk, now=now)

    assert DataRequest.objects.get().state == RequestState.REFUSED
    assert list(DsrCallback.objects.values_list("status", flat=True)) == ["completed"]
    assert DsrRequest.objects.get().is_settled


def test_turn__of_a_request_without_addresses__settles_it_all_the_same(cover, workspace, now, as_login):
    made = cover()
    DsrRequest.objects.update(callback_urls=[])
    requests.take_back(workspace_id=workspace.pk, request_id=made.request_id, by="user:1", now=now)
    as_login("rights")

    assert turns.take_turn(workspace_id=workspace.pk, now=now) == 0
    assert DsrRequest.objects.get().is_settled


def test_callback__whose_sender_was_killed__is_claimed_again_when_its_lease_is_over(cover, workspace, now, as_login):
    made = cover()
    DsrCallback.objects.create(workspace=workspace, cover=made, step=1, url=CALLED, status="completed", due_at=now)
    as_login("rights")

    claims = [calling._claim(workspace.pk, now + after) for after in (timedelta(), timedelta(minutes=4), calling.LEASE)]

    assert [claim.attempts if claim else None for claim in claims] == [1, None, 2]


def test_callbacks__where_opendsr_is_off__are_not_even_claimed(cover, workspace, now):
    made = cover()
    DsrCallback.objects.create(workspace=workspace, cover=made, step=1, url=CALLED, status="completed", due_at=now)

    assert calling.call_back(workspace_id=workspace.pk, clock=lambda: now) == 0
    assert DsrCallback.objects.get().attempts == 0


def test_callbacks__where_we_cannot_sign__wait_and_the_log_says_so(cover, workspace, now, settings, log):
    settings.OPENDSR_DOMAIN = DOMAIN
    made = cover()
    DsrCallback.objects.create(workspace=workspace, cover=made, step=1, url=CALLED, status="completed", due_at=now)

    assert calling.call_back(workspace_id=workspace.pk, clock=lambda: now) == 0
    assert DsrCallback.objects.get().attempts == 0
    assert [entry["event"] for entry in log.events if entry["level"] == "warning"] == ["opendsr.cannot_sign"]


# -- the doctor -----------------------------------------------------------------------------------------------------


@pytest.fixture
def signs(settings, tmp_path, now):
    """`signs(*domains, until=…)`: the settings of a processor with a certificate of these domains."""
    authority = Authority(now)

    def configure(*domains, until=None):
        paths = authority.issue(*domains, until=until).write(tmp_path, "ours")
        settings.OPENDSR_DOMAIN, settings.ALLOWED_HOSTS = DOMAIN, [DOMAIN]
        settings.OPENDSR_CERTIFICATE, settings.OPENDSR_KEY = map(str, paths)
        return paths

    return configure


def test_doctor__where_nothing_is_set__says_that_it_is_off(now):
    assert processor.state(now) == (
        True,
        "off: OPENDSR_DOMAIN, OPENDSR_CERTIFICATE and OPENDSR_KEY are not set",
    )


@pytest.mark.parametrize("name", [DOMAIN, "*.example.com"])
def test_doctor__where_all_is_well__says_as_whom_we_sign(signs, now, name):
    signs(name)

    assert processor.state(now) == (True, f"signs as {DOMAIN} until 2027-02-19")


def test_doctor__where_a_part_is_missing__says_so(signs, now, settings):
    signs(DOMAIN)
    settings.OPENDSR_KEY = ""

    assert processor.state(now)[0] is False
    assert "set together" in processor.state(now)[1]


def test_doctor__where_the_files_do_not_fit__says_which(signs, now, settings):
    signs("other.example.com")
    other_name = processor.state(now)
    certificate, key = signs(DOMAIN)
    certificate.write_bytes(b"nonsense")
    nonsense = processor.state(now)
    settings.OPENDSR_KEY = str(key) + ".gone"
    gone = processor.state(now)

    assert other_name == (False, "OPENDSR_CERTIFICATE does not name OPENDSR_DOMAIN.")
    assert (nonsense[0], "no PEM file" in nonsense[1]) == (False, True)
    assert (gone[0], "No such file" in gone[1], str(key) in gone[1]) == (False, True, False)


def test_doctor__where_the_certificate_ends_soon__says_when(signs, now):
    signs(DOMAIN, until=now + timedelta(days=9))

    assert processor.state(now) == (False, f"the certificate of {DOMAIN} ends on 2026-11-30: renew it")


def test_doctor__where_nobody_reaches_the_domain__says_so(signs, now, settings):
    signs(DOMAIN)
    settings.ALLOWED_HOSTS = ["localhost"]

    assert processor.state(now)[0] is False


def test_certificate__that_is_renewed__is_read_without_a_restart(signs, now):
    signs(DOMAIN)
    before = processor.processor()
    signs(DOMAIN)

    assert processor.processor().certificate != before.certificate


# -- at once --------------------------------------------------------------------------------------------------------


def test_request__that_comes_four_times_at_once__is_one(committed, signs):
    signs(DOMAIN)
    acme, _ = controllers.register_controller(workspace_id=committed.pk, slug="acme", hosts=[], now=timezone.now())
    start, found = threading.Barrier(4), []

    def come() -> None:
        start.wait()
        cover = receiving.receive(
            controller=acme, version=Version.TWO, body=BODY, normal=lambda _, value: value, now=timezone.now()
        )
        found.append((cover.pk, cover.received_at))
        connection.close()

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(found), len(set(found))) == (4, 1)
    with workspace_scope(committed.pk):
        assert (DsrRequest.objects.count(), DataRequest.objects.count()) == (1, 1)


def test_cancelling_and_beginning__at_once__only_one_of_them_happens(committed, signs):
    signs(DOMAIN)
    acme, _ = controllers.register_controller(workspace_id=committed.pk, slug="acme", hosts=[], now=timezone.now())
    given = {"controller": acme, "version": Version.TWO, "normal": lambda _, value: value, "now": timezone.now()}
    receiving.receive(body=BODY, **given)
    start, ended = threading.Barrier(2), []

    def cancel() -> None:
        receiving.cancel(controller=acme, subject_request_id=NUMBER, now=timezone.now())

    def begin() -> None:
        turns.take_turn(workspace_id=committed.pk, now=timezone.now())

    def at_once(do) -> None:
        start.wait()
        try:
            do()
            ended.append(do.__name__)
        except receiving.NotPendingError:
            ended.append("refused")
        connection.close()

    threads = [threading.Thread(target=at_once, args=[do]) for do in (cancel, begin)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with workspace_scope(committed.pk):
        taken_back = DataRequest.objects.get().state == RequestState.TAKEN_BACK
    assert sorted(ended) == (["begin", "cancel"] if taken_back else ["begin", "refused"])
