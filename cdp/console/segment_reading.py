"""Segments looked at: why somebody is in one or not, and how far several of them overlap."""

from collections.abc import Sequence
from typing import Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import get_language, gettext
from django.views.decorators.http import require_GET

from cdp.admin import workspace_of
from cdp.console import person
from cdp.ingestion.corrections import corrections_of
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import Workspace
from consent import gate
from segments import algebra, services
from segments.algebra import MOST_SEGMENTS, Pair
from segments.models import Segment

SHADES: Final = 9
"""As many classes of colour as the stylesheet has, `is-heat-0` to `is-heat-9`."""


@require_GET
def why_somebody(request: HttpRequest, slug: str) -> HttpResponse:
    """The part of a segment's page that says why the person who was typed is in it, or not."""
    workspace = _workspace_to_view(request)
    words = request.GET.get("person", "").strip()
    found = person.profiles_named(
        words, region=workspace.default_region, corrections=corrections_of(workspace.pk)
    ) if words else []  # fmt: skip
    profile = next(iter(found), None)
    if profile is None:
        return render(request, "console/why.html", {"problem": gettext("Nobody is known by that.")})
    try:
        why = services.why(
            workspace_id=workspace.pk, slug=slug, profile_id=profile, now=timezone.now(), locale=get_language() or "en"
        )
    except TesseraError as error:
        return render(request, "console/why.html", {"problem": error.message})
    return render(request, "console/why.html", {"why": why, "profile": profile})


@require_GET
def show_overlap(request: HttpRequest) -> HttpResponse:
    """A page with a table of all pairs of the segments that were chosen: how many are in both, the darker the more."""
    workspace = _workspace_to_view(request)
    serving = Segment.objects.filter(workspace=workspace, archived_at=None, live_version__isnull=False).order_by("name")
    asked = request.GET.getlist("of")[:MOST_SEGMENTS]
    chosen = [segment for segment in serving if segment.slug in asked]
    shown: dict[str, Any] = {"serving": serving, "chosen": chosen, "rows": _rows(workspace, chosen) if chosen else []}
    page = {**admin.site.each_context(request), "title": gettext("Overlaps of segments")}
    return render(request, "console/segment_overlap.html", {**page, **shown})


def _workspace_to_view(request: HttpRequest) -> Workspace:
    workspace = workspace_of(request)
    if workspace is None or not request.user.has_perm("segments.view_segment"):
        raise PermissionDenied
    return workspace


def _rows(workspace: Workspace, chosen: Sequence[Segment]) -> list[tuple[Segment, list[tuple[Pair, int]]]]:
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        matrix = algebra.overlap(permit, [segment.pk for segment in chosen])
    return [(segment, [(pair, _shade(pair)) for pair in row]) for segment, row in zip(chosen, matrix, strict=True)]


def _shade(pair: Pair) -> int:
    return round((pair.jaccard or 0) * SHADES)
