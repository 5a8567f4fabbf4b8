"""Which figures strayed: the newest period that is over, of each watched figure and segment, against those before it.

A period is tested once, at the first look after it was computed as a whole. All that is tested in one look is one
family: its probabilities are corrected together (Benjamini and Hochberg).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from django.db.models import F, QuerySet

from cdp.kernel.purposes import Purpose
from consent import gate
from segments.kpis import significance
from segments.kpis.definitions import Kpi, Measure, read_kpi
from segments.models import AlertTest, KpiAlert, KpiValue, KpiWatch

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Tested:
    watch: KpiWatch
    value: KpiValue
    segment_id: int
    found: float
    test: AlertTest
    comparison: significance.Comparison

    @property
    def effect(self) -> float:
        """How far it strayed, as a share of what was expected."""
        away = abs(self.found - self.comparison.expected)
        return away / abs(self.comparison.expected) if self.comparison.expected else float(away > 0)


def watch(*, workspace_id: int, now: datetime) -> int:
    """Test what is over since the last look, and keep what strayed as alerts. Returns how many are new."""
    with gate.permit(Purpose.ANALYTICS, workspace_id=workspace_id):
        tested = [each for one in _claimed(workspace_id) for each in _test(one, now)]
        alerts = [_alert(each, p, now) for each, p in _strayed(tested)]
        made = KpiAlert.objects.bulk_create(alerts, ignore_conflicts=True)
    if made:
        log.warning("kpi.alerted", workspace=workspace_id, alerts=len(made))
    return len(made)


def _claimed(workspace_id: int) -> Sequence[KpiWatch]:
    """Two that look at once look at different watches."""
    rows = KpiWatch.objects.select_for_update(of=("self",), skip_locked=True).select_related("kpi__live_version")
    return list(rows.filter(workspace=workspace_id, is_on=True, kpi__archived_at=None).order_by("pk"))


def _test(one: KpiWatch, now: datetime) -> Iterable[Tested]:
    version = one.kpi.live_version
    if version is None:
        return []
    newest = _newest_end(one, version.pk, now)
    if newest is None or (one.checked_until is not None and newest <= one.checked_until):
        return []
    KpiWatch.objects.filter(pk=one.pk).update(checked_until=newest)
    kpi = read_kpi(version.definition)
    series = _series(one, version.pk, newest)
    return [each for values in series.values() if (each := _compare(one, kpi, values, newest)) is not None]


def _whole_values(one: KpiWatch, version_id: int) -> QuerySet[KpiValue]:
    """Those of periods that were over when they were computed."""
    rows = KpiValue.objects.filter(version=version_id, segment__isnull=False, segment__archived_at=None)
    rows = rows.filter(computed_at__gte=F("period_end"))
    return rows.filter(segment=one.segment_id) if one.segment_id else rows


def _newest_end(one: KpiWatch, version_id: int, now: datetime) -> datetime | None:
    rows = _whole_values(one, version_id).filter(period_end__lte=now)
    return rows.order_by("-period_end").values_list("period_end", flat=True).first()


def _series(one: KpiWatch, version_id: int, newest: datetime) -> Mapping[int, Sequence[KpiValue]]:
    """Of each segment, newest first: the period that is tested, and those before it that are compared with."""
    found: dict[int, list[KpiValue]] = {}
    for row in _whole_values(one, version_id).filter(period_end__lte=newest).order_by("-period_end"):
        values = found.setdefault(row.segment_id or 0, [])
        if len(values) <= one.periods:
            values.append(row)
    return found


def _compare(one: KpiWatch, kpi: Kpi, values: Sequence[KpiValue], newest: datetime) -> Tested | None:
    value, *past = values
    if value.period_end != newest or value.value is None:
        return None
    known = [row for row in past if row.value is not None]
    if kpi.measure is Measure.SHARE:
        pairs = [(row.numerator or 0, row.denominator or 0) for row in known]
        found = significance.compare_shares(value.numerator or 0, value.denominator or 0, pairs)
        test = AlertTest.PROPORTIONS
    else:
        is_count = kpi.measure is Measure.COUNT
        found = significance.compare_values(value.value, [row.value or 0 for row in known], is_count=is_count)
        test = AlertTest.LIMITS
    return Tested(one, value, value.segment_id or 0, value.value, test, found) if found else None


def _strayed(tested: Sequence[Tested]) -> Iterable[tuple[Tested, float]]:
    adjusted = significance.adjusted([each.comparison.p for each in tested])
    for each, p in zip(tested, adjusted, strict=True):
        if p <= each.watch.significance and each.effect >= each.watch.minimum_effect:
            yield each, p


def _alert(each: Tested, p: float, now: datetime) -> KpiAlert:
    has_address = bool(each.watch.email or each.watch.url)
    return KpiAlert(
        workspace_id=each.watch.workspace_id,
        watch=each.watch,
        version_id=each.value.version_id,
        segment_id=each.segment_id,
        period_start=each.value.period_start,
        value=each.found,
        expected=each.comparison.expected,
        test=each.test,
        p=p,
        created_at=now,
        due_at=now if has_address else None,
    )
