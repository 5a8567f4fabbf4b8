"""What others said of a person, by the words of whoever answers the request."""

from collections.abc import Callable
from typing import Any, Final

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


class ChosenWords(Words):
    ids = serializers.DictField(
        child=serializers.ListField(
            child=serializers.IntegerField(min_value=1, max_value=2**63 - 1), allow_empty=False, max_length=MOST_IDS
        ),
        source="chosen", required=False, allow_empty=False,
        help_text="the rows that mean the person, by table; default: all that have the words",
    )  # fmt: skip

    def validate_ids(self, ids: dict[str, list[int]]) -> dict[str, list[int]]:
        if unknown := ids.keys() - set(mentions.PLACES):
            message = f"There is no such table: {', '.join(sorted(unknown))}."
            raise serializers.ValidationError(message)
        return ids


class MentionsBody(serializers.Serializer[Any]):
    rows = serializers.DictField(child=serializers.IntegerField(), help_text="how many, by table")
    ids = serializers.DictField(
        child=serializers.ListField(child=serializers.IntegerField()), help_text="the first thousand of each table"
    )


def _view(
    name: str, summary: str, asks: type[serializers.Serializer[Any]], service: Callable[..., mentions.Mentions]
) -> type[KeyedView]:
    """The view of one thing that is done with the words."""

    class WordsView(KeyedView):
        scopes = {"POST": Scope.RIGHTS_WRITE}

        @extend_schema(
            operation_id=name,
            summary=summary,
            parameters=[ID],
            request=asks,
            responses={200: MentionsBody, **REFUSALS},
        )
        def post(self, request: Request, number: int) -> Response:
            asked = asks(data=request.data)
            asked.is_valid(raise_exception=True)
            named = {"workspace_id": workspace_of(request), "request_id": number, "by": f"key:{key_of(request).pk}"}
            found = service(**named, now=timezone.now(), **asked.validated_data)
            ids = {place: ids[:MOST_IDS] for place, ids in found.rows.items()}
            return Response({"rows": found.counts, "ids": ids})

    return WordsView


VIEWS: Final[dict[str, type[KeyedView]]] = {
    "mentions": _view(
        "find_mentions",
        "Where others wrote of the person in these words; nothing is changed",
        Words,
        mentions.find_mentions,
    ),
    "redactions": _view(
        "redact_mentions",
        "Put […] in the place of these words, for an erasure or a rectification that was begun",
        ChosenWords,
        mentions.redact_mentions,
    ),
}
