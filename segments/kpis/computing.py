"""Figures are computed when they are due: a running period once an hour, one that is over once a day until it has settled,
then never again unless somebody asks. What arrives late, or is withdrawn, is felt as long as its period settles.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection
from django.db.models import Exists, F, OuterRef

from cdp.kernel.arrays import bigints, texts
from cdp.kernel.purposes import Purpose
from cdp.models import Workspace
from consent import gate
from consent.gate import Analytics, Permit
from segments.kpis import periods
from segments.kpis.definitions import Kpi, Measure, Revenue, read_kpi
from segments.kpis.figures import figure_sql, parameters_of
from segments.models import KpiValue, KpiVersion, Segment

RUNNING_AGAIN: Final = timedelta(hours=1)
SETTLING_AGAIN: Final = timedelta(days=1)
EVERYBODY: Final = 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Periods side by side, oldest first; the last of them may be running."""

    starts: Sequence[datetime]
    ends: Sequence[datetime]

    def between(self, first: int, last: int) -> "Stretch":
        """From one place to another, counted from 1, both included."""
        return Stretch(self.starts[first - 1 : last], self.ends[first - 1 : last])


@dataclass(frozen=True, slots=True)
class Due:
    """The places of periods whose figure is to be computed, each with its segment."""

    segments: Sequence[int]
    places: Sequence[int]


def compute(
    *, workspace_id: int, now: datetime, again_from: date | None = None, seconds: float = 3600
) -> dict[str, int]:
    """Compute what is due of every live figure, those that begin within `seconds`: the next call goes on.

    `again_from` computes all periods from that day on anew, settled or not. Returns how many figures and values.
    """
    until, done, values = time.monotonic() + seconds, 0, 0
    versions = _live_versions(workspace_id, None if again_from else now)
    since = _known_since(workspace_id) if versions else {}
    for version in versions:
        if time.monotonic() > until:
            break
        values += _compute_version(version, since, now, again_from)
        done += 1
    return {"kpis": done, "values": values}


def _live_versions(workspace_id: int, now: datetime | None) -> list[KpiVersion]:
    """At `now`, those that were not looked at within the hour: between the hours there is nothing to do."""
    with gate.permit(Purpose.ANALYTICS, workspace_id=workspace_id):
        live = KpiVersion.objects.filter(workspace=workspace_id, kpi__live_version=F("pk"), kpi__archived_at=None)
        if now is not None:
            looked_at = KpiValue.objects.filter(version=OuterRef("pk"), computed_at__gt=now - RUNNING_AGAIN)
            live = live.exclude(Exists(looked_at))
        return list(live.order_by("pk"))


# -- what is due ------------------------------------------------------------------------------------------------------

_FIRST_ENTRIES: Final = "SELECT segment_id, min(entered_at) FROM membership GROUP BY segment_id"
_FIRST_PERSON: Final = "SELECT min(created_at) FROM profile"


def _known_since(workspace_id: int) -> dict[int, datetime]:
    """When the history of each segment that serves began, and that of everybody."""
    with gate.permit(Purpose.ANALYTICS, workspace_id=workspace_id), connection.cursor() as cursor:
        serving = set(Segment.objects.filter(workspace=workspace_id, archived_at=None).values_list("pk", flat=True))
        cursor.execute(_FIRST_ENTRIES)
        since = {segment: first for segment, first in cursor.fetchall() if segment in serving}
        cursor.execute(_FIRST_PERSON)
        (first,) = cursor.fetchone()
    return {**since, EVERYBODY: first} if first else since


_DUE: Final = """
SELECT asked.segment_id, n FROM unnest(%(segments)s::bigint[], %(since)s::timestamptz[]) AS asked(segment_id, since)
CROSS JOIN unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) WITH ORDINALITY AS period(starts, ends, n)
LEFT JOIN kpi_value v
    ON v.version_id = %(version)s AND COALESCE(v.segment_id, 0) = asked.segment_id AND v.period_start = starts
WHERE ends > since AND (
    v.id IS NULL
    OR starts >= %(again_from)s::timestamptz
    OR v.computed_at < ends + %(settling)s
       AND v.computed_at <= %(now)s - CASE WHEN ends > %(now)s THEN %(running_again)s ELSE %(settling_again)s END
)
ORDER BY n, asked.segment_id
"""


