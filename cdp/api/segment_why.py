"""Why somebody is in a segment, or not: now or at another instant, until when, and when they were in it before."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import get_language
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api import profile_queries as people
from cdp.api.identifiers import PROFILE_TYPE
from cdp.api.keys import KeyedView, key_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.profiles import permitted_person
from cdp.models import Scope
from segments import services as segments
from segments.explaining import Part

PROFILE = OpenApiParameter(
    "profile", str, OpenApiParameter.PATH, description="the id of a profile, or `TYPE:VALUE` of one of its identifiers"
)


class WhyParameters(serializers.Serializer[Any]):
    at = serializers.DateTimeField(
        required=False, help_text="as of another instant; traits and identifiers are taken as they are known today"
    )


class ReasonBody(serializers.Serializer[Any]):
    condition = serializers.CharField()
    sentence = serializers.CharField()
    is_true = serializers.BooleanField()
    next_change_at = serializers.DateTimeField(allow_null=True, help_text="when it could change if nothing happens")
    known = serializers.JSONField(
        allow_null=True, help_text="the value that is compared, for keys that may also read profiles"
    )


class NextAnswerBody(serializers.Serializer[Any]):
    at = serializers.DateTimeField(allow_null=True, help_text="the first instant at which the answer is another one")
    looked_until = serializers.DateTimeField(allow_null=True, help_text="null unless there was too much to look at")


class PeriodBody(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    entered_at = serializers.DateTimeField()
    entered_cause = serializers.CharField()
    left_at = serializers.DateTimeField(allow_null=True)
    left_cause = serializers.CharField(allow_null=True)


class WhyBody(serializers.Serializer[Any]):
    profile = serializers.IntegerField()
    at = serializers.DateTimeField(help_text="the instant of the answer")
    is_in = serializers.BooleanField(help_text="by the live definition, at this instant")
    entered_at = serializers.DateTimeField(allow_null=True, help_text="of the membership that lasted then")
    entered_cause = serializers.CharField(allow_null=True)
    reasons = ReasonBody(many=True, help_text="the conditions from left to right")
    tree = serializers.JSONField(help_text="the rule, each node with its answer: `and`, `or`, `not` or a `condition`")
    when_next = NextAnswerBody(help_text="if nothing happens")
    history = PeriodBody(many=True, help_text="the newest first")


class WhyView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ}

    @extend_schema(
        operation_id="segment_why",
        summary="Why somebody is in the segment, or not: each condition, whether it holds, and until when",
        parameters=[PROFILE, WhyParameters],
        responses={200: WhyBody, **REFUSALS},
    )
    def get(self, request: Request, slug: str, profile: str) -> Response:
        asked = WhyParameters(data=request.query_params)
        asked.is_valid(raise_exception=True)
        at = asked.validated_data.get("at") or timezone.now()
        named = f"{PROFILE_TYPE}:{profile}" if profile.isdecimal() else profile
        with permitted_person(request, named) as (permit, profile_id):
            history = [row for row in people.memberships(permit, profile_id, with_past=True) if row["slug"] == slug]
        answer = segments.why(
            workspace_id=workspace_of(request), slug=slug, profile_id=profile_id, now=at,
            locale=(get_language() or "en")[:2], tells_known=Scope.PROFILES_READ in key_of(request).scopes,
        )  # fmt: skip
        said = {
            "profile": profile_id, "at": at, "is_in": answer.is_in, "reasons": answer.reasons,
            "tree": _node(answer.tree), "when_next": answer.when_next, "history": history,
        }  # fmt: skip
        return Response(WhyBody({**_since(history, at), **said}).data)


def _since(history: list[dict[str, Any]], at: datetime) -> Mapping[str, Any]:
    """The membership that lasted at an instant."""
    lasting = (row for row in history if row["entered_at"] <= at and (row["left_at"] is None or at < row["left_at"]))
    found = next(lasting, {})
    return {name: found.get(name) for name in ("entered_at", "entered_cause")}


def _node(part: Part) -> dict[str, Any]:
    if part.reason is not None:
        return {"kind": part.kind, **ReasonBody(part.reason).data}
    change = part.next_change_at.isoformat().replace("+00:00", "Z") if part.next_change_at else None
    children = [_node(child) for child in part.children]
    return {"kind": part.kind, "is_true": part.is_true, "next_change_at": change, "children": children}
