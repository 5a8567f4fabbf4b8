"""People: who they are, what is known about them, and where each value came from."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api import profile_queries as people
from cdp.api.consents import EffectiveConsent, LedgerEntry, effective_consents
from cdp.api.identifiers import read_identifier
from cdp.api.keys import KeyedView, permit_of, scope_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.paging import PageParameters, next_cursor, page_of
from cdp.api.problems import NotFoundError
from cdp.kernel.identifiers import Identifier
from cdp.models import Scope
from consent import queries as consent

IDENTIFIER = OpenApiParameter(
    "identifier",
    str,
    OpenApiParameter.PATH,
    description="`TYPE:VALUE`, percent-encoded: `email:ada%40example.com`, `crm:id:4711`; or `profile:ID`.",
)


class ProfileBody(serializers.Serializer[Any]):
    id = serializers.IntegerField(help_text="stable: a merge keeps the older one, and an undo brings the other back")
    created_at = serializers.DateTimeField()
    traits = serializers.DictField(child=serializers.JSONField(), help_text="the golden record")
    segments = serializers.ListField(child=serializers.CharField(), help_text="those that the person is in now")


class CandidateBody(serializers.Serializer[Any]):
    value = serializers.JSONField()
    source = serializers.CharField()  # type: ignore[assignment]  # a field of this name is not Field.source
    identifier = serializers.CharField()
    observed_at = serializers.DateTimeField()
    confidence = serializers.FloatField()
    lost_by = serializers.CharField(
        allow_null=True,
        help_text="what the chosen value has more of: `steward`, `trusted_source`, `most_frequent`, `longest`,"
        " `most_recent`, `trust`, `confidence`; null for the chosen one",
    )


class TraitParameters(serializers.Serializer[Any]):
    candidates = serializers.BooleanField(
        required=False, default=False, help_text="with all values that sources gave, and why each was not chosen"
    )


class TraitBody(serializers.Serializer[Any]):
    name = serializers.CharField()
    value = serializers.JSONField()
    source = serializers.CharField()  # type: ignore[assignment]  # a field of this name is not Field.source
    identifier = serializers.CharField(allow_null=True)
    observed_at = serializers.DateTimeField()
    confidence = serializers.FloatField()
    rule = serializers.CharField(help_text="why this value was chosen among the candidates; or `computed`")
    computed = serializers.BooleanField(
        required=False, help_text="true for a computed trait, which is measured at this moment; else left out"
    )
    candidates = CandidateBody(many=True, required=False, help_text="the chosen one first; where they were asked for")


class TraitsBody(serializers.Serializer[Any]):
    traits = TraitBody(many=True)


class IdentifierBody(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    type = serializers.CharField()
    value = serializers.CharField()
    created_at = serializers.DateTimeField()


class IdentifiersBody(serializers.Serializer[Any]):
    identifiers = IdentifierBody(many=True)


class EventBody(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    message_id = serializers.CharField()
    kind = serializers.CharField()
    name = serializers.CharField()
    occurred_at = serializers.DateTimeField()
    received_at = serializers.DateTimeField()
    source = serializers.CharField(allow_null=True)  # type: ignore[assignment]  # a field of this name is not Field.source
    identifier_id = serializers.IntegerField()
    properties = serializers.DictField(child=serializers.JSONField())


class EventsBody(serializers.Serializer[Any]):
    events = EventBody(many=True)
    next = serializers.CharField(allow_null=True, help_text="the cursor of the next page; null on the last one")


class MembershipBody(serializers.Serializer[Any]):
    slug = serializers.CharField()
    name = serializers.CharField()
    version = serializers.IntegerField()
    entered_at = serializers.DateTimeField()
    entered_cause = serializers.CharField()
    left_at = serializers.DateTimeField(allow_null=True)
    left_cause = serializers.CharField(allow_null=True)


class MembershipsBody(serializers.Serializer[Any]):
    segments = MembershipBody(many=True)


class PersonConsentsBody(serializers.Serializer[Any]):
    purposes = EffectiveConsent(many=True)
    records = LedgerEntry(many=True)


class JudgementBody(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    verdict = serializers.CharField()
    kind = serializers.CharField()
    weight = serializers.FloatField(help_text="log2 of the odds that the two are one person")
    evidence = serializers.DictField(child=serializers.JSONField())
    left = serializers.CharField()
    right = serializers.CharField()
    model = serializers.IntegerField(allow_null=True)
    retracts = serializers.IntegerField(allow_null=True)
    created_at = serializers.DateTimeField()


class HistoryBody(serializers.Serializer[Any]):
    judgements = JudgementBody(many=True)
    memberships = MembershipBody(many=True)


class PersonView(KeyedView):
    scopes = {"GET": Scope.PROFILES_READ}


def described(
    operation: str, body: type[serializers.Serializer[Any]], summary: str, *more: type[serializers.Serializer[Any]]
) -> Callable[[type[PersonView]], type[PersonView]]:
    """The OpenAPI description of a view's GET."""
    described_get = extend_schema(
        operation_id=operation, summary=summary, parameters=[IDENTIFIER, *more], responses={200: body, **REFUSALS}
    )
    decorate: Callable[[type[PersonView]], type[PersonView]] = extend_schema_view(get=described_get)
    return decorate


