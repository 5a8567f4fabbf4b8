"""Who is shown to no purpose (Art. 18), or not to one of them (Art. 21)."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.identifiers import read_identifier
from cdp.api.keys import KeyedView, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.wakeups import wake_on_commit
from cdp.kernel.purposes import Purpose
from cdp.models import Scope, Stage
from consent import restriction
from consent.models import RestrictionKind

GATED = [purpose.value for purpose in Purpose if purpose.is_gated]


class RestrictionOrder(serializers.Serializer[Any]):
    identifier = serializers.CharField(max_length=600, help_text="`TYPE:VALUE`")
    purpose = serializers.ChoiceField(
        GATED, required=False, allow_null=True, default=None, help_text="an objection to it; without: all of them"
    )


class RestrictionBody(serializers.Serializer[Any]):
    identifier_type = serializers.CharField()
    kind = serializers.ChoiceField(RestrictionKind.values)
    created_at = serializers.DateTimeField()


class LiftedBody(serializers.Serializer[Any]):
    lifted = serializers.IntegerField(help_text="0: nothing was restricted")


class RestrictionsView(KeyedView):
    scopes = {"POST": Scope.CONSENTS_WRITE, "DELETE": Scope.CONSENTS_WRITE}

    @extend_schema(
        operation_id="restrict",
        summary="Show a person to no purpose any more, or object to one",
        request=RestrictionOrder,
        responses={200: RestrictionBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = RestrictionOrder(data=request.data)
        asked.is_valid(raise_exception=True)
        kept = restriction.deny(
            workspace_id=workspace_of(request),
            identifier=read_identifier(request, asked.validated_data["identifier"]),
            purpose=_purpose(asked.validated_data["purpose"]),
            now=timezone.now(),
        )
        wake_on_commit(Stage.ACTIVATION, workspace_id=workspace_of(request))
        wake_on_commit(Stage.SEGMENTS, workspace_id=workspace_of(request))
        return Response(RestrictionBody(kept).data)

    @extend_schema(
        operation_id="lift_restriction",
        summary="End a restriction, or with `purpose` an objection",
        parameters=[
            OpenApiParameter("identifier", str, required=True, description="`TYPE:VALUE`"),
            OpenApiParameter("purpose", str, enum=GATED, description="without: the restriction of all of them"),
        ],
        responses={200: LiftedBody, **REFUSALS},
    )
    def delete(self, request: Request) -> Response:
        asked = RestrictionOrder(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        lifted = restriction.lift(
            workspace_id=workspace_of(request),
            identifier=read_identifier(request, asked.validated_data["identifier"]),
            purpose=_purpose(asked.validated_data["purpose"]),
            now=timezone.now(),
        )
        wake_on_commit(Stage.ACTIVATION, workspace_id=workspace_of(request))
        wake_on_commit(Stage.SEGMENTS, workspace_id=workspace_of(request))
        return Response(LiftedBody({"lifted": lifted}).data)


def _purpose(name: str | None) -> Purpose | None:
    return Purpose(name) if name else None
