"""Figures of segments: definitions, values as JSON and CSV, who watches them, and what strayed."""

from collections.abc import Mapping
from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.keys import KeyedView, key_of, scope_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.problems import NotFoundError
from cdp.models import Scope
from segments.kpis import editing, periods, series, spreadsheet
from segments.kpis.definitions import Period, read_kpi
from segments.kpis.sentences import sentence_of
from segments.models import AlertState, Kpi, KpiAlert, KpiWatch, Segment

READS_AND_WRITES: Final[Mapping[str, Scope]] = {
    "GET": Scope.SEGMENTS_READ,
    "POST": Scope.SEGMENTS_WRITE,
    "PUT": Scope.SEGMENTS_WRITE,
    "DELETE": Scope.SEGMENTS_WRITE,
}
KPI = OpenApiParameter("kpi", str, OpenApiParameter.PATH, description="the slug of the figure")
VERSION = OpenApiParameter("number", int, OpenApiParameter.PATH, description="the number of the version")
MOST_ALERTS: Final = 500


class KpiBody(serializers.Serializer[Any]):
    slug = serializers.CharField()
    name = serializers.CharField()
    version = serializers.IntegerField(source="live_version.number")
    definition = serializers.JSONField(source="live_version.definition")
    sentence = serializers.SerializerMethodField(help_text="what it means, in the language of the request")
    archived_at = serializers.DateTimeField(allow_null=True)

    def get_sentence(self, kpi: Kpi) -> str:
        return sentence_of(read_kpi(kpi.live_version.definition)) if kpi.live_version else ""


class KpisBody(serializers.Serializer[Any]):
    kpis = KpiBody(many=True)


class KpiEdit(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=200, required=False, default="")
    definition = serializers.DictField(help_text='for example {"kind": "CONVERSION", "event": "Order Completed"}')


class NewKpi(KpiEdit):
    slug = serializers.SlugField(max_length=50)


