"""Telling the broker: from a thread of its own, and never at the cost of whoever tells."""

import threading
import time

import pytest

from cdp import tasks
from cdp.api import wakeups
from cdp.models import Stage


@pytest.fixture
def told(monkeypatch):
    """What the broker heard; `told.came` is set with each."""

    class Told(list):
        came = threading.Event()

    calls = Told()

    def wake(stage, *, workspace_id):
        calls.append((stage, workspace_id))
        calls.came.set()

    monkeypatch.setattr(tasks, "wake", wake)
    return calls


def test_waker__told_many_times__tells_the_broker_once_for_each_workspace(told, monkeypatch):
    monkeypatch.setattr(wakeups, "SOONEST_AGAIN_SECONDS", 0.2)
    waker = wakeups.Waker()
    waker.tell(Stage.INGESTION, 1)
    assert told.came.wait(5)
    told.clear()
    told.came.clear()

    for _ in range(100):
        waker.tell(Stage.INGESTION, 1)
        waker.tell(Stage.INGESTION, 2)

    deadline = time.monotonic() + 5
    while len(told) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(told) == [(Stage.INGESTION, 1), (Stage.INGESTION, 2)]


def test_waker__whose_broker_is_away__rests_and_lives_on(told, monkeypatch):
    refused = threading.Event()

    def refuse(*_, **__):
        refused.set()
        raise ConnectionRefusedError

    answering = tasks.wake
    monkeypatch.setattr(tasks, "wake", refuse)
    monkeypatch.setattr(wakeups, "SILENT_SECONDS", 0.01)
    waker = wakeups.Waker()
    waker.tell(Stage.INGESTION, 1)
    assert refused.wait(5)

    monkeypatch.setattr(tasks, "wake", answering)
    waker.tell(Stage.INGESTION, 2)

    assert told.came.wait(5)
    assert told == [(Stage.INGESTION, 2)]


@pytest.mark.parametrize(("worked", "rested"), [(0.001, 0.02), (0.045, 0.045), (3.0, 0.06)])
def test_worker__after_a_batch__rests_as_long_as_that_took_within_bounds(monkeypatch, worked, rested):
    rests = []
    monkeypatch.setattr(tasks.time, "sleep", rests.append)

    tasks._rest(worked)

    assert rests == [rested]
