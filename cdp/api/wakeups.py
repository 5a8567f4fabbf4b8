"""Workers hear of new work when it is committed. A broker that is away fails no request: the sweep finds the work."""

import threading
import time
from typing import Final

import structlog
from django.db import DEFAULT_DB_ALIAS, connections, transaction

from cdp import tasks
from cdp.models import Stage

log = structlog.get_logger()

SOONEST_AGAIN_SECONDS: Final = 0.1  # of one process: thousands of requests in a second are one piece of work
SILENT_SECONDS: Final = 5.0  # after a broker did not answer


def wake_on_commit(stage: Stage, *, workspace_id: int) -> None:
    connection = connections[DEFAULT_DB_ALIAS]  # looked up once: it takes longer than all that follows
    if connection.in_atomic_block:
        connection.on_commit(lambda: WAKER.tell(stage, workspace_id), robust=True)
    else:
        WAKER.tell(stage, workspace_id)


def wake_quarantine_on_commit(*, workspace_id: int) -> None:
    transaction.on_commit(lambda: tasks.wake_quarantine(workspace_id=workspace_id), robust=True)


def wake_versions_on_commit(*, workspace_id: int) -> None:
    transaction.on_commit(lambda: tasks.wake_versions(workspace_id=workspace_id), robust=True)


def wake_uploads_on_commit() -> None:
    transaction.on_commit(tasks.wake_uploads, robust=True)


class Waker:
    """Tells the broker from a thread of its own, so that no request waits for it, and each workspace once at a time."""

    def __init__(self) -> None:
        self._waiting: set[tuple[Stage, int]] = set()
        self._came = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def tell(self, stage: Stage, workspace_id: int) -> None:
        what = (stage, workspace_id)
        if what in self._waiting and self._lives():  # it will be told, and that later than now
            return
        with self._lock:
            self._waiting.add(what)
            if not self._lives():
                self._thread = threading.Thread(target=self._run, name="waker", daemon=True)
                self._thread.start()
        self._came.set()

    def _lives(self) -> bool:
        """A fork of a process leaves its threads behind."""
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        while self._came.wait():
            self._came.clear()
            time.sleep(self._send())

    def _send(self) -> float:
        """Returns how long to rest."""
        with self._lock:
            waiting, self._waiting = self._waiting, set()
        try:
            for stage, workspace_id in waiting:
                tasks.wake(stage, workspace_id=workspace_id)
        except Exception as error:  # noqa: BLE001  # each broker has its own errors; the work lies in the outbox
            log.warning("broker.unreachable", error=type(error).__name__)
            return SILENT_SECONDS
        return SOONEST_AGAIN_SECONDS


WAKER: Final = Waker()
