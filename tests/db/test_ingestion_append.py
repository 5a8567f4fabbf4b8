"""Requests that come while Postgres writes go together in the next statement: each is written once, or hears why not."""

import threading
import time
from collections import Counter
from datetime import UTC, datetime

import pytest
from django.db import DatabaseError, connection

from cdp.ingestion import appending
from cdp.models import InboxBatch, OutboxRow
from cdp.models.tenancy import workspace_scope
from tests.factories import SourceFactory

RECEIVED = datetime(2026, 11, 21, 12, tzinfo=UTC)
THREADS, EACH = 8, 25


@pytest.fixture
def source(committed):
    return SourceFactory(workspace=committed, name="shop")


def append(source, body):
    appending.append(workspace_id=source.workspace_id, source_id=source.pk, received_at=RECEIVED, body=body)


def at_once(work):
    """Run `work(number of the thread)` in many threads, each with a connection of its own."""
    together = threading.Barrier(THREADS)

    def run(number):
        together.wait()
        try:
            work(number)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[number]) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def bodies_in_the_inbox(source):
    with workspace_scope(source.workspace_id):
        return Counter(bytes(body) for body in InboxBatch.objects.filter(source=source).values_list("body", flat=True))


def test_append__by_many_at_once__keeps_each_body_once_with_its_work(source, monkeypatch):
    together = []
    execute = appending._execute
    monkeypatch.setattr(appending, "_execute", lambda rows, on: (together.append(len(rows)), execute(rows, on)))

    at_once(lambda number: [append(source, f"{number}-{turn}".encode()) for turn in range(EACH)])

    assert bodies_in_the_inbox(source) == Counter(
        f"{number}-{turn}".encode() for number in range(THREADS) for turn in range(EACH)
    )
    assert OutboxRow.objects.filter(workspace=source.workspace_id, stage="INGESTION").count() == THREADS * EACH
    assert sum(together) == THREADS * EACH
    assert len(together) < THREADS * EACH, "some went together"


def test_append__that_comes_while_another_is_written__waits_a_moment_for_company(source, monkeypatch):
    monkeypatch.setattr(appending, "QUIET_SECONDS", 1.0)
    monkeypatch.setattr(appending, "LONGEST_WAIT_SECONDS", 1.0)
    together, is_writing, goes_on = [], threading.Event(), threading.Event()
    execute = appending._execute

    def execute_slowly(rows, on):
        together.append(sorted(row.body for row in rows))
        is_writing.set()
        goes_on.wait()
        execute(rows, on)

    def come(body):
        append(source, body)
        connection.close()

    monkeypatch.setattr(appending, "_execute", execute_slowly)
    first, second, third = (threading.Thread(target=come, args=[body]) for body in (b"1", b"2", b"3"))

    first.start()
    is_writing.wait()
    second.start()
    while not appending._waiting:
        time.sleep(0.001)
    goes_on.set()
    first.join()
    third.start()
    second.join()
    third.join()

    assert together == [[b"1"], [b"2", b"3"]]
    assert bodies_in_the_inbox(source) == Counter([b"1", b"2", b"3"])


def test_append__that_fails__is_told_to_everybody_who_waited_and_the_next_is_written(source, monkeypatch):
    refused = []

    def fail(number):
        try:
            append(source, b"lost")
        except DatabaseError:
            refused.append(number)

    monkeypatch.setattr(appending, "_APPEND", b"SELECT core.no_such_function($1, $2, $3, $4)")
    at_once(fail)
    monkeypatch.undo()
    append(source, b"kept")

    assert sorted(refused) == list(range(THREADS))
    assert bodies_in_the_inbox(source) == Counter([b"kept"])


def test_append__after_the_connection_died__is_made_on_another(source):
    append(source, b"first")
    connection.connection.pgconn.finish()

    append(source, b"second")

    assert bodies_in_the_inbox(source) == Counter([b"first", b"second"])
