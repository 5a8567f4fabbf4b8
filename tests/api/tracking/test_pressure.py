"""While too much waits, new data is sent back before anything of it is written, and taken again once there is room."""

from datetime import timedelta

import psycopg
import pytest
from django.db import DatabaseError, connection
from django.db.models.functions import Now
from django.utils import timezone
from structlog.testing import CapturedCall, CapturingLogger

from cdp import embedded
from cdp.ingestion import backpressure
from cdp.ingestion.backpressure import OverloadedError, Reading, pressing, readings, refuse_while_pressed
from cdp.management import doctor
from cdp.models import Cause, InboxBatch, OutboxRow, Stage
from tests.api.tracking.conftest import GOOD, ORIGIN, basic, post


@pytest.fixture
def measured(monkeypatch):
    """What each limit is used up to, by name; measured anew at each question."""
    used = {}
    monkeypatch.setattr(
        backpressure, "readings", lambda _: [Reading(name, part, f"{name}!") for name, part in used.items()]
    )
    monkeypatch.setattr(backpressure, "FRESH_SECONDS", 0)
    return used


def is_refused():
    try:
        refuse_while_pressed(timezone.now())
    except OverloadedError:
        return True
    return False


def waiting_since(workspace, age, stage=Stage.INGESTION, **more):
    return OutboxRow.objects.create(
        workspace=workspace, stage=stage, subject_id=1, cause=Cause.EVENT, created_at=Now() - age, **more
    )


def reading(name):
    return {reading.name: reading for reading in readings(timezone.now())}[name]


def test_call__while_the_oldest_waits_too_long__is_503_and_keeps_nothing(client, workspace, write_key):
    waiting_since(workspace, timedelta(hours=2))

    answer = post(client, "/v1/batch", {"batch": [GOOD, {}]}, {**basic(write_key), "Origin": ORIGIN})

    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "overloaded", "30")
    assert set(answer.json()) == {"code", "message"}
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert not InboxBatch.objects.exists()
    assert OutboxRow.objects.count() == 1


def test_call__once_there_is_room__is_taken_again(client, workspace, write_key, monkeypatch):
    monkeypatch.setattr(backpressure, "FRESH_SECONDS", 0)
    late = waiting_since(workspace, timedelta(hours=2))
    assert post(client, "/v1/batch", {"batch": [GOOD]}, basic(write_key)).status_code == 503

    late.delete()

    assert post(client, "/v1/batch", {"batch": [GOOD]}, basic(write_key)).status_code == 200


def test_pixel__while_too_much_waits__is_an_image_with_503(client, write_key, measured):
    measured["waiting"] = 1.0

    answer = client.get(f"/pixel/v1/track?writeKey={write_key}&userId=1&event=e")

    assert (answer.status_code, answer.headers["Content-Type"], answer.headers["Retry-After"]) == (
        503,
        "image/gif",
        "30",
    )


@pytest.mark.parametrize(
    ("stage", "more"), [(Stage.IDENTITY, {}), (Stage.SEGMENTS, {}), (Stage.INGESTION, {"failed_at": Now()})]
)
def test_work__of_other_stages_or_set_aside__refuses_nobody(stage, more, workspace):
    waiting_since(workspace, timedelta(hours=2), stage, **more)

    assert reading("waiting").used == 0
    assert not is_refused()


def test_reading__of_what_waits__is_the_age_of_the_oldest(workspace):
    waiting_since(workspace, timedelta(minutes=30))
    waiting_since(workspace, timedelta(minutes=1))

    assert reading("waiting").used == pytest.approx(0.5, abs=0.01)
    assert reading("waiting").text == "the oldest batch waits for 1800 of 3600 s"


@pytest.mark.parametrize("login", ["web", "operator"])
def test_readings__are_there_for_those_who_ask(login, workspace, as_login, settings):
    settings.MOST_DATABASE_BYTES = 2**40
    as_login(login)

    assert {reading.name for reading in readings(timezone.now())} == {"waiting", "inbox", "database"}


