"""The log of breaches: write one down, say that the authority was told, keep who was affected."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.keys import KeyedView, scope_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.paging import PageParameters, next_cursor, page_of
from cdp.api.problems import NotFoundError
from cdp.ingestion.sources import find_source
from cdp.models import Scope
from consent import breaches
from consent.models import Breach, BreachNature

BREACH = OpenApiParameter("breach", int, OpenApiParameter.PATH, description="the id of the breach")


class BreachFields(serializers.Serializer[Any]):
    nature = serializers.ChoiceField(BreachNature.values)
    facts = serializers.CharField()
    effects = serializers.CharField(required=False, default="", allow_blank=True)
    measures = serializers.CharField(required=False, default="", allow_blank=True)
    data_categories = serializers.CharField(required=False, default="", allow_blank=True)
    occurred_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    noticed_at = serializers.DateTimeField(help_text="the 72 hours run from here; never in the future")
    is_high_risk = serializers.BooleanField(required=False, default=False, help_text="the people must be told, Art. 34")
    untold_reason = serializers.CharField(required=False, default="", allow_blank=True)


class BreachBody(BreachFields):
    id = serializers.IntegerField(source="pk")
    recorded_at = serializers.DateTimeField()
    due_at = serializers.DateTimeField(help_text="72 hours after it was noticed")
    authority_told_at = serializers.DateTimeField(allow_null=True)
    people_told_at = serializers.DateTimeField(allow_null=True)


class BreachesBody(serializers.Serializer[Any]):
    breaches = BreachBody(many=True)
    next = serializers.CharField(allow_null=True, help_text="the cursor of the next page; null on the last one")


class ToldBody(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    reason = serializers.CharField(required=False, default="", help_text="required after the 72 hours")


class AffectedBody(serializers.Serializer[Any]):
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    source = serializers.CharField(required=False, default="", help_text="its name; empty: any")  # type: ignore[assignment]  # a field of this name is not Field.source


class EvidenceBody(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    query = serializers.JSONField()
    people = serializers.IntegerField()
    profile_ids = serializers.ListField(child=serializers.IntegerField())
    taken_at = serializers.DateTimeField()


class BreachesView(KeyedView):
    scopes = {"GET": Scope.CONSENTS_READ, "POST": Scope.CONSENTS_WRITE}

    @extend_schema(
        operation_id="breaches",
        summary="All breaches, newest first",
        parameters=[PageParameters],
        responses={200: BreachesBody, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        page = page_of(request, int)
        with scope_of(request):
            kept = Breach.objects.filter(workspace=workspace_of(request)).order_by("-pk")
            rows = list((kept.filter(pk__lt=page.after[0]) if page.after else kept)[: page.limit])
        place = (rows[-1].pk,) if rows else ()
        return Response(BreachesBody({"breaches": rows, "next": next_cursor(rows, page.limit, place)}).data)

    @extend_schema(
        operation_id="record_breach",
        summary="Write a breach down, also if nobody need be told",
        request=BreachFields,
        responses={201: BreachBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = BreachFields(data=request.data)
        asked.is_valid(raise_exception=True)
        kept = breaches.record_breach(workspace_id=workspace_of(request), now=timezone.now(), **asked.validated_data)
        return Response(BreachBody(kept).data, status=201)


class BreachView(KeyedView):
    scopes = {"GET": Scope.CONSENTS_READ}

    @extend_schema(
        operation_id="breach", summary="One breach", parameters=[BREACH], responses={200: BreachBody, **REFUSALS}
    )
    def get(self, request: Request, breach: int) -> Response:
        with scope_of(request):
            return Response(BreachBody(_breach(request, breach)).data)


class AuthorityView(KeyedView):
    scopes = {"POST": Scope.CONSENTS_WRITE}

    @extend_schema(
        operation_id="tell_authority",
        summary="The supervisory authority was told; the first time counts",
        parameters=[BREACH],
        request=ToldBody,
        responses={200: BreachBody, **REFUSALS},
    )
    def post(self, request: Request, breach: int) -> Response:
        asked = ToldBody(data=request.data)
        asked.is_valid(raise_exception=True)
        with scope_of(request):
            found = _breach(request, breach)
            told = breaches.tell_authority(workspace_id=found.workspace_id, breach_id=found.pk, **asked.validated_data)
        return Response(BreachBody(told).data)


class AffectedView(KeyedView):
    scopes = {"POST": Scope.CONSENTS_WRITE}

    @extend_schema(
        operation_id="keep_affected",
        summary="Whose data a source brought in a period: asked now, and kept as evidence. Ids alone",
        parameters=[BREACH],
        request=AffectedBody,
        responses={201: EvidenceBody, **REFUSALS},
    )
    def post(self, request: Request, breach: int) -> Response:
        asked = AffectedBody(data=request.data)
        asked.is_valid(raise_exception=True)
        name = asked.validated_data.pop("source")
        source = find_source(name, workspace_id=workspace_of(request)).pk if name else None
        with scope_of(request):
            found = _breach(request, breach)
            kept = breaches.keep_evidence(
                workspace_id=found.workspace_id,
                breach_id=found.pk,
                affected=breaches.Affected(source_id=source, **asked.validated_data),
                now=timezone.now(),
            )
        return Response(EvidenceBody(kept).data, status=201)


def _breach(request: Request, pk: int) -> Breach:
    found = Breach.objects.filter(workspace=workspace_of(request), pk=pk).first()
    if found is None:
        raise NotFoundError
    return found
