"""Quarantine by HTTP: listed, looked at, previewed, replayed and discarded, each with its scope."""

import json
from unittest.mock import Mock

import pytest

from cdp import tasks
from cdp.ingestion import services as ingestion
from cdp.models import Event, QuarantinedItem, QuarantineOrder, Run
from tests.factories import SourceFactory

MEND = [{"rename": "user", "to": "userId"}]
REMEDY = {"chosen": {"code": "missing_identity"}, "mend": MEND}


@pytest.fixture
def items(workspace, now):
    """Two events without a known id, and one of a type that does not exist."""
    source = SourceFactory(workspace=workspace, name="shop")
    events = [
        {"type": "track", "event": "Viewed", "user": "u1", "messageId": "m1"},
        {"type": "trak", "userId": "u2"},
        {"type": "track", "event": "Viewed", "user": "u3", "messageId": "m3"},
    ]
    body = json.dumps({"batch": events, "sentAt": "2026-11-21T12:00:00Z"}).encode()
    ingestion.accept(source=source, body=body, path_kind="batch", received_at=now)
    return list(QuarantinedItem.objects.order_by("pk"))


@pytest.fixture
def as_web(as_login):
    as_login("web")


def test_get__lists_the_newest_first_and_turns_pages(owner, items, as_web):
    first = owner.get("quarantine", code="missing_identity", limit=1).json()
    second = owner.get("quarantine", code="missing_identity", limit=1, cursor=first["next"]).json()

    assert [item["id"] for item in (*first["items"], *second["items"])] == [items[2].pk, items[0].pk]
    assert first["items"][0] == {
        "id": items[2].pk, "source": "shop", "received_at": "2026-11-21T12:00:00Z", "place": "batch[2]",
        "code": "missing_identity", "message": items[2].message, "tried_code": "",
    }  # fmt: skip


def test_get__of_one__shows_how_it_came(owner, items, as_web):
    body = owner.get(f"quarantine/{items[1].pk}").json()

    assert json.loads(body["raw"]) == {"type": "trak", "userId": "u2"}
    assert body["reading"] == {"call": "batch", "sentAt": "2026-11-21T12:00:00Z"}
    assert (body["replayed_at"], body["discarded_at"], body["run"]) == (None, None, None)


@pytest.mark.parametrize("path", ["quarantine/999999", "quarantine/99999999999999999999", "quarantine/runs/999999"])
def test_get__of_what_is_not_there__is_not_found(owner, path, as_web):
    answer = owner.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_preview__shows_what_would_change_and_changes_nothing(owner, items, as_web, as_login):
    body = owner.post("quarantine/preview", REMEDY).json()

    shown = body.pop("items")
    assert body == {
        "chosen": 2, "read": 2, "changed": 2, "accepted": 2, "duplicates": 0, "refused": 0, "refused_by_code": {},
    }  # fmt: skip
    assert shown[0]["differences"] == [{"path": "user", "before": "u1"}, {"path": "userId", "after": "u1"}]
    as_login("none")
    assert not Run.objects.exists()


def test_replay__begins_a_run_that_the_worker_ends(
    owner, workspace, items, monkeypatch, as_login, django_capture_on_commit_callbacks
):
    wake = Mock()
    monkeypatch.setattr(tasks, "wake_quarantine", wake)
    as_login("web")

    with django_capture_on_commit_callbacks(execute=True):
        answer = owner.post("quarantine/replays", REMEDY)

    assert answer.status_code == 202
    run = answer.json()["run"]
    assert (answer.json()["state"], answer.json()["counts"]) == ("RUNNING", {"chosen": 2})
    wake.assert_called_once_with(workspace_id=workspace.pk)
    as_login("worker_ingestion")
    tasks.work_on_quarantine(workspace_id=workspace.pk)
    as_login("web")
    body = owner.get(f"quarantine/runs/{run}").json()
    assert body["state"] == "DONE"
    assert body["counts"] == {"chosen": 2, "read": 2, "accepted": 2, "duplicates": 0, "refused": 0}
    assert Event.objects.count() == 2


def test_run__that_is_cancelled__is_over(owner, items, as_web):
    run = owner.post("quarantine/replays", REMEDY).json()["run"]

    assert owner.delete(f"quarantine/runs/{run}").status_code == 204
    assert owner.get(f"quarantine/runs/{run}").json()["state"] == "CANCELLED"
    assert owner.delete(f"quarantine/runs/{run}").json()["code"] == "unknown_run"


def test_discard__begins_a_run_with_its_reason(owner, items, as_web, as_login):
    answer = owner.post("quarantine/discards", {"chosen": {"ids": [items[1].pk]}, "reason": "a test"})

    assert (answer.status_code, answer.json()["counts"]) == (202, {"chosen": 1})
    as_login("none")
    order = QuarantineOrder.objects.get()
    assert (order.kind, order.reason, order.chosen) == ("DISCARD", "a test", {"ids": [items[1].pk]})


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("quarantine/replays", {"mend": [{"sett": "a"}]}, "bad_mend"),
        ("quarantine/preview", {"mend": [{"replace": "a", "find": "(", "with": ""}]}, "bad_mend"),
        ("quarantine/preview", {"mapping": {"kee": "a"}}, "bad_mapping"),
        ("quarantine/preview", {"mend": {}}, "validation_failed"),
        ("quarantine/replays", {"chosen": {"code": "no_such_code"}}, "nothing_chosen"),
        ("quarantine/replays", {"chosen": {"text": "\0"}}, "validation_failed"),
        ("quarantine/discards", {}, "validation_failed"),
        ("quarantine/discards", {"chosen": {"ids": [0]}, "reason": "x"}, "validation_failed"),
    ],
)
def test_post__of_what_cannot_be_done__is_refused(owner, items, path, body, code, as_web, as_login):
    answer = owner.post(path, body)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    as_login("none")
    assert not Run.objects.exists()


@pytest.mark.parametrize("path", ["quarantine/replays", "quarantine/discards"])
def test_key__that_may_only_read__changes_nothing(caller, items, path, as_login):
    reader = caller("quarantine:read")
    as_login("web")

    assert reader.post(path, {**REMEDY, "reason": "x"}).status_code == 403
    assert reader.get("quarantine").status_code == 200
    as_login("none")
    assert not Run.objects.exists()


def test_stranger__sees_nothing(stranger, anonymous, caller, items, as_login):
    unscoped = caller("profiles:read")
    as_login("web")

    assert stranger.get("quarantine").json()["items"] == []
    assert stranger.get(f"quarantine/{items[0].pk}").status_code == 404
    assert stranger.post("quarantine/preview", REMEDY).json()["chosen"] == 0
    assert unscoped.get("quarantine").status_code == 403
    assert anonymous.get("quarantine").status_code == 401
