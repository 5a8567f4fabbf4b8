"""Keep the copy: append what was stored since, rewrite what went stale, gather small files, sweep what was left.

Ids are given before rows are committed, so an id alone says nothing of those below it. Whoever stores events holds the
turn that storing shares (see `consent.gate`). The horizon is the newest id that can be seen; once everybody who held the
turn at that moment has ended, no event up to it can come any more, and all of them are copied.

Each step is one transaction under a lock of its own: files are durable before the manifest names them, and what it does
not name is swept. So whoever is killed leaves garbage at most, nothing is left out, and nothing is there twice.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import structlog
from django.db import connection

from cdp.kernel.purposes import Purpose
from consent import gate
from segments.columnar import rewriting
from segments.columnar.files import COLUMNS, EVENTS, files_of, of_database, runs_of
from segments.columnar.reading import columns_of
from segments.models import ColumnarCopy, ColumnarFile

log = structlog.get_logger()

FIRST_AT_ONCE: Final = 10_000
MOST_AT_ONCE: Final = 200_000
"""Events that are read and written in one transaction, and are in memory: the more, the smaller they are."""
BYTES_AT_ONCE: Final = 64 * 2**20
HORIZON_SECONDS: Final = 5.0
LOOK_AGAIN_SECONDS: Final = 0.05
KEPT: Final = timedelta(hours=1)
"""How long a file stays when others took its place: longer than anybody computes."""

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Copied:
    """What one call did. `is_behind`: somebody is still storing, or the time was up."""

    events: int
    rewritten: int
    files: int
    copied_to: int
    is_behind: bool


def copy_events(*, workspace_id: int, clock: Clock, seconds: float) -> Copied:
    """Bring the copy up to date, for so many seconds at most. May run twice, at once, and be killed in between."""
    until = time.monotonic() + seconds
    horizon = _await_horizon(workspace_id, until)
    events = sum(_appended(workspace_id, horizon, clock, until))
    with _turn(workspace_id) as copy:
        rewritten = rewriting.settle(workspace_id, copy.copied_to, now=clock()) if copy else 0
        gathered = rewriting.gather(workspace_id, now=clock()) if copy else 0
        _sweep(workspace_id, clock()) if copy else None
        files = ColumnarFile.objects.filter(retired_at=None).count()
        reached = ColumnarCopy.objects.get(pk=workspace_id)
    log.info("columnar.copied", workspace=workspace_id, events=events, rewritten=rewritten, gathered=gathered)
    return Copied(events, rewritten, files, reached.copied_to, reached.copied_to < reached.horizon)


# -- the horizon ----------------------------------------------------------------------------------------------------

_NEWEST = "SELECT COALESCE(max(id), 0) FROM core.event WHERE id > %s"
_WHO_STORES = """
SELECT virtualtransaction FROM pg_locks JOIN pg_database d ON d.oid = database AND d.datname = current_database()
WHERE locktype = 'advisory' AND classid = 4712 AND objid = %s AND objsubid = 2 AND granted AND pid <> pg_backend_pid()
"""


def _await_horizon(workspace_id: int, until: float) -> int:
    """Where the copy may go; where it has been if somebody who may store below has not ended."""
    until = min(until, time.monotonic() + HORIZON_SECONDS)
    while True:
        with gate.permit(Purpose.COLLECTION, workspace_id=workspace_id):
            copy = _planned(workspace_id)
            if not set(copy.waits_for) & set(_who_stores(workspace_id)):
                return copy.horizon
        if time.monotonic() > until:
            return copy.copied_to
        time.sleep(LOOK_AGAIN_SECONDS)


def _planned(workspace_id: int) -> ColumnarCopy:
    """With a horizon that is still ahead of the copy, or else with the one of this moment."""
    copy, _ = ColumnarCopy.objects.get_or_create(workspace_id=workspace_id)
    _begin_anew_if_lost(copy)
    if copy.horizon <= copy.copied_to:
        copy.horizon = max(_newest(copy.copied_to), copy.copied_to)
        copy.waits_for = _who_stores(workspace_id)
        copy.save(update_fields=["horizon", "waits_for"])
    return copy


def _begin_anew_if_lost(copy: ColumnarCopy) -> None:
    """A database that was restored, or a disk that was lost: what the manifest names must be there."""
    named = set(ColumnarFile.objects.filter(retired_at=None).values_list("name", flat=True))
    if named - {file.name for file in files_of(copy.workspace_id).iterdir()}:
        log.warning("columnar.lost", workspace=copy.workspace_id)
        ColumnarFile.objects.all().delete()
        copy.copied_to, copy.horizon, copy.waits_for = 0, 0, []
        copy.save(update_fields=["copied_to", "horizon", "waits_for"])


def _newest(after: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST, [after])
        return int(cursor.fetchone()[0])


def _who_stores(workspace_id: int) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(_WHO_STORES, [workspace_id])
        return sorted(transaction for (transaction,) in cursor.fetchall())


# -- appending ------------------------------------------------------------------------------------------------------

_WINDOW = f"""
SELECT {COLUMNS} FROM core.event e WHERE e.id > %(after)s AND e.id <= %(horizon)s ORDER BY e.id LIMIT %(most)s
"""  # noqa: S608  # our own names
_TAKE_TURN = "SELECT pg_try_advisory_xact_lock(4713, %s)"


def _appended(workspace_id: int, horizon: int, clock: Clock, until: float) -> Iterator[int]:
    most = FIRST_AT_ONCE
    while time.monotonic() < until:
        with _turn(workspace_id) as copy:
            if copy is None or copy.copied_to >= horizon:
                return
            window = columns_of(_WINDOW, {"after": copy.copied_to, "horizon": horizon, "most": most}, EVENTS)
            _append(copy, window, horizon if window.num_rows < most else window["id"][-1].as_py(), clock())
        yield window.num_rows
        most = min(MOST_AT_ONCE, 1 + BYTES_AT_ONCE * max(window.num_rows, 1) // max(window.nbytes, 1))


def _append(copy: ColumnarCopy, window: pa.Table, reached: int, now: datetime) -> None:
    for part in _by_month(window):
        rewriting.add(copy.workspace_id, part, now=now)
    copy.copied_to, copy.copied_at = reached, now
    copy.save(update_fields=["copied_to", "copied_at"])


def _by_month(events: pa.Table) -> Iterator[pa.Table]:
    for month in sorted(pc.unique(events["month"]).to_pylist()):
        yield events.filter(pc.equal(events["month"], month)).sort_by([("name", "ascending"), ("micros", "ascending")])


@contextmanager
def _turn(workspace_id: int) -> Iterator[ColumnarCopy | None]:
    """A transaction in which nobody else copies, and no event changes or goes. None while somebody does one of these."""
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace_id), connection.cursor() as cursor:
        cursor.execute(_TAKE_TURN, [workspace_id])
        yield ColumnarCopy.objects.get(pk=workspace_id) if cursor.fetchone()[0] else None


# -- what was left --------------------------------------------------------------------------------------------------


def _sweep(workspace_id: int, now: datetime) -> None:
    """Files that no line names, and those whose last reader is done. In the turn of the copy: nobody is writing."""
    ColumnarFile.objects.filter(retired_at__lt=now - KEPT).delete()
    named = set(ColumnarFile.objects.values_list("name", flat=True))
    for file in files_of(workspace_id).iterdir():
        if file.name not in named:
            file.unlink(missing_ok=True)
    for run in runs_of(workspace_id).iterdir():
        if run.stat().st_mtime < (now - KEPT).timestamp():
            shutil.rmtree(run, ignore_errors=True)


def forget_closed(*, open_workspaces: Iterable[int]) -> None:
    """What is left of workspaces that are no more."""
    names = {str(workspace_id) for workspace_id in open_workspaces}
    if of_database().exists():
        for directory in of_database().iterdir():
            if directory.name not in names:
                shutil.rmtree(directory, ignore_errors=True)
