"""Quality reports: what was measured, what moved, and from where on that is an alert."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _

from cdp.admin import KeptAdmin, LedgerAdmin, WorkspaceRelatedFilter, column, number_in
from cdp.console.plans import bar_height
from cdp.console.runs import file_of
from cdp.console.words import DUPLICATES
from cdp.ingestion import quality_reports
from cdp.models import QualityReport, QualityThresholds

SHOWN_HISTORY = 30


@admin.register(QualityReport)
class QualityReportAdmin(LedgerAdmin):
    list_display = ("source", "of", "rows", "number_of_alerts", "created_at")
    list_filter = (("source", WorkspaceRelatedFilter),)
    list_select_related = ("source", "run__upload")
    ordering = ("-pk",)
    fields = ("source", "of", "rows", "created_at")
    readonly_fields = ("of",)
    change_form_outer_after_template = "console/quality.html"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("samples")

    @column(description=_("load or day"))
    def of(self, report: QualityReport) -> Any:
        """A load is shown by the name of its file."""
        return file_of(report.run) if report.run else report.day and date_format(report.day)

    @column(description=_("alerts"), label={"none": "success", "some": "danger"})
    def number_of_alerts(self, report: QualityReport) -> tuple[str, str]:
        return "some" if report.alerts else "none", str(len(report.alerts))

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        found = self.get_queryset(request).filter(pk=number_in(object_id)).first()
        shown = facts_about(found) if found else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **shown})


@admin.register(QualityThresholds)
class QualityThresholdsAdmin(KeptAdmin):
    list_display = (
        "source", "missing_change", "ks_statistic", "ks_p", "category_change", "outlier_share", "duplicate_share",
        "rows_change",
    )  # fmt: skip
    list_select_related = ("source",)
    ordering = ("source__name",)
    fixed_fields = ("source",)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"source": number_in(request.GET.get("source", "")) or None}


def facts_about(report: QualityReport) -> dict[str, Any]:
    """The report as its page draws it, and those before it."""
    earlier = quality_reports.reports_of(report.source).filter(pk__lte=report.pk).defer("samples", "body")
    history = list(reversed(earlier[:SHOWN_HISTORY]))
    most = [each.rows for each in history]
    return {
        "report": report,
        "parts": [part_of(part, report.alerts) for part in report.body["parts"]],
        "history": [(each, bar_height(each.rows, most)) for each in history],
        "thresholds": QualityThresholds.objects.filter(source=report.source).first(),
    }


def part_of(part: Mapping[str, Any], alerts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    changes = {change["column"]: change for change in part["changes"]}
    return {
        **part,
        "duplicates": [(kind, part["duplicates"][kind]) for kind in DUPLICATES if kind in part["duplicates"]],
        "is_exact": part["duplicates"]["is_exact"],
        "alerts": [alert for alert in alerts if alert["part"] == part["name"]],
        "columns": [column_of(each, changes.get(each["name"], {})) for each in part["columns"]],
    }


def column_of(told: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """With its picture: a histogram of numbers, or bars of the most frequent values or shapes."""
    counts = told.get("numbers", {}).get("histogram", {}).get("counts", [])
    most = told.get("values") or told.get("shapes") or []
    total = sum(each["count"] for each in most)
    return {
        **told,
        "change": change,
        "bars": [bar_height(count, counts) for count in counts],
        "most": [{**each, "percent": round(100 * each["count"] / total, 1)} for each in most[:5]],
    }
