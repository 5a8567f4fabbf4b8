"""Segments: definitions, who is in them, and why."""

from dataclasses import asdict
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from activation import reaching
from cdp.api import profile_queries as people
from cdp.api.keys import KeyedView, permit_of, scope_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.paging import PageParameters, next_cursor, page_of
from cdp.api.problems import NotFoundError
from cdp.api.wakeups import wake_on_commit, wake_versions_on_commit
from cdp.models import Scope, Stage
from segments import naming, ranks
from segments import services as segments
from segments.models import Backfill, Segment
from segments.queries import sizes_of

DEFINITION = "the rule: its JSON form, or the text that people type"


class SegmentBody(serializers.Serializer[Any]):
    slug = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    version = serializers.IntegerField(source="live_version.number", default=None, allow_null=True)
    computed_at = serializers.DateTimeField(allow_null=True)
    archived_at = serializers.DateTimeField(allow_null=True)


class ListedBody(SegmentBody):
    size = serializers.IntegerField(help_text="how many are in it now")


class SegmentsBody(serializers.Serializer[Any]):
    segments = ListedBody(many=True)
    next = serializers.CharField(allow_null=True, help_text="the cursor of the next page; null on the last one")


class SegmentWithDefinition(SegmentBody):
    definition = serializers.JSONField(source="live_version.definition", default=None, allow_null=True)


class RankingBody(serializers.Serializer[Any]):
    rank = serializers.CharField(help_text="as people type it")
    population = serializers.IntegerField(help_text="how many were ranked")
    computed_at = serializers.DateTimeField(help_text="since when it ends where it does")
    refresh_at = serializers.DateTimeField(help_text="when it is computed anew")


class SegmentWithRankings(SegmentWithDefinition):
    rankings = RankingBody(many=True, source="ends", help_text="those of its rule; empty for most")


ALLOW_UNKNOWN = "names that the workspace does not have yet are right: they will come later"


class NewSegment(serializers.Serializer[Any]):
    slug = serializers.SlugField(max_length=50)
    name = serializers.CharField(max_length=200, required=False, default="")
    definition = serializers.JSONField(help_text=DEFINITION)
    allow_unknown = serializers.BooleanField(required=False, default=False, help_text=ALLOW_UNKNOWN)


class NewName(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=200, required=False)
    description = serializers.CharField(required=False, allow_blank=True, max_length=10_000)


class Definition(serializers.Serializer[Any]):
    definition = serializers.JSONField(help_text=DEFINITION)


class PreviewAsked(Definition):
    at = serializers.DateTimeField(
        required=False,
        help_text="as of this time: its events and memberships; traits and permissions are always those of now",
    )


class ProgressBody(serializers.Serializer[Any]):
    version = serializers.IntegerField(source="version.number")
    run = serializers.IntegerField(source="run.pk")
    looked_at = serializers.IntegerField(source="run.counts.looked_at")
    people = serializers.IntegerField(source="run.counts.people")
    error = serializers.CharField(source="run.error", help_text="what failed last and is tried again; mostly empty")
    started_at = serializers.DateTimeField(source="run.started_at")
    heartbeat_at = serializers.DateTimeField(source="run.heartbeat_at")


class OverlapBody(serializers.Serializer[Any]):
    segment = serializers.CharField()
    name = serializers.CharField()
    count = serializers.IntegerField(help_text="of those who would be in, how many are in this segment too")
    is_exact = serializers.BooleanField()


class ReachBody(serializers.Serializer[Any]):
    destination = serializers.CharField()
    kind = serializers.CharField()
    count = serializers.IntegerField(help_text="who permits it and has an identifier that it takes, as of now")
    is_exact = serializers.BooleanField()


