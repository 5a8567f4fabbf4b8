"""Data does not outlive its period: what goes, what stays, what is written down, and who may do it."""

import json
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from io import StringIO

import psycopg
import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import ProgrammingError, connection, transaction

import cdp.celery
from cdp import embedded, tasks
from cdp.kernel.logins import RIGHTS_QUEUE, WEB, WORKER_BY_QUEUE
from cdp.models import Event, QuarantinedItem
from cdp.models.tenancy import workspace_scope
from consent import retention
from consent.models import RetentionEvidence, RetentionPeriod
from consent.schedules import SCHEDULES
from tests.factories import IdentifierFactory, SourceFactory, WorkspaceFactory

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OLD = datetime(2024, 5, 10, tzinfo=UTC)  # past 25 months, in a month of its own
YOUNG = datetime(2026, 11, 1, tzinfo=UTC)


def happen(person, at, count=1):
    with connection.cursor() as cursor:
        cursor.execute("SELECT core.ensure_event_partition(%s)", [at.date()])
    source = SourceFactory(workspace=person.workspace)
    for number in range(count):
        Event.objects.create(
            workspace=person.workspace, source=source, identifier=person, message_id=f"{at:%Y%m%d%H}-{number}", kind="track",
            name="Order", occurred_at=at, received_at=at, seen_with=[], properties={}, context={},
        )  # fmt: skip


def partitions():
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' AND relname ~ '^event_2'")
        return {name for (name,) in cursor.fetchall()}


def rows_of(told):
    return {one.schedule: one.rows for one in told if one.rows}


@pytest.fixture
def person(workspace):
    return IdentifierFactory(workspace=workspace)


@pytest.mark.parametrize("login", ["operator", "rights"])
def test_apply__drops_a_month_that_is_its_own_and_keeps_the_young(person, login, as_login):
    happen(person, OLD, count=3)
    happen(person, YOUNG)
    as_login(login)

    told = retention.apply_schedules(workspace_id=person.workspace_id, now=NOW)

    as_login("none")
    assert rows_of(told) == {"events": 3}
    assert [event.occurred_at for event in Event.objects.all()] == [YOUNG]
    assert partitions() == {"event_2026_11"}
    evidence = RetentionEvidence.objects.get()
    assert (evidence.table, evidence.rows, evidence.partition) == ("event", 3, "event_2024_05")
    assert (evidence.days, evidence.cutoff, evidence.deleted_at) == (760, NOW - timedelta(days=760), NOW)
    assert evidence.reason == "25 months, as for data of audience measurement"


def test_apply__leaves_the_rows_of_another_workspace_in_a_shared_month(person, as_login):
    stranger = WorkspaceFactory()
    with workspace_scope(stranger.pk):
        happen(IdentifierFactory(workspace=stranger), OLD)
    happen(person, OLD, count=2)
    as_login("operator")

    told = retention.apply_schedules(workspace_id=person.workspace_id, now=NOW)

    as_login("none")
    assert rows_of(told) == {"events": 2}
    assert "event_2024_05" in partitions()
    assert RetentionEvidence.objects.get().partition == ""
    with workspace_scope(stranger.pk):
        assert Event.objects.filter(workspace=stranger).count() == 1


def test_apply__again__finds_nothing_and_writes_nothing(person):
    happen(person, OLD)
    retention.apply_schedules(workspace_id=person.workspace_id, now=NOW)

    again = retention.apply_schedules(workspace_id=person.workspace_id, now=NOW)

    assert rows_of(again) == {}
    assert RetentionEvidence.objects.count() == 1


