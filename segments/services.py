"""Segments are created, published, previewed and explained here; `evaluate` and `due` are the pipeline's."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Max

from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import User
from consent import gate
from segments import evaluation, membership, queries
from segments.explaining import Why, explained
from segments.language import Node, parse_json, parse_text, to_json
from segments.membership import due, evaluate
from segments.models import Segment, SegmentVersion
from segments.queries import Found

__all__ = [
    "Preview", "Publication", "Why", "archive", "create_segment", "due", "evaluate", "find_matching", "preview", "publish",
    "size_of", "why",
]  # fmt: skip

Definition = object
"""The JSON form as a dictionary or a text, or the text form that people type. Anything else is refused."""

SAMPLE = 20


class SegmentExistsError(TesseraError):
    """There is a segment with this slug already: choose another one, or publish a new version of it."""

    code = "segment_exists"


class UnknownSegmentError(TesseraError):
    """There is no such segment with a published version in this workspace."""

    code = "unknown_segment"


class UnknownProfileError(TesseraError):
    """There is no such profile, or it does not permit segmentation."""

    code = "unknown_profile"


@dataclass(frozen=True, slots=True)
class Publication:
    version: SegmentVersion
    entered: int
    left: int
    members: int


@dataclass(frozen=True, slots=True)
class Preview:
    count: int
    sample: list[int]
    definition: dict[str, Any]


def read_definition(definition: Definition) -> Node:
    """Either form. Raises `LanguageError` with the place of the mistake."""
    is_text = isinstance(definition, str) and not definition.lstrip().startswith("{")
    return parse_text(str(definition)) if is_text else parse_json(definition)


def create_segment(
    *, workspace_id: int, slug: str, name: str, definition: Definition, author: User | None, now: datetime
) -> Segment:
    """A new segment with its first version, computed and serving."""
    tree = read_definition(definition)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        segment, is_new = Segment.objects.get_or_create(
            workspace_id=workspace_id, slug=slug, defaults={"name": name or slug}
        )
        if not is_new:
            raise SegmentExistsError(slug=slug)
        _publish(permit, segment, tree, author, now)
    return segment


def publish(*, segment: Segment, definition: Definition, author: User | None, now: datetime) -> Publication:
    """A new version: computed over everybody, and swapped for the old one at once.

    Until then the old version serves; activation hears of the difference only.
    """
    tree = read_definition(definition)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=segment.workspace_id) as permit:
        return _publish(permit, segment, tree, author, now)


def archive(*, segment: Segment, now: datetime) -> int:
    """The segment serves no longer: everybody leaves it. Its history stays. Returns how many left."""
    with gate.permit(Purpose.SEGMENTATION, workspace_id=segment.workspace_id) as permit:
        membership.take_turn(permit, is_alone=True)
        left = membership.end_segment(permit, segment_id=segment.pk, now=now)
        segment.archived_at = now
        segment.save(update_fields=["archived_at"])
    return left


def preview(*, workspace_id: int, definition: Definition, now: datetime) -> Preview:
    """How many would be in, exactly, and the first of them. Nothing is written."""
    tree = read_definition(definition)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        count, sample = queries.count_and_sample(permit, tree, now=now, most=SAMPLE)
    return Preview(count, sample, to_json(tree))


ENGINES = tuple(evaluation.ENGINES)


def find_matching(*, workspace_id: int, definition: Definition, engine: str, now: datetime) -> Found:
    """Everybody who matches, computed by one of `ENGINES`. Nothing is written."""
    tree = read_definition(definition)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        return evaluation.ENGINES[engine](permit, tree, now=now)


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
        segment = Segment.objects.filter(workspace_id=workspace_id, slug=slug, live_version__isnull=False).first()
        if segment is None:
            raise UnknownSegmentError
        tree = queries.definition_of(segment)
        found = explained(permit, tree, profile_id=profile_id, at=now, locale=locale, tells_known=tells_known)
    if found is None:
        raise UnknownProfileError
    return found


def _publish(
    permit: gate.Permit[gate.Segmentation], segment: Segment, tree: Node, author: User | None, now: datetime
) -> Publication:
    membership.take_turn(permit, is_alone=True)
    newest = SegmentVersion.objects.filter(segment=segment).aggregate(newest=Max("number"))["newest"] or 0
    version = SegmentVersion.objects.create(
        workspace_id=permit.workspace_id, segment=segment, number=newest + 1, definition=to_json(tree), author=author
    )
    counts = membership.replace_version(permit, segment_id=segment.pk, version_id=version.pk, tree=tree, now=now)
    segment.live_version, segment.computed_at, segment.archived_at = version, now, None
    segment.save(update_fields=["live_version", "computed_at", "archived_at"])
    return Publication(version, **counts)