class DoubtBody(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField()
    details = serializers.JSONField(help_text="the place in the rule, and what was probably meant")


class PreviewBody(serializers.Serializer[Any]):
    count = serializers.IntegerField(help_text="how many would be in")
    is_exact = serializers.BooleanField(help_text="false: estimated from a sample of people")
    low = serializers.IntegerField(help_text="with 95 percent it is no fewer")
    high = serializers.IntegerField(help_text="and no more; both are the count if it is exact")
    people = serializers.IntegerField(help_text="of how many")
    sample = serializers.ListField(
        child=serializers.IntegerField(), help_text="the first of them, as far as the key may see them"
    )
    overlaps = OverlapBody(many=True, help_text="with other segments that serve, the largest first")
    destinations = ReachBody(many=True, help_text="how many each destination would reach")
    doubts = DoubtBody(many=True, help_text="names that the workspace does not have, and values that are never met")
    definition = serializers.JSONField(help_text="in its canonical JSON form")
    at = serializers.DateTimeField()
    computed_at = serializers.DateTimeField()
    seconds = serializers.FloatField(help_text="how long the counting took")


class SegmentsView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ, "POST": Scope.SEGMENTS_WRITE}

    @extend_schema(
        operation_id="segments",
        summary="All segments with their sizes, in order of slug",
        parameters=[PageParameters],
        responses={200: SegmentsBody, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        page = page_of(request, str)
        with scope_of(request):
            rows = list(
                _segments(request).filter(slug__gt=page.after[0] if page.after else "").order_by("slug")[: page.limit]
            )
            sizes = sizes_of([row.pk for row in rows])
        place = (rows[-1].slug,) if rows else ()
        listed = [{**SegmentBody(row).data, "size": sizes.get(row.pk, 0)} for row in rows]
        return Response({"segments": listed, "next": next_cursor(rows, page.limit, place)})

    @extend_schema(
        operation_id="create_segment",
        summary="Create a segment. Where there are few people its first version is computed before the answer (201), else"
        " it is being computed (202)",
        request=NewSegment,
        responses={201: SegmentWithDefinition, 202: SegmentWithDefinition, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = NewSegment(data=request.data)
        asked.is_valid(raise_exception=True)
        made = segments.create_segment(
            workspace_id=workspace_of(request), author=None, now=timezone.now(), **asked.validated_data
        )
        wake_on_commit(Stage.ACTIVATION, workspace_id=workspace_of(request))
        return Response(SegmentWithDefinition(made).data, status=201 if made.live_version else computed_later(request))


class SegmentView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ, "PATCH": Scope.SEGMENTS_WRITE, "DELETE": Scope.SEGMENTS_WRITE}

    @extend_schema(
        operation_id="segment",
        summary="A segment with its live definition",
        responses={200: SegmentWithRankings, **REFUSALS},
    )
    def get(self, request: Request, slug: str) -> Response:
        with scope_of(request):
            segment = segment_of(request, slug)
            segment.ends = ranks.ends_of(segment)  # type: ignore[attr-defined]  # for the answer alone
            return Response(SegmentWithRankings(segment).data)

    @extend_schema(
        operation_id="rename_segment",
        summary="Another name or description; the definition stays",
        request=NewName,
        responses={200: SegmentWithDefinition, **REFUSALS},
    )
    def patch(self, request: Request, slug: str) -> Response:
        asked = NewName(data=request.data)
        asked.is_valid(raise_exception=True)
        with scope_of(request):
            segment = naming.rename_segment(segment=segment_of(request, slug), **asked.validated_data)
            return Response(SegmentWithDefinition(segment).data)

    @extend_schema(
        operation_id="archive_segment",
        summary="Archive a segment: everybody leaves it, its history stays",
        responses={204: None, **REFUSALS},
    )
    def delete(self, request: Request, slug: str) -> Response:
        with scope_of(request):
            segment = segment_of(request, slug)
        segments.archive(segment=segment, now=timezone.now())
        wake_on_commit(Stage.ACTIVATION, workspace_id=workspace_of(request))
        return Response(status=204)


class PreviewView(KeyedView):
    scopes = {"POST": Scope.SEGMENTS_READ}

    @extend_schema(
        operation_id="preview_segment",
        summary="How many would be in, within a second; nothing is written",
        request=PreviewAsked,
        responses={200: PreviewBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = PreviewAsked(data=request.data)
        asked.is_valid(raise_exception=True)
        found, reached = reaching.preview(
            workspace_id=workspace_of(request), now=timezone.now(), **asked.validated_data
        )
        with permit_of(request) as permit:
            sample = people.visible(permit, found.sample)
        return Response(PreviewBody({**asdict(found), "sample": sample, "destinations": reached}).data)


class ProgressView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ, "DELETE": Scope.SEGMENTS_WRITE}

    @extend_schema(
        operation_id="segment_publication",
        summary="How far the version is that is being computed; 404 when none is",
        responses={200: ProgressBody, **REFUSALS},
    )
    def get(self, request: Request, slug: str) -> Response:
        with scope_of(request):
            return Response(ProgressBody(_under_way(request, slug)).data)

    @extend_schema(
        operation_id="cancel_segment_publication",
        summary="Give up the version that is being computed: the one that serves goes on",
        responses={204: None, **REFUSALS},
    )
    def delete(self, request: Request, slug: str) -> Response:
        with scope_of(request):
            segment = segment_of(request, slug)
        if not segments.cancel_publication(segment=segment, now=timezone.now()):
            raise NotFoundError
        return Response(status=204)


def _segments(request: Request) -> QuerySet[Segment]:
    return Segment.objects.filter(workspace=workspace_of(request)).select_related("live_version")


def segment_of(request: Request, slug: str) -> Segment:
    found = _segments(request).filter(slug=slug).first()
    if found is None:
        raise NotFoundError
    return found


def _under_way(request: Request, slug: str) -> Backfill:
    found = Backfill.objects.filter(workspace=workspace_of(request), segment__slug=slug)
    under_way = found.select_related("version", "run").first()
    if under_way is None:
        raise NotFoundError
    return under_way


def computed_later(request: Request) -> int:
    wake_versions_on_commit(workspace_id=workspace_of(request))
    return 202
