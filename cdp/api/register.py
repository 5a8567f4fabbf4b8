"""The record of processing activities, as JSON or as a file."""

from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from activation.register import register_of
from cdp.api.keys import KeyedView, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.models import Scope
from consent import register, spreadsheet


class RegisterParameters(serializers.Serializer[Any]):
    file = serializers.ChoiceField(
        ["json", *register.FILES], required=False, default="json", help_text="the kind of file"
    )


class RegisterView(KeyedView):
    scopes = {"GET": Scope.CONSENTS_READ}

    @extend_schema(
        operation_id="register_art30",
        summary="The record of processing activities (GDPR Art. 30), from what is declared and enforced",
        parameters=[RegisterParameters],
        responses={
            (200, "application/json"): OpenApiTypes.OBJECT,
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "text/html"): OpenApiTypes.STR,
            (200, spreadsheet.KIND): OpenApiTypes.BINARY,
            **REFUSALS,
        },
    )
    def get(self, request: Request) -> HttpResponse:
        asked = RegisterParameters(data=request.query_params)
        asked.is_valid(raise_exception=True)
        built = register_of(workspace_id=workspace_of(request), now=timezone.now())
        if asked.validated_data["file"] not in register.FILES:
            return Response(built.as_json())
        write, kind = register.FILES[asked.validated_data["file"]]
        return HttpResponse(write(built), content_type=kind)
