"""The officer's page: how long there is, what happened, and what can be done next."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from cdp.kernel.identifiers import Identifier as Name
from consent import execution, packaging, requests
from consent.deadlines import days_left
from consent.models import DataRequest, RequestWork
from consent.request_details import details_of
from consent.rights import Right
from tests.factories.filled import console_user


@pytest.fixture
def client(workspace, as_login, settings, tmp_path):
    settings.PACKAGE_DIR = tmp_path
    made = Client()
    made.force_login(console_user(workspace))
    as_login("web")
    return made


@pytest.fixture
def received(client, workspace):
    """`received(days_ago=…)`"""

    def make(kind=Right.ACCESS, days_ago=1):
        now = timezone.now()
        return requests.receive_request(
            workspace_id=workspace.pk, kind=kind, identifiers=[Name("email", "ada@example.com")], by="key:1", now=now,
            received_at=now - timedelta(days=days_ago),
        )  # fmt: skip

    return make


def page_of(made):
    return reverse("admin:consent_datarequest_change", args=[made.pk])


def press(client, made, name, written=""):
    return client.post(
        reverse("admin:consent_datarequest_step", args=[made.pk, name]), {"written": written}, follow=True
    )


def buttons(text):
    return {part.split('"')[0] for part in text.split('id="step-')[1:]}


def test_list__says_how_long_there_is(client, received):
    made = [received(days_ago=days) for days in (60, 26, 0)]
    zone, now = timezone.get_current_timezone(), timezone.now()

    text = client.get(reverse("admin:consent_datarequest_changelist")).text

    late, soon, far = (days_left(one.due_at, now, zone) for one in made)
    assert late < 0 < soon <= 7 < far
    assert all(words in text for words in (f"{-late} days late", f"{soon} day", f"{far} days"))


def test_home__counts_what_is_due(client, received):
    received(days_ago=27)
    received(days_ago=0)

    numbers = client.get(reverse("admin:index")).context["due"]

    assert numbers.number == 1


def test_page__shows_who_asks_what_happened_and_the_next_steps(client, received):
    made = received()

    text = client.get(page_of(made)).text

    assert "email:ada@example.com" in text
    assert "request.received" in text
    assert buttons(text) == {"verify", "doubt", "extend", "refuse", "take_back"}


def test_buttons__lead_from_verification_to_the_end(client, received, workspace, as_login):
    made = received()

    press(client, made, "verify", "came to the counter")
    started = press(client, made, "start")
    as_login("rights")
    packaging.build_next(workspace_id=workspace.pk, now=timezone.now())
    as_login("web")
    linked = client.post(reverse("admin:consent_datarequest_link", args=[made.pk]), follow=True)
    done = press(client, made, "complete")

    assert "complete" not in buttons(started.text)
    assert f"/api/v1/data-packages/{workspace.pk}." in linked.text
    assert buttons(done.text) == set()
    made.refresh_from_db()
    assert (made.state, made.verification) == ("COMPLETED", "MANUAL")
    assert set(made.steps.values_list("stepped_by", flat=True)) >= {"key:1", "rights"}


@pytest.mark.parametrize(("name", "written"), [("start", ""), ("refuse", " "), ("duplicate", "x"), ("settle", "")])
def test_button__that_cannot_be(name, written, client, received):
    made = received()

    answer = press(client, made, name, written)

    assert answer.status_code == 200
    made.refresh_from_db()
    assert (made.state, made.step) == ("RECEIVED", "request.received")


def test_button__that_does_not_exist_or_for_a_reader__is_refused(client, received, workspace, as_login):
    made = received()
    as_login("none")
    reader = Client()
    reader.force_login(console_user(workspace, "reader", is_superuser=False))
    as_login("web")

    assert press(client, made, "erase").status_code == 403
    assert press(reader, made, "take_back").status_code == 403

    assert DataRequest.objects.get().state == "RECEIVED"


# -- carried out ----------------------------------------------------------------------------------------------------


@pytest.fixture
def work(workspace, as_login):
    """The worker of rights does what waits."""

    def do():
        as_login("rights")
        execution.carry_out_next(workspace_id=workspace.pk, now=timezone.now())
        as_login("web")

    return do


def verified(client, made):
    press(client, made, "verify", "came to the counter")
    return buttons(client.get(page_of(made)).text)


def test_erasure__is_carried_out_by_its_button_and_shows_the_certificate(client, received, work):
    made = received(Right.ERASURE)

    first = verified(client, made)
    begun = press(client, made, "carry_out")
    work()
    done = client.get(page_of(made)).text
    closed = press(client, made, "complete")

    assert first == {"carry_out", "duplicate", "extend", "refuse", "take_back"}
    assert buttons(begun.text) == {"duplicate", "extend", "refuse", "take_back"}
    assert "It waits for the worker." in begun.text
    assert buttons(done) == {"complete", "extend"}
    assert f"request-{made.pk}" in done.split('id="certificate"')[1]
    assert "CNIL" in closed.text
    made.refresh_from_db()
    assert made.state == "COMPLETED"


def test_rectification__with_values_or_by_hand(client, received, work):
    with_values, by_hand = received(Right.RECTIFICATION), received(Right.RECTIFICATION)
    first = verified(client, with_values)
    verified(client, by_hand)

    unreadable = press(client, with_values, "correct", "Paris")
    press(client, with_values, "correct", "city: Paris; note: a: b")
    press(client, by_hand, "carry_out")
    text = client.get(page_of(by_hand)).text
    noted = press(client, by_hand, "outcome", "The shop corrected its own list.")

    assert first == {"carry_out", "correct", "duplicate", "extend", "refuse", "take_back"}
    assert "city: Paris; given_name: Ada" in unreadable.text
    with_values.refresh_from_db()
    assert details_of(with_values).corrections == {"city": "Paris", "note": "a: b"}
    assert "outcome" in buttons(text)
    assert "The shop corrected its own list." in noted.text
    assert buttons(noted.text) == {"complete", "extend"}


def test_work__that_failed_or_was_never_ordered__can_be_carried_out_now(client, received, as_login):
    made = received(Right.RESTRICTION)
    verified(client, made)
    press(client, made, "carry_out")
    RequestWork.objects.update(due_at=timezone.now() + timedelta(hours=1))
    as_login("none")
    RequestWork.objects.update(failures=3, error="BusyWorkspaceError")
    as_login("web")

    failed = client.get(page_of(made)).text
    press(client, made, "try_again")

    assert "BusyWorkspaceError" in failed
    assert "try_again" in buttons(failed)
    assert RequestWork.objects.get().due_at <= timezone.now()
    as_login("none")
    RequestWork.objects.all().delete()
    as_login("web")
    assert "try_again" in buttons(client.get(page_of(made)).text)
