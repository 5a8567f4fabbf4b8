"""What machines ask: alive, ready, how much waits. No answer holds personal data."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import OperationalError

from cdp import tasks
from cdp.api import health
from cdp.models import Cause, OutboxRow, QualityReport, QuarantinedItem, Stage
from cdp.models.outbox import hand_over
from tests.factories import SourceFactory, WorkspaceFactory


def test_live__needs_nothing(client):
    """No database: this test has none."""
    answer = client.get("/health/live")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready__when_both_services_answer__is_ok(client, db):
    answer = client.get("/health/ready")

    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "ok", "services": {"database": True, "broker": True}},
    )


def test_ready__when_the_broker_is_away__is_unavailable(client, db, monkeypatch):
    monkeypatch.setattr(tasks, "broker_answers", lambda: False)

    answer = client.get("/health/ready")

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.json()["details"] == {"database": True, "broker": False}


def test_ready__when_postgres_is_away__is_unavailable(client, monkeypatch):
    def refuse() -> None:
        raise OperationalError("password=secret")

    monkeypatch.setattr(health.connection, "cursor", refuse)

    answer = client.get("/health/ready")

    assert (answer.status_code, answer.json()["details"]["database"]) == (503, False)
    assert "secret" not in answer.content.decode()


@pytest.mark.parametrize(
    "url", ["redis+socket:///nowhere/valkey.sock", "redis://127.0.0.1:1/0", "amqp://127.0.0.1:1//"]
)
def test_broker_answers__of_a_broker_that_is_away__is_false_and_soon(url, monkeypatch):
    monkeypatch.setattr(tasks, "BROKER_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setenv("CELERY_BROKER_WRITE_URL", url)

    assert tasks.broker_answers() is False


def test_metrics__count_what_waits_what_failed_and_what_was_refused(client, workspace, now, as_login):
    for stage, failed_at in ((Stage.SEGMENTS, None), (Stage.SEGMENTS, None), (Stage.IDENTITY, now)):
        OutboxRow.objects.create(
            workspace=workspace, stage=stage, subject_id=1, cause=Cause.EVENT, failed_at=failed_at, error="KeyError"
        )
    hand_over(dict.fromkeys(range(450), Cause.EVENT), stage=Stage.SEGMENTS, workspace_id=workspace.pk)
    for number, place in enumerate((workspace, WorkspaceFactory())):
        source = SourceFactory(workspace=place)
        for day, alerts in (
            (now, [1, 2, 3]),
            (now + timedelta(days=1), [1]),
        ):  # of each source the newest report counts
            QualityReport.objects.create(
                workspace=place, source=source, day=day.date(), created_at=now, rows=1, body={}, alerts=alerts
            )
        QuarantinedItem.objects.create(
            workspace=place, source=source, received_at=now, place="line 1", code="bad",
            message="", raw="ada@example.com", digest=bytes([number]),
        )  # fmt: skip
    as_login("web")

    answer = client.get("/metrics")

    lines = answer.content.decode().splitlines()
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert {line for line in lines if line.startswith("cdp_outbox") and not line.endswith(" 0")} == {
        'cdp_outbox_waiting_subjects{stage="segments"} 452',
        'cdp_outbox_failed_subjects{stage="identity"} 1',
    }
    assert "cdp_ingestion_quarantined_items 2" in lines
    assert "cdp_ingestion_quality_alerts 2" in lines
    assert sum(line.startswith("cdp_ingestion_stored_events ") for line in lines) == 1
    assert sum(line.startswith("cdp_outbox_waiting_subjects{") for line in lines) == len(Stage)
    assert "ada" not in answer.content.decode()


@pytest.mark.parametrize(
    ("token", "sent", "address", "status"),
    [
        ("", {}, "127.0.0.1", 200),
        ("", {}, "::1", 200),
        ("", {}, "192.0.2.7", 403),
        ("", {}, "", 403),
        ("", {"X-Forwarded-For": "192.0.2.7"}, "127.0.0.1", 403),
        ("t0ken", {"Authorization": "Bearer t0ken"}, "192.0.2.7", 200),
        ("t0ken", {"Authorization": "Bearer t0ke"}, "192.0.2.7", 403),
        ("t0ken", {}, "127.0.0.1", 403),
    ],
)
def test_metrics__are_open_to_this_machine_or_to_the_token(token, sent, address, status, client, db, settings):
    settings.METRICS_TOKEN = token

    assert client.get("/metrics", headers=sent, REMOTE_ADDR=address).status_code == status


# -- the description ------------------------------------------------------------------------------------------------


def test_schema__is_openapi_31_and_the_committed_file(client):
    described = client.get("/api/v1/schema")
    as_json = client.get("/api/v1/schema", {"format": "json"}).json()

    assert described.content.decode() == (Path(__file__).parents[2] / "docs" / "openapi.yaml").read_text()
    assert as_json["openapi"] == "3.1.0"


def test_docs__name_every_path_and_load_nothing_from_elsewhere(client):
    paths = client.get("/api/v1/schema", {"format": "json"}).json()["paths"]

    page = client.get("/api/v1/docs").content.decode()

    assert [path for path in paths if path not in page] == []
    assert "<script" not in page
    assert "src=" not in page
    assert "http" not in page.replace("<!doctype html>", "")


def test_schema__describes_the_refusals_of_every_path(client):
    described = client.get("/api/v1/schema", {"format": "json"}).json()

    operations = [operation for item in described["paths"].values() for operation in item.values()]
    assert {"400", "401", "403", "404"} <= set.intersection(*(set(each["responses"]) for each in operations))
    assert json.dumps(described).count("operationId") == len(operations) == 144
