"""The officer's page: how long there is, what happened, and what can be done next."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from cdp.kernel.identifiers import Identifier as Name
from consent import packaging, requests
from consent.deadlines import days_left
from consent.models import DataRequest
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
