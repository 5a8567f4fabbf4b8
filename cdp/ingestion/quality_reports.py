"""Quality reports as they are read, and the thresholds of a source."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from django.db.models import QuerySet

from cdp.ingestion.quality.thresholds import Thresholds
from cdp.kernel.errors import TesseraError
from cdp.models import QualityReport, QualityThresholds, Source


class NoReportError(TesseraError):
    """There is no quality report of this source yet."""

    code = "no_quality_report"


def thresholds_of(source_id: int) -> Thresholds:
    found = QualityThresholds.objects.filter(source=source_id).first()
    if found is None:
        return Thresholds()
    return Thresholds(**{field.name: getattr(found, field.name) for field in fields(Thresholds)})


def change_thresholds(*, source: Source, values: Mapping[str, float]) -> Thresholds:
    """Within the caller's transaction, which has a workspace. What is not named stays."""
    QualityThresholds.objects.update_or_create(
        source=source, defaults={**values}, create_defaults={**values, "workspace_id": source.workspace_id}
    )
    return thresholds_of(source.pk)


def reports_of(source: Source) -> QuerySet[QualityReport]:
    """Newest first, without the samples, which serve the next comparison alone."""
    return QualityReport.objects.filter(source=source).defer("samples").order_by("-pk")


def newest_report(source: Source) -> QualityReport:
    """Raises `NoReportError`."""
    found = reports_of(source).first()
    if found is None:
        raise NoReportError(f"{source.name} has no quality report yet: load a file, or `manage.py quality measure`.")
    return found


def as_json(report: QualityReport) -> dict[str, Any]:
    return {
        "id": report.pk, "created_at": report.created_at, "run": report.run_id, "day": report.day, "rows": report.rows,
        "alerts": report.alerts, **report.body,
    }  # fmt: skip