@pytest.fixture
def committed_batches(db):
    """500 batches that another connection has committed: statistics know of no others."""
    workspace = """
        WITH w AS (
            INSERT INTO core.workspace (slug, name, default_region, time_zone, created_at)
            VALUES ('committed', '', 'FR', 'UTC', now()) RETURNING id
        ), s AS (
            INSERT INTO core.source (
                workspace_id, name, kind, default_region, trust, has_unique_people, is_enabled, created_at
            ) SELECT id, 's', 'HTTP', '', 50, false, true, now() FROM w RETURNING id, workspace_id
        ) SELECT workspace_id, id FROM s
    """
    batches = "INSERT INTO core.inbox (workspace_id, source_id, received_at, body) SELECT %s, %s, now(), '' FROM generate_series(1, 500)"
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None}, autocommit=True) as other:
        owner = other.execute(workspace).fetchone()
        other.execute(batches, owner)
        other.execute("SELECT pg_stat_force_next_flush()")
        yield
        other.execute("DELETE FROM core.inbox WHERE workspace_id = %s", owner[:1])
        other.execute("DELETE FROM core.source WHERE workspace_id = %s", owner[:1])
        other.execute("DELETE FROM core.workspace WHERE id = %s", owner[:1])


def test_reading__of_the_inbox__counts_the_batches_of_all_workspaces(committed_batches, as_login):
    as_login("web")

    assert reading("inbox").text == "500 of 2000000 batches wait"


def test_reading__of_the_database__is_there_where_its_size_is_limited(workspace, settings):
    assert "database" not in {reading.name for reading in readings(timezone.now())}

    settings.MOST_DATABASE_BYTES = 2**20

    assert reading("database").used > 1


def test_reading__of_the_disk__is_there_for_the_embedded_postgres(workspace, monkeypatch, settings):
    monkeypatch.setenv(embedded.EMBEDDED_MARK, "1")
    assert 0 < reading("disk").used < 1

    settings.LEAST_FREE_BYTES = 2**60

    assert reading("disk").used > 1
    assert "MiB are free" in reading("disk").text


def test_database__that_is_away__leaves_the_word_to_the_append(monkeypatch):
    def fail(_):
        raise DatabaseError

    monkeypatch.setattr(backpressure, "_of_database", fail)

    assert readings(timezone.now()) == []
    assert not is_refused()


def test_pressure__once_begun__ends_only_clearly_below_its_limit(measured):
    seen = []
    for used in (0.9, 1.0, 0.9, 0.8, 0.79, 0.9):
        measured["waiting"] = used
        seen.append(is_refused())

    assert seen == [False, True, True, True, False, False]


def test_pressing__is_told_apart_by_limit():
    found = [Reading("a", 0.9, ""), Reading("b", 0.9, ""), Reading("c", 1.1, "")]

    assert [reading.name for reading in pressing(found, {"a"})] == ["a", "c"]


def test_change__is_logged_once(measured, monkeypatch):
    log = CapturingLogger()
    monkeypatch.setattr(backpressure, "log", log)

    for used in (1.2, 1.3, 0.1, 0.1):
        measured["disk"] = used
        is_refused()

    assert log.calls == [
        CapturedCall("error", ("ingestion.pressed",), {"limit": "disk", "reading": "disk!"}),
        CapturedCall("info", ("ingestion.relieved",), {"limit": "disk"}),
    ]


def test_measuring__happens_at_most_once_a_second(monkeypatch):
    times = []
    monkeypatch.setattr(backpressure, "readings", lambda _: times.append(1) or [])

    for _ in range(100):
        refuse_while_pressed(timezone.now())

    assert len(times) == 1


def test_measuring__by_another_thread__is_not_waited_for(measured):
    measured["disk"] = 2.0
    with backpressure._state.lock:
        assert not is_refused()

    assert is_refused()


def test_file__waits_for_room_and_says_once_why(measured):
    measured["disk"] = 2.0
    told, slept = [], []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            measured["disk"] = 0.1

    backpressure.wait_while_pressed(timezone.now, told.append, sleep=sleep)

    assert (told, len(slept)) == (["disk!"], 3)


def test_doctor_and_metrics__show_what_each_limit_stands_at(client, workspace):
    waiting_since(workspace, timedelta(hours=2))

    check = doctor._pressure(timezone.now())

    assert (check.name, check.ok) == ("pressure", False)
    assert check.detail.startswith("the oldest batch waits for 7200 of 3600 s; ")
    assert 'cdp_ingestion_used_ratio{limit="waiting"} 2.0' in client.get("/metrics").text