def test_apply__in_batches__has_evidence_for_each(person, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    cutoff_month = (NOW - timedelta(days=760)).replace(day=1)  # of which a part is still young enough
    happen(person, cutoff_month, count=5)

    told = retention.apply_schedules(workspace_id=person.workspace_id, now=NOW)

    assert rows_of(told) == {"events": 5}
    assert [one.rows for one in RetentionEvidence.objects.order_by("pk")] == [2, 2, 1]


def test_due__counts_and_deletes_nothing(person, as_login):
    happen(person, OLD, count=3)
    as_login("operator")

    told = retention.due(workspace_id=person.workspace_id, now=NOW)

    as_login("none")
    assert rows_of(told) == {"events": 3}
    assert Event.objects.count() == 3
    assert not RetentionEvidence.objects.exists()


@pytest.mark.parametrize(("days", "deleted"), [(None, {}), (10_000, {}), (100, {"events": 1})])
def test_apply__with_a_period_of_the_workspace__keeps_to_it(days, deleted, person):
    happen(person, NOW - timedelta(days=200))
    RetentionPeriod.objects.create(workspace=person.workspace, schedule="events", days=days, reason="as we promised")

    told = retention.apply_schedules(workspace_id=person.workspace_id, now=NOW)

    assert rows_of(told) == deleted
    assert {one.reason for one in told if one.schedule == "events"} == {"as we promised"}


@pytest.mark.parametrize(
    ("own", "deleted", "reason"),
    [(None, {"events": 1}, "the retention period of the purpose"),
     (10_000, {"events": 1}, "the retention period of the purpose"),
     (150, {"events": 1}, "as we promised")],
)  # fmt: skip
def test_apply__never_keeps_longer_than_the_purpose_says(own, deleted, reason, person, as_login):
    happen(person, NOW - timedelta(days=200))
    person.workspace.purposepolicy_set.filter(purpose="collection").update(retention_days=180)
    RetentionPeriod.objects.create(workspace=person.workspace, schedule="events", days=own, reason="as we promised")
    as_login("rights")

    told = [retention.due(workspace_id=person.workspace_id, now=NOW)]
    told.append(retention.apply_schedules(workspace_id=person.workspace_id, now=NOW))

    as_login("none")
    assert [rows_of(each) for each in told] == [deleted] * 2
    assert RetentionEvidence.objects.get().reason == reason
    days = {one.schedule: one.days for one in told[0]}
    assert (days["records_gone"], days["scores"], days["ledger"]) == (90, 760, None)


@pytest.mark.parametrize(("purpose", "is_kept"), [("collection", True), ("learning", True), ("analytics", False)])
def test_purpose__for_which_nothing_is_kept__promises_no_period(purpose, is_kept, workspace):
    policy = workspace.purposepolicy_set.get(purpose=purpose)
    policy.retention_days = 180

    with nullcontext() if is_kept else pytest.raises(ValidationError, match="Nothing is kept for this purpose alone"):
        policy.clean()


def test_apply__keeps_what_waits_in_quarantine_longer_than_what_is_settled(workspace):
    source = SourceFactory(workspace=workspace)
    fates = {"settled": {"discarded_at": NOW}, "waiting": {}}
    for number, (place, fate) in enumerate(fates.items()):
        QuarantinedItem.objects.create(
            workspace=workspace, source=source, received_at=NOW - timedelta(days=100), place=place, code="x", message="x",
            raw="x", digest=bytes([number]) * 32, **fate,
        )  # fmt: skip

    told = retention.apply_schedules(workspace_id=workspace.pk, now=NOW)

    assert rows_of(told) == {"quarantine_settled": 1}
    assert [item.place for item in QuarantinedItem.objects.all()] == ["waiting"]


@pytest.mark.parametrize("statement", [
    "SELECT properties FROM event", "SELECT raw FROM quarantine", "SELECT value FROM identifier", "DELETE FROM consent_record",
    "DELETE FROM retention_evidence", "UPDATE event SET name = 'x'",
])  # fmt: skip
def test_role__reads_nothing_of_people_and_no_ledger_goes(statement, workspace, as_login):
    as_login("retention")

    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


@pytest.mark.parametrize("login", [WEB, *WORKER_BY_QUEUE.values()])
def test_login__that_takes_up_the_duty__is_refused_and_deletes_nothing_without(login, person, as_login):
    happen(person, OLD)
    own = embedded.default_stack().database_url(login, connection.settings_dict["NAME"])

    with psycopg.connect(own) as connected, pytest.raises(psycopg.errors.InsufficientPrivilege, match="retention"):
        connected.execute("SELECT set_config('role', 'retention', true)")
    as_login(login)
    for statement in ("DELETE FROM core.event", "SELECT core.drop_event_partition('2024-05-01')"):
        with (
            pytest.raises(ProgrammingError, match="permission denied"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)

    as_login("none")
    assert Event.objects.count() == 1


def test_function__whatever_is_asked__never_drops_a_young_month(person, as_login):
    happen(person, YOUNG)
    as_login("retention")

    with connection.cursor() as cursor:
        cursor.execute("SELECT core.drop_event_partition('2026-11-01')")
        assert cursor.fetchone() == (None,)
    as_login("none")
    assert Event.objects.count() == 1


@pytest.mark.parametrize("schedule", [one for one in SCHEDULES.values() if one.days], ids=lambda one: one.key)
def test_schedule__names_a_table_and_columns_that_exist(schedule, workspace, as_login):
    as_login("retention")

    assert retention.due(workspace_id=workspace.pk, now=NOW)[list(SCHEDULES).index(schedule.key)].rows == 0


def test_command__dry__tells_each_schedule_and_deletes_nothing(person, as_login):
    happen(person, datetime(2020, 1, 1, tzinfo=UTC))
    as_login("operator")
    out = StringIO()

    call_command("retention", "--dry-run", "--workspace", person.workspace.slug, "--json", stdout=out)

    as_login("none")
    told = json.loads(out.getvalue())
    assert told["dry_run"] is True
    assert [one["schedule"] for one in told["schedules"]] == list(SCHEDULES)
    assert {one["schedule"]: one["rows"] for one in told["schedules"] if one["rows"]} == {"events": 1}
    assert Event.objects.count() == 1


def test_task__each_night__deletes_in_every_open_workspace(person):
    happen(person, datetime(2020, 1, 1, tzinfo=UTC))

    tasks.retain()

    assert not Event.objects.exists()
    entry = cdp.celery.app.conf.beat_schedule["retain"]
    assert (entry["task"], entry["options"]["queue"]) == (tasks.retain.name, RIGHTS_QUEUE)


def test_apply__while_the_month_is_in_use__deletes_its_rows_instead(person):
    happen(person, OLD, count=2)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION core.drop_event_partition(month date) RETURNS bigint LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'lock_not_available'; END $$"
        )

    told = retention.apply_schedules(workspace_id=person.workspace_id, now=NOW)

    assert rows_of(told) == {"events": 2}
    assert [(one.rows, one.partition) for one in RetentionEvidence.objects.all()] == [(2, "")]
    assert "event_2024_05" in partitions()