class KpiValueBody(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    value = serializers.FloatField(allow_null=True, help_text="null: of nobody, or withheld")
    numerator = serializers.FloatField(allow_null=True)
    denominator = serializers.FloatField(allow_null=True)
    people = serializers.IntegerField(allow_null=True, help_text="n: on how many people it rests")
    is_withheld = serializers.BooleanField(help_text="it rests on too few people to be shown")
    is_running = serializers.BooleanField(help_text="the period is not over")
    is_settled = serializers.BooleanField(help_text="it is not computed again")
    computed_at = serializers.DateTimeField()


class SeriesBody(serializers.Serializer[Any]):
    kpi = serializers.CharField(source="slug")
    name = serializers.CharField()
    version = serializers.IntegerField(source="version.number")
    period = serializers.CharField(source="definition.period")
    measure = serializers.CharField(source="definition.measure")
    sentence = serializers.SerializerMethodField()
    values = KpiValueBody(many=True)

    def get_sentence(self, one: series.Series) -> str:
        return sentence_of(one.definition)


class FiguresBody(serializers.Serializer[Any]):
    segment = serializers.CharField(allow_null=True, help_text="null: everybody")
    series = SeriesBody(many=True)


class FigureParameters(serializers.Serializer[Any]):
    until = serializers.DateField(required=False, default=None, help_text="periods that begin before this day")
    period = serializers.ChoiceField([one.value for one in Period], required=False, default=None)
    file = serializers.ChoiceField(["json", "csv"], required=False, default="json", help_text="the kind of answer")

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of Python."""
        since = serializers.DateField(required=False, default=None, help_text="periods that begin on this day or later")
        return {"from": since, **super().get_fields()}


class VersionParameters(serializers.Serializer[Any]):
    segment = serializers.SlugField(required=False, default=None, help_text="none: everybody")


class KpiWatchBody(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk", read_only=True)
    kpi = serializers.SlugField(source="kpi.slug")
    segment = serializers.SlugField(
        source="segment.slug", required=False, default=None, allow_null=True, help_text="null: each segment"
    )
    significance = serializers.FloatField(required=False)
    minimum_effect = serializers.FloatField(required=False)
    periods = serializers.IntegerField(required=False, help_text="how many periods before are compared with")
    email = serializers.CharField(required=False, allow_blank=True)
    url = serializers.CharField(required=False, allow_blank=True, help_text="a webhook")
    is_on = serializers.BooleanField(required=False)


class NewWatch(KpiWatchBody):
    signing_key = serializers.CharField(
        required=False, write_only=True, allow_blank=True, max_length=200, help_text="signs what the webhook is sent"
    )


class KpiWatchesBody(serializers.Serializer[Any]):
    watches = KpiWatchBody(many=True)


class KpiAlertBody(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    kpi = serializers.CharField(source="watch.kpi.slug")
    segment = serializers.CharField(source="segment.slug")
    period_start = serializers.DateTimeField()
    value = serializers.FloatField()
    expected = serializers.FloatField()
    test = serializers.CharField(help_text="PROPORTIONS: two-proportion z-test; LIMITS: control limits")
    p = serializers.FloatField(help_text="adjusted for all that was tested with it")
    state = serializers.CharField()
    created_at = serializers.DateTimeField()
    told_at = serializers.DateTimeField(allow_null=True)


class KpiAlertsBody(serializers.Serializer[Any]):
    alerts = KpiAlertBody(many=True)


class AlertParameters(serializers.Serializer[Any]):
    state = serializers.ChoiceField(AlertState.values, required=False, default=None)


class KpiAlertMark(serializers.Serializer[Any]):
    state = serializers.ChoiceField(AlertState.values)


class KpisView(KeyedView):
    scopes = READS_AND_WRITES

    @extend_schema(operation_id="kpis", summary="All figures", responses={200: KpisBody, **REFUSALS})
    def get(self, request: Request) -> Response:
        with scope_of(request):
            rows = Kpi.objects.filter(workspace=workspace_of(request), live_version__isnull=False)
            return Response(KpisBody({"kpis": rows.select_related("live_version").order_by("slug")}).data)

    @extend_schema(
        operation_id="create_kpi",
        summary="Define a figure, which every segment has from the next computation on",
        request=NewKpi,
        responses={201: KpiBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = NewKpi(data=request.data)
        asked.is_valid(raise_exception=True)
        made = editing.create_kpi(workspace_id=workspace_of(request), author=None, **asked.validated_data)
        return Response(KpiBody(made).data, status=201)


class KpiView(KeyedView):
    scopes = READS_AND_WRITES

    @extend_schema(
        operation_id="kpi",
        summary="A figure with its definition",
        parameters=[KPI],
        responses={200: KpiBody, **REFUSALS},
    )
    def get(self, request: Request, kpi: str) -> Response:
        with scope_of(request):
            return Response(KpiBody(series.kpi_named(workspace_of(request), kpi)).data)

    @extend_schema(
        operation_id="change_kpi",
        summary="Change a figure: another definition begins a new series, the old one stays readable",
        parameters=[KPI],
        request=KpiEdit,
        responses={200: KpiBody, **REFUSALS},
    )
    def put(self, request: Request, kpi: str) -> Response:
        asked = KpiEdit(data=request.data)
        asked.is_valid(raise_exception=True)
        with scope_of(request):
            known = series.kpi_named(workspace_of(request), kpi)
        return Response(KpiBody(editing.change_kpi(kpi=known, author=None, **asked.validated_data)).data)

    @extend_schema(
        operation_id="archive_kpi",
        summary="Put a figure away: it is computed no longer, what was computed stays",
        parameters=[KPI],
        responses={204: None, **REFUSALS},
    )
    def delete(self, request: Request, kpi: str) -> Response:
        with scope_of(request):
            known = series.kpi_named(workspace_of(request), kpi)
        editing.archive_kpi(kpi=known, now=timezone.now())
        return Response(status=204)


class KpiVersionView(KeyedView):
    scopes = READS_AND_WRITES

    @extend_schema(
        operation_id="kpi_version",
        summary="All values of one version of a figure, an old one too",
        parameters=[KPI, VERSION, VersionParameters],
        responses={200: FiguresBody, **REFUSALS},
    )
    def get(self, request: Request, kpi: str, number: int) -> Response:
        asked = VersionParameters(data=request.query_params)
        asked.is_valid(raise_exception=True)
        with scope_of(request):
            segment = _segment(request, asked.validated_data["segment"])
            known = series.kpi_named(workspace_of(request), kpi)
            found = series.series_of_version(known, series.version_of(known, number), segment)
        return Response(FiguresBody({"segment": segment.slug if segment else None, "series": [found]}).data)


FIGURES: Final[Mapping[Any, Any]] = {
    (200, "application/json"): FiguresBody,
    (200, "text/csv"): OpenApiTypes.STR,
    **REFUSALS,
}


class SegmentKpisView(KeyedView):
    scopes = READS_AND_WRITES

    @extend_schema(
        operation_id="segment_kpis",
        summary="The figures of a segment, period by period",
        parameters=[FigureParameters],
        responses=FIGURES,
    )
    def get(self, request: Request, slug: str) -> HttpResponse:
        return _figures(request, slug)


class EverybodyKpisView(KeyedView):
    scopes = READS_AND_WRITES

    @extend_schema(
        operation_id="everybody_kpis",
        summary="The figures of everybody, to compare with",
        parameters=[FigureParameters],
        responses=FIGURES,
    )
    def get(self, request: Request) -> HttpResponse:
        return _figures(request, None)


class WatchesView(KeyedView):
    scopes = READS_AND_WRITES

    @extend_schema(
        operation_id="kpi_watches", summary="Which figures are watched", responses={200: KpiWatchesBody, **REFUSALS}
    )
    def get(self, request: Request) -> Response:
        with scope_of(request):
            rows = KpiWatch.objects.filter(workspace=workspace_of(request)).select_related("kpi", "segment")
            return Response(KpiWatchesBody({"watches": rows.order_by("pk")}).data)

    @extend_schema(
        operation_id="watch_kpi",
        summary="Watch a figure of a segment, or of each; who watches it already gets the settings that are named",
        request=NewWatch,
        responses={201: KpiWatchBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = NewWatch(data=request.data)
        asked.is_valid(raise_exception=True)
        told = dict(asked.validated_data)
        kpi, of, key = told.pop("kpi")["slug"], told.pop("segment")["slug"], told.pop("signing_key", None)
        with scope_of(request):
            known, segment = series.kpi_named(workspace_of(request), kpi), _segment(request, of)
        made = editing.watch_kpi(kpi=known, segment=segment, settings=told, signing_key=key)
        return Response(KpiWatchBody(made).data, status=201)


class WatchView(KeyedView):
    scopes = READS_AND_WRITES

    @extend_schema(
        operation_id="stop_watching_kpi",
        summary="Watch it no longer; its alerts go",
        parameters=[OpenApiParameter("watch", int, OpenApiParameter.PATH, description="the id of the watch")],
        responses={204: None, **REFUSALS},
    )
    def delete(self, request: Request, watch: int) -> Response:
        with scope_of(request):
            found = KpiWatch.objects.filter(workspace=workspace_of(request), pk=watch).first()
        if found is None:
            raise NotFoundError
        editing.stop_watching(watch=found)
        return Response(status=204)


class AlertsView(KeyedView):
    scopes = READS_AND_WRITES

    @extend_schema(
        operation_id="kpi_alerts",
        summary="Figures that strayed, the newest first, 500 at most",
        parameters=[AlertParameters],
        responses={200: KpiAlertsBody, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        asked = AlertParameters(data=request.query_params)
        asked.is_valid(raise_exception=True)
        state = asked.validated_data["state"]
        with scope_of(request):
            rows = _alerts(request).filter(**({"state": state} if state else {}))
            return Response(KpiAlertsBody({"alerts": rows.order_by("-pk")[:MOST_ALERTS]}).data)


class AlertView(KeyedView):
    scopes = READS_AND_WRITES

    @extend_schema(
        operation_id="mark_kpi_alert",
        summary="Say that an alert was seen, or close it",
        parameters=[OpenApiParameter("alert", int, OpenApiParameter.PATH, description="the id of the alert")],
        request=KpiAlertMark,
        responses={200: KpiAlertBody, **REFUSALS},
    )
    def post(self, request: Request, alert: int) -> Response:
        asked = KpiAlertMark(data=request.data)
        asked.is_valid(raise_exception=True)
        with scope_of(request):
            found = _alerts(request).filter(pk=alert).first()
        if found is None:
            raise NotFoundError
        found.state = asked.validated_data["state"]
        editing.mark_alert(alert=found, state=found.state)
        return Response(KpiAlertBody(found).data)


def _figures(request: Request, slug: str | None) -> HttpResponse:
    asked = FigureParameters(data=request.query_params)
    asked.is_valid(raise_exception=True)
    told, zone = asked.validated_data, periods.zone_named(key_of(request).workspace.time_zone)
    since, until = (periods.begins(day, zone) if day else None for day in (told["from"], told["until"]))
    period = Period(told["period"]) if told["period"] else None
    with scope_of(request):
        segment = _segment(request, slug)
        found = series.series_of(workspace_of(request), segment, since=since, until=until, period=period)
    if told["file"] == "csv":
        text = spreadsheet.as_csv(segment.slug if segment else "", found, zone)
        return HttpResponse(text, content_type="text/csv; charset=utf-8")
    return Response(FiguresBody({"segment": segment.slug if segment else None, "series": found}).data)


def _segment(request: Request, slug: str | None) -> Segment | None:
    if slug is None:
        return None
    found = Segment.objects.filter(workspace=workspace_of(request), slug=slug).first()
    if found is None:
        raise NotFoundError
    return found


def _alerts(request: Request) -> QuerySet[KpiAlert]:
    rows = KpiAlert.objects.filter(workspace=workspace_of(request))
    return rows.select_related("watch__kpi", "segment")
