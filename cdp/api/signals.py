"""What consent strings of other systems say, and that this site heeds Global Privacy Control."""

from datetime import date
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.keys import KeyedView
from cdp.api.openapi import REFUSALS
from cdp.models import Scope
from consent.signals import gpc, reading
from consent.signals.bits import LARGEST_ID, LONGEST

GPC_HEEDED_SINCE: Final = date(2026, 11, 25)


class Signal(serializers.Serializer[Any]):
    signal = serializers.CharField(max_length=LONGEST, help_text="a TC string, a GPP string or US Privacy, as it came")
    vendor = serializers.IntegerField(
        required=False, allow_null=True, default=None, min_value=1, max_value=LARGEST_ID,
        help_text="your number in the Global Vendor List: the answer then says what you may do",
    )  # fmt: skip


class VendorBody(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    consent = serializers.ListField(
        child=serializers.IntegerField(), help_text="purposes that it may pursue by consent"
    )
    interest = serializers.ListField(
        child=serializers.IntegerField(), help_text="purposes that it may pursue by legitimate interest"
    )


class Told(serializers.Serializer[Any]):
    is_valid = serializers.BooleanField(  # type: ignore[assignment]  # a field of this name is not the method
        required=False, help_text="of TCF; a string with faults permits nobody anything"
    )
    faults = serializers.ListField(child=serializers.CharField(), required=False)
    said = serializers.DictField(
        required=False, allow_null=True, help_text="numbers that are set; ids of vendors as ranges, both ends included"
    )
    vendor = VendorBody(required=False)


class SectionBody(Told):
    id = serializers.IntegerField()
    name = serializers.CharField()
    text = serializers.CharField()


class SignalBody(Told):
    kind = serializers.ChoiceField(["tcf", "gpp", "us_privacy"])
    sections = SectionBody(many=True, required=False, help_text="of a GPP string")


class DecodeView(KeyedView):
    scopes = {"POST": Scope.CONSENTS_READ}

    @extend_schema(
        operation_id="decode_signal",
        summary="What a TC string, a GPP string or US Privacy says; nothing is recorded",
        request=Signal,
        responses={200: SignalBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = Signal(data=request.data)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        return Response(reading.read(given["signal"], now=timezone.now(), vendor=given["vendor"]))


@require_safe
def gpc_support(_: HttpRequest) -> HttpResponse:
    """`/.well-known/gpc.json`."""
    return JsonResponse(gpc.support(GPC_HEEDED_SINCE))
