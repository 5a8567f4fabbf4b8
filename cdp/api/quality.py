"""Quality reports of a source: the newest, their history, and from where on something is an alert."""

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.keys import KeyedView, scope_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.paging import PageParameters, next_cursor, page_of
from cdp.api.problems import NotFoundError
from cdp.ingestion import quality_reports
from cdp.ingestion.sources import find_source
from cdp.models import QualityReport, Scope, Source

NAME = OpenApiParameter("source", str, OpenApiParameter.PATH, description="the name of the source")
REPORT = OpenApiParameter("report", int, OpenApiParameter.PATH, description="the id of the report")


class AlertBody(serializers.Serializer[Any]):
    part = serializers.CharField(allow_blank=True, help_text="the event, in a report of a day")
    kind = serializers.CharField()
    column = serializers.CharField(allow_blank=True)
    value = serializers.FloatField()
    threshold = serializers.FloatField()


class ReportRow(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    created_at = serializers.DateTimeField()
    run = serializers.IntegerField(source="run_id", allow_null=True, help_text="of a load")
    day = serializers.DateField(allow_null=True, help_text="of what arrived on one day, UTC")
    rows = serializers.IntegerField()
    alerts = AlertBody(many=True)


class ReportBody(ReportRow):
    before = serializers.IntegerField(source="body.before", allow_null=True, help_text="the report it is compared with")
    parts = serializers.ListField(
        source="body.parts", child=serializers.DictField(), help_text="profiles: of the file, or of each event"
    )


class ReportsBody(serializers.Serializer[Any]):
    reports = ReportRow(many=True)
    next = serializers.CharField(allow_null=True, help_text="the cursor of the next page; null on the last one")


class ThresholdsBody(serializers.Serializer[Any]):
    missing_change = serializers.FloatField(required=False, min_value=0)
    ks_statistic = serializers.FloatField(required=False, min_value=0)
    ks_p = serializers.FloatField(required=False, min_value=0)
    category_change = serializers.FloatField(required=False, min_value=0)
    outlier_share = serializers.FloatField(required=False, min_value=0)
    duplicate_share = serializers.FloatField(required=False, min_value=0)
    rows_change = serializers.FloatField(required=False, min_value=0)


class NewestView(KeyedView):
    scopes = {"GET": Scope.PLANS_READ}

    @extend_schema(
        operation_id="quality",
        summary="The newest quality report of a source",
        parameters=[NAME],
        responses={200: ReportBody, **REFUSALS},
    )
    def get(self, request: Request, source: str) -> Response:
        found = _source(request, source)
        with scope_of(request):
            return Response(ReportBody(quality_reports.newest_report(found)).data)


class ReportsView(KeyedView):
    scopes = {"GET": Scope.PLANS_READ}

    @extend_schema(
        operation_id="quality_reports",
        summary="The quality reports of a source, newest first",
        parameters=[NAME, PageParameters],
        responses={200: ReportsBody, **REFUSALS},
    )
    def get(self, request: Request, source: str) -> Response:
        page, found = page_of(request, int), _source(request, source)
        with scope_of(request):
            reports = quality_reports.reports_of(found).defer("samples", "body")
            rows = list((reports.filter(pk__lt=page.after[0]) if page.after else reports)[: page.limit])
        place = (rows[-1].pk,) if rows else ()
        return Response(ReportsBody({"reports": rows, "next": next_cursor(rows, page.limit, place)}).data)


class ReportView(KeyedView):
    scopes = {"GET": Scope.PLANS_READ}

    @extend_schema(
        operation_id="quality_report",
        summary="One quality report",
        parameters=[NAME, REPORT],
        responses={200: ReportBody, **REFUSALS},
    )
    def get(self, request: Request, source: str, report: int) -> Response:
        found = _source(request, source)
        with scope_of(request):
            return Response(ReportBody(_report(found, report)).data)


class ThresholdsView(KeyedView):
    scopes = {"GET": Scope.PLANS_READ, "POST": Scope.PLANS_WRITE}

    @extend_schema(
        operation_id="quality_thresholds",
        summary="From where on something is an alert",
        parameters=[NAME],
        responses={200: ThresholdsBody, **REFUSALS},
    )
    def get(self, request: Request, source: str) -> Response:
        found = _source(request, source)
        with scope_of(request):
            return Response(asdict(quality_reports.thresholds_of(found.pk)))

    @extend_schema(
        operation_id="change_quality_thresholds",
        summary="Change thresholds; those that are not named stay. The next report keeps to them",
        parameters=[NAME],
        request=ThresholdsBody,
        responses={200: ThresholdsBody, **REFUSALS},
    )
    def post(self, request: Request, source: str) -> Response:
        asked = ThresholdsBody(data=request.data)
        asked.is_valid(raise_exception=True)
        found = _source(request, source)
        with scope_of(request):
            return Response(asdict(quality_reports.change_thresholds(source=found, values=asked.validated_data)))


def _source(request: Request, name: str) -> Source:
    return find_source(name, workspace_id=workspace_of(request))


def _report(source: Source, pk: int) -> QualityReport:
    found = quality_reports.reports_of(source).filter(pk=pk).first()
    if found is None:
        raise NotFoundError
    return found
