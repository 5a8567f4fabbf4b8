"""Segments together: who of many is in which, unions and differences of them, and how far they overlap."""

from collections.abc import Sequence
from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.identifiers import PROFILE_TYPE, read_identifier
from cdp.api.keys import KeyedView, permit_of, scope_of
from cdp.api.openapi import REFUSALS
from cdp.api.paging import MOST_ROWS, USUAL_ROWS, cursor_of, place_in
from cdp.api.segment_changes import ids_of
from cdp.models import Scope
from segments import algebra
from segments.algebra import MOST_SEGMENTS, Named

MOST_TESTED: Final = 1_000
LARGEST_ID: Final = 2**63 - 1


class TestBody(serializers.Serializer[Any]):
    profiles = serializers.ListField(
        child=serializers.CharField(max_length=500), min_length=1, max_length=MOST_TESTED,
        help_text="ids of profiles, or `TYPE:VALUE` of identifiers",
    )  # fmt: skip
    segments = serializers.ListField(child=serializers.SlugField(), min_length=1, max_length=MOST_SEGMENTS)


class TestedBody(serializers.Serializer[Any]):
    asked = serializers.CharField()
    profile = serializers.IntegerField(allow_null=True, help_text="null: nobody, or nobody whom the key may see")
    segments = serializers.ListField(child=serializers.CharField())


class TestResultsBody(serializers.Serializer[Any]):
    results = TestedBody(many=True, help_text="in the order asked")


class AlgebraBody(serializers.Serializer[Any]):
    expression = serializers.JSONField(
        help_text='a slug, or {"union" | "intersection" | "difference": [two or more of such]}'
    )
    cursor = serializers.CharField(required=False, default="", help_text="`next` of the page before")
    limit = serializers.IntegerField(required=False, default=USUAL_ROWS, min_value=1, max_value=MOST_ROWS)


class SetBody(serializers.Serializer[Any]):
    count = serializers.IntegerField(allow_null=True, help_text="of the whole set; on the first page alone")
    members = serializers.ListField(child=serializers.IntegerField(), help_text="ids of profiles, in order")
    next = serializers.CharField(allow_null=True, help_text="the cursor of the next page; null on the last one")


class OverlapPairBody(serializers.Serializer[Any]):
    count = serializers.IntegerField(help_text="in both; on the diagonal the size")
    jaccard = serializers.FloatField(allow_null=True, help_text="in both / in either; null when nobody is in either")


class OverlapMatrixBody(serializers.Serializer[Any]):
    segments = serializers.ListField(child=serializers.CharField())
    matrix = serializers.ListField(child=OverlapPairBody(many=True), help_text="a row for each segment, in this order")


class OverlapParameters(serializers.Serializer[Any]):
    of = serializers.CharField(help_text=f"slugs of at most {MOST_SEGMENTS} segments: `vip,lapsed`")

    def validate_of(self, text: str) -> list[str]:
        slugs = list(dict.fromkeys(slug.strip() for slug in text.split(",")))
        if len(slugs) > MOST_SEGMENTS:
            message = f"At most {MOST_SEGMENTS} segments can be compared."
            raise serializers.ValidationError(message)
        return slugs


class TestView(KeyedView):
    scopes = {"POST": Scope.SEGMENTS_READ}

    @extend_schema(
        operation_id="test_segments",
        summary="In which of these segments each of these people is now",
        request=TestBody,
        responses={200: TestResultsBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = TestBody(data=request.data)
        asked.is_valid(raise_exception=True)
        texts, slugs = asked.validated_data["profiles"], list(dict.fromkeys(asked.validated_data["segments"]))
        named = [_named(request, text) for text in texts]
        with scope_of(request):
            ids = dict(zip(ids_of(request, slugs), slugs, strict=True))
        with permit_of(request) as permit:
            found = algebra.memberships_of(permit, named, list(ids))
        results = [_tested(text, found.get(name), ids) for text, name in zip(texts, named, strict=True)]
        return Response(TestResultsBody({"results": results}).data)


def _named(request: Request, text: str) -> Named:
    if not text.isdecimal():
        identifier = read_identifier(request, text)
        if identifier.type != PROFILE_TYPE:
            return identifier.type, identifier.value
        text = identifier.value
    return min(int(text), LARGEST_ID) if text.isdecimal() else 0


def _tested(text: str, found: tuple[int, frozenset[int]] | None, slugs: dict[int, str]) -> dict[str, Any]:
    profile, inside = found or (None, frozenset())
    return {
        "asked": text,
        "profile": profile,
        "segments": [slug for segment, slug in slugs.items() if segment in inside],
    }


class AlgebraView(KeyedView):
    scopes = {"POST": Scope.SEGMENTS_READ}

    @extend_schema(
        operation_id="segment_algebra",
        summary="Who is in a union, intersection or difference of segments now: how many, and page by page",
        request=AlgebraBody,
        responses={200: SetBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = AlgebraBody(data=request.data)
        asked.is_valid(raise_exception=True)
        expression = algebra.read_expression(asked.validated_data["expression"])
        cursor, limit = asked.validated_data["cursor"], asked.validated_data["limit"]
        (after,) = place_in(cursor, (int,)) if cursor else (0,)
        ids = _by_slug(request, list(dict.fromkeys(algebra.slugs_of(expression))))
        with permit_of(request) as permit:
            members = algebra.members_of(permit, expression, ids, after=after, limit=limit)
            count = None if cursor else algebra.count_of(permit, expression, ids)
        following = cursor_of((members[-1],)) if len(members) == limit else None
        return Response(SetBody({"count": count, "members": members, "next": following}).data)


class OverlapView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ}

    @extend_schema(
        operation_id="segment_overlap",
        summary="How many are in both of two segments, for each pair of them",
        parameters=[OverlapParameters],
        responses={200: OverlapMatrixBody, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        asked = OverlapParameters(data=request.query_params)
        asked.is_valid(raise_exception=True)
        ids = _by_slug(request, asked.validated_data["of"])
        with permit_of(request) as permit:
            matrix = algebra.overlap(permit, list(ids.values()))
        return Response(OverlapMatrixBody({"segments": list(ids), "matrix": matrix}).data)


def _by_slug(request: Request, slugs: Sequence[str]) -> dict[str, int]:
    with scope_of(request):
        return dict(zip(slugs, ids_of(request, slugs), strict=True))
