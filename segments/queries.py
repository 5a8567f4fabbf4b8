"""Who is in a segment, and who would be."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from django.db import connection
from django.db.models import Count, TextField
from django.db.models.functions import Cast

from cdp.kernel.arrays import bigints
from consent.gate import Permit, Segmentation
from segments.language import Node, parse_json
from segments.language.compile.members import compile_members
from segments.language.ranks import Threshold
from segments.models import Membership, Segment, SegmentList, SegmentVersion

NO_ENDS: Final[Mapping[str, Threshold]] = MappingProxyType({})


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
    slug: str
    definition: str
    """As the database writes JSON: the same text is the same rule."""
    computed: str
    """Likewise: how its computed traits are measured."""
    own_lists: frozenset[str]
    """`+slug` and `-slug`, as far as somebody was ever put into the segment, or kept out of it, by hand."""


def live_versions(workspace_id: int) -> Mapping[int, LiveVersion]:
    """Of each segment that serves."""
    live = Segment.objects.filter(workspace_id=workspace_id, archived_at=None, live_version__isnull=False)
    as_text = {
        "definition": Cast("live_version__definition", TextField()),
        "computed": Cast("live_version__computed", TextField()),
    }
    rows = live.order_by("pk").annotate(**as_text).values_list("pk", "slug", "live_version_id", *as_text)
    own = own_lists_of(workspace_id)
    return {
        segment: LiveVersion(version or 0, slug, definition, computed or "{}", own & {f"+{slug}", f"-{slug}"})
        for segment, slug, version, definition, computed in rows
    }


def own_lists_of(workspace_id: int) -> frozenset[str]:
    """The lists of the segments themselves: `+slug`, always in it, and `-slug`, never."""
    lists = SegmentList.objects.filter(workspace_id=workspace_id, slug__regex=r"^[+-]")
    return frozenset(lists.values_list("slug", flat=True))


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


EVERYBODY: Final = "SELECT count(*), COALESCE(min(id), 0), COALESCE(max(id), 0) FROM profile"

_MATCHING = "SELECT profile_id FROM ({members}) AS members ORDER BY profile_id"


def matching(_: Permit[Segmentation], tree: Node, *, now: datetime, frozen: Mapping[str, Threshold] = NO_ENDS) -> Found:
    """Who matches at `now`, computed over everybody whom the purpose may see. `frozen` says where rankings end."""
    query = compile_members(tree, frozen)
    rows = _rows(_MATCHING.format(members=query.sql), {**query.parameters, "now": now})
    return Found([row[0] for row in rows])


_IDENTIFIERS = """
SELECT COALESCE(array_agg(id), '{}')::text FROM identifier WHERE profile_id = ANY(%(profiles)s::bigint[])
"""


def of_profiles(profiles: Iterable[int]) -> Mapping[str, str]:
    """What a query about some profiles takes of them."""
    given = {"profiles": bigints(profiles)}
    [(identifiers,)] = _rows(_IDENTIFIERS, given)
    return {**given, "identifiers": identifiers}


def _rows(sql: str, parameters: Mapping[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
