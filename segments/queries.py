"""Who is in a segment, and who would be."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count

from cdp.kernel.arrays import bigints
from consent.gate import Permit, Segmentation
from segments.language import Node, parse_json
from segments.language.compile import Asked, compile_rules
from segments.models import Membership, Segment, SegmentVersion


def members_of(segment: Segment, *, after: int = 0, limit: int = 1_000) -> Sequence[int]:
    """Profiles that are in the segment, a page in order of id: those after `after`."""
    open_ones = Membership.objects.filter(segment=segment, left_at=None, profile_id__gt=after)
    return list(open_ones.order_by("profile_id").values_list("profile_id", flat=True)[:limit])


def sizes_of(segment_ids: Iterable[int]) -> Mapping[int, int]:
    """How many are in each of these segments now; nothing of one where nobody is. In the scope of the workspace."""
    members = Membership.objects.filter(segment__in=list(segment_ids), left_at=None)
    return dict(members.order_by().values_list("segment").annotate(Count("pk")))


@dataclass(frozen=True, slots=True)
class LiveVersion:
    id: int
    definition: str
    """Canonical JSON as text: the same text is the same rule."""


def live_versions(workspace_id: int) -> Mapping[int, LiveVersion]:
    """Of each segment that serves."""
    live = Segment.objects.filter(workspace_id=workspace_id, archived_at=None, live_version__isnull=False)
    rows = live.order_by("pk").values_list("pk", "live_version_id", "live_version__definition")
    return {segment: LiveVersion(version or 0, json.dumps(definition)) for segment, version, definition in rows}


def definition_of(segment: Segment) -> Node:
    """The tree of the live version."""
    return parse_json(SegmentVersion.objects.values_list("definition", flat=True).get(pk=segment.live_version_id or 0))


@dataclass(frozen=True, slots=True)
class Found:
    """Everybody who matches a rule, in order of id."""

    members: Sequence[int]

    @property
    def digest(self) -> str:
        """Equal exactly when the members are: SHA-256 of the sorted ids, one a line."""
        return hashlib.sha256(b"".join(b"%d\n" % member for member in self.members)).hexdigest()


_MATCHING = "SELECT profile_id FROM ({answers}) AS answers WHERE is_in ORDER BY profile_id"
_SAMPLE = """
WITH matching AS MATERIALIZED (SELECT profile_id FROM ({answers}) AS answers WHERE is_in)
SELECT (SELECT count(*) FROM matching), ARRAY(SELECT profile_id FROM matching ORDER BY profile_id LIMIT %(most)s)
"""


def matching(_: Permit[Segmentation], tree: Node, *, now: datetime) -> Found:
    """Who matches at `now`, computed over everybody whom the purpose may see."""
    query = compile_rules({0: tree}, Asked.EVERYBODY)
    rows = _rows(_MATCHING.format(answers=query.sql), {**query.parameters, "now": now})
    return Found([row[0] for row in rows])


def count_and_sample(_: Permit[Segmentation], tree: Node, *, now: datetime, most: int) -> tuple[int, list[int]]:
    query = compile_rules({0: tree}, Asked.EVERYBODY)
    [(count, sample)] = _rows(_SAMPLE.format(answers=query.sql), {**query.parameters, "now": now, "most": most})
    return count, sample


_IDENTIFIERS = "SELECT id FROM identifier WHERE profile_id = ANY(%(profiles)s::bigint[])"


def of_profiles(profiles: Iterable[int]) -> Mapping[str, str]:
    """What a query about some profiles takes of them."""
    given = {"profiles": bigints(profiles)}
    return {**given, "identifiers": bigints(one for (one,) in _rows(_IDENTIFIERS, given))}


def _rows(sql: str, parameters: Mapping[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
