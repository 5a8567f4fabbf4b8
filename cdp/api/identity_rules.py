"""The rules that people are recognised by, and those that the golden record is chosen by: read, tried, laid down."""

from dataclasses import asdict
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.keys import KeyedView, scope_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.models import Scope
from identity import rules, survivorship
from identity.models import Choice


class WindowBody(serializers.Serializer[Any]):
    most = serializers.IntegerField(min_value=1)
    days = serializers.IntegerField(min_value=1)


class RulesBody(serializers.Serializer[Any]):
    """What is left out has its default."""

    priority = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="types, the most trusted first"
    )
    limits = serializers.DictField(
        child=serializers.IntegerField(min_value=1),
        required=False,
        help_text="how many of a type one person may have; `*`: of all types together",
    )
    windows = serializers.DictField(
        child=WindowBody(), required=False, help_text="how many new ones of a type within so many days"
    )
    blocked_values = serializers.ListField(child=serializers.CharField(), required=False)
    blocked_patterns = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="regular expressions for `type:value` in small letters"
    )
    has_role_addresses_blocked = serializers.BooleanField(required=False)
    shared_after = serializers.IntegerField(
        min_value=1, required=False, help_text="seen with more than so many of one type: nobody's"
    )


class RulesPreviewBody(serializers.Serializer[Any]):
    identifiers = serializers.IntegerField(help_text="of the workspace")
    looked_at = serializers.IntegerField(help_text="all of them, or a sample")
    merged = serializers.IntegerField(help_text="profiles that would gain people or go into another one")
    split = serializers.IntegerField(help_text="profiles that would lose people or come back")


class WaitingBody(serializers.Serializer[Any]):
    waiting = serializers.IntegerField(help_text="how many the worker looks at anew; 0 when nothing changed")


class SetAsideBody(serializers.Serializer[Any]):
    identifier = serializers.CharField(source="name")
    seen_with = serializers.CharField(help_text="the type of which it was seen with too many")
    number = serializers.IntegerField()
    most = serializers.IntegerField(help_text="as many as one person would have")


class SetAsidesBody(serializers.Serializer[Any]):
    set_aside = SetAsideBody(many=True, help_text="the busiest first")


class SurvivorshipRuleBody(serializers.Serializer[Any]):
    trait = serializers.CharField(max_length=survivorship.LONGEST_NAME)
    choice = serializers.ChoiceField([(choice.value, choice.name) for choice in Choice])
    sources = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="with TRUSTED_SOURCE: the most trusted first"
    )


class SurvivorshipBody(serializers.Serializer[Any]):
    rules = SurvivorshipRuleBody(many=True, help_text="a trait without a rule has its most recent value")


class ChangeBody(serializers.Serializer[Any]):
    trait = serializers.CharField()
    profiles = serializers.IntegerField(help_text="of those looked at, how many have the trait")
    changed = serializers.IntegerField(help_text="how many would have another value")


class SurvivorshipPreviewBody(serializers.Serializer[Any]):
    profiles = serializers.IntegerField(help_text="of the workspace")
    looked_at = serializers.IntegerField(help_text="all of them, or a sample")
    changes = ChangeBody(many=True)


class RulesView(KeyedView):
    scopes = {"GET": Scope.IDENTITY_READ, "PUT": Scope.IDENTITY_WRITE}

    @extend_schema(
        operation_id="identity_rules",
        summary="The rules that people are recognised by",
        responses={200: RulesBody, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        with scope_of(request):
            return Response(rules.document_of(rules.rules_in(workspace_of(request))))

    @extend_schema(
        operation_id="change_identity_rules",
        summary="Lay down all rules; everybody is resolved anew",
        request=RulesBody,
        responses={200: WaitingBody, **REFUSALS},
    )
    def put(self, request: Request) -> Response:
        waiting = rules.change_rules(workspace_id=workspace_of(request), document=request.data)
        return Response(WaitingBody({"waiting": waiting}).data)


class RulesPreviewView(KeyedView):
    scopes = {"POST": Scope.IDENTITY_READ}

    @extend_schema(
        operation_id="preview_identity_rules",
        summary="How many profiles would be others under these rules",
        request=RulesBody,
        responses={200: RulesPreviewBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        found = rules.preview_rules(workspace_id=workspace_of(request), document=request.data, now=timezone.now())
        return Response(RulesPreviewBody(found).data)


class SetAsideView(KeyedView):
    scopes = {"GET": Scope.IDENTITY_READ}

    @extend_schema(
        operation_id="identity_set_aside",
        summary="Addresses, telephones and devices that are nobody's, since too many were seen with them",
        responses={200: SetAsidesBody, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        return Response(SetAsidesBody({"set_aside": rules.set_aside_in(workspace_of(request))}).data)


class SurvivorshipView(KeyedView):
    scopes = {"GET": Scope.IDENTITY_READ, "PUT": Scope.IDENTITY_WRITE}

    @extend_schema(
        operation_id="survivorship_rules",
        summary="The rules that values of the golden record are chosen by",
        responses={200: SurvivorshipBody, **REFUSALS},
    )
    def get(self, request: Request) -> Response:
        with scope_of(request):
            found = [asdict(rule) for rule in survivorship.rules_in(workspace_of(request))]
        return Response(SurvivorshipBody({"rules": found}).data)

    @extend_schema(
        operation_id="change_survivorship_rules",
        summary="Lay down all rules; the traits whose rule is another one are chosen anew",
        request=SurvivorshipBody,
        responses={200: WaitingBody, **REFUSALS},
    )
    def put(self, request: Request) -> Response:
        waiting = survivorship.change_rules(workspace_id=workspace_of(request), rows=_rows(request))
        return Response(WaitingBody({"waiting": waiting}).data)


class SurvivorshipPreviewView(KeyedView):
    scopes = {"POST": Scope.IDENTITY_READ}

    @extend_schema(
        operation_id="preview_survivorship_rules",
        summary="How many traits would have another value under these rules",
        request=SurvivorshipBody,
        responses={200: SurvivorshipPreviewBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        found = survivorship.preview_rules(workspace_id=workspace_of(request), rows=_rows(request))
        return Response(SurvivorshipPreviewBody(found).data)


def _rows(request: Request) -> list[dict[str, Any]]:
    asked = SurvivorshipBody(data=request.data)
    asked.is_valid(raise_exception=True)
    rows: list[dict[str, Any]] = asked.validated_data["rules"]
    return rows
