"""Quality reports: measured while a file is loaded, once a day over what arrived, or of a plain file that is not kept.

Whoever reads rows shows each chunk to a profiler, and hands it over when all have passed:

    profiler = quality_measuring.profiler_of_load(run_id, key="customer_no")
    profiler.see(rows)
    quality_measuring.keep_load(source=source, run=run, profiler=profiler, now=now)

It loads numpy, which the web server need not: import it where it is called.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
from django.db.models import Exists, OuterRef, QuerySet

from cdp.ingestion.files import open_table
from cdp.ingestion.quality import comparison
from cdp.ingestion.quality.profiles import Limits, Profiler, Samples, is_a_name
from cdp.ingestion.quality.thresholds import Thresholds
from cdp.ingestion.quality_reports import thresholds_of
from cdp.ingestion.sources import KnownSource
from cdp.kernel.purposes import Purpose
from cdp.models import Event, QualityReport, Run, Source, SourceKind
from consent import gate

log = structlog.get_logger()

Row = TypeVar("Row")

CHUNK_ROWS: Final = 5_000
MOST_EVENTS: Final = 200_000  # of a day: enough for every figure of the report
MOST_NAMES: Final = 50
OF_ONE_NAME: Final = Limits(rows=1_000, cells=40_000, distinct=500)
OTHER_EVENTS: Final = "*"
SETTLED: Final = timedelta(hours=1)  # after midnight, when what was under way has arrived
MEASURED_BY_DAY: Final = frozenset(SourceKind.values) - {SourceKind.FILE, SourceKind.ENRICHMENT, SourceKind.STEWARD}
FILE_SEED: Final = 7


# -- measuring ------------------------------------------------------------------------------------------------------


def profiler_of_load(run_id: int, *, key: str = "", decimal: str = ".") -> Profiler:
    """The seed of its sample is the run, so a load that is measured again gives the same report."""
    return Profiler(seed=run_id, key=key, decimal=decimal)


def keep_load(*, source: KnownSource, run: Run, profiler: Profiler, now: datetime) -> QualityReport:
    """Once for each run, however often it is called. Of a large load `profiler` may have seen a part of the rows alone."""
    return _keep(source.id, source.workspace_id, {"": profiler}, now=now, run=run)


def measure_day(*, source: Source, day: date, now: datetime) -> QualityReport:
    """What the source sent on that day (UTC), each event name by itself. Once for each day; again replaces it."""
    with gate.permit(Purpose.COLLECTION, workspace_id=source.workspace_id):
        profilers = _profilers_of_events(_events_of(source, day), seed=day.toordinal())
    return keep_day(source=source, day=day, profilers=profilers, now=now)


def keep_day(*, source: Source, day: date, profilers: Mapping[str, Profiler], now: datetime) -> QualityReport:
    """`profilers` by the name of what they saw."""
    return _keep(source.pk, source.workspace_id, profilers, now=now, day=day)


def measure_next_day(*, workspace_id: int, now: datetime) -> QualityReport | None:
    """Measure yesterday for one source that it was not measured for; None when there is none."""
    day = (now - SETTLED).date() - timedelta(days=1)
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace_id):
        source = _unmeasured(workspace_id, day).first()
    return measure_day(source=source, day=day, now=now) if source else None


def measure_file(*, source: Source, path: Path, key: str = "") -> dict[str, Any]:
    """The report that a load of this file would have, beside the last load of the source. Nothing is kept.

    Raises `FileError`.
    """
    table = open_table(path)
    profiler = Profiler(seed=FILE_SEED, key=key, decimal=table.dialect.decimal)
    for rows in _in_chunks(row.fields for row in table.rows() if not row.code):
        profiler.see(rows)
    with gate.permit(Purpose.COLLECTION, workspace_id=source.workspace_id):
        before, count = _before(source.pk, of_days=False), {"": profiler.rows}
        body, _, alerts = _report({"": profiler}, before, thresholds_of(source.pk), count)
    return {"rows": profiler.rows, "alerts": alerts, **body}


def _events_of(source: Source, day: date) -> Iterator[tuple[str, str, dict[str, Any]]]:
    start = datetime.combine(day, time(), tzinfo=UTC)
    events = Event.objects.filter(
        workspace_id=source.workspace_id, source_id=source.pk,
        occurred_at__gte=start, occurred_at__lt=start + timedelta(days=1),
    )  # fmt: skip
    rows = events.order_by().values_list("kind", "name", "properties")[:MOST_EVENTS]
    yield from rows.iterator(chunk_size=CHUNK_ROWS)


def _profilers_of_events(events: Iterator[tuple[str, str, dict[str, Any]]], *, seed: int) -> dict[str, Profiler]:
    profilers: dict[str, Profiler] = {}
    for chunk in _in_chunks(events):
        by_name: dict[str, list[dict[str, Any]]] = {}
        for kind, name, properties in chunk:
            by_name.setdefault(f"track {name}" if kind == "track" else kind, []).append(properties)
        for name, rows in by_name.items():
            is_known = name in profilers or (len(profilers) < MOST_NAMES and is_a_name(name))
            shown = name if is_known else OTHER_EVENTS
            profilers.setdefault(shown, Profiler(seed=seed, limits=OF_ONE_NAME)).see(rows)
    return profilers


def _in_chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    waiting = iter(rows)
    while chunk := list(islice(waiting, CHUNK_ROWS)):
        yield chunk


def _unmeasured(workspace_id: int, day: date) -> QuerySet[Source]:
    measured = QualityReport.objects.filter(source=OuterRef("pk"), day=day)
    there = datetime.combine(day, time(), tzinfo=UTC) + timedelta(days=1)
    sources = Source.objects.filter(
        workspace_id=workspace_id, is_enabled=True, kind__in=MEASURED_BY_DAY, created_at__lt=there
    )
    return sources.filter(~Exists(measured)).order_by("pk")


# -- reports --------------------------------------------------------------------------------------------------------


def _keep(
    source_id: int, workspace_id: int, profilers: Mapping[str, Profiler], *, now: datetime, run: Run | None = None,
    day: date | None = None,
) -> QualityReport:  # fmt: skip
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace_id):
        before = _before(source_id, of_days=run is None, run=run, day=day)
        rows = {name: run.position if run else profiler.rows for name, profiler in profilers.items()}
        body, samples, alerts = _report(profilers, before, thresholds_of(source_id), rows)
        found: dict[str, Any] = {
            "workspace_id": workspace_id, "created_at": now, "body": body, "samples": samples, "alerts": alerts,
            "rows": sum(rows.values()),
        }  # fmt: skip
        report, _ = QualityReport.objects.update_or_create(source_id=source_id, run=run, day=day, defaults=found)
    if alerts:
        kinds = sorted({alert["kind"] for alert in alerts})
        log.warning("quality.alerted", workspace=workspace_id, source=source_id, report=report.pk, kinds=kinds)
    return report


def _before(source_id: int, *, of_days: bool, run: Run | None = None, day: date | None = None) -> QualityReport | None:
    """The last of the same sort: a load is compared with a load, a day with a day."""
    reports = QualityReport.objects.filter(source=source_id, run__isnull=of_days)
    if day is not None:
        return reports.filter(day__lt=day).order_by("-day").first()
    if run is not None:
        reports = reports.filter(run__lt=run)
    return reports.order_by("-run").first()


def _report(
    profilers: Mapping[str, Profiler], before: QualityReport | None, limits: Thresholds, rows: Mapping[str, int]
) -> tuple[dict[str, Any], dict[str, Samples], list[dict[str, Any]]]:
    """`rows` by part are those that came; as many as were measured is in the profile."""
    parts, samples, alerts = [], {}, []
    known = {part["name"]: part for part in before.body["parts"]} if before else {}
    for name in sorted(profilers.keys() | (known.keys() if before and before.day else set())):
        profile, samples[name] = profilers.get(name, Profiler(seed=0)).finish()
        profile = {**profile, "rows": rows.get(name, 0), "measured": profile["rows"]}
        part = {"name": name, **profile, **_compared(profile, known.get(name), samples[name], before)}
        parts.append(part)
        alerts += [{"part": name, **asdict(alert)} for alert in comparison.alerts(part, limits)]
    return {"before": before.pk if before else None, "parts": parts}, samples, alerts


def _compared(
    profile: dict[str, Any], known: dict[str, Any] | None, samples: Samples, before: QualityReport | None
) -> dict[str, Any]:
    if known is None or before is None:
        return {"rows_before": None, "changes": []}
    if not profile["measured"] or not known.get("measured", known["rows"]):
        return {"rows_before": known["rows"], "changes": []}
    moved = comparison.changes(profile, known, samples, before.samples.get(known["name"], {}))
    return {"rows_before": known["rows"], "changes": moved}
