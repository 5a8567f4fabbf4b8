"""The part of a segment's page that says whom a rule selects, while it is typed: it knows destinations, as no stage may."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from activation import reaching
from cdp.admin import people_named, workspace_of
from cdp.kernel.errors import TesseraError
from segments.language import LanguageError, parse_json, parse_text, to_json
from segments.wording import marked, sentence_of

SHOWN_PEOPLE = 8
PART_OF_A_PAGE = "X-Part"  # what the script of the page asks for; a browser without scripts gets a page of its own


@require_POST
def preview_segment(request: HttpRequest) -> HttpResponse:
    """How many it selects, or where it is wrong."""
    workspace = workspace_of(request)
    may_write = request.user.has_perm("segments.add_segment") or request.user.has_perm("segments.change_segment")
    if workspace is None or not may_write:
        raise PermissionDenied
    is_part = PART_OF_A_PAGE in request.headers or "HX-Request" in request.headers
    shown = {**_previewed(request, workspace.pk), "layout": "console/part.html" if is_part else "console/plain.html"}
    return render(request, "console/rule_preview.html", shown)


def _previewed(request: HttpRequest, workspace_id: int) -> dict[str, Any]:
    text = request.POST.get("definition", "")
    try:
        at = _time_in(request.POST.get("at", ""))
        found, reached = reaching.preview(
            workspace_id=workspace_id, definition=to_json(parse_text(text)), now=timezone.now(), at=at
        )
    except LanguageError as error:
        return {"error": error, "is_rule": True, **marked(text, error)}
    except (TesseraError, ValueError) as error:
        return {"error": error}
    return {
        "found": found,
        "count": found.count,
        "people": found.people,
        "sentence": sentence_of(parse_json(found.definition)),
        "sample": _names_in_order(found.sample[:SHOWN_PEOPLE]),
        "reached": reached,
        "is_past": at is not None,
    }


def _names_in_order(profile_ids: Sequence[int]) -> list[tuple[int, str]]:
    names = people_named(profile_ids)
    return [(profile, names.get(profile, "")) for profile in profile_ids]


def _time_in(text: str) -> datetime | None:
    """As a field of a page gives it: without a zone, that of the page."""
    if not text:
        return None
    found = parse_datetime(text)
    if found is None:
        raise ValueError(gettext("This is no time: write 2026-11-21 12:00."))
    return found if timezone.is_aware(found) else timezone.make_aware(found)
