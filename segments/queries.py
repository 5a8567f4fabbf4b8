"""Who is in a segment, and who would be."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from django.db import connection
from django.db.models import Count

from cdp.kernel.arrays import bigints
from consent.gate import Permit, Segmentation
from segments.language import Node, parse_json
from segments.language.compile.members import compile_members
from segments.language.ranks import Threshold
from segments.models import Membership, Segment, SegmentVersion

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


_SERVING: Final = """
SELECT s.id, s.slug, v.id, jsonb_hash_extended(v.definition, 0), jsonb_hash_extended(v.computed, 0)
FROM segment s JOIN segment_version v ON v.id = s.live_version_id
WHERE s.workspace_id = %s AND s.archived_at IS NULL ORDER BY s.id
"""
_RULES: Final = """
SELECT id, definition::text, COALESCE(computed::text, '{}') FROM segment_version WHERE id = ANY(%s::bigint[])
"""
_OWN_LISTS: Final = "SELECT slug FROM segment_list WHERE workspace_id = %s AND slug ~ '^[+-]'"

_Serving = tuple[int, str, int, int, int | None]
"""segment, its slug, its live version, and hashes of what that says"""


def live_versions(workspace_id: int) -> Mapping[int, LiveVersion]:
    """Of each segment that serves. Every batch asks, so rules are read only when they are others than the last time."""
    return _versions(tuple(_rows(_SERVING, [workspace_id])), own_lists_of(workspace_id))


@lru_cache(maxsize=64)
def _versions(serving: tuple[_Serving, ...], own: frozenset[str]) -> Mapping[int, LiveVersion]:
    found = _rows(_RULES, [bigints(version for _, _, version, *_ in serving)])
    rules = {version: (definition, computed) for version, definition, computed in found}
    return MappingProxyType(
        {
            segment: LiveVersion(version, slug, *rules[version], own & {f"+{slug}", f"-{slug}"})
            for segment, slug, version, *_ in serving
        }
    )


def own_lists_of(workspace_id: int) -> frozenset[str]:
    """The lists of the segments themselves: `+slug`, always in it, and `-slug`, never."""
    return frozenset(slug for (slug,) in _rows(_OWN_LISTS, [workspace_id]))


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


def _rows(sql: str, parameters: Mapping[str, Any] | Sequence[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
