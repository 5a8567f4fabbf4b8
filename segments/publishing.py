"""A rule becomes a version, and the version serves: at once in a small workspace, else when it is computed.

Whoever publishes, archives or cancels takes turns with those who do so too. All take locks in the same order: this turn,
the run of a version under way, the turn of those who evaluate, the segment.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Max

from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import Run, RunState, User
from consent import gate
from consent.gate import Permit, Segmentation
from segments import backfill, checking, membership, references, serving
from segments.checking import Definition
from segments.language import Node, to_json
from segments.models import Membership, Segment, SegmentVersion


class SegmentExistsError(TesseraError):
    """There is a segment with this slug already: choose another one, or publish a new version of it."""

    code = "segment_exists"


@dataclass(frozen=True, slots=True)
class Publication:
    """What a version did when it took the place of the one before. While its `run` goes on it has done nothing yet, and
    `members` are those of the version that serves.
    """

    version: SegmentVersion
    entered: int
    left: int
    members: int
    run: Run

    @property
    def is_serving(self) -> bool:
        return self.run.state == RunState.DONE


def read_definition(definition: Definition) -> Node:
    """Either form. Raises `LanguageError` with the place of the mistake."""
    return checking.read_with_places(definition)[0]


def create_segment(
    *,
    workspace_id: int,
    slug: str,
    name: str,
    definition: Definition,
    author: User | None,
    now: datetime,
    allow_unknown: bool = True,
) -> Segment:
    """A new segment with its first version: serving, or in a large workspace being computed (`Segment.backfill`).

    Raises `LanguageError` for a mistake, and unless they are allowed, for names that the workspace does not have.
    """
    tree = _read(workspace_id, definition, allow_unknown=allow_unknown)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        segment, is_new = Segment.objects.get_or_create(
            workspace_id=workspace_id, slug=slug, defaults={"name": name or slug}
        )
        if not is_new:
            raise SegmentExistsError(slug=slug)
        _publish(permit, segment, tree, author, now)
    return segment


def publish(
    *, segment: Segment, definition: Definition, author: User | None, now: datetime, allow_unknown: bool = True
) -> Publication:
    """A new version, computed over everybody and swapped for the old one: at once, or in a large workspace later.

    Until then the old version serves; activation hears of the difference only. A version that is still being computed
    is given up for the new one.
    """
    tree = _read(segment.workspace_id, definition, allow_unknown=allow_unknown)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=segment.workspace_id) as permit:
        return _publish(permit, segment, tree, author, now)


def go_back(*, segment: Segment, number: int, author: User | None, now: datetime) -> Publication:
    """Publish the definition of a former version again, as a new one: what served when stays true."""
    former = SegmentVersion.objects.get(segment=segment, number=number)
    return publish(segment=segment, definition=former.definition, author=author, now=now)


def cancel_publication(*, segment: Segment, now: datetime) -> bool:
    """Give up the version that is being computed. False when there is none, or it serves already."""
    with gate.permit(Purpose.SEGMENTATION, workspace_id=segment.workspace_id) as permit:
        _take_turn(permit)
        return backfill.cancel(permit, segment=segment, now=now)


def archive(*, segment: Segment, now: datetime) -> int:
    """The segment serves no longer: everybody leaves it. Its history stays. Returns how many left."""
    with gate.permit(Purpose.SEGMENTATION, workspace_id=segment.workspace_id) as permit:
        _take_turn(permit)
        references.check_not_needed(segment)
        backfill.cancel(permit, segment=segment, now=now)
        membership.take_turn(permit, is_alone=True)
        left = membership.end_segment(permit, segment_id=segment.pk, now=now)
        segment.archived_at = now
        segment.save(update_fields=["archived_at"])
    return left


def _read(workspace_id: int, definition: Definition, *, allow_unknown: bool) -> Node:
    tree = read_definition(definition)
    if not allow_unknown:
        checking.check_definition(workspace_id=workspace_id, definition=definition)
    return tree


_TAKE_TURN = "SELECT pg_advisory_xact_lock(hashtext('segments.publishing'), %s)"


def _take_turn(permit: Permit[Segmentation]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_TURN, [permit.workspace_id])


def _publish(
    permit: Permit[Segmentation], segment: Segment, tree: Node, author: User | None, now: datetime
) -> Publication:
    _take_turn(permit)
    backfill.cancel(permit, segment=segment, now=now)
    references.check_references(workspace_id=permit.workspace_id, slug=segment.slug, tree=tree)
    version = _next_version(segment, tree, author)
    if not backfill.is_large(permit):
        return _serve_at_once(permit, version, tree, now)
    run = backfill.begin(permit, version=version, author=author, now=now)
    return Publication(version, 0, 0, Membership.objects.filter(segment=segment, left_at=None).count(), run)


def _next_version(segment: Segment, tree: Node, author: User | None) -> SegmentVersion:
    newest = SegmentVersion.objects.filter(segment=segment).aggregate(newest=Max("number"))["newest"] or 0
    return SegmentVersion.objects.create(
        workspace_id=segment.workspace_id, segment=segment, number=newest + 1, definition=to_json(tree), author=author,
        computed=serving.pinned(segment.workspace_id, tree),
    )  # fmt: skip


def _serve_at_once(permit: Permit[Segmentation], version: SegmentVersion, tree: Node, now: datetime) -> Publication:
    began = time.monotonic()
    membership.take_turn(permit, is_alone=True)
    segment = version.segment
    counts = membership.replace_version(permit, segment_id=segment.pk, version_id=version.pk, tree=tree, now=now)
    segment.live_version, segment.computed_at, segment.archived_at = version, now, None
    segment.save(update_fields=["live_version", "computed_at", "archived_at"])
    return Publication(version, **counts, run=_run_of(version, counts, now, time.monotonic() - began))


def _run_of(version: SegmentVersion, counts: Mapping[str, int], now: datetime, seconds: float) -> Run:
    ended = now + timedelta(seconds=seconds)
    return Run.objects.create(
        workspace_id=version.workspace_id, kind=backfill.KIND, subject=version.segment.slug, asked_by=version.author,
        state=RunState.DONE, counts=dict(counts), bookmark={"version": version.pk}, started_at=now, heartbeat_at=ended,
        finished_at=ended,
    )  # fmt: skip
