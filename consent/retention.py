"""Data does not outlive its period: what is due is told, and deleted under the role `retention`.

The role reads ids and times and nothing else of people. Months of events that belong to one workspace alone are dropped
as partitions; everything else goes in batches. Each deletion and its evidence are one transaction, so a run may be
killed and begun again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from django.db import OperationalError, connection

from cdp.kernel.logins import RETENTION
from cdp.models.tenancy import workspace_scope
from consent.models import PurposePolicy
from consent.register_models import RetentionEvidence, RetentionPeriod
from consent.schedules import OF_THE_PURPOSE, SCHEDULES, Schedule

BATCH: Final = 10_000
MOST_BATCHES: Final = 1_000  # of one schedule in one night; the next night goes on
LOCK_NOT_AVAILABLE: Final = "55P03"


@dataclass(frozen=True, slots=True)
class Period:
    """A schedule as a workspace has it."""

    schedule: Schedule
    days: int | None
    reason: str

    def cutoff(self, now: datetime) -> datetime | None:
        return None if self.days is None else now - timedelta(days=self.days)


@dataclass(frozen=True, slots=True)
class Told:
    """Of one schedule: how many rows are due, or were deleted. Without a cutoff they are kept."""

    schedule: str
    table: str
    purpose: str
    days: int | None
    cutoff: datetime | None
    rows: int
    reason: str


def periods(*, workspace_id: int) -> list[Period]:
    """All schedules with the days and reasons of the workspace, but none longer than its purpose says. In its scope."""
    own = {each.schedule: each for each in RetentionPeriod.objects.filter(workspace_id=workspace_id)}
    promised = PurposePolicy.objects.filter(workspace_id=workspace_id, retention_days__isnull=False)
    days = dict(promised.values_list("purpose", "retention_days"))
    return [
        _within(
            Period(schedule, own[key].days, own[key].reason)
            if key in own
            else Period(schedule, schedule.days, str(schedule.reason)),
            days.get(schedule.purpose),
        )
        for key, schedule in SCHEDULES.items()
    ]


def _within(period: Period, days: int | None) -> Period:
    """Receipts tell people the period of the purpose: nothing that a schedule deletes may stay longer."""
    if not period.schedule.column or days is None or (period.days is not None and period.days <= days):
        return period
    return Period(period.schedule, days, str(OF_THE_PURPOSE))


def due(*, workspace_id: int, now: datetime) -> list[Told]:
    """What `apply_schedules` would delete now. Nothing is."""
    with _as_retention(workspace_id):
        return [_told(period, now, _count(period, now)) for period in periods(workspace_id=workspace_id)]


def apply_schedules(*, workspace_id: int, now: datetime) -> list[Told]:
    """Delete what is due, with evidence. May run twice, at once, and be killed in between."""
    with workspace_scope(workspace_id):
        found = periods(workspace_id=workspace_id)
    return [_told(period, now, _delete(workspace_id, period, now)) for period in found]


def _told(period: Period, now: datetime, rows: int) -> Told:
    about = period.schedule
    return Told(about.key, about.table, about.purpose.value, period.days, period.cutoff(now), rows, period.reason)


# -- one schedule -----------------------------------------------------------------------------------------------------

_COUNT = "SELECT count(*) FROM core.{table} WHERE {column} < %(cutoff)s AND {condition}"
# The first condition leaves the months alone that are young. A second run waits for the rows of the first, finds them gone, and counts only its own.
_DELETE = """
DELETE FROM core.{table} WHERE {column} < %(cutoff)s AND id IN (
    SELECT id FROM core.{table} WHERE {column} < %(cutoff)s AND {condition} LIMIT %(most)s
)
"""
# The months that ended before the cutoff, as their partitions are named.
_MONTHS = """
SELECT c.relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
WHERE inhparent = 'core.event'::regclass AND c.relname ~ '^event_[0-9]{4}_[0-9]{2}$' ORDER BY c.relname
"""


def _count(period: Period, now: datetime) -> int:
    cutoff = period.cutoff(now)
    return 0 if cutoff is None else _asked(_sql(_COUNT, period.schedule), cutoff)


def _delete(workspace_id: int, period: Period, now: datetime) -> int:
    cutoff = period.cutoff(now)
    if cutoff is None:
        return 0
    dropped = _drop_months(workspace_id, period, now, cutoff) if period.schedule.table == "event" else 0
    return dropped + sum(_batches(workspace_id, period, now, cutoff))


def _batches(workspace_id: int, period: Period, now: datetime, cutoff: datetime) -> Iterator[int]:
    statement = _sql(_DELETE, period.schedule)
    for _ in range(MOST_BATCHES):
        with _as_retention(workspace_id), connection.cursor() as cursor:
            cursor.execute(statement, {"cutoff": cutoff, "most": BATCH})
            rows = cursor.rowcount
            if rows:
                _keep_evidence(workspace_id, period, now, cutoff, rows)
        yield rows
        if rows < BATCH:
            return


def _drop_months(workspace_id: int, period: Period, now: datetime, cutoff: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_MONTHS)
        partitions = [name for (name,) in cursor.fetchall()]
    return sum(
        _drop(workspace_id, period, now, cutoff, first)
        for name in partitions
        if _month_after(first := date(int(name[6:10]), int(name[11:13]), 1)) <= cutoff.date()
    )


def _drop(workspace_id: int, period: Period, now: datetime, cutoff: datetime, first: date) -> int:
    """0 where others have rows in it, or where it is in use: then its rows go in batches."""
    try:
        with _as_retention(workspace_id), connection.cursor() as cursor:
            cursor.execute("SELECT core.drop_event_partition(%s)", [first])
            (rows,) = cursor.fetchone()
            if rows is not None:
                _keep_evidence(workspace_id, period, now, cutoff, rows, f"event_{first:%Y_%m}")
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
            raise
        return 0
    return rows or 0


def _month_after(first: date) -> date:
    return (first + timedelta(days=32)).replace(day=1)


def _keep_evidence(
    workspace_id: int, period: Period, now: datetime, cutoff: datetime, rows: int, partition: str = ""
) -> None:
    about = period.schedule
    RetentionEvidence.objects.create(
        workspace_id=workspace_id, schedule=about.key, table=about.table, purpose=about.purpose, days=(now - cutoff).days,
        cutoff=cutoff, rows=rows, partition=partition, reason=period.reason, deleted_at=now,
    )  # fmt: skip


def _sql(template: str, schedule: Schedule) -> str:
    """Table, column and condition are our own constants of `consent.schedules`."""
    return template.format(table=schedule.table, column=schedule.column, condition=schedule.condition)


def _asked(statement: str, cutoff: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"cutoff": cutoff})
        return int(cursor.fetchone()[0])


@contextmanager
def _as_retention(workspace_id: int) -> Iterator[None]:
    """The transaction of one deletion. Every process may ask for the role, and Postgres knows whose it is."""
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('role')")
        (before,) = cursor.fetchone()
        cursor.execute("SELECT set_config('role', %s, true)", [RETENTION])
        yield
        cursor.execute("SELECT set_config('role', %s, true)", [before])  # a savepoint would not give it back