def _due(
    version: KpiVersion, kpi: Kpi, stretch: Stretch, since: dict[int, datetime], now: datetime, again: datetime | None
) -> Due:
    asked: dict[str, Any] = {
        "version": version.pk,
        "segments": bigints(since),
        "since": _instants(since.values()),
        "starts": _instants(stretch.starts),
        "ends": _instants(stretch.ends),
        "again_from": again,
        "settling": kpi.settling_time,
        "running_again": RUNNING_AGAIN,
        "settling_again": SETTLING_AGAIN,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(_DUE, asked)
        found = cursor.fetchall()
    return Due([segment for segment, _ in found], [place for _, place in found])


# -- one figure -------------------------------------------------------------------------------------------------------

_WRITE: Final = """
WITH {figure}
INSERT INTO kpi_value (workspace_id, version_id, segment_id, period_start, period_end, value, numerator, denominator,
                       people, is_withheld, computed_at)
SELECT %(workspace)s, %(version)s, NULLIF(segment_id, 0), starts, ends,
       CASE WHEN is_shown THEN COALESCE(f.value, %(empty)s) END, CASE WHEN is_shown THEN f.numerator END,
       CASE WHEN is_shown THEN f.denominator END, CASE WHEN is_shown THEN COALESCE(f.people, 0) END, NOT is_shown, %(now)s
FROM unnest(%(due_segments)s::bigint[], %(due_places)s::bigint[]) AS due(segment_id, n)
JOIN unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) WITH ORDINALITY AS period(starts, ends, n) USING (n)
LEFT JOIN figure AS f USING (segment_id, n)
CROSS JOIN LATERAL (SELECT COALESCE(f.people, 0) = 0 OR f.people >= %(fewest)s AS is_shown) AS shown
ORDER BY segment_id, n
ON CONFLICT (version_id, segment_id, period_start) DO UPDATE SET
    period_end = excluded.period_end, value = excluded.value, numerator = excluded.numerator,
    denominator = excluded.denominator, people = excluded.people, is_withheld = excluded.is_withheld,
    computed_at = excluded.computed_at
"""


def _compute_version(version: KpiVersion, since: dict[int, datetime], now: datetime, again_from: date | None) -> int:
    kpi = read_kpi(version.definition)
    with gate.permit(Purpose.ANALYTICS, workspace_id=version.workspace_id) as permit:
        zone = periods.zone_named(Workspace.objects.values_list("time_zone", flat=True).get(pk=version.workspace_id))
        stretch = stretch_until(now, kpi, zone)
        again = periods.begins(again_from, zone) if again_from else None
        due = _due(version, kpi, stretch, since, now, again)
        return _write(permit, version, kpi, stretch, due, now) if due.segments else 0


def stretch_until(now: datetime, kpi: Kpi, zone: ZoneInfo) -> Stretch:
    """The period that is running, and those before it that figures are kept of."""
    running = periods.day_of(now, kpi.period, zone)
    days = [*periods.days_between(periods.earliest_day(running, kpi.period), running, kpi.period)]
    starts = [periods.begins(day, zone) for day in [*days, periods.next_day(running, kpi.period)]]
    return Stretch(starts[:-1], starts[1:])


def _write(permit: Permit[Analytics], version: KpiVersion, kpi: Kpi, whole: Stretch, due: Due, now: datetime) -> int:
    before, last = min(due.places) - 1, max(due.places)
    stretch = whole.between(before + 1, last)
    bounds = [*stretch.starts, min(stretch.ends[-1], now)]
    with connection.cursor() as cursor:
        cursor.execute(
            _WRITE.format(figure=figure_sql(kpi)),
            {
                **parameters_of(kpi),
                "workspace": permit.workspace_id,
                "version": version.pk,
                "segments": bigints(sorted(set(due.segments))),
                "bounds": _instants(bounds),
                "first": bounds[0],
                "last": bounds[-1],
                "periods": len(stretch.starts),
                "starts": _instants(stretch.starts),
                "ends": _instants(stretch.ends),
                "due_segments": bigints(due.segments),
                "due_places": bigints(place - before for place in due.places),
                "empty": _of_nobody(kpi),
                "fewest": settings.KPI_LEAST_PEOPLE,
                "now": now,
            },
        )
        written: int = cursor.rowcount
    return written


def _of_nobody(kpi: Kpi) -> float | None:
    """A count or a sum of nothing is 0; a share, a mean and a median of nothing are missing."""
    is_sum = kpi.measure is Measure.COUNT or isinstance(kpi, Revenue)
    return 0.0 if is_sum else None


def _instants(instants: Iterable[datetime]) -> str:
    return texts(instant.isoformat() for instant in instants)
