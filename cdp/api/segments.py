"""Segments: definitions, who is in them, and why."""

from dataclasses import asdict
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import get_language
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from activation import reaching
from cdp.api import profile_queries as people
from cdp.api.identifiers import PROFILE_TYPE
from cdp.api.keys import KeyedView, permit_of, scope_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.paging import PageParameters, next_cursor, page_of
from cdp.api.problems import NotFoundError
from cdp.api.profiles import permitted_person
from cdp.api.wakeups import wake_on_commit, wake_versions_on_commit
from cdp.models import Scope, Stage
from segments import ranks
from segments import services as segments
from segments.models import Backfill, Segment

DEFINITION = "the rule: its JSON form, or the text that people type"
PROFILE = OpenApiParameter(
    "profile", str, OpenApiParameter.PATH, description="the id of a profile, or `TYPE:VALUE` of one of its identifiers"
)


class SegmentBody(serializers.Serializer[Any]):
    slug = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    version = serializers.IntegerField(source="live_version.number", default=None, allow_null=True)
    computed_at = serializers.DateTimeField(allow_null=True)
    archived_at = serializers.DateTimeField(allow_null=True)


class SegmentsBody(serializers.Serializer[Any]):
    segments = SegmentBody(many=True)


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


class Definition(serializers.Serializer[Any]):
    definition = serializers.JSONField(help_text=DEFINITION)


class NewSegmentVersion(Definition):
    allow_unknown = serializers.BooleanField(required=False, default=False, help_text=ALLOW_UNKNOWN)


class PreviewAsked(Definition):
    at = serializers.DateTimeField(
        required=False,
        help_text="as of this time: its events and memberships; traits and permissions are always those of now",
    )


class PublicationBody(serializers.Serializer[Any]):
    version = serializers.IntegerField(source="version.number")
    entered = serializers.IntegerField()
    left = serializers.IntegerField()
    members = serializers.IntegerField()


class SegmentRunBody(serializers.Serializer[Any]):
    """A version that is computed beside the one that serves."""

    version = serializers.IntegerField(source="version.number")
    run = serializers.IntegerField(source="run.pk", help_text="the run that computes it")
    people = serializers.IntegerField(source="run.counts.people", help_text="how many it looks at")


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


class MemberBody(serializers.Serializer[Any]):
    profile = serializers.IntegerField()
    entered_at = serializers.DateTimeField()
    entered_cause = serializers.CharField()


class MembersBody(serializers.Serializer[Any]):
    members = MemberBody(many=True)
    next = serializers.CharField(allow_null=True, help_text="the cursor of the next page; null on the last one")


class ReasonBody(serializers.Serializer[Any]):
    condition = serializers.CharField()
    sentence = serializers.CharField()
    is_true = serializers.BooleanField()
    next_change_at = serializers.DateTimeField(allow_null=True, help_text="when it could change if nothing happens")


class WhyBody(serializers.Serializer[Any]):
    profile = serializers.IntegerField()
    is_in = serializers.BooleanField(help_text="by the live definition, at this instant")
    entered_at = serializers.DateTimeField(allow_null=True)
    entered_cause = serializers.CharField(allow_null=True)
    reasons = ReasonBody(many=True)


class SegmentsView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ, "POST": Scope.SEGMENTS_WRITE}

    @extend_schema(operation_id="segments", summary="All segments", responses={200: SegmentsBody, **REFUSALS})
    def get(self, request: Request) -> Response:
        with scope_of(request):
            return Response(SegmentsBody({"segments": _segments(request).order_by("slug")}).data)

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
        return Response(SegmentWithDefinition(made).data, status=201 if made.live_version else _computed_later(request))


class SegmentView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ, "DELETE": Scope.SEGMENTS_WRITE}

    @extend_schema(
        operation_id="segment",
        summary="A segment with its live definition",
        responses={200: SegmentWithRankings, **REFUSALS},
    )
    def get(self, request: Request, slug: str) -> Response:
        with scope_of(request):
            segment = _segment(request, slug)
            segment.ends = ranks.ends_of(segment)  # type: ignore[attr-defined]  # for the answer alone
            return Response(SegmentWithRankings(segment).data)

    @extend_schema(
        operation_id="archive_segment",
        summary="Archive a segment: everybody leaves it, its history stays",
        responses={204: None, **REFUSALS},
    )
    def delete(self, request: Request, slug: str) -> Response:
        with scope_of(request):
            segment = _segment(request, slug)
        segments.archive(segment=segment, now=timezone.now())
        wake_on_commit(Stage.ACTIVATION, workspace_id=workspace_of(request))
        return Response(status=204)


class VersionsView(KeyedView):
    scopes = {"POST": Scope.SEGMENTS_WRITE}

    @extend_schema(
        operation_id="publish_segment",
        summary="Publish a new version of the definition. Where there are few people it serves before the answer (200), else"
        " it is computed beside the one that serves, and takes its place later (202)",
        request=NewSegmentVersion,
        responses={200: PublicationBody, 202: SegmentRunBody, **REFUSALS},
    )
    def post(self, request: Request, slug: str) -> Response:
        asked = NewSegmentVersion(data=request.data)
        asked.is_valid(raise_exception=True)
        with scope_of(request):
            segment = _segment(request, slug)
        published = segments.publish(segment=segment, author=None, now=timezone.now(), **asked.validated_data)
        if not published.is_serving:
            return Response(SegmentRunBody(published).data, status=_computed_later(request))
        wake_on_commit(Stage.ACTIVATION, workspace_id=workspace_of(request))
        return Response(PublicationBody(published).data)


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
            segment = _segment(request, slug)
        if not segments.cancel_publication(segment=segment, now=timezone.now()):
            raise NotFoundError
        return Response(status=204)


class MembersView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ}

    @extend_schema(
        operation_id="segment_members",
        summary="Who is in the segment now, as far as they permit the purpose of the key; in order of id",
        parameters=[PageParameters],
        responses={200: MembersBody, **REFUSALS},
    )
    def get(self, request: Request, slug: str) -> Response:
        page = page_of(request, int)
        with permit_of(request) as permit:
            segment = _segment(request, slug)
            rows = people.members_of(permit, segment.pk, after=page.after[0] if page.after else 0, limit=page.limit)
        place = (rows[-1]["profile"],) if rows else ()
        return Response(MembersBody({"members": rows, "next": next_cursor(rows, page.limit, place)}).data)


class WhyView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ}

    @extend_schema(
        operation_id="segment_why",
        summary="Why somebody is in the segment, or not: each condition, and whether it holds",
        parameters=[PROFILE],
        responses={200: WhyBody, **REFUSALS},
    )
    def get(self, request: Request, slug: str, profile: str) -> Response:
        named = f"{PROFILE_TYPE}:{profile}" if profile.isdecimal() else profile
        with permitted_person(request, named) as (permit, profile_id):
            current = people.memberships(permit, profile_id, with_past=False)
        answer = segments.why(
            workspace_id=workspace_of(request),
            slug=slug,
            profile_id=profile_id,
            now=timezone.now(),
            locale=(get_language() or "en")[:2],
        )
        since = next((row for row in current if row["slug"] == slug), {"entered_at": None, "entered_cause": None})
        return Response(WhyBody({**since, **asdict(answer), "profile": profile_id}).data)


def _segments(request: Request) -> QuerySet[Segment]:
    return Segment.objects.filter(workspace=workspace_of(request)).select_related("live_version")


def _segment(request: Request, slug: str) -> Segment:
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


def _computed_later(request: Request) -> int:
    wake_versions_on_commit(workspace_id=workspace_of(request))
    return 202
