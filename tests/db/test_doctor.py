"""The doctor says what is wrong, in JSON for scripts, and with exit status 1."""

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.utils import timezone

from cdp import tasks
from cdp.management import doctor
from cdp.models import Cause, OutboxRow, Stage, Workspace
from cdp.models.outbox import hand_over


@pytest.fixture
def told(workspace: Workspace) -> Callable[[], dict[str, str]]:
    """Name → detail of the checks that are bad."""

    def ask() -> dict[str, str]:
        return {check.name: check.detail for check in doctor.examine(timezone.now) if not check.ok}

    return ask


def outbox_row(workspace: Workspace, **fields: object) -> OutboxRow:
    return OutboxRow.objects.create(
        workspace=workspace, stage=Stage.SEGMENTS, subject_id=1, cause=Cause.EVENT, **fields
    )


def test_doctor__of_a_sound_installation__finds_only_that_tests_log_in_as_superuser(told):
    assert told() == {"login": "logged in as postgres"}


def test_doctor__names_every_check_once(workspace):
    names = [check.name for check in doctor.examine(timezone.now)]

    assert names == [
        "database", "broker", "disk", "migrations", "login",
        "catalogue.roles", "catalogue.memberships", "catalogue.ownership", "catalogue.row_security",
        "catalogue.partitions", "catalogue.readers", "catalogue.views", "catalogue.copies",
        "catalogue.definer_functions", "catalogue.creators", "catalogue.rights", "catalogue.sequences",
        "catalogue.oracles", "catalogue.statistics", "catalogue.replication", "catalogue.session_settings",
        "catalogue.tables", "catalogue.gated_views",
        "clock", "queue", "set_aside", "erasures", "pressure", "breaches", "columnar", "time_zones",
        "opendsr", "opendsr_revoked",
    ]  # fmt: skip


def test_doctor__when_the_clocks_differ__says_by_how_much(workspace):
    checks = doctor.examine(lambda: timezone.now() - timedelta(seconds=10))

    (clock,) = [check for check in checks if check.name == "clock"]
    assert not clock.ok
    assert clock.detail.startswith(("Postgres's clock differs by 9.9", "Postgres's clock differs by 10.0"))


def test_doctor__when_work_waits_too_long__names_the_stage(told, workspace):
    outbox_row(workspace, created_at=timezone.now() - timedelta(minutes=6))
    hand_over(dict.fromkeys(range(450), Cause.EVENT), stage=Stage.SEGMENTS, workspace_id=workspace.pk)

    assert told()["queue"] == "segments: 451 wait, the oldest for 360 s"


def test_doctor__when_work_waits_briefly__is_content(told, workspace):
    outbox_row(workspace)

    assert "queue" not in told()


def test_doctor__when_work_was_set_aside__names_the_error(told, workspace):
    outbox_row(workspace, failed_at=timezone.now(), error="KeyError")

    assert told()["set_aside"] == "segments: 1 set aside (KeyError)"


def test_doctor__when_a_migration_is_missing__names_it(told):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'activation'")

    assert told()["migrations"].startswith("activation.0001_tables")


def test_doctor__when_the_broker_is_away__says_so(told, monkeypatch):
    monkeypatch.setattr(tasks, "broker_answers", lambda: False)

    assert told()["broker"] == "does not answer: work waits for the next sweep"


def test_doctor__when_the_disk_is_full__says_so(told, monkeypatch):
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", 2**60)

    assert "MiB free for" in told()["disk"]


def test_doctor__without_a_database__looks_at_the_rest_and_ends(monkeypatch):
    def refuse(*_: object) -> None:
        raise OperationalError("password=secret")

    monkeypatch.setattr(doctor.connection, "cursor", refuse)

    checks = {check.name: (check.ok, check.detail) for check in doctor.examine(timezone.now)}

    assert checks.keys() == {"database", "broker", "disk"}
    assert checks["database"] == (False, "Postgres does not answer (OperationalError)")


def test_command__as_json__prints_one_object_and_exits_with_1_when_one_is_bad(workspace):
    out = StringIO()

    with pytest.raises(SystemExit) as left:
        call_command("doctor", "--json", stdout=out)

    assert left.value.code == 1
    checks = json.loads(out.getvalue())["checks"]
    assert {tuple(check) for check in checks} == {("name", "ok", "detail")}
    assert [check["name"] for check in checks if not check["ok"]] == ["login"]


def test_command__when_all_is_well__exits_with_0(workspace, monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda _: [doctor.Check("disk", ok=True, detail="1 MiB free")])
    out = StringIO()

    call_command("doctor", stdout=out)

    assert out.getvalue() == "ok  disk: 1 MiB free\n"
