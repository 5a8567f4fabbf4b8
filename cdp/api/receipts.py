"""What proves the ledger: signed receipts, the signed head, and the keys to check both with."""

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.keys import KeyedView, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.problems import NotFoundError
from cdp.models import Scope, Workspace
from consent import receipts


class ReceiptBody(serializers.Serializer[Any]):
    receipt = serializers.DictField(source="document", help_text="ISO/IEC TS 27560 as JSON-LD, in terms of DPV")
    jws = serializers.CharField(help_text="the same, as compact JWS: EdDSA")


class HeadBody(serializers.Serializer[Any]):
    position = serializers.IntegerField(source="document.position", help_text="how many records are chained")
    hash = serializers.CharField(source="document.hash")
    at = serializers.DateTimeField(source="document.at")
    jws = serializers.CharField()


class ReceiptView(KeyedView):
    scopes = {"GET": Scope.CONSENTS_READ}

    @extend_schema(
        operation_id="receipt",
        summary="The signed receipt of one record of the ledger",
        parameters=[OpenApiParameter("record", int, OpenApiParameter.PATH, description="the id of the record")],
        responses={200: ReceiptBody, **REFUSALS},
    )
    def get(self, request: Request, record: int) -> Response:
        signed = receipts.receipt(workspace_id=workspace_of(request), record_id=record, now=timezone.now())
        return Response(ReceiptBody(signed).data)


class HeadView(KeyedView):
    scopes = {"GET": Scope.CONSENTS_READ}

    @extend_schema(
        operation_id="ledger_head",
        summary="The signed head of the ledger: note it elsewhere, and `consent verify --head` checks it later",
        responses={200: HeadBody, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        signed = receipts.signed_head(workspace_id=workspace_of(request), now=timezone.now())
        return Response(HeadBody(signed).data)


@require_safe
def public_keys(_: HttpRequest, workspace: str) -> JsonResponse:
    """For everybody who holds a receipt: a JWK set."""
    found = Workspace.objects.filter(slug=workspace).values_list("pk", flat=True).first()
    if found is None:
        raise NotFoundError
    return JsonResponse({"keys": receipts.public_keys(workspace_id=found)})
