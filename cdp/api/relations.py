"""Whom a person belongs with: households and organisations, which are related and never merged. And whom not."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api import profile_queries as people
from cdp.api.keys import permit_of, scope_of
from cdp.api.profiles import PersonView, described, permitted_person
from identity import relations


class RelatedBody(serializers.Serializer[Any]):
    profile = serializers.IntegerField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField(allow_null=True, help_text="null while both belong to it")


class RelationBody(serializers.Serializer[Any]):
    id = serializers.CharField(help_text="the same for all members")
    kind = serializers.CharField(help_text="HOUSEHOLD or ORGANISATION")
    rule = serializers.CharField(help_text="what the members have in common")
    confidence = serializers.FloatField()
    shared = serializers.ListField(child=serializers.CharField(), help_text="names of traits, without their values")
    since = serializers.DateTimeField()
    until = serializers.DateTimeField(allow_null=True)
    members = RelatedBody(many=True, help_text="the others, as far as they permit the purpose of the key")
    has_more = serializers.BooleanField()


class RefusalBody(serializers.Serializer[Any]):
    left = serializers.CharField()
    right = serializers.CharField()
    reason = serializers.CharField(help_text="SHARED, NOT_SAME, LIMIT, SIZE or BRIDGE")
    evidence = serializers.DictField(child=serializers.JSONField(), help_text="the numbers that the reason rests on")
    created_at = serializers.DateTimeField()


class RefusalsBody(serializers.Serializer[Any]):
    refusals = RefusalBody(many=True)


class RelationsBody(serializers.Serializer[Any]):
    relations = RelationBody(many=True)


@described("profile_relations", RelationsBody, "Households and organisations of the person, now and before")
class RelationsView(PersonView):
    def get(self, request: Request, identifier: str) -> Response:
        with permitted_person(request, identifier) as (_, profile_id):
            found = relations.groups_of(profile_id, at=timezone.now())
        return Response(RelationsBody({"relations": found}).data)


@described("profile_refusals", RefusalsBody, "Why the person is not one with others who were alike or seen together")
class RefusalsView(PersonView):
    def get(self, request: Request, identifier: str) -> Response:
        with permitted_person(request, identifier) as (permit, profile_id):
            own = [row["id"] for row in people.identifiers(permit, profile_id)]
        with scope_of(request):
            refused = relations.refusals_about(own)
        with permit_of(request) as permit:
            seen = people.names(permit, [one for each in refused for one in each.mentions])
        shown = [each for each in refused if seen.keys() >= each.mentions]
        return Response(RefusalsBody({"refusals": shown}).data)
