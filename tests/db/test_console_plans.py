"""The pages of tracking plans, as the login `web` serves them."""

import json

import pytest
from django.test import Client
from django.urls import reverse

from cdp.models import Source, TrackingPlanVersion
from tests.factories.filled import console_user, fill

DOCUMENT = {"unplanned": "BLOCK", "rules": []}


@pytest.fixture
def filled(workspace, now, as_login):
    made = fill(workspace, console_user(workspace), now)
    as_login("web")
    return made


@pytest.fixture
def client(filled):
    return client_of(filled.user)


def client_of(user):
    client = Client()
    client.force_login(user)
    return client


def page(name, *arguments):
    return reverse(f"admin:cdp_trackingplanversion_{name}", args=arguments)


def test_add__keeps_the_next_version_which_holds(filled, client):
    answer = client.post(
        page("add"), {"source": filled.source.pk, "document": json.dumps(DOCUMENT), "is_live": "on"}, follow=True
    )

    assert answer.status_code == 200
    made = TrackingPlanVersion.objects.get(number=2)
    assert (made.document, made.author) == (DOCUMENT, filled.user)
    assert Source.objects.get(pk=filled.source.pk).live_plan_id == made.pk


def test_add__without_the_switch__keeps_a_draft(filled, client):
    client.post(page("add"), {"source": filled.source.pk, "document": json.dumps(DOCUMENT)})

    assert TrackingPlanVersion.objects.count() == 2
    assert Source.objects.get(pk=filled.source.pk).live_plan.number == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [("{", "This is no JSON"), ('{"rules": [{"kind": "page", "schema": {"type": 7}}]}', "rules[0].schema.type")],
)
def test_add__of_a_plan_that_cannot_be_used__says_where_and_keeps_nothing(text, told, filled, client):
    answer = client.post(page("add"), {"source": filled.source.pk, "document": text, "is_live": "on"})

    assert answer.status_code == 200
    assert told in answer.text
    assert TrackingPlanVersion.objects.count() == 1


def test_page__shows_what_was_counted(client):
    shown = client.get(page("change", TrackingPlanVersion.objects.get().pk))

    (one,) = shown.context["violations"]
    assert (one.event, one.path, one.events) == ("track Order Completed", "/order_id", 84)
    assert len(shown.context["days"]) == 30
    assert "keep and count" in shown.text


def test_buttons__let_a_version_hold_and_take_it_off(filled, client):
    version = TrackingPlanVersion.objects.get()

    client.post(page("off", version.pk))
    assert Source.objects.get(pk=filled.source.pk).live_plan_id is None
    client.post(page("hold", version.pk))
    assert Source.objects.get(pk=filled.source.pk).live_plan_id == version.pk


def test_buttons__for_a_reader_or_another_workspace__are_refused(filled, workspace):
    version = TrackingPlanVersion.objects.get()
    reader = client_of(console_user(workspace, "reader", is_superuser=False))

    assert reader.post(page("off", version.pk)).status_code == 403
    assert client_of(filled.user).get(page("off", version.pk)).status_code == 405
    assert Source.objects.get(pk=filled.source.pk).live_plan_id == version.pk


def test_add__from_another_version__begins_with_what_it_says(filled, client):
    before = TrackingPlanVersion.objects.get()

    shown = client.get(page("add"), {"from": before.pk})

    assert shown.context["adminform"].form.initial["source"] == filled.source.pk
    assert json.loads(shown.context["adminform"].form.initial["document"]) == before.document
