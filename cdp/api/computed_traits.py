"""Computed traits: values made of what people did, under names that rules can use."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.keys import KeyedView, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.problems import NotFoundError
from cdp.api.wakeups import wake_on_commit, wake_versions_on_commit
from cdp.models import Scope, Stage
from segments import computed
from segments.computed import Defined, UnknownComputedTraitError
from segments.language import measured_to_text
from segments.wording import measure_in_words

MEASURE = (
    'what is measured: its JSON form, or the text, such as `sum of "amount" of "Order Completed" in last 365 days`'
)


class ComputedTraitBody(serializers.Serializer[Any]):
    slug = serializers.CharField(source="trait.slug")
    name = serializers.CharField(source="trait.name")
    version = serializers.IntegerField(source="version.number")
    definition = serializers.JSONField(source="version.definition")
    text = serializers.SerializerMethodField(help_text="as people type it")
    sentence = serializers.SerializerMethodField(help_text="in the language of the request")
    segments = serializers.ListField(
        child=serializers.CharField(), source="users", help_text="those that serve and use it"
    )
    changed_at = serializers.DateTimeField(source="version.created_at")
    archived_at = serializers.DateTimeField(source="trait.archived_at", allow_null=True)

    def get_text(self, defined: Defined) -> str:
        return measured_to_text(defined.measured)

    def get_sentence(self, defined: Defined) -> str:
        return measure_in_words(defined.measured)


class ComputedTraitsBody(serializers.Serializer[Any]):
    computed_traits = ComputedTraitBody(many=True)


class NewMeasure(serializers.Serializer[Any]):
    definition = serializers.JSONField(help_text=MEASURE)


class NewComputedTrait(NewMeasure):
    slug = serializers.SlugField(max_length=50)
    name = serializers.CharField(max_length=200, required=False, default="")


class ChangedComputedTrait(ComputedTraitBody):
    published = serializers.ListField(
        child=serializers.CharField(), help_text="segments that use it: a new version of each was published"
    )


class ComputedTraitsView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ, "POST": Scope.SEGMENTS_WRITE}

    @extend_schema(
        operation_id="computed_traits",
        summary="All computed traits, in order of slug",
        responses={200: ComputedTraitsBody, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        found = computed.defined_in(workspace_of(request))
        return Response(ComputedTraitsBody({"computed_traits": found}).data)

    @extend_schema(
        operation_id="create_computed_trait",
        summary='Define a computed trait: rules ask `computed "slug"`. One that is archived comes back',
        request=NewComputedTrait,
        responses={201: ComputedTraitBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = NewComputedTrait(data=request.data)
        asked.is_valid(raise_exception=True)
        made = computed.create_computed_trait(workspace_id=workspace_of(request), author=None, **asked.validated_data)
        return Response(ComputedTraitBody(_defined(request, made.slug)).data, status=201)


class ComputedTraitView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ, "PUT": Scope.SEGMENTS_WRITE, "DELETE": Scope.SEGMENTS_WRITE}

    @extend_schema(
        operation_id="computed_trait",
        summary="A computed trait: how it is measured, and who uses it",
        responses={200: ComputedTraitBody, **REFUSALS},
    )
    def get(self, request: Request, slug: str) -> Response:
        return Response(ComputedTraitBody(_defined(request, slug)).data)

    @extend_schema(
        operation_id="change_computed_trait",
        summary="Measure it otherwise from now on. The segments that use it are published anew, in the same transaction",
        request=NewMeasure,
        responses={200: ChangedComputedTrait, **REFUSALS},
    )
    def put(self, request: Request, slug: str) -> Response:
        asked = NewMeasure(data=request.data)
        asked.is_valid(raise_exception=True)
        workspace_id, definition = workspace_of(request), asked.validated_data["definition"]
        try:
            published = computed.change_computed_trait(
                workspace_id=workspace_id, slug=slug, definition=definition, author=None, now=timezone.now()
            )
        except UnknownComputedTraitError as error:
            raise NotFoundError from error
        wake_versions_on_commit(workspace_id=workspace_id)
        wake_on_commit(Stage.ACTIVATION, workspace_id=workspace_id)
        return Response({**ComputedTraitBody(_defined(request, slug)).data, "published": published})

    @extend_schema(
        operation_id="archive_computed_trait",
        summary="Archive a computed trait. Refused while a segment uses it: `segments` names those",
        responses={204: None, **REFUSALS},
    )
    def delete(self, request: Request, slug: str) -> Response:
        try:
            computed.archive_computed_trait(workspace_id=workspace_of(request), slug=slug, now=timezone.now())
        except UnknownComputedTraitError as error:
            raise NotFoundError from error
        return Response(status=204)


def _defined(request: Request, slug: str) -> Defined:
    try:
        return computed.defined_as(workspace_id=workspace_of(request), slug=slug)
    except UnknownComputedTraitError as error:
        raise NotFoundError from error
