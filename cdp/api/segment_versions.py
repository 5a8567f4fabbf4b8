"""The versions of a segment, which are never changed: published, looked at, and published again."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.keys import KeyedView, scope_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.problems import NotFoundError
from cdp.api.segments import ALLOW_UNKNOWN, Definition, computed_later, segment_of
from cdp.api.wakeups import wake_on_commit
from cdp.models import Scope, Stage
from segments import services as segments
from segments.language import parse_json, to_text
from segments.models import Segment, SegmentVersion

NUMBER = OpenApiParameter("number", int, OpenApiParameter.PATH, description="of the version, from 1")


class NewSegmentVersion(Definition):
    allow_unknown = serializers.BooleanField(required=False, default=False, help_text=ALLOW_UNKNOWN)


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


class SegmentVersionBody(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    is_live = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    author = serializers.CharField(source="author.username", default=None, allow_null=True, help_text="null: a key")
    definition = serializers.JSONField()
    text = serializers.SerializerMethodField(help_text="the definition as people type it")

    def get_text(self, version: SegmentVersion) -> str:
        return to_text(parse_json(version.definition))


class SegmentVersionsBody(serializers.Serializer[Any]):
    versions = SegmentVersionBody(many=True, help_text="the newest first")


class VersionsView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ, "POST": Scope.SEGMENTS_WRITE}

    @extend_schema(
        operation_id="segment_versions",
        summary="All versions of the definition",
        responses={200: SegmentVersionsBody, **REFUSALS},
    )
    def get(self, request: Request, slug: str) -> Response:
        with scope_of(request):
            segment = segment_of(request, slug)
            versions = [_with_live(segment, version) for version in _versions(segment).order_by("-number")]
            return Response(SegmentVersionsBody({"versions": versions}).data)

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
            segment = segment_of(request, slug)
        published = segments.publish(segment=segment, author=None, now=timezone.now(), **asked.validated_data)
        if not published.is_serving:
            return Response(SegmentRunBody(published).data, status=computed_later(request))
        wake_on_commit(Stage.ACTIVATION, workspace_id=workspace_of(request))
        return Response(PublicationBody(published).data)


class VersionView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ}

    @extend_schema(
        operation_id="segment_version",
        summary="One version of the definition",
        parameters=[NUMBER],
        responses={200: SegmentVersionBody, **REFUSALS},
    )
    def get(self, request: Request, slug: str, number: int) -> Response:
        with scope_of(request):
            segment = segment_of(request, slug)
            return Response(SegmentVersionBody(_with_live(segment, _version(segment, number))).data)


class LiveView(KeyedView):
    scopes = {"POST": Scope.SEGMENTS_WRITE}

    @extend_schema(
        operation_id="republish_segment_version",
        summary="Go back to a version: its definition is published again, as a new one. An archived segment serves again",
        parameters=[NUMBER],
        request=None,
        responses={200: PublicationBody, 202: SegmentRunBody, **REFUSALS},
    )
    def post(self, request: Request, slug: str, number: int) -> Response:
        with scope_of(request):
            segment = segment_of(request, slug)
            _version(segment, number)
        published = segments.go_back(segment=segment, number=number, author=None, now=timezone.now())
        if not published.is_serving:
            return Response(SegmentRunBody(published).data, status=computed_later(request))
        wake_on_commit(Stage.ACTIVATION, workspace_id=workspace_of(request))
        return Response(PublicationBody(published).data)


def _versions(segment: Segment) -> Any:  # noqa: ANN401  # a queryset of versions
    return SegmentVersion.objects.filter(segment=segment).select_related("author")


def _version(segment: Segment, number: int) -> SegmentVersion:
    found: SegmentVersion | None = _versions(segment).filter(number=number).first()
    if found is None:
        raise NotFoundError
    return found


def _with_live(segment: Segment, version: SegmentVersion) -> SegmentVersion:
    version.is_live = version.pk == segment.live_version_id and segment.archived_at is None  # type: ignore[attr-defined]  # for the body
    return version