@contextmanager
def permitted_person(request: Request, identifier: str) -> Iterator[tuple[people.AnyPermit, int]]:
    """Under the purpose of the key: the person, or a 404 that does not tell hidden from unknown."""
    named = read_identifier(request, identifier)
    with permit_of(request) as permit:
        profile_id = people.profile_id_of(permit, named)
        if profile_id is None:
            raise NotFoundError
        yield permit, profile_id


@described("profile", ProfileBody, "The person who has an identifier now")
class ProfileView(PersonView):
    def get(self, request: Request, identifier: str) -> Response:
        with permitted_person(request, identifier) as (permit, profile_id):
            return Response(ProfileBody(people.profile(permit, profile_id)).data)


@described("profile_traits", TraitsBody, "The golden record with the origin of each value", TraitParameters)
class TraitsView(PersonView):
    def get(self, request: Request, identifier: str) -> Response:
        asked = TraitParameters(data=request.query_params)
        asked.is_valid(raise_exception=True)
        found = people.traits_with_candidates if asked.validated_data["candidates"] else people.traits
        with permitted_person(request, identifier) as (permit, profile_id):
            computed = people.computed_traits(permit, profile_id, now=timezone.now())
            return Response(TraitsBody({"traits": [*found(permit, profile_id), *computed]}).data)


@described("profile_identifiers", IdentifiersBody, "All identifiers of the person")
class IdentifiersView(PersonView):
    def get(self, request: Request, identifier: str) -> Response:
        with permitted_person(request, identifier) as (permit, profile_id):
            return Response(IdentifiersBody({"identifiers": people.identifiers(permit, profile_id)}).data)


@described("profile_events", EventsBody, "What the person did, newest first", PageParameters)
class EventsView(PersonView):
    def get(self, request: Request, identifier: str) -> Response:
        page = page_of(request, datetime, int)
        after = people.EventPlace(*page.after) if page.after else None
        with permitted_person(request, identifier) as (permit, profile_id):
            rows = people.events(permit, profile_id, after=after, limit=page.limit)
        place = (rows[-1]["occurred_at"], rows[-1]["id"]) if rows else ()
        return Response(EventsBody({"events": rows, "next": next_cursor(rows, page.limit, place)}).data)


@described("profile_segments", MembershipsBody, "The segments that the person is in now, since when and why")
class SegmentsView(PersonView):
    def get(self, request: Request, identifier: str) -> Response:
        with permitted_person(request, identifier) as (permit, profile_id):
            current = people.memberships(permit, profile_id, with_past=False)
        return Response(MembershipsBody({"segments": current}).data)


@described("profile_consents", PersonConsentsBody, "What the person permits, and what was said about it")
class ConsentsView(PersonView):
    def get(self, request: Request, identifier: str) -> Response:
        with permitted_person(request, identifier) as (permit, profile_id):
            first = people.identifiers(permit, profile_id)[0]
        spoken_for = Identifier(first["type"], first["value"])
        with scope_of(request):
            body = {
                "purposes": effective_consents(workspace_of(request), spoken_for),
                "records": consent.history(workspace_id=workspace_of(request), identifier=spoken_for),
            }
        return Response(PersonConsentsBody(body).data)


@described("profile_history", HistoryBody, "Why this is one person, and every segment the person ever was in")
class HistoryView(PersonView):
    def get(self, request: Request, identifier: str) -> Response:
        with permitted_person(request, identifier) as (permit, profile_id):
            own = [row["id"] for row in people.identifiers(permit, profile_id)]
            memberships = people.memberships(permit, profile_id, with_past=True)
        with scope_of(request):
            judgements = people.judgements_about(workspace_id=workspace_of(request), identifier_ids=own)
        with permit_of(request) as permit:
            names = people.names(permit, [row[side] for row in judgements for side in ("left_id", "right_id")])
        body = {"judgements": _named(judgements, names), "memberships": memberships}
        return Response(HistoryBody(body).data)


def _named(judgements: list[people.Row], names: dict[int, str]) -> list[people.Row]:
    """A judgement about somebody who is hidden from the purpose is left out: its other side names them."""
    return [
        {**row, "left": names[row["left_id"]], "right": names[row["right_id"]]}
        for row in judgements
        if row["left_id"] in names and row["right_id"] in names
    ]
