"""Is this installation well? Every check says what it saw, so that a bad one says what to mend."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from cdp import tasks
from cdp.ingestion import backpressure
from cdp.kernel.errors import TesseraError
from cdp.kernel.logins import OWNER
from cdp.models import Workspace
from cdp.models.tenancy import workspace_scope
from consent import breaches, catalogue, erasure, erasure_ledger
from consent.catalogue import Check
from consent.opendsr import processor, revocation
from segments import clocks
from segments.columnar import state as columnar

LARGEST_CLOCK_DIFFERENCE: Final = timedelta(seconds=2)
LONGEST_WAIT: Final = timedelta(minutes=5)
MOST_NOT_COPIED: Final = 1_000_000  # a few seconds of copying
LEAST_FREE_BYTES: Final = 500 * 2**20


def examine(now: Callable[[], datetime]) -> list[Check]:
    """All checks. Without a database there is nothing more to look at than that."""
    database = _database()
    checks = [database, _broker(), _disk(settings.DATA_DIR)]
    return [*checks, *_of_database(now)] if database.ok else checks


def _of_database(now: Callable[[], datetime]) -> Iterator[Check]:
    yield _migrations()
    yield _login()
    yield from (Check(f"catalogue.{check.name}", check.ok, check.detail) for check in catalogue.inspect())
    yield _clock(now)
    yield _waiting(now())
    yield _set_aside()
    yield _erasures()
    yield _pressure(now())
    yield _breaches(now())
    yield _columnar()
    yield _time_zones(now())
    yield Check("opendsr", *processor.state(now()))
    yield Check("opendsr_revoked", *revocation.state(settings.OPENDSR_REVOKED, now()))


def _columnar() -> Check:
    """Is the copy of the events near the log, and does it hold as many?"""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM workspace WHERE closed_at IS NULL ORDER BY id")
        workspaces = [pk for (pk,) in cursor.fetchall()]
    states = {pk: found for pk in workspaces if (found := columnar.state_of(workspace_id=pk))}
    bad = [f"workspace {pk} has {one.copied} of {one.expected}" for pk, one in states.items() if not one.is_whole]
    waiting = sum(one.waiting for one in states.values())
    stale = sum(one.stale for one in states.values())
    said = f"{sum(one.copied for one in states.values())} events copied, {waiting} wait, {stale} stale"
    return Check("columnar", not bad and waiting <= MOST_NOT_COPIED, _listed(bad) or said)


def _time_zones(now: datetime) -> Check:
    """Never bad: somebody may have the newer edition before the other one comes."""
    differing = [f"{name} from {since:%Y-%m-%d}" for name, since in clocks.disagreements(now).items()]
    warning = f"Python and Postgres differ about {_listed(differing)}: update the time zones of both together"
    return Check("time_zones", ok=True, detail=warning if differing else "Python and Postgres show the same time")


def _database() -> Check:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT version()")
            (version,) = cursor.fetchone()
    except DatabaseError as error:
        return Check("database", ok=False, detail=f"Postgres does not answer ({type(error).__name__})")
    return Check("database", ok=True, detail=" ".join(version.split()[:2]))


def _broker() -> Check:
    answers = tasks.broker_answers()
    return Check("broker", answers, "answers" if answers else "does not answer: work waits for the next sweep")


def _disk(directory: Path) -> Check:
    free = shutil.disk_usage(_existing(directory)).free
    return Check("disk", free >= LEAST_FREE_BYTES, f"{free // 2**20} MiB free for {directory}")


def _existing(directory: Path) -> Path:
    return next(place for place in (directory, *directory.absolute().parents) if place.exists())


def _migrations() -> Check:
    executor = MigrationExecutor(connection)
    missing = [str(step) for step, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]
    return Check("migrations", not missing, _listed(missing) or "all applied")


def _erasures() -> Check:
    """Is whoever was erased still so, and would the next one be erased everywhere?"""
    if forgotten := erasure.tables_without_a_rule():
        return Check("erasures", ok=False, detail=f"no rule of erasure for {_listed(forgotten)}")
    try:
        erasure_ledger.refuse_if_behind()
    except TesseraError as error:
        return Check("erasures", ok=False, detail=error.message)
    return Check("erasures", ok=True, detail=f"the database follows the ledger up to line {erasure_ledger.followed()}")


def _login() -> Check:
    """Above the wall no check means anything: neither this process nor any other of Tessera logs in there."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user")
        login, is_above = cursor.fetchone()
    return Check("login", not is_above and login != OWNER, f"logged in as {login}")


def _clock(now: Callable[[], datetime]) -> Check:
    before = now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (there,) = cursor.fetchone()
    here = before + (now() - before) / 2
    difference = abs(there - here)
    detail = f"Postgres's clock differs by {difference.total_seconds():.3f} s"
    return Check("clock", difference <= LARGEST_CLOCK_DIFFERENCE, detail)


_OLDEST = """
SELECT stage, sum(COALESCE(cardinality(subjects), 1)), min(created_at)
FROM outbox WHERE failed_at IS NULL GROUP BY stage ORDER BY stage
"""
_SET_ASIDE = "SELECT stage, count(*), min(error) FROM outbox WHERE failed_at IS NOT NULL GROUP BY stage ORDER BY stage"


def _waiting(now: datetime) -> Check:
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST)
        rows = cursor.fetchall()
    late = any(now - since > LONGEST_WAIT for _, _, since in rows)
    told = [f"{stage.lower()}: {count} wait, the oldest for {_seconds(now - since)} s" for stage, count, since in rows]
    return Check("queue", not late, _listed(told) or "nothing waits")


def _set_aside() -> Check:
    with connection.cursor() as cursor:
        cursor.execute(_SET_ASIDE)
        told = [f"{stage.lower()}: {count} set aside ({error})" for stage, count, error in cursor.fetchall()]
    return Check("set_aside", not told, _listed(told) or "nothing was set aside")


def _pressure(now: datetime) -> Check:
    """What is too much, and then also what is not: new data is sent back while one limit is reached."""
    readings = backpressure.readings(now)
    return Check(
        "pressure", all(reading.used < 1 for reading in readings), _listed(reading.text for reading in readings)
    )


def _breaches(now: datetime) -> Check:
    """While there is time: the authority must be told within 72 hours."""
    told = []
    for workspace in Workspace.objects.filter(closed_at=None):
        with workspace_scope(workspace.pk):
            told += [
                f"{workspace}: breach {each.pk} until {each.due_at:%Y-%m-%d %H:%M} UTC"
                for each in breaches.open_clocks(now=now)
            ]
    return Check("breaches", not told, _listed(told) or "no 72 hours end soon")


def _seconds(wait: timedelta) -> int:
    return max(0, int(wait.total_seconds()))


def _listed(parts: Iterable[str]) -> str:
    return "; ".join(parts)
