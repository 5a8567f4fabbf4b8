"""Tracking plans: the versions of a source's plan, which one holds, and what broke it."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.keys import KeyedView, scope_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.ingestion import plan_queries, plans
from cdp.ingestion.plan_check import Action
from cdp.ingestion.sources import find_source
from cdp.models import Scope, Source, TrackingPlanVersion

MOST_DAYS = 400
MOST_VERSIONS = 1_000
NAME = OpenApiParameter("source", str, OpenApiParameter.PATH, description="the name of the source")
NUMBER = OpenApiParameter("number", int, OpenApiParameter.PATH, description="the number of the version")


class VersionBody(serializers.Serializer[Any]):
    version = serializers.IntegerField(source="number")
    is_live = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()

    def get_is_live(self, version: TrackingPlanVersion) -> bool:
        return bool(version.pk == self.context["live"])


class VersionWithPlan(VersionBody):
    plan = serializers.JSONField(source="document")


class VersionsBody(serializers.Serializer[Any]):
    versions = VersionBody(many=True)


class NewVersion(serializers.Serializer[Any]):
    plan = serializers.JSONField(help_text="`unplanned`, and `rules` with `kind`, `event`, `on_violation` and `schema`")
    live = serializers.BooleanField(required=False, default=True, help_text="whether it holds from now on")


class ViolationParameters(serializers.Serializer[Any]):
    days = serializers.IntegerField(required=False, default=7, min_value=1, max_value=MOST_DAYS)


class ViolationBody(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    event = serializers.CharField()
    path = serializers.CharField(allow_blank=True, help_text="`*`: an item, or a name that only the sender knows")
    keyword = serializers.CharField(help_text="of JSON Schema, or `unplanned`")
    action = serializers.ChoiceField([action.value for action in Action])
    events = serializers.IntegerField()
    first_day = serializers.DateField()
    last_day = serializers.DateField()


class DayBody(serializers.Serializer[Any]):
    day = serializers.DateField()
    events = serializers.IntegerField()


class ViolationsBody(serializers.Serializer[Any]):
    violations = ViolationBody(many=True, help_text="the most frequent first; without a value of any event")
    days = DayBody(many=True)
    quarantined = serializers.ListField(
        child=serializers.IntegerField(), help_text="the newest items of the quarantine that a plan refused"
    )


class TrackingPlanView(KeyedView):
    scopes = {"GET": Scope.PLANS_READ, "POST": Scope.PLANS_WRITE, "DELETE": Scope.PLANS_WRITE}

    @extend_schema(
        operation_id="tracking_plan",
        summary="The tracking plan that holds for a source",
        parameters=[NAME],
        responses={200: VersionWithPlan, **REFUSALS},
    )
    def get(self, request: Request, source: str) -> Response:
        found = _source(request, source)
        with scope_of(request):
            return Response(_body(VersionWithPlan, found, plans.version_or_live(found, None)))

    @extend_schema(
        operation_id="add_tracking_plan",
        summary="Keep a plan as the next version",
        parameters=[NAME],
        request=NewVersion,
        responses={201: VersionBody, **REFUSALS},
    )
    def post(self, request: Request, source: str) -> Response:
        asked = NewVersion(data=request.data)
        asked.is_valid(raise_exception=True)
        found = _source(request, source)
        made = plans.add_version(
            source=found, document=asked.validated_data["plan"], author=None, now=timezone.now(),
            is_live=asked.validated_data["live"],
        )  # fmt: skip
        return Response(_body(VersionBody, found, made), status=201)

    @extend_schema(
        operation_id="take_off_tracking_plan",
        summary="Let no plan hold any more; versions and counts stay",
        parameters=[NAME],
        responses={204: None, **REFUSALS},
    )
    def delete(self, request: Request, source: str) -> Response:
        plans.take_off(source=_source(request, source))
        return Response(status=204)


class VersionsView(KeyedView):
    scopes = {"GET": Scope.PLANS_READ}

    @extend_schema(
        operation_id="tracking_plan_versions",
        summary="The versions of a tracking plan, newest first",
        parameters=[NAME],
        responses={200: VersionsBody, **REFUSALS},
    )
    def get(self, request: Request, source: str) -> Response:
        found = _source(request, source)
        with scope_of(request):
            rows = list(plans.versions_of(found).defer("document").order_by("-number")[:MOST_VERSIONS])
        return Response(VersionsBody({"versions": rows}, context={"live": found.live_plan_id}).data)


class VersionView(KeyedView):
    scopes = {"GET": Scope.PLANS_READ}

    @extend_schema(
        operation_id="tracking_plan_version",
        summary="One version of a tracking plan",
        parameters=[NAME, NUMBER],
        responses={200: VersionWithPlan, **REFUSALS},
    )
    def get(self, request: Request, source: str, number: int) -> Response:
        found = _source(request, source)
        with scope_of(request):
            return Response(_body(VersionWithPlan, found, plans.version_of(found, number)))


class LiveView(KeyedView):
    scopes = {"POST": Scope.PLANS_WRITE}

    @extend_schema(
        operation_id="make_tracking_plan_live",
        summary="Let this version hold from now on",
        parameters=[NAME, NUMBER],
        request=None,
        responses={200: VersionBody, **REFUSALS},
    )
    def post(self, request: Request, source: str, number: int) -> Response:
        found = _source(request, source)
        return Response(_body(VersionBody, found, plans.make_live(source=found, number=number)))


class ViolationsView(KeyedView):
    scopes = {"GET": Scope.PLANS_READ}

    @extend_schema(
        operation_id="tracking_plan_violations",
        summary="What broke the tracking plan of a source in the last days, counted",
        parameters=[NAME, ViolationParameters],
        responses={200: ViolationsBody, **REFUSALS},
    )
    def get(self, request: Request, source: str) -> Response:
        asked = ViolationParameters(data=request.query_params)
        asked.is_valid(raise_exception=True)
        days, now, found = asked.validated_data["days"], timezone.now(), _source(request, source)
        with scope_of(request):
            body = {
                "violations": plan_queries.violations_since(found, now.date() - timedelta(days=days - 1)),
                "days": plan_queries.violations_by_day(found, days, now=now),
                "quarantined": plan_queries.refused_examples(found),
            }
        return Response(ViolationsBody(body).data)


def _source(request: Request, name: str) -> Source:
    return find_source(name, workspace_id=workspace_of(request))


def _body(form: type[VersionBody], source: Source, version: TrackingPlanVersion) -> dict[str, Any]:
    return form(version, context={"live": source.live_plan_id}).data
