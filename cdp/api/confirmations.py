"""Double opt-in: ask for a consent, and confirm it with the token that the person was sent."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.consents import PURPOSES
from cdp.api.identifiers import read_identifier
from cdp.api.keys import KeyedView, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.wakeups import wake_on_commit
from cdp.models import Scope, Stage
from consent import confirmations


class ConsentRequest(serializers.Serializer[Any]):
    identifier = serializers.CharField(max_length=600, help_text="`TYPE:VALUE`")
    purpose = serializers.ChoiceField(PURPOSES)
    notice = serializers.IntegerField(required=False, allow_null=True, default=None, source="notice_id")
    recipient = serializers.CharField(required=False, max_length=64, default="")
    jurisdiction = serializers.CharField(required=False, max_length=6, default="")
    address = serializers.IPAddressField(
        required=False, allow_null=True, default=None, help_text="of the person; kept where the workspace says so"
    )


class AskedBody(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="told once: send it to the person")
    expires_at = serializers.DateTimeField()


class ConfirmationBody(serializers.Serializer[Any]):
    token = serializers.CharField(max_length=100)
    address = serializers.IPAddressField(required=False, allow_null=True, default=None)


class ConfirmedBody(serializers.Serializer[Any]):
    record = serializers.IntegerField(help_text="id in the ledger, and of the receipt")


class RequestsView(KeyedView):
    scopes = {"POST": Scope.CONSENTS_WRITE}

    @extend_schema(
        operation_id="request_consent",
        summary="Ask for a consent: nothing is permitted until the person confirms",
        request=ConsentRequest,
        responses={201: AskedBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = ConsentRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        named = read_identifier(request, asked.validated_data.pop("identifier"))
        opened = confirmations.request_consent(
            workspace_id=workspace_of(request), identifier=named, now=timezone.now(), **asked.validated_data
        )
        return Response(AskedBody(opened).data, status=201)


class ConfirmView(KeyedView):
    scopes = {"POST": Scope.CONSENTS_WRITE}

    @extend_schema(
        operation_id="confirm_consent",
        summary="The person used the token, once and in time: the consent is given",
        request=ConfirmationBody,
        responses={200: ConfirmedBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = ConfirmationBody(data=request.data)
        asked.is_valid(raise_exception=True)
        record = confirmations.confirm_consent(
            workspace_id=workspace_of(request), now=timezone.now(), **asked.validated_data
        )
        wake_on_commit(Stage.SEGMENTS, workspace_id=workspace_of(request))
        return Response(ConfirmedBody({"record": record}).data)
