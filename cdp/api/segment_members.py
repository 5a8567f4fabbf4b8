"""Who is in a segment, or was at an instant: page by page, and as one file that is written while it is read."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.http import StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cdp.api import profile_queries as people
from cdp.api.keys import KeyedView, key_of, permit_of, scope_of
from cdp.api.negotiation import WhateverIsAccepted
from cdp.api.openapi import REFUSALS
from cdp.api.paging import MOST_ROWS, PageParameters, next_cursor, page_of
from cdp.api.segment_changes import cursor_at, ids_of
from cdp.kernel.errors import TesseraError
from cdp.models import Scope
from segments import changes

NDJSON, CSV = "ndjson", "csv"
TYPES: Final[Mapping[str, str]] = {NDJSON: "application/x-ndjson", CSV: "text/csv; charset=utf-8"}
COLUMNS: Final = ("profile", "entered_at", "entered_cause")
MOST_TRAITS: Final = 50
FORMULAS: Final = frozenset("=+-@\t\r")  # with which what a spreadsheet takes for a formula begins


class TraitsForbiddenError(TesseraError):
    """The key may not read traits: it needs the scope profiles:read. Without `traits` the export works."""

    code = "traits_forbidden"


class AtParameters(serializers.Serializer[Any]):
    at = serializers.DateTimeField(required=False, help_text="who was in at this instant; none: who is in now")


class MembersParameters(PageParameters, AtParameters):
    pass


class MemberBody(serializers.Serializer[Any]):
    profile = serializers.IntegerField()
    entered_at = serializers.DateTimeField()
    entered_cause = serializers.CharField()


class MembersBody(serializers.Serializer[Any]):
    members = MemberBody(many=True)
    next = serializers.CharField(allow_null=True, help_text="the cursor of the next page; null on the last one")
    changes_after = serializers.CharField(
        help_text="that of the first page is where to follow the changes from, once all pages are read"
    )


class ExportParameters(AtParameters):
    kind = serializers.ChoiceField(choices=(NDJSON, CSV), required=False, default=NDJSON)
    traits = serializers.CharField(required=False, default="", help_text="names of traits, as columns: `city,plan`")

    def validate_traits(self, text: str) -> list[str]:
        names = list(dict.fromkeys(name for name in text.split(",") if name))
        if len(names) > MOST_TRAITS:
            message = f"At most {MOST_TRAITS} traits can be exported."
            raise serializers.ValidationError(message)
        return names


class MembersView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ}

    @extend_schema(
        operation_id="segment_members",
        summary="Who is in the segment, or was at an instant, as far as they permit the purpose of the key; in order of id",
        parameters=[MembersParameters],
        responses={200: MembersBody, **REFUSALS},
    )
    def get(self, request: Request, slug: str) -> Response:
        page, at = page_of(request, int), _instant(request)
        with scope_of(request):
            [segment] = ids_of(request, [slug])
        with permit_of(request) as permit:
            position = changes.end_of_feed(permit, now=timezone.now())
            after = page.after[0] if page.after else 0
            rows = people.members_of(permit, segment, after=after, limit=page.limit, at=at)
        place = (rows[-1]["profile"],) if rows else ()
        said = {"members": rows, "next": next_cursor(rows, page.limit, place), "changes_after": cursor_at(position)}
        return Response(MembersBody(said).data)


class ExportView(KeyedView):
    scopes = {"GET": Scope.SEGMENTS_READ}
    content_negotiation_class = WhateverIsAccepted

    @extend_schema(
        operation_id="export_segment",
        summary="All members as one file, as of one instant, written while it is read",
        parameters=[ExportParameters],
        responses={(200, "application/x-ndjson"): OpenApiTypes.STR, (200, "text/csv"): OpenApiTypes.STR, **REFUSALS},
    )
    def get(self, request: Request, slug: str) -> StreamingHttpResponse:
        asked = ExportParameters(data=request.query_params)
        asked.is_valid(raise_exception=True)
        traits, kind = asked.validated_data["traits"], asked.validated_data["kind"]
        if traits and Scope.PROFILES_READ not in key_of(request).scopes:
            raise TraitsForbiddenError
        with scope_of(request):
            [segment] = ids_of(request, [slug])
        rows = _all_members(request, segment, asked.validated_data.get("at") or timezone.now(), traits)
        pieces = _as_csv(rows, traits) if kind == CSV else _as_ndjson(rows)
        headers = {"Content-Disposition": f'attachment; filename="{slug}.{kind}"', "Cache-Control": "no-store"}
        return StreamingHttpResponse(pieces, content_type=TYPES[kind], headers=headers)


def _instant(request: Request) -> datetime | None:
    asked = AtParameters(data=request.query_params)
    asked.is_valid(raise_exception=True)
    at: datetime | None = asked.validated_data.get("at")
    return at


def _all_members(request: Request, segment: int, at: datetime, traits: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """Page by page, each in a transaction of its own: who withdraws meanwhile is not on the pages after that."""
    after = 0
    while True:
        with permit_of(request) as permit:
            rows = people.members_of(permit, segment, after=after, limit=MOST_ROWS, at=at)
            known = people.values_of(permit, [row["profile"] for row in rows], traits) if traits else {}
        yield [{**row, **({"traits": known.get(row["profile"], {})} if traits else {})} for row in rows]
        if len(rows) < MOST_ROWS:
            return
        after = rows[-1]["profile"]


def _as_ndjson(pages: Iterator[list[dict[str, Any]]]) -> Iterator[bytes]:
    for rows in pages:
        lines = [json.dumps({**row, "entered_at": _time(row["entered_at"])}, ensure_ascii=False) for row in rows]
        yield "".join(f"{line}\n" for line in lines).encode()


def _as_csv(pages: Iterator[list[dict[str, Any]]], traits: Sequence[str]) -> Iterator[bytes]:
    yield _lines([[*COLUMNS, *map(_harmless, traits)]])
    for rows in pages:
        yield _lines([[*_cells(row), *(_cell(row["traits"].get(name)) for name in traits)] for row in rows])


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [str(row["profile"]), _time(row["entered_at"]), row["entered_cause"]]


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    return _harmless(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _harmless(text: str) -> str:
    """A spreadsheet must not compute what strangers wrote."""
    return f"'{text}" if text[:1] in FORMULAS else text


def _time(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
