"""What others said of a person, by the words of whoever answers the request."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.keys import KeyedView, key_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.models import Scope
from consent import mentions

ID = OpenApiParameter("number", int, OpenApiParameter.PATH, description="the id of the request")
MOST_IDS = 1_000  # of each table


class Words(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=mentions.LONGEST, help_text="whole words, such as a full name")
    places = serializers.ListField(
        child=serializers.ChoiceField(mentions.PLACES), required=False, allow_empty=False, default=list(mentions.PLACES),
        help_text="the tables; default: all of them",
    )  # fmt: skip


class MentionsBody(serializers.Serializer[Any]):
    rows = serializers.DictField(child=serializers.IntegerField(), help_text="how many, by table")
    ids = serializers.DictField(
        child=serializers.ListField(child=serializers.IntegerField()), help_text="the first thousand of each table"
    )


class MentionsView(KeyedView):
    scopes = {"POST": Scope.RIGHTS_WRITE}

    @extend_schema(
        operation_id="find_mentions",
        summary="Where others wrote of the person in these words; nothing is changed",
        parameters=[ID],
        request=Words,
        responses={200: MentionsBody, **REFUSALS},
    )
    def post(self, request: Request, number: int) -> Response:
        return _told(mentions.find_mentions(**_asked(request, number)))


class RedactionsView(KeyedView):
    scopes = {"POST": Scope.RIGHTS_WRITE}

    @extend_schema(
        operation_id="redact_mentions",
        summary="Put […] in the place of these words, for an erasure or a rectification that was begun",
        parameters=[ID],
        request=Words,
        responses={200: MentionsBody, **REFUSALS},
    )
    def post(self, request: Request, number: int) -> Response:
        return _told(mentions.redact_mentions(**_asked(request, number)))


def _asked(request: Request, number: int) -> dict[str, Any]:
    asked = Words(data=request.data)
    asked.is_valid(raise_exception=True)
    named = {"workspace_id": workspace_of(request), "request_id": number, "by": f"key:{key_of(request).pk}"}
    return {**named, "now": timezone.now(), **asked.validated_data}


def _told(found: mentions.Mentions) -> Response:
    return Response({"rows": found.counts, "ids": {place: ids[:MOST_IDS] for place, ids in found.rows.items()}})
