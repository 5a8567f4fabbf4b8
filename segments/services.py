"""Segments are created, published, previewed and explained here; `evaluate` and `due` are the pipeline's."""

from datetime import datetime

from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from consent import gate
from segments import backfill, evaluation, queries, ranks, serving
from segments.backfill import Clock
from segments.checking import Definition, check_circles, check_definition
from segments.explaining import Why, explained
from segments.membership import due, evaluate, next_due
from segments.models import Segment
from segments.preview import Preview, preview
from segments.publishing import (
    Publication,
    archive,
    cancel_publication,
    create_segment,
    go_back,
    publish,
    read_definition,
)
from segments.queries import Found

__all__ = [
    "Definition", "Preview", "Publication", "Why", "archive", "cancel_publication", "check_circles", "check_definition", "compute_versions",
    "create_segment", "due", "evaluate", "find_matching", "finish_versions", "go_back", "next_due", "preview", "publish",
    "read_definition", "segment_named", "size_of", "why",
]  # fmt: skip


class UnknownSegmentError(TesseraError):
    """There is no such segment with a published version in this workspace."""

    code = "unknown_segment"


class UnknownProfileError(TesseraError):
    """There is no such profile, or it does not permit segmentation."""

    code = "unknown_profile"


def compute_versions(*, workspace_id: int, clock: Clock, seconds: float) -> int:
    """Work for so many seconds on versions that are computed beside those that serve. 0 when there are none."""
    return backfill.work(workspace_id=workspace_id, clock=clock, seconds=seconds)


def finish_versions(*, workspace_id: int, clock: Clock) -> None:
    """Work until no version is being computed any more, or one fails: for who waits for it."""
    backfill.finish(workspace_id=workspace_id, clock=clock)


ENGINES = tuple(evaluation.ENGINES)


def find_matching(*, workspace_id: int, definition: Definition, engine: str, now: datetime) -> Found:
    """Everybody who matches, computed by one of `ENGINES`. Nothing is written."""
    tree = read_definition(definition)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        return evaluation.ENGINES[engine](permit, serving.with_computed(permit, tree), now=now)


def segment_named(*, workspace_id: int, slug: str) -> Segment:
    """One that serves. Raises `UnknownSegmentError`."""
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id):
        found = Segment.objects.filter(
            workspace_id=workspace_id, slug=slug, live_version__isnull=False, archived_at=None
        )
        segment = found.first()
    if segment is None:
        raise UnknownSegmentError
    return segment


def size_of(segment: Segment) -> int:
    """How many are in the segment now."""
    with gate.permit(Purpose.SEGMENTATION, workspace_id=segment.workspace_id):
        return segment.memberships.filter(left_at=None).count()


def why(
    *, workspace_id: int, slug: str, profile_id: int, now: datetime, locale: str = "en", tells_known: bool = True
) -> Why:
    """Why a profile is in a segment, or not, at `now`: by the live definition, and by what is known today.

    `tells_known` adds what is known of the profile to each condition.
    """
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        segment = Segment.objects.filter(
            workspace_id=workspace_id, slug=slug, live_version__isnull=False, archived_at=None
        ).first()
        if segment is None:
            raise UnknownSegmentError
        tree = serving.whole_of_live(queries.live_versions(workspace_id)[segment.pk])
        ends = ranks.ends_kept(permit, [tree], now=now)
        found = explained(
            permit, tree, profile_id=profile_id, at=now, locale=locale, tells_known=tells_known, frozen=ends
        )
    if found is None:
        raise UnknownProfileError
    return found
