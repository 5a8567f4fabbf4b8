"""Controllers hear of every change, signed, until they take it: and nobody else is called."""

from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from cdp import http
from consent import requests
from consent.models import DataRequest, DsrCallback, DsrRequest
from consent.opendsr import calling, controllers
from tests.api.opendsr.controller import DUE, ID, asked
from tests.fakes.opendsr import FakeController


@pytest.fixture
def listening(authority, certificate, tmp_path, monkeypatch):
    """A controller at the other end of the line, whose name leads to this machine and whose authority is trusted."""
    root = tmp_path / "root.pem"
    root.write_bytes(authority.root.pem)
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(root))
    monkeypatch.setattr(http, "_resolve", lambda *_: ["127.0.0.1"])
    http.forget_hosts()
    name = "controller.example.com"
    with FakeController(name, authority.issue(name), tmp_path, processor=certificate.certificate) as host:
        yield host
    http.forget_hosts()


@pytest.fixture
def heard(register, listening, as_login):
    """A controller that hears callbacks at two addresses."""
    made = register(hosts=[listening.host], email="privacy@acme.example")
    as_login("web")
    return made


@pytest.fixture
def call(workspace, as_login):
    """`call(after=timedelta(minutes=5))`: the worker of rights calls back what is due by then."""

    def back(after=timedelta()):
        as_login("rights")
        taken = calling.call_back(workspace_id=workspace.pk, clock=lambda: timezone.now() + after)
        as_login("web")
        return taken

    return back


def test_callback__tells_every_address_of_every_change_in_order(heard, listening, turn, call):
    urls = [listening.url("/a"), listening.url("/b")]
    heard.post(asked(status_callback_urls=[*urls, urls[0]]))
    turn()

    taken = call()

    assert (taken, listening.violations) == (4, [])
    told = {
        url: [said["request_status"] for said in listening.told if said["status_callback_url"] == url] for url in urls
    }
    assert told == {url: ["in_progress", "completed"] for url in urls}
    last = listening.told[-1]
    assert (last["subject_request_id"], last["controller_id"], last["expected_completion_time"]) == (ID, "acme", DUE)
    assert last["results_url"] == heard.get(f"/v2/requests/{ID}").json()["results_url"]
    assert call() == 0
    assert DsrRequest.objects.get().is_settled


def test_callback__of_version_one__is_signed_under_the_old_names(heard, listening, turn, call):
    body = asked(regulation=None, api_version="1.0", status_callback_urls=[listening.url("/a")])
    heard.post(body, "/opengdpr_requests")
    turn()

    assert (call(), listening.violations) == (2, [])


@pytest.mark.parametrize("status", [503, 403, 302])
def test_callback__that_is_not_taken__comes_again_later_and_before_the_next_one(heard, listening, turn, call, status):
    heard.post(asked(status_callback_urls=[listening.url("/a")]))
    turn()
    listening.planned = [status]

    first, at_once, later = call(), call(), call(timedelta(minutes=2))
    http.forget_hosts()

    assert (first, at_once, later, listening.tries) == (0, 0, 2, 3)
    assert [said["request_status"] for said in listening.told] == ["in_progress", "completed"]
    attempts = DsrCallback.objects.order_by("step").values_list("attempts", "error")
    assert list(attempts) == [(2, ""), (1, "")]


def test_callback__that_is_never_taken__is_given_up_and_the_next_one_is_tried(heard, listening, turn, call, log):
    heard.post(asked(status_callback_urls=[listening.url("/a")]))
    turn()
    listening.planned = [500] * calling.MOST_ATTEMPTS

    for number in range(calling.MOST_ATTEMPTS + 1):
        http.forget_hosts()
        call(timedelta(days=number))

    assert [said["request_status"] for said in listening.told] == ["completed"]
    first, second = DsrCallback.objects.order_by("step")
    assert (first.attempts, first.delivered_at, first.error) == (calling.MOST_ATTEMPTS, None, "http_transient")
    assert (second.attempts, second.delivered_at is None) == (1, False)
    assert any(entry["event"] == "opendsr.callback_given_up" for entry in log.events)


def test_callback__to_an_address_that_is_allowed_no_more__is_never_made(heard, listening, turn, call, as_login):
    heard.post(asked(status_callback_urls=[listening.url("/a")]))
    turn()
    as_login("none")
    heard.row.callback_hosts = ["other.example.com"]
    heard.row.save()

    assert (call(), call(timedelta(days=9)), listening.tries) == (0, 0, 0)
    assert list(DsrCallback.objects.values_list("error", flat=True)) == ["forbidden_callback"] * 2


def test_callback__into_the_house__is_refused_where_the_connection_is_opened(heard, listening, turn, call, settings):
    settings.PRIVATE_ADDRESSES_ALLOWED = False
    heard.post(asked(status_callback_urls=[listening.url("/a")]))
    turn()

    assert (call(), listening.tries) == (0, 0)
    assert DsrCallback.objects.order_by("step")[0].error == "forbidden_address"


def test_callback__of_a_revoked_controller__is_not_made(heard, listening, turn, call, workspace, as_login):
    heard.post(asked(status_callback_urls=[listening.url("/a")]))
    turn()
    as_login("none")
    controllers.revoke_controller(workspace_id=workspace.pk, slug="acme", now=timezone.now())

    assert (call(), call(), listening.tries) == (0, 0, 0)
    assert not DsrCallback.objects.filter(over_at=None).exists()


def test_refusal__is_written_to_the_controller(heard, listening, turn, call, workspace, settings):
    settings.EMAIL_HOST, settings.DEFAULT_FROM_EMAIL = "mail.example.com", "dsr@example.com"
    heard.post(asked(submitted_time=timezone.now().isoformat(), status_callback_urls=[listening.url("/a")]))
    number = DataRequest.objects.get().pk
    requests.refuse_request(
        workspace_id=workspace.pk, request_id=number, reason="hidden", by="user:1", now=timezone.now()
    )
    turn()

    taken = call()

    assert (taken, [said["results_count"] for said in listening.told]) == (2, [0])
    (letter,) = mail.outbox
    assert (letter.to, ID in letter.body, "refused" in letter.body) == (["privacy@acme.example"], True, True)
    assert "hidden" not in letter.body
    assert "ada" not in letter.body.lower()


def test_refusal__without_a_mail_server__waits_and_says_why(heard, turn, call, workspace):
    heard.post(asked(submitted_time=timezone.now().isoformat()))
    number = DataRequest.objects.get().pk
    requests.refuse_request(workspace_id=workspace.pk, request_id=number, reason="x", by="user:1", now=timezone.now())
    turn()

    assert (call(), mail.outbox) == (0, [])
    assert DsrCallback.objects.values_list("error", "over_at").get() == ("mail_not_sent", None)


def test_turn__taken_twice__notes_each_change_once(heard, listening, turn):
    heard.post(asked(status_callback_urls=[listening.url("/a")]))

    turn()
    turn()

    assert list(DsrCallback.objects.order_by("step").values_list("status", flat=True)) == ["in_progress", "completed"]
