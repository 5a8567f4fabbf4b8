"""Quarantine in the console: found by filters, looked at before, mended, replayed, and followed while it runs."""

import json
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from cdp import tasks
from cdp.console.quarantine import place_of_error
from cdp.ingestion import services as ingestion
from cdp.models import Event, QuarantinedItem, QuarantineOrder, Run
from tests.factories import SourceFactory, WorkspaceFactory
from tests.factories.filled import console_user

LIST = reverse("admin:cdp_quarantineditem_changelist")
MEND_PAGE = reverse("admin:cdp_quarantineditem_mend")
PREVIEW = reverse("admin:cdp_quarantineditem_preview")
MEND = "- {rename: user, to: userId}"
EVENTS = [
    {"type": "track", "event": "Viewed", "user": "u1", "messageId": "m1"},
    {"type": "trak", "userId": "u2", "event": "<b>x</b>"},
    {"type": "track", "event": "Viewed", "user": "u3", "messageId": "m3"},
]


@pytest.fixture
def items(workspace, now):
    source = SourceFactory(workspace=workspace, name="shop")
    body = json.dumps({"batch": EVENTS}).encode()
    ingestion.accept(source=source, body=body, path_kind="batch", received_at=now)
    return list(QuarantinedItem.objects.order_by("pk"))


@pytest.fixture
def steward(workspace):
    return console_user(workspace)


@pytest.fixture
def client(items, steward, as_login):
    client = Client()
    client.force_login(steward)
    as_login("web")
    return client


def order(client, do, **said):
    """Look, and then agree to what was seen."""
    said = {"mend": "", "mapping": "", **said}
    looked = client.post(PREVIEW, said).context["looked"]
    return client.post(MEND_PAGE, {**said, "do": do, "looked": looked})


def listed(client, **query):
    return [item.place for item in client.get(LIST, query).context["cl"].result_list]


# -- the list -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ({}, ["batch[2]", "batch[1]", "batch[0]"]),
        ({"code": "unknown_type"}, ["batch[1]"]),
        ({"place": "*[2]"}, ["batch[2]"]),
        ({"text": "U1"}, ["batch[0]"]),
        ({"source": "shop", "since": "2026-11-21T12:00"}, ["batch[2]", "batch[1]", "batch[0]"]),
        ({"until": "2026-11-21T12:00"}, []),
        ({"state": "replayed"}, []),
        ({"state": "all"}, ["batch[2]", "batch[1]", "batch[0]"]),
        ({"state": "nonsense"}, []),
        ({"since": "yesterday"}, []),
        ({"source": "another"}, []),
        ({"ids": "x"}, []),
    ],
)
def test_list__shows_what_the_filters_leave(query, places, client):
    assert listed(client, **query) == places


def test_list__counts_the_codes_on_top(client):
    page = client.get(LIST)

    assert page.context["codes"] == [("missing_identity", 2), ("unknown_type", 1)]
    assert f'href="{MEND_PAGE}?code=unknown_type"' in client.get(LIST, {"code": "unknown_type"}).text


def test_list__leads_to_the_latest_runs(client):
    answer = order(client, "replay", mend=MEND)

    assert f'href="{answer.url}"' in client.get(LIST).text


def test_action__on_chosen_ones__leads_to_the_page_that_mends(client, items):
    sent = {"action": "mend_these", "_selected_action": [items[0].pk, items[1].pk]}

    answer = client.post(LIST, sent)
    across = client.post(f"{LIST}?code=unknown_type", {**sent, "select_across": "1", "_selected_action": [items[1].pk]})

    assert answer.url == f"{MEND_PAGE}?ids={items[1].pk},{items[0].pk}"
    assert across.url == f"{MEND_PAGE}?code=unknown_type"


# -- one item -------------------------------------------------------------------------------------------------------


def test_item__shows_its_text_with_the_place_of_the_error(client, items):
    page = client.get(reverse("admin:cdp_quarantineditem_change", args=[items[1].pk])).text

    assert '<span class="console-mark">&quot;type&quot;:&quot;trak&quot;</span>' in page.replace(": ", ":")
    assert "<b>x</b>" not in page


@pytest.mark.parametrize(
    ("raw", "message", "marked"),
    [
        ('{"a": 1, "at": "no, \\"time"}', "`at` must be a time.", '"at": "no, \\"time"'),
        ('{"at": 12, "b": 2}', "The column 'at' holds no time.", '"at": 12'),
        ('{"a": 1,}', "The line is no JSON.", "}"),
        ('{"a": 1}', "An event needs a `userId`.", ""),
        ("[" * 100_000, "The line is no JSON.", ""),
        ("", "", ""),
    ],
)
def test_place_of_error__is_what_the_reason_names(raw, message, marked):
    start, end = place_of_error(raw, message)

    assert raw[start:end] == marked


# -- mending --------------------------------------------------------------------------------------------------------


def test_mend_page__before_anything_is_written__says_what_would_become_of_them(client, items):
    page = client.get(MEND_PAGE, {"code": "missing_identity"})

    assert (page.status_code, page.context["preview"].refused, page.context["preview"].chosen) == (200, 2, 2)


