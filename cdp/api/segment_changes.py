"""Who entered and left since a cursor: page by page, and as a stream of server-sent events."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.http import HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api.keys import KeyedView, permit_of, scope_of, workspace_of
from cdp.api.negotiation import WhateverIsAccepted
from cdp.api.openapi import REFUSALS, Problem
from cdp.api.paging import MOST_ROWS, USUAL_ROWS, cursor_of, place_in
from cdp.api.problems import NotFoundError, problem
from cdp.models import Scope
from segments import changes
from segments.changes import ENTERED, LEFT, Change, Position, Reading, told
from segments.models import Segment

END: Final = "end"
EXPIRED = {410: OpenApiResponse(Problem, "What came after the cursor is not kept any more.")}

POLL_SECONDS: Final = 0.25
HEARTBEAT_SECONDS: Final = 15.0
LONGEST_SECONDS: Final = 300.0
"""Of one connection; the client comes again by itself. A key that was revoked is so refused after that time at the latest."""
COME_AGAIN_SECONDS: Final = 5


class MembershipChangeBody(serializers.Serializer[Any]):
    segment = serializers.CharField()
    profile = serializers.IntegerField()
    change = serializers.ChoiceField(choices=(ENTERED, LEFT))
    at = serializers.DateTimeField(allow_null=True, help_text="null for somebody whom the key may not see any more")
    cause = serializers.CharField(allow_null=True)


class MembershipChangesBody(serializers.Serializer[Any]):
    changes = MembershipChangeBody(many=True)
    next = serializers.CharField(help_text="the cursor to go on from, also when nothing more is there yet")
    is_end = serializers.BooleanField(help_text="nothing more was there at this moment")


class ChangesParameters(serializers.Serializer[Any]):
    after = serializers.CharField(
        required=False,
        default="",
        help_text="`next` of the reading before; `end`: what comes from now on; none: all kept",
    )
    limit = serializers.IntegerField(required=False, default=USUAL_ROWS, min_value=1, max_value=MOST_ROWS)


class ChangesOfAllParameters(ChangesParameters):
    segments = serializers.CharField(required=False, default="", help_text="slugs of these alone: `vip,lapsed`")


class ChangesView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ}

    @extend_schema(
        operation_id="segment_changes",
        summary="Who entered and left the segment since a cursor, in the order in which it became visible",
        parameters=[ChangesParameters],
        responses={200: MembershipChangesBody, **REFUSALS, **EXPIRED},
    )
    def get(self, request: Request, slug: str) -> Response:
        asked = ChangesParameters(data=request.query_params)
        asked.is_valid(raise_exception=True)
        with scope_of(request):
            ids = ids_of(request, [slug])
        return Response(_page(request, asked.validated_data, ids))


class ChangesOfAllView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ}

    @extend_schema(
        operation_id="all_segment_changes",
        summary="Who entered and left any segment since a cursor, in the order in which it became visible",
        parameters=[ChangesOfAllParameters],
        responses={200: MembershipChangesBody, **REFUSALS, **EXPIRED},
    )
    def get(self, request: Request) -> Response:
        asked = ChangesOfAllParameters(data=request.query_params)
        asked.is_valid(raise_exception=True)
        return Response(
            _page(request, asked.validated_data, _asked_segments(request, asked.validated_data["segments"]))
        )


def ids_of(request: Request, slugs: Sequence[str]) -> list[int]:
    """Of segments of the workspace, in the order of the slugs. Within `scope_of`, or a permit."""
    found = dict(Segment.objects.filter(workspace=workspace_of(request), slug__in=slugs).values_list("slug", "pk"))
    if len(found) < len(set(slugs)):
        raise NotFoundError(segments=sorted(set(slugs) - found.keys()))
    return [found[slug] for slug in slugs]


def cursor_at(position: Position) -> str:
    return cursor_of((position.id, position.at))


def _asked_segments(request: Request, slugs: str) -> list[int] | None:
    if not slugs:
        return None
    with scope_of(request):
        return ids_of(request, [slug.strip() for slug in slugs.split(",")])


def _position(request: Request, after: str, now: datetime) -> Position:
    if after == END:
        with permit_of(request) as permit:
            return changes.end_of_feed(permit, now=now)
    if not after:
        return Position(0, now)
    position = Position(*place_in(after, (int, datetime)))
    changes.refuse_expired(workspace_id=workspace_of(request), position=position)
    return position


def _read(request: Request, position: Position, ids: Sequence[int] | None, most: int) -> Reading:
    with permit_of(request) as permit:
        return changes.changes_after(permit, position, most=most, now=timezone.now(), segments=ids)


def _page(request: Request, asked: dict[str, Any], ids: Sequence[int] | None) -> dict[str, Any]:
    found = _read(request, _position(request, asked["after"], timezone.now()), ids, asked["limit"])
    rows = [told(change) for change in found.changes]
    return MembershipChangesBody({"changes": rows, "next": cursor_at(found.position), "is_end": found.is_end}).data


# -- server-sent events ----------------------------------------------------------------------------------------------


class StreamParameters(serializers.Serializer[Any]):
    after = serializers.CharField(required=False, default=END, help_text="where no `Last-Event-ID` is sent")
    segments = serializers.CharField(required=False, default="", help_text="slugs of these alone: `vip,lapsed`")


class StreamView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ}
    content_negotiation_class = WhateverIsAccepted

    @extend_schema(
        operation_id="segment_change_stream",
        summary="Who enters and leaves from now on, or since `Last-Event-ID`, as server-sent events",
        parameters=[
            StreamParameters,
            OpenApiParameter("Last-Event-ID", str, OpenApiParameter.HEADER, description="the id of the last event"),
        ],
        responses={
            (200, "text/event-stream"): OpenApiTypes.STR,
            **REFUSALS,
            **EXPIRED,
            503: OpenApiResponse(Problem, "All places for streams are taken: come again after `Retry-After`."),
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        asked = StreamParameters(data=request.query_params)
        asked.is_valid(raise_exception=True)
        ids = _asked_segments(request, asked.validated_data["segments"])
        after = request.headers.get("Last-Event-ID") or asked.validated_data["after"]
        position = _position(request, after, timezone.now())
        if not PLACES.acquire(blocking=False):
            return JsonResponse(
                problem("streams_full", "As many streams are open as this server carries: come again later."),
                status=503, headers={"Retry-After": str(COME_AGAIN_SECONDS)},
            )  # fmt: skip
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingHttpResponse(Stream(request, position, ids), content_type="text/event-stream", headers=headers)


# A stream occupies a thread of the server for as long as it is open: most of them must stay free for requests.
PLACES: Final = threading.BoundedSemaphore(settings.SEGMENT_STREAMS)


class Stream:
    """Looks into the feed a few times a second. Not by LISTEN: that holds a connection of its own for each stream, does not
    work through a pooler, and NOTIFY would make all commits of the hot path wait for one another.
    """

    def __init__(self, request: Request, position: Position, ids: Sequence[int] | None) -> None:
        self._request, self._position, self._ids = request, position, ids
        self._events = self._all_events()
        self._is_open = True

    def __iter__(self) -> Iterator[bytes]:
        return self._events

    def close(self) -> None:
        """Called by the server when the client has gone, also where nothing was sent yet."""
        if self._is_open:
            self._is_open = False
            PLACES.release()

    def _all_events(self) -> Iterator[bytes]:
        ends_at = time.monotonic() + LONGEST_SECONDS
        silent_since = time.monotonic()
        yield b"retry: 1000\n\n"
        while time.monotonic() < ends_at:
            found = _read(self._request, self._position, self._ids, USUAL_ROWS)
            self._position = found.position
            if found.changes:
                yield b"".join(_event(change, found.position) for change in found.changes)
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since >= HEARTBEAT_SECONDS:
                yield f": still here\nid: {cursor_at(self._position)}\n\n".encode()
                silent_since = time.monotonic()
            if found.is_end:
                time.sleep(POLL_SECONDS)


def _event(change: Change, position: Position) -> bytes:
    said = told(change)
    cursor = cursor_at(Position(change.id, position.at))
    return f"id: {cursor}\nevent: {said.pop('change')}\ndata: {json.dumps(said)}\n\n".encode()
