"""Who is not stored: put on the suppression list, and taken off it. The list holds digests, so it cannot be read out."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.identifiers import read_identifier
from cdp.api.keys import KeyedView, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.models import Scope
from consent import suppression
from consent.models import SuppressionReason


class SuppressionOrder(serializers.Serializer[Any]):
    identifier = serializers.CharField(max_length=600, help_text="`TYPE:VALUE`")
    until = serializers.DateTimeField(required=False, allow_null=True, default=None, help_text="without: for ever")


class SuppressionBody(serializers.Serializer[Any]):
    identifier_type = serializers.CharField()
    reason = serializers.ChoiceField(SuppressionReason.values)
    until = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class UnsuppressedBody(serializers.Serializer[Any]):
    unsuppressed = serializers.IntegerField(help_text="0: the identifier was not on the list")


class SuppressionsView(KeyedView):
    scopes = {"POST": Scope.CONSENTS_WRITE, "DELETE": Scope.CONSENTS_WRITE}

    @extend_schema(
        operation_id="suppress",
        summary="Store nobody with this identifier any more; who is stored already stays, until they are erased",
        request=SuppressionOrder,
        responses={200: SuppressionBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = SuppressionOrder(data=request.data)
        asked.is_valid(raise_exception=True)
        kept = suppression.suppress(
            workspace_id=workspace_of(request),
            identifier=read_identifier(request, asked.validated_data["identifier"]),
            now=timezone.now(),
            reason=SuppressionReason.REQUEST,
            until=asked.validated_data["until"],
        )
        return Response(SuppressionBody(kept).data)

    @extend_schema(
        operation_id="unsuppress",
        summary="Take an identifier off the suppression list",
        parameters=[OpenApiParameter("identifier", str, required=True, description="`TYPE:VALUE`")],
        responses={200: UnsuppressedBody, **REFUSALS},
    )
    def delete(self, request: Request) -> Response:
        named = read_identifier(request, request.query_params.get("identifier", ""))
        gone = suppression.unsuppress(workspace_id=workspace_of(request), identifier=named)
        return Response(UnsuppressedBody({"unsuppressed": gone}).data)
