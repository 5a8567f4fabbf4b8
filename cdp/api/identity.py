"""Undo what record linkage judged, and see before what that would change; what a profile was on a day."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp import foresight, retrospect
from cdp.api import profile_queries as people
from cdp.api.identifiers import read_identifier
from cdp.api.keys import KeyedView, permit_of, scope_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.profiles import IDENTIFIER, permitted_person
from cdp.api.wakeups import wake_on_commit
from cdp.models import Scope, Stage
from identity import history, undoing


class UndoOrder(serializers.Serializer[Any]):
    scope = serializers.ChoiceField([scope.value for scope in undoing.Scope])
    number = serializers.IntegerField(
        min_value=1, max_value=2**63 - 1, help_text="of the judgement, of the run, or the version of the model"
    )


class UndoneBody(serializers.Serializer[Any]):
    retracted = serializers.IntegerField(help_text="judgements; 0 where all was undone already")
    restored = serializers.IntegerField(help_text="judgements that had been outdated and are said again")
    identifiers = serializers.IntegerField(help_text="that are resolved anew")


class MovedProfile(serializers.Serializer[Any]):
    profile = serializers.IntegerField()
    before = serializers.ListField(child=serializers.IntegerField(), help_text="identifiers")
    after = serializers.ListField(child=serializers.IntegerField(), help_text="identifiers")


class ForesightBody(serializers.Serializer[Any]):
    undone = UndoneBody()
    merged = serializers.IntegerField(help_text="profiles that go into another one")
    split = serializers.IntegerField(help_text="profiles that come back")
    changed = serializers.IntegerField(help_text="profiles with other identifiers than now")
    sample = MovedProfile(many=True, help_text="the first of them")
    traits = serializers.IntegerField(help_text="values that leave a profile with their identifier")
    memberships = serializers.IntegerField(help_text="open memberships of these profiles: they are evaluated anew")
    audience_members = serializers.IntegerField(help_text="keys of these profiles that audiences hold")
    permitted = serializers.DictField(
        child=serializers.IntegerField(), help_text="purpose → how many of these profiles permit it now"
    )


class PastTrait(serializers.Serializer[Any]):
    value = serializers.CharField(allow_null=True)
    source = serializers.CharField()  # type: ignore[assignment]  # a field of this name is not Field.source
    identifier = serializers.IntegerField()
    observed_at = serializers.DateTimeField()


class PastMembership(serializers.Serializer[Any]):
    segment = serializers.CharField()
    version = serializers.IntegerField()
    entered_at = serializers.DateTimeField()
    entered_cause = serializers.CharField()


class PastBody(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    profile = serializers.IntegerField(allow_null=True, help_text="whose it was then; null: it was not there yet")
    identifiers = serializers.ListField(child=serializers.CharField(), help_text="`TYPE:VALUE`, the oldest first")
    traits = serializers.DictField(child=PastTrait())
    unknown_traits = serializers.ListField(
        child=serializers.CharField(), help_text="with a newer value since: what it was then is not kept"
    )
    memberships = PastMembership(many=True)
    cannot_be_known = serializers.ListField(child=serializers.CharField())


class Moment(serializers.Serializer[Any]):
    at = serializers.DateTimeField()


AT = OpenApiParameter("at", datetime, required=True, description="`2026-11-21T12:00:00Z`")


class PastView(KeyedView):
    scopes = {"GET": Scope.PROFILES_READ}

    @extend_schema(
        operation_id="profile_identity",
        summary="What the person was at a moment: identifiers, values and segments",
        parameters=[IDENTIFIER, AT],
        responses={200: PastBody, **REFUSALS},
    )
    def get(self, request: Request, identifier: str) -> Response:
        asked = Moment(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        at = asked.validated_data["at"]
        with permitted_person(request, identifier) as (permit, profile_id):
            named = people.founder_of(permit, read_identifier(request, identifier)) or profile_id
        with scope_of(request):
            past = history.profile_at(workspace_id=workspace_of(request), profile_id=named, at=at)
        with permit_of(request) as permit:
            shown = retrospect.told(past, at, retrospect.memberships_at(past, at))
            names = people.names(permit, past.identifiers)
        return Response(PastBody(_hidden_left_out(shown, names)).data)


def _hidden_left_out(shown: dict[str, Any], names: dict[int, str]) -> dict[str, Any]:
    """Who was of this person then may be another one now, who does not permit the purpose."""
    traits = {name: trait for name, trait in shown["traits"].items() if trait["identifier"] in names}
    return {**shown, "traits": traits, "identifiers": [names[one] for one in shown["identifiers"] if one in names]}


class UndoView(KeyedView):
    scopes = {"POST": Scope.IDENTITY_WRITE}

    @extend_schema(
        operation_id="undo_identity",
        summary="Take back a judgement, a run of record linkage, or all that a version of the model judged",
        request=UndoOrder,
        responses={200: UndoneBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        done = undoing.undo(**_asked(request), author=None)
        wake_on_commit(Stage.IDENTITY, workspace_id=workspace_of(request))
        return Response(UndoneBody(done).data)


class UndoPreviewView(KeyedView):
    scopes = {"POST": Scope.IDENTITY_WRITE}

    @extend_schema(
        operation_id="preview_undo_identity",
        summary="What the same call to undo would change; nothing is changed",
        request=UndoOrder,
        responses={200: ForesightBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        return Response(ForesightBody(asdict(foresight.of_undoing(**_asked(request)))).data)


def _asked(request: Request) -> dict[str, Any]:
    order = UndoOrder(data=request.data)
    order.is_valid(raise_exception=True)
    return {
        "workspace_id": workspace_of(request),
        "scope": undoing.Scope(order.validated_data["scope"]),
        "number": order.validated_data["number"],
        "now": timezone.now(),
    }
