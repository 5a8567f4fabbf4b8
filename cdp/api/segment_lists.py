"""Lists of people by hand, and who is put into one segment or kept out of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api import profile_queries as people
from cdp.api.keys import KeyedView, key_of, permit_of, workspace_of
from cdp.api.openapi import REFUSALS
from cdp.api.paging import PageParameters, next_cursor, page_of
from cdp.api.problems import NotFoundError
from cdp.api.wakeups import wake_on_commit
from cdp.kernel.purposes import Purpose
from cdp.models import Scope, Stage
from consent import gate
from segments import list_files, lists
from segments import services as segments
from segments.lists import LONGEST_REASON, By, UnknownListError
from segments.models import SegmentList

MOST_AT_ONCE: Final = 1_000
WAYS: Final = {"in": lists.include, "out": lists.exclude, "neither": lists.leave_to_rule}
UNKNOWN: Final = "unknown_profile"
NAMED: Final = "the id of a profile, or `TYPE:VALUE` of one of its identifiers"


class NewList(serializers.Serializer[Any]):
    slug = serializers.CharField(max_length=50, help_text="letters, digits, hyphens and underscores")
    name = serializers.CharField(max_length=200, required=False, default="")


class ListBody(serializers.Serializer[Any]):
    slug = serializers.CharField()
    name = serializers.CharField()
    created_at = serializers.DateTimeField()


class ListedListBody(ListBody):
    size = serializers.IntegerField(help_text="how many are on it now")


class ListsBody(serializers.Serializer[Any]):
    lists = ListedListBody(many=True)


class ListWithPeople(ListBody):
    profiles = serializers.ListField(
        child=serializers.IntegerField(),
        help_text="who is on it now, as far as they permit the purpose of the key; in order of id."
        " Whom the key may not see is left out of a page, which is shorter then",
    )
    next = serializers.CharField(allow_null=True, help_text="the cursor of the next page; null on the last one")


class EntriesAsked(serializers.Serializer[Any]):
    profiles = serializers.ListField(
        child=serializers.CharField(max_length=list_files.LONGEST_LINE), min_length=1, max_length=MOST_AT_ONCE,
        help_text=f"each {NAMED}",
    )  # fmt: skip
    reason = serializers.CharField(max_length=LONGEST_REASON, required=False, default="", allow_blank=True)


class RefusedBody(serializers.Serializer[Any]):
    asked = serializers.CharField()
    code = serializers.CharField(
        help_text="`unknown_profile`: nobody, or nobody whom the key and segmentation may see; else what is wrong with it"
    )


class EntriesBody(serializers.Serializer[Any]):
    changed = serializers.IntegerField(
        help_text="how many were put on, or taken off: who was so already is not counted"
    )
    refused = RefusedBody(many=True, help_text="they hold up nobody else; in the order asked")


class ByHandAsked(serializers.Serializer[Any]):
    profile = serializers.CharField(max_length=list_files.LONGEST_LINE, help_text=NAMED)
    put = serializers.ChoiceField(
        choices=tuple(WAYS), help_text="whatever the rule says: always in, or never; `neither`: the rule decides again"
    )
    reason = serializers.CharField(max_length=LONGEST_REASON, required=False, default="", allow_blank=True)


class ByHandBody(serializers.Serializer[Any]):
    segment = serializers.CharField()
    profile = serializers.IntegerField()
    put = serializers.ChoiceField(choices=tuple(WAYS))
    is_new = serializers.BooleanField(help_text="false: it was so already")


class ListsView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ, "POST": Scope.SEGMENTS_WRITE}

    @extend_schema(
        operation_id="lists_of_people", summary="All lists, in order of slug", responses={200: ListsBody, **REFUSALS}
    )
    def get(self, request: Request) -> Response:
        workspace_id = workspace_of(request)
        rows = lists.lists_of(workspace_id)
        sizes = lists.sizes_of(workspace_id=workspace_id, slugs=[row.slug for row in rows])
        return Response({"lists": [{**ListBody(row).data, "size": sizes.get(row.slug, 0)} for row in rows]})

    @extend_schema(
        operation_id="make_list",
        summary='Make an empty list: rules ask `listed "slug"`',
        request=NewList,
        responses={201: ListBody, **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        asked = NewList(data=request.data)
        asked.is_valid(raise_exception=True)
        made = lists.make_list(workspace_id=workspace_of(request), **asked.validated_data)
        return Response(ListBody(made).data, status=201)


class ListView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ}

    @extend_schema(
        operation_id="list_of_people",
        summary="A list, and who is on it now",
        parameters=[PageParameters],
        responses={200: ListWithPeople, **REFUSALS},
    )
    def get(self, request: Request, slug: str) -> Response:
        page, found = page_of(request, int), _list(request, slug)
        after = page.after[0] if page.after else 0
        listed = lists.profiles_on(workspace_id=workspace_of(request), slug=slug, after=after, most=page.limit)
        with permit_of(request) as permit:
            visible = people.visible(permit, listed)
        following = next_cursor(listed, page.limit, tuple(listed[-1:]))
        return Response({**ListBody(found).data, "profiles": visible, "next": following})


class EntriesView(KeyedView):
    scopes = {"POST": Scope.SEGMENTS_WRITE, "DELETE": Scope.SEGMENTS_WRITE}

    @extend_schema(
        operation_id="put_on_list",
        summary=f"Put people on the list, up to {MOST_AT_ONCE} at once",
        request=EntriesAsked,
        responses={200: EntriesBody, **REFUSALS},
    )
    def post(self, request: Request, slug: str) -> Response:
        return self._change(request, slug, lists.put_on)

    @extend_schema(
        operation_id="take_off_list",
        summary="Take people off the list, named in a JSON body as for putting them on: `profiles` and `reason`",
        responses={200: EntriesBody, **REFUSALS},
    )
    def delete(self, request: Request, slug: str) -> Response:
        return self._change(request, slug, lists.take_off)

    def _change(self, request: Request, slug: str, change: Callable[..., int]) -> Response:
        asked = EntriesAsked(data=request.data)
        asked.is_valid(raise_exception=True)
        texts, by = asked.validated_data["profiles"], By(reason=asked.validated_data["reason"])
        _list(request, slug)
        seen = _seen(request, texts)
        workspace_id, now = workspace_of(request), timezone.now()
        changed = change(workspace_id=workspace_id, slug=slug, profiles=seen.profiles.values(), by=by, now=now)
        wake_on_commit(Stage.SEGMENTS, workspace_id=workspace_id)
        refused = [{"asked": texts[place], "code": code} for place, code in sorted(seen.refused.items())]
        return Response(EntriesBody({"changed": changed, "refused": refused}).data)


class ByHandView(KeyedView):
    scopes = {"POST": Scope.SEGMENTS_WRITE}

    @extend_schema(
        operation_id="put_by_hand",
        summary="Put somebody into the segment or keep them out, whatever its rule says",
        request=ByHandAsked,
        responses={200: ByHandBody, **REFUSALS},
    )
    def post(self, request: Request, slug: str) -> Response:
        asked = ByHandAsked(data=request.data)
        asked.is_valid(raise_exception=True)
        put, by = asked.validated_data["put"], By(reason=asked.validated_data["reason"])
        workspace_id = workspace_of(request)
        segment = segments.segment_named(workspace_id=workspace_id, slug=slug)
        profile = _seen(request, [asked.validated_data["profile"]]).profiles.get(0)
        if profile is None:
            raise NotFoundError
        changed = WAYS[put](segment=segment, profiles=[profile], by=by, now=timezone.now())
        wake_on_commit(Stage.SEGMENTS, workspace_id=workspace_id)
        return Response(ByHandBody({"segment": slug, "profile": profile, "put": put, "is_new": bool(changed)}).data)


def _list(request: Request, slug: str) -> SegmentList:
    """Those of the segments themselves have a path of their own."""
    try:
        if not lists.is_of_segment(slug):
            return lists.list_named(workspace_id=workspace_of(request), slug=slug)
    except UnknownListError as error:
        raise NotFoundError from error
    raise NotFoundError


@dataclass(frozen=True, slots=True)
class Seen:
    """By the place in what was asked: who was found, and what was wrong with the others."""

    profiles: Mapping[int, int]
    refused: Mapping[int, str]


def _seen(request: Request, texts: Sequence[str]) -> Seen:
    """Whom both the purpose of the key and segmentation may see: else an answer would tell of people who are hidden."""
    refused: dict[int, str] = {}
    named = list_files.read_people(key_of(request).workspace, enumerate(texts), refused.__setitem__)
    with permit_of(request) as permit:
        found = list_files.profiles_of(permit, set(named.values()))
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_of(request)) as permit:
        visible = set(people.visible(permit, list(found.values())))
    profiles = {place: found[one] for place, one in named.items() if found.get(one) in visible}
    return Seen(profiles, {**refused, **{place: UNKNOWN for place in named if place not in profiles}})