@pytest.mark.parametrize("address", [MEND_PAGE, PREVIEW])
def test_look__at_a_mend__shows_the_changed_paths_and_writes_nothing(address, client, items, as_login):
    page = client.post(address, {"ids": str(items[0].pk), "mend": MEND, "mapping": "", "do": "preview"})

    assert (page.context["preview"].accepted, page.context["preview"].chosen) == (1, 1)
    assert "<code>userId</code> <ins>u1</ins>" in page.text
    as_login("none")
    assert not Run.objects.exists()


@pytest.mark.parametrize(("field", "text"), [("mend", "- {sett: a}"), ("mapping", "kee: a"), ("mend", "[")])
def test_mend__that_is_none__says_why_and_orders_nothing(field, text, client, items, as_login):
    page = client.post(MEND_PAGE, {"mend": MEND, field: text, "do": "replay"})

    assert page.context["remedy"].errors[field]
    assert "console-badge is-no" in page.text
    as_login("none")
    assert not Run.objects.exists()


def test_replay__ordered_in_the_console__is_done_by_the_worker(
    client, workspace, steward, items, monkeypatch, as_login, django_capture_on_commit_callbacks
):
    wake = Mock()
    monkeypatch.setattr(tasks, "wake_quarantine", wake)

    with django_capture_on_commit_callbacks(execute=True):
        answer = order(client, "replay", code="missing_identity", mend=MEND)

    as_login("none")
    ordered = QuarantineOrder.objects.get()
    assert answer.url == reverse("admin:cdp_quarantineditem_run", args=[ordered.pk])
    assert (ordered.chosen, ordered.mend) == ({"code": "missing_identity"}, [{"rename": "user", "to": "userId"}])
    assert ordered.run.asked_by == steward
    wake.assert_called_once_with(workspace_id=workspace.pk)
    as_login("web")
    page = client.get(answer.url)
    assert 'http-equiv="refresh"' in page.text
    as_login("worker_ingestion")
    tasks.work_on_quarantine(workspace_id=workspace.pk)
    as_login("web")
    page = client.get(answer.url)
    assert (page.context["percent"], page.context["counts"]["accepted"]) == (100, 2)
    assert 'http-equiv="refresh"' not in page.text
    assert listed(client) == ["batch[1]"]
    assert Event.objects.count() == 2


def test_run__is_cancelled_and_goes_on_by_its_buttons(client, items, as_login):
    answer = order(client, "replay", mend=MEND)

    client.post(answer.url, {"do": "cancel"})
    assert Run.objects.get().state == "CANCELLED"
    client.post(answer.url, {"do": "cancel"})
    assert Run.objects.get().state == "CANCELLED"
    client.post(answer.url, {"do": "resume"})
    assert Run.objects.get().state == "RUNNING"


@pytest.mark.parametrize("do", ["replay", "discard"])
def test_order__of_something_else_than_was_looked_at__is_shown_first(do, client, items):
    looked = client.post(PREVIEW, {"mend": MEND}).context["looked"]

    page = client.post(MEND_PAGE, {"mend": MEND, "code": "unknown_type", "reason": "x", "do": do, "looked": looked})

    assert page.context["preview"].chosen == 1
    assert "Look at what would become of them" in page.text
    assert not Run.objects.exists()


def test_discard__needs_a_reason(client, items):
    page = order(client, "discard", code="unknown_type")

    assert page.context["remedy"].errors["reason"]
    assert not Run.objects.exists()
    order(client, "discard", code="unknown_type", reason="a test")
    given = QuarantineOrder.objects.get()
    assert (given.kind, given.reason) == ("DISCARD", "a test")


def test_order__of_nothing__tells_so(client, items):
    page = order(client, "replay", code="no_such_code")

    assert "No item that waits" in page.text
    assert not Run.objects.exists()


# -- who may --------------------------------------------------------------------------------------------------------


def test_reader__may_look_and_not_mend(client, workspace, items, as_login):
    as_login("none")
    reader = console_user(workspace, "reader")
    reader.is_superuser = False
    reader.save()
    reader.user_permissions.add(Permission.objects.get(codename="view_quarantineditem"))
    client.force_login(reader)
    as_login("web")

    assert len(listed(client)) == 3
    assert client.get(MEND_PAGE).status_code == 403
    assert client.post(MEND_PAGE, {"mend": MEND, "do": "replay"}).status_code == 403
    assert client.post(PREVIEW, {"mend": MEND}).status_code == 403
    assert MEND_PAGE not in client.get(LIST).text
    assert not Run.objects.exists()


def test_visitor__of_another_workspace__reaches_nothing(client, items, as_login):
    answer = order(client, "replay", mend=MEND)
    as_login("none")
    client.force_login(console_user(WorkspaceFactory(), "visitor"))
    as_login("web")

    assert listed(client) == []
    assert client.get(answer.url).status_code == 404
    assert client.post(PREVIEW, {"ids": str(items[0].pk), "mend": MEND}).context["preview"].chosen == 0
