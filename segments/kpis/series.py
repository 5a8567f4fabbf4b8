"""Figures as they are read: the series of a segment, or of everybody, period by period."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from cdp.kernel.errors import TesseraError
from segments.kpis.definitions import Kpi, Period, read_kpi
from segments.models import Kpi as KpiRow
from segments.models import KpiValue, KpiVersion, Segment


class UnknownKpiError(TesseraError):
    """There is no such figure in this workspace."""

    code = "unknown_kpi"


class UnknownKpiVersionError(TesseraError):
    """The figure has no version of this number."""

    code = "unknown_kpi_version"


@dataclass(frozen=True, slots=True)
class Value:
    """`people` is n; all are None where the value is withheld, because it rests on too few people."""

    start: datetime
    end: datetime
    value: float | None
    numerator: float | None
    denominator: float | None
    people: int | None
    is_withheld: bool
    is_running: bool
    is_settled: bool
    computed_at: datetime


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one version of a figure, oldest first."""

    slug: str
    name: str
    version: KpiVersion
    definition: Kpi
    values: Sequence[Value]


def live_kpis(workspace_id: int) -> QuerySet[KpiRow]:
    """In order of slug."""
    rows = KpiRow.objects.filter(workspace=workspace_id, archived_at=None, live_version__isnull=False)
    return rows.select_related("live_version").order_by("slug")


def kpi_named(workspace_id: int, slug: str) -> KpiRow:
    found = KpiRow.objects.filter(workspace=workspace_id, slug=slug).select_related("live_version").first()
    if found is None:
        raise UnknownKpiError(slug=slug)
    return found


def version_of(kpi: KpiRow, number: int) -> KpiVersion:
    found = kpi.versions.filter(number=number).first()
    if found is None:
        raise UnknownKpiVersionError(slug=kpi.slug, number=number)
    return found


def series_of(
    workspace_id: int,
    segment: Segment | None,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    period: Period | None = None,
) -> list[Series]:
    """Of each live figure with this period: the periods that begin in [since, until). No segment: of everybody."""
    live = [(row, row.live_version) for row in live_kpis(workspace_id) if row.live_version]
    kpis = {version.pk: read_kpi(version.definition) for _, version in live}
    chosen = {pk: kpi for pk, kpi in kpis.items() if period in {None, kpi.period}}
    values = _values(segment, chosen, since, until)
    return [
        Series(row.slug, row.name, version, chosen[version.pk], values.get(version.pk, []))
        for row, version in live
        if version.pk in chosen
    ]


def series_of_version(kpi: KpiRow, version: KpiVersion, segment: Segment | None) -> Series:
    """All that is kept of one version, an old one too."""
    read = read_kpi(version.definition)
    values = _values(segment, {version.pk: read}, None, None)
    return Series(kpi.slug, kpi.name, version, read, values.get(version.pk, []))


def _values(
    segment: Segment | None, kpis: Mapping[int, Kpi], since: datetime | None, until: datetime | None
) -> dict[int, list[Value]]:
    rows = KpiValue.objects.filter(version__in=list(kpis), segment=segment)
    rows = rows.filter(period_start__gte=since) if since else rows
    rows = rows.filter(period_start__lt=until) if until else rows
    found: dict[int, list[Value]] = {}
    for row in rows.order_by("period_start"):
        found.setdefault(row.version_id, []).append(_as_value(row, kpis[row.version_id]))
    return found


def _as_value(row: KpiValue, kpi: Kpi) -> Value:
    return Value(
        start=row.period_start,
        end=row.period_end,
        value=row.value,
        numerator=row.numerator,
        denominator=row.denominator,
        people=row.people,
        is_withheld=row.is_withheld,
        is_running=row.computed_at < row.period_end,
        is_settled=row.computed_at >= row.period_end + kpi.settling_time,
        computed_at=row.computed_at,
    )
