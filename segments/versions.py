"""The versions of a segment as its page shows them: what each changed in the rule, and among the people."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from cdp.models import Run, RunState
from segments.backfill import KIND
from segments.models import Backfill, Segment, SegmentVersion
from segments.wording import text_of

SHOWN: Final = 50
_WORD: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s()]+|[()]')

Difference = Sequence[tuple[str, str]]
"""Words in order, each run of them "same", "gone" or "new"."""


@dataclass(frozen=True, slots=True)
class VersionRow:
    """`run` computed it, and counted who entered and left; none for versions from before there were such runs."""

    version: SegmentVersion
    difference: Difference
    run: Run | None


def version_rows(segment: Segment) -> list[VersionRow]:
    """The newest first, each with what it changed of the one before."""
    versions = list(segment.versions.select_related("author").order_by("-number")[: SHOWN + 1])
    texts = [text_of(version.definition) for version in versions]
    before = [*texts[1:], texts[-1] if texts else ""]
    runs = _runs_of(segment, versions)
    rows = zip(versions, before, texts, strict=True)
    return [VersionRow(each, difference(old, new), runs.get(each.pk)) for each, old, new in rows][:SHOWN]


def compared(segment: Segment, before: int, after: int) -> Difference:
    """Of two versions by their numbers; empty if one of them is none."""
    texts = dict(segment.versions.filter(number__in=[before, after]).values_list("number", "definition"))
    if not {before, after} <= texts.keys():
        return []
    return difference(text_of(texts[before]), text_of(texts[after]))


def difference(before: str, after: str) -> Difference:
    return list(_difference(_WORD.findall(before), _WORD.findall(after)))


def _difference(before: list[str], after: list[str]) -> Iterator[tuple[str, str]]:
    for kind, old_begins, old_ends, new_begins, new_ends in SequenceMatcher(None, before, after, False).get_opcodes():
        old, new = " ".join(before[old_begins:old_ends]), " ".join(after[new_begins:new_ends])
        if kind == "equal":
            yield "same", new
            continue
        if old:
            yield "gone", old
        if new:
            yield "new", new


def under_way(segment: Segment) -> Backfill | None:
    """The version that is being computed, if there is one."""
    return Backfill.objects.filter(segment=segment).select_related("version", "run").first()


def failed_last(segment: Segment) -> Run | None:
    """The run of the newest version, if it failed: whoever opens the page sees it."""
    newest = segment.versions.order_by("-number").values_list("pk", flat=True).first()
    failed = Run.objects.filter(workspace_id=segment.workspace_id, kind=KIND, state=RunState.FAILED)
    return failed.filter(subject=segment.slug, bookmark__version=newest).first()


def _runs_of(segment: Segment, versions: Sequence[SegmentVersion]) -> Mapping[int, Run]:
    runs = Run.objects.filter(workspace_id=segment.workspace_id, kind=KIND, subject=segment.slug).order_by("pk")
    wanted = {version.pk for version in versions}
    return {run.bookmark["version"]: run for run in runs if run.bookmark.get("version") in wanted}
