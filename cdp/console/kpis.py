"""Figures of segments: their charts, their definitions, who watches them, and what strayed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminURLInputWidget,
    UnfoldBooleanSwitchWidget,
)

from cdp.admin import KeptAdmin, LedgerAdmin, WorkspaceAdmin, WorkspaceForm, column, number_in, workspace_of
from cdp.models import User
from cdp.models.secrets import encrypted
from segments.kpis import chart, editing, periods, series, spreadsheet
from segments.kpis.definitions import InvalidKpiError, Measure, Period, as_json, read_kpi
from segments.kpis.sentences import sentence_of
from segments.models import AlertState, Kpi, KpiAlert, KpiWatch, Segment

EVERYBODY: Final = "*"
SHOWN_PERIODS: Final = {Period.DAY: 31, Period.WEEK: 26, Period.MONTH: 13}
PERIODS: Final = {Period.DAY: _("day"), Period.WEEK: _("week"), Period.MONTH: _("month")}
STATES: Final = {
    "withheld": _("withheld: too few people"),
    "running": _("running"),
    "settling": _("settling"),
    "settled": _("settled"),
}
EXAMPLE: Final = '{\n "kind": "CONVERSION",\n "event": "Order Completed",\n "period": "MONTH"\n}'


class KpiForm(WorkspaceForm):
    definition = forms.CharField(
        label=_("Definition"), strip=False, initial=EXAMPLE,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 10, "spellcheck": "false"}),
        help_text=_(
            "JSON. kind: SIZE, ENTRIES, EXITS, CONVERSION, AVERAGE, REVENUE, RETENTION, RENEWAL, CYCLE or CONTACTS;"
            " period: DAY, WEEK or MONTH. Another definition begins a new series."
        ),
    )  # fmt: skip
    is_used = forms.BooleanField(
        label=_("In use"), required=False, initial=True, widget=UnfoldBooleanSwitchWidget,
        help_text=_("else it is computed no longer, and what was computed stays"),
    )  # fmt: skip

    class Meta:
        model = Kpi
        fields = ("name", "slug")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.live_version:
            self.initial["definition"] = readable(self.instance.live_version.definition)
            self.initial["is_used"] = self.instance.archived_at is None

    def clean_definition(self) -> dict[str, object]:
        try:
            return as_json(read_kpi(json.loads(self.cleaned_data["definition"])))
        except InvalidKpiError as error:
            place = error.details.get("place")
            raise ValidationError(f"{place}: {error.message}" if place else error.message, code=error.code) from error
        except (ValueError, RecursionError) as error:
            raise ValidationError(gettext("This is no JSON: %s.") % error) from error


def readable(definition: Mapping[str, Any]) -> str:
    """As people write it: the database keeps no order of keys."""
    return json.dumps(as_json(read_kpi(definition)), indent=1, ensure_ascii=False)


@admin.register(Kpi)
class KpiAdmin(KeptAdmin):
    """The definitions; `figures/SLUG/` is the page of a segment with its charts."""

    form = KpiForm
    list_display = ("name", "slug", "version", "shown_period", "meaning", "is_used")
    list_filter = (("archived_at", admin.EmptyFieldListFilter),)
    list_select_related = ("live_version",)
    list_before_template = "console/kpi_list.html"
    ordering = ("name",)
    fields = ("name", "slug", "definition", "is_used")
    fixed_fields = ("slug",)
    change_form_outer_after_template = "console/kpi.html"

    @column(description=_("version"))
    def version(self, kpi: Kpi) -> str:
        return f"v{kpi.live_version.number}" if kpi.live_version else "–"

    @column(description=_("period"))
    def shown_period(self, kpi: Kpi) -> Any:
        return PERIODS[Period(kpi.live_version.definition["period"])] if kpi.live_version else "–"

    @column(description=_("meaning"))
    def meaning(self, kpi: Kpi) -> str:
        return sentence_of(read_kpi(kpi.live_version.definition)) if kpi.live_version else "–"

    @column(description=_("in use"), boolean=True)
    def is_used(self, kpi: Kpi) -> bool:
        return kpi.archived_at is None

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's
        told = {
            "name": obj.name,
            "definition": form.cleaned_data["definition"],
            "author": cast("User", request.user),
        }
        if change:
            made = editing.change_kpi(kpi=obj, **told)
        else:
            made = editing.create_kpi(workspace_id=obj.workspace_id, slug=obj.slug, **told)
        if not form.cleaned_data["is_used"]:
            editing.archive_kpi(kpi=made, now=timezone.now())
        obj.pk, obj.live_version = made.pk, made.live_version

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        found = self.get_queryset(request).filter(pk=number_in(object_id)).first()
        shown = {"kpi": found, "versions": versions_of(found)} if found else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **shown})

    # -- the page of a segment ----------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        figures, ready = self.admin_site.admin_view(self.figures), self.admin_site.admin_view(self.ready_made)
        own = [
            path("figures/<slug:slug>/", figures, name="segments_kpi_figures"),
            path("ready-made/", ready, name="segments_kpi_ready_made"),
        ]
        return [*own, *super().get_urls()]

    @method_decorator(require_POST)
    def ready_made(self, request: HttpRequest) -> HttpResponse:
        workspace = workspace_of(request)
        if workspace is None or not self.has_add_permission(request):
            raise PermissionDenied
        made = len(editing.ensure_ready_made(workspace_id=workspace.pk))
        told = ngettext("%(count)s figure was made.", "%(count)s figures were made.", made) % {"count": made}
        self.message_user(request, told, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:segments_kpi_changelist"))

    def figures(self, request: HttpRequest, slug: str) -> HttpResponse:
        """`?period=`, `?with=` another segment or everybody, `?file=csv`."""
        workspace = workspace_of(request)
        if workspace is None or not self.has_view_permission(request):
            raise PermissionDenied
        segment = get_object_or_404(Segment, workspace=workspace, slug=slug)
        zone = periods.zone_named(workspace.time_zone)
        if request.GET.get("file") == "csv":
            written = spreadsheet.as_csv(segment.slug, series.series_of(workspace.pk, segment), zone)
            named = {"Content-Disposition": f'attachment; filename="{segment.slug}.csv"'}
            return HttpResponse(written, content_type="text/csv; charset=utf-8", headers=named)
        period = period_in(request.GET.get("period", ""))
        others = list(
            Segment.objects.filter(workspace=workspace, archived_at=None).exclude(pk=segment.pk).order_by("name")
        )
        other = other_in(request.GET.get("with", ""), others)
        shown = {
            **self.admin_site.each_context(request),
            "title": gettext("Figures of %s") % segment.name,
            "segment": segment,
            "panels": panels_of(segment, other, period, zone),
            "other": other,
            "others": others,
            "period": period,
            "periods": PERIODS.items(),
            "width": chart.WIDTH,
            "height": chart.HEIGHT,
            "alerts": KpiAlert.objects.filter(segment=segment, state=AlertState.OPEN).select_related("watch__kpi"),
        }
        return TemplateResponse(request, "console/figures.html", shown)


def versions_of(kpi: Kpi) -> list[tuple[Any, str]]:
    rows = kpi.versions.select_related("author").order_by("-number")
    return [(version, sentence_of(read_kpi(version.definition))) for version in rows]


def period_in(text: str) -> Period:
    return Period(text) if text in set(Period) else Period.MONTH


@dataclass(frozen=True, slots=True)
class Other:
    """What is compared with. No segment: everybody."""

    slug: str
    name: str
    segment: Segment | None


def other_in(text: str, others: Sequence[Segment]) -> Other | None:
    if text == EVERYBODY:
        return Other(EVERYBODY, gettext("everybody"), None)
    return next((Other(each.slug, each.name, each) for each in others if each.slug == text), None)


# -- charts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A value in words."""

    period: str
    value: str
    other: str
    share: str
    people: str
    state: Any


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure: what it means, its picture, and its values in words, the newest first."""

    name: str
    sentence: str
    newest: str
    chart: chart.Chart | None
    rows: Sequence[Row]


def panels_of(segment: Segment, other: Other | None, period: Period, zone: ZoneInfo) -> list[Panel]:
    since = timezone.now() - timedelta(
        days={Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 31}[period] * SHOWN_PERIODS[period]
    )
    read = partial(series.series_of, segment.workspace_id, since=since, period=period)
    own = read(segment)
    compared = read(other.segment) if other else []
    beside = {one.slug: one for one in compared}
    return [_panel(one, beside.get(one.slug), zone) for one in own]


def _panel(own: series.Series, other: series.Series | None, zone: ZoneInfo) -> Panel:
    written = partial(in_words, own.definition)
    beside = {value.start: value for value in other.values} if other else {}
    starts = [value.start for value in own.values]
    labels = [_label(start, own.definition.period, zone) for start in starts]
    points = [
        chart.Point(label, value.value, value.is_running) for label, value in zip(labels, own.values, strict=True)
    ]
    others = [
        chart.Point(label, beside[start].value if start in beside else None)
        for label, start in zip(labels, starts, strict=True)
    ]
    rows = [
        _row(label, value, beside.get(value.start), own.definition)
        for label, value in zip(labels, own.values, strict=True)
    ]
    known = [value.value for value in own.values if value.value is not None]
    return Panel(
        name=own.name,
        sentence=sentence_of(own.definition),
        newest=written(known[-1]) if known else "–",
        chart=chart.chart_of(points, others if beside else [], written),
        rows=rows[::-1],
    )


def _row(label: str, value: series.Value, other: series.Value | None, kpi: Any) -> Row:
    parts = [_number(part) for part in (value.numerator, value.denominator) if part is not None]
    return Row(
        period=label,
        value="–" if value.value is None else in_words(kpi, value.value),
        other="–" if other is None or other.value is None else in_words(kpi, other.value),
        share=" / ".join(parts),
        people="–" if value.people is None else _number(value.people),
        state=STATES[spreadsheet.state_of(value)],
    )


def _label(start: Any, period: Period, zone: ZoneInfo) -> str:
    day = start.astimezone(zone).date()
    return date_format(day, "M Y" if period is Period.MONTH else "SHORT_DATE_FORMAT")


def in_words(kpi: Any, value: float) -> str:
    """A value as people write it: a share in percent, money with its unit."""
    match kpi.measure:
        case Measure.SHARE:
            return f"{_number(100 * value)} %"
        case Measure.MONEY:
            return f"{_number(value)} {kpi.unit}".strip()
        case Measure.DAYS:
            return gettext("%s days") % _number(value)
    return _number(value)


def _number(value: float) -> str:
    rounded = round(value) if abs(value) >= 1000 else float(f"{value:.3g}")
    text = number_format(int(rounded) if rounded == int(rounded) else rounded, force_grouping=True, use_l10n=True)
    return str(text)


# -- watches and alerts -----------------------------------------------------------------------------------------------


class KpiWatchForm(WorkspaceForm):
    url = forms.URLField(
        label=_("Webhook"), required=False, assume_scheme="https", max_length=500, widget=UnfoldAdminURLInputWidget()
    )
    signing_key = forms.CharField(
        label=_("Signing key"), required=False, strip=False, widget=UnfoldAdminPasswordWidget(),
        help_text=_("signs what the webhook is sent; empty: as it was"),
    )  # fmt: skip

    class Meta:
        model = KpiWatch
        fields = ("kpi", "segment", "significance", "minimum_effect", "periods", "email", "url", "is_on")

    def save(self, commit: bool = True) -> Any:  # noqa: FBT001, FBT002  # Django's
        if self.cleaned_data.get("signing_key"):
            self.instance.secrets = encrypted({"signing_key": self.cleaned_data["signing_key"]})
        return super().save(commit)


@admin.register(KpiWatch)
class KpiWatchAdmin(WorkspaceAdmin):
    form = KpiWatchForm
    list_display = ("kpi", "segment", "significance", "minimum_effect", "periods", "is_on")
    list_select_related = ("kpi", "segment")
    ordering = ("kpi__name",)
    fields = ("kpi", "segment", "significance", "minimum_effect", "periods", "email", "url", "signing_key", "is_on")


@admin.register(KpiAlert)
class KpiAlertAdmin(LedgerAdmin):
    list_display = ("figure", "segment", "shown_period", "shown_value", "shown_expected", "shown_p", "shown_state")
    list_filter = ("state",)
    list_select_related = ("watch__kpi", "segment", "version", "workspace")
    ordering = ("-pk",)
    fields = (
        "figure", "segment", "shown_period", "shown_value", "shown_expected", "test", "shown_p", "shown_state",
        "created_at", "told_at", "error",
    )  # fmt: skip
    readonly_fields = ("figure", "shown_period", "shown_value", "shown_expected", "shown_p", "shown_state")
    change_form_outer_after_template = "console/kpi_alert.html"

    @column(description=_("figure"))
    def figure(self, alert: KpiAlert) -> str:
        return alert.watch.kpi.name

    @column(description=_("period"), ordering="period_start")
    def shown_period(self, alert: KpiAlert) -> str:
        zone = periods.zone_named(alert.workspace.time_zone)
        return _label(alert.period_start, read_kpi(alert.version.definition).period, zone)

    @column(description=_("value"))
    def shown_value(self, alert: KpiAlert) -> str:
        return in_words(read_kpi(alert.version.definition), alert.value)

    @column(description=_("expected"))
    def shown_expected(self, alert: KpiAlert) -> str:
        return in_words(read_kpi(alert.version.definition), alert.expected)

    @column(description=_("adjusted p"))
    def shown_p(self, alert: KpiAlert) -> str:
        return f"{alert.p:.2g}"

    @column(description=_("state"), label={"OPEN": "danger", "SEEN": "warning", "CLOSED": "success"})
    def shown_state(self, alert: KpiAlert) -> tuple[str, str]:
        return alert.state, alert.get_state_display()

    def get_urls(self) -> list[URLPattern]:
        mark = self.admin_site.admin_view(self.mark)
        return [path("<int:pk>/mark/<str:state>/", mark, name="segments_kpialert_mark"), *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        found = self.get_queryset(request).filter(pk=number_in(object_id)).first()
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "alert": found})

    @method_decorator(require_POST)
    def mark(self, request: HttpRequest, pk: int, state: str) -> HttpResponse:
        if state not in AlertState.values or not request.user.has_perm("segments.change_kpialert"):
            raise PermissionDenied
        alert = get_object_or_404(self.get_queryset(request), pk=pk)
        editing.mark_alert(alert=alert, state=AlertState(state))
        return HttpResponseRedirect(reverse("admin:segments_kpialert_change", args=[pk]))
