"""`manage.py quarantine`: what an operator sees and does, as the login of operators."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from cdp import tasks
from cdp.ingestion import replaying
from cdp.ingestion import services as ingestion
from cdp.ingestion.quarantine import Chosen
from cdp.ingestion.rereading import Correction
from cdp.management.commands import quarantine as command
from cdp.management.commands.quarantine import RunFailedError, UnknownItemError
from cdp.models import Event, QuarantinedItem, Run
from tests.factories import SourceFactory

EVENTS = [
    {"type": "track", "event": "Viewed", "user": "u1", "messageId": "m1"},
    {"type": "trak", "userId": "u2"},
]


@pytest.fixture
def items(workspace, now, as_login):
    source = SourceFactory(workspace=workspace, name="shop")
    body = json.dumps({"batch": EVENTS}).encode()
    ingestion.accept(source=source, body=body, path_kind="batch", received_at=now)
    return list(QuarantinedItem.objects.order_by("pk"))


@pytest.fixture
def called(workspace, items, as_login):
    as_login("operator")

    def call(*words):
        out = StringIO()
        call_command(
            "quarantine", *map(str, words), "--workspace", workspace.slug, "--json", stdout=out, stderr=StringIO()
        )
        return json.loads(out.getvalue())

    return call


@pytest.fixture
def mend(tmp_path):
    path = tmp_path / "mend.yaml"
    path.write_text("- {rename: user, to: userId}\n")
    return path


def test_list__shows_what_waits_with_the_codes_on_top(called, items):
    told = called("list", "--source", "shop", "--code", "unknown_type")

    assert (told["waiting"], told["codes"]) == (1, {"missing_identity": 1, "unknown_type": 1})
    assert [item["place"] for item in told["items"]] == ["batch[1]"]


@pytest.mark.parametrize(("option", "value", "number"), [("--since", "2026-11-22", 0), ("--until", "2026-11-22", 2)])
def test_list__takes_times(called, option, value, number):
    assert called("list", option, value)["waiting"] == number


def test_show__is_the_whole_item(called, items):
    told = called("show", items[0].pk)

    assert (json.loads(told["raw"]), told["reading"]) == (EVENTS[0], {"call": "batch", "sentAt": None})


def test_show__of_none__says_so(called):
    with pytest.raises(UnknownItemError):
        called("show", 999_999_999)


def test_dry_run__then_replay__count_the_same(called, mend, as_login):
    foreseen = called("replay", "--mend", mend, "--dry-run")
    done = called("replay", "--mend", mend)

    counts = ("read", "accepted", "duplicates", "refused")
    assert [foreseen[name] for name in counts] == [done[name] for name in counts] == [2, 1, 0, 1]
    as_login("none")
    assert [event.message_id for event in Event.objects.all()] == ["m1"]


def test_mapping__that_is_none__is_refused(called, tmp_path):
    (tmp_path / "mapping.yaml").write_text("kee: id")

    with pytest.raises(replaying.TesseraError) as refused:
        called("replay", "--mapping", tmp_path / "mapping.yaml", "--dry-run")

    assert refused.value.code == "bad_mapping"


@pytest.mark.parametrize("option", ["--mend", "--mapping"])
def test_file__that_is_not_there__is_a_wrong_argument(called, option, tmp_path):
    with pytest.raises(CommandError) as refused:
        called("replay", option, tmp_path / "none.yaml")

    assert refused.value.returncode == 2


def test_resume__goes_on_with_a_run_that_was_cancelled(called, workspace, items, now, as_login):
    run = replaying.order_replay(
        workspace_id=workspace.pk, chosen=Chosen(), correction=Correction(), asked_by=None, now=now
    )
    replaying.cancel(workspace_id=workspace.pk, run_id=run.pk, now=now)

    assert called("replay", "--resume", run.pk) == {
        "run": run.pk, "chosen": 2, "read": 2, "accepted": 0, "duplicates": 0, "refused": 2
    }  # fmt: skip


def test_replay__that_somebody_cancels__says_how_to_go_on(called, workspace, monkeypatch, mend, now):
    def cancelled(self, run):
        replaying.cancel(workspace_id=workspace.pk, run_id=run.pk, now=now)

    monkeypatch.setattr(replaying, "BATCH_ITEMS", 1)
    monkeypatch.setattr(command.Command, "_report", cancelled)

    with pytest.raises(RunFailedError, match="--resume"):
        called("replay", "--mend", mend)


def test_discard__erases_the_text(called, as_login):
    assert called("discard", "--code", "unknown_type", "--reason", "a test")["discarded"] == 1
    as_login("none")
    assert sorted(item.raw == "" for item in QuarantinedItem.objects.all()) == [False, True]


def test_export__writes_one_object_a_line_and_overwrites_nothing(called, tmp_path):
    path = tmp_path / "kept.jsonl"

    assert called("export", path) == {"exported": 2}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [json.loads(line["raw"]) for line in lines] == EVENTS
    with pytest.raises(CommandError, match="cannot be made"):
        called("export", path)


def test_sweep__of_ingestion__works_on_what_was_ordered_and_lost(workspace, items, now, monkeypatch, as_login):
    run = replaying.order_replay(
        workspace_id=workspace.pk, chosen=Chosen(), correction=Correction(), asked_by=None, now=now
    )
    monkeypatch.setattr(tasks, "wake", lambda *_, **__: None)
    as_login("worker_ingestion")

    tasks.sweep(stage="INGESTION")

    as_login("none")
    assert Run.objects.get(pk=run.pk).state == "DONE"


def test_run__that_fails__does_not_stop_the_sweep(workspace, items, now, monkeypatch, log):
    run = replaying.order_replay(
        workspace_id=workspace.pk, chosen=Chosen(), correction=Correction(), asked_by=None, now=now
    )
    monkeypatch.setattr(tasks, "wake", lambda *_, **__: None)
    monkeypatch.setattr(replaying, "read_again", lambda *_, **__: 1 / 0)

    tasks.sweep(stage="INGESTION")

    assert (Run.objects.get(pk=run.pk).state, Run.objects.get(pk=run.pk).error) == ("FAILED", "ZeroDivisionError")
    assert "quarantine.failed" in [event["event"] for event in log.events]
