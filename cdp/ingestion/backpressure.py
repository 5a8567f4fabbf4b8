"""Too much waits, or the disk is nearly full: then new data is sent back before anything of it is written.

What was acknowledged must never be lost, so nothing is acknowledged that may find no room. Senders keep what they could
not send and come again. Each process measures for itself, at most once a second and only while somebody asks.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from cdp.embedded import EMBEDDED_MARK, default_stack
from cdp.kernel.errors import TesseraError

log = structlog.get_logger()

FRESH_SECONDS: Final = 1.0
ENOUGH: Final = 0.8  # below this part of a limit it is over: a sender that just came back is not sent away again
RETRY_SECONDS: Final = 30  # what senders are told; SDKs wait no longer than 300


class OverloadedError(TesseraError):
    """No new data is taken just now, because too much waits already: send it again later."""

    code = "overloaded"


@dataclass(frozen=True, slots=True)
class Reading:
    """`used` is the part of the limit that is used up; from 1 on it is too much."""

    name: str
    used: float
    text: str


@dataclass
class _State:
    measured_at: float = -FRESH_SECONDS
    pressing: tuple[Reading, ...] = ()
    lock: threading.Lock = field(default_factory=threading.Lock)


_state = _State()


def refuse_while_pressed(now: datetime) -> None:
    """Raises `OverloadedError` while there is no room for new data."""
    if time.monotonic() - _state.measured_at >= FRESH_SECONDS:
        _measure_again(now)
    if _state.pressing:
        raise OverloadedError(retry_after=RETRY_SECONDS)


def wait_while_pressed(
    clock: Callable[[], datetime], tell: Callable[[str], None], *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """For work that can wait, such as a file. `tell` hears once why."""
    is_told = False
    while True:
        try:
            refuse_while_pressed(clock())
        except OverloadedError:
            if not is_told:
                tell("; ".join(reading.text for reading in _state.pressing))
            is_told = True
            sleep(FRESH_SECONDS)
        else:
            return


def readings(now: datetime) -> list[Reading]:
    """What each limit stands at now. A Postgres that is away has no say: what is appended to it fails by itself."""
    try:
        return [*_of_disk(), *_of_database(now)]
    except DatabaseError:
        return [*_of_disk()]


def _measure_again(now: datetime) -> None:
    """One thread measures; the others go by the last result."""
    if not _state.lock.acquire(blocking=False):
        return
    try:
        before = {reading.name for reading in _state.pressing}
        _state.pressing = tuple(pressing(readings(now), before))
        _tell_change(before)
    finally:
        _state.measured_at = time.monotonic()
        _state.lock.release()


def pressing(found: Iterable[Reading], before: Iterable[str]) -> Iterator[Reading]:
    """Those that are too much: above the limit, or since then not yet clearly below it."""
    return (reading for reading in found if reading.used >= (ENOUGH if reading.name in before else 1))


def _tell_change(before: Iterable[str]) -> None:
    now = {reading.name: reading.text for reading in _state.pressing}
    for name in now.keys() - before:
        log.error("ingestion.pressed", limit=name, reading=now[name])
    for name in set(before) - now.keys():
        log.info("ingestion.relieved", limit=name)


# -- what is measured -----------------------------------------------------------------------------------------------

# The oldest by the index of what waits, for each workspace. Batches from the statistics: counting would read them all.
_MEASURE = """
SELECT min(oldest.created_at), pg_stat_get_live_tuples('core.inbox'::regclass),
       CASE WHEN %s > 0 THEN pg_database_size(current_database()) END
FROM workspace CROSS JOIN LATERAL (
    SELECT created_at FROM outbox
    WHERE stage = 'INGESTION' AND workspace_id = workspace.id AND failed_at IS NULL ORDER BY id LIMIT 1
) AS oldest
"""


def _of_database(now: datetime) -> Iterator[Reading]:
    most_bytes = settings.MOST_DATABASE_BYTES
    with connection.cursor() as cursor:
        cursor.execute(_MEASURE, [most_bytes])
        oldest, batches, size = cursor.fetchone()
    seconds = max((now - oldest).total_seconds(), 0) if oldest else 0
    yield _reading("waiting", seconds, settings.MOST_WAITING_SECONDS, "the oldest batch waits for {:.0f} of {} s")
    yield _reading("inbox", batches, settings.MOST_WAITING_BATCHES, "{} of {} batches wait")
    if size is not None:
        yield Reading("database", size / most_bytes, f"the database has {size >> 20} of {most_bytes >> 20} MiB")


def _of_disk() -> Iterator[Reading]:
    """Of the embedded Postgres: where another one keeps its files cannot be seen from here."""
    if EMBEDDED_MARK not in os.environ:
        return
    least = settings.LEAST_FREE_BYTES
    with suppress(OSError):  # a disk that cannot be looked at says nothing
        free = min(shutil.disk_usage(_existing(place)).free for place in (settings.DATA_DIR, default_stack().state))
        yield Reading("disk", least / max(free, 1), f"{free >> 20} MiB are free, {least >> 20} are needed")


def _existing(directory: Path) -> Path:
    return next(place for place in (directory, *directory.absolute().parents) if place.exists())


def _reading(name: str, value: float, limit: int, text: str) -> Reading:
    return Reading(name, value / limit, text.format(value, limit))
