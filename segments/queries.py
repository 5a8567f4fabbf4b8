"""Who is in a segment, who would be, and why."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from django.db import connection

from cdp.kernel.arrays import bigints
from consent.gate import Permit, Segmentation
from segments.language import Leaf, Node, explain, leaves_of, parse_json, to_text
from segments.language.compile import Asked, compile_rules
from segments.language.ranks import Threshold
from segments.models import Membership, Segment, SegmentList, SegmentVersion

NO_ENDS: Final[Mapping[str, Threshold]] = MappingProxyType({})


def members_of(segment: Segment, *, after: int = 0, limit: int = 1_000) -> Sequence[int]:
    """Profiles that are in the segment, a page in order of id: those after `after`."""
    open_ones = Membership.objects.filter(segment=segment, left_at=None, profile_id__gt=after)
    return list(open_ones.order_by("profile_id").values_list("profile_id", flat=True)[:limit])


@dataclass(frozen=True, slots=True)
class LiveVersion:
    id: int
    slug: str
    definition: str
    """Canonical JSON as text: the same text is the same rule."""
    computed: str
    """Likewise: how its computed traits are measured."""
    own_lists: frozenset[str]
    """`+slug` and `-slug`, as far as somebody was ever put into the segment, or kept out of it, by hand."""


def live_versions(workspace_id: int) -> Mapping[int, LiveVersion]:
    """Of each segment that serves."""
    live = Segment.objects.filter(workspace_id=workspace_id, archived_at=None, live_version__isnull=False)
    columns = ("pk", "slug", "live_version_id", "live_version__definition", "live_version__computed")
    own = own_lists_of(workspace_id)
    return {
        segment: LiveVersion(
            version or 0, slug, json.dumps(definition), json.dumps(computed or {}), own & {f"+{slug}", f"-{slug}"}
        )
        for segment, slug, version, definition, computed in live.order_by("pk").values_list(*columns)
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


_MATCHING = "SELECT profile_id FROM ({answers}) AS answers WHERE is_in ORDER BY profile_id"
_SAMPLE = """
WITH matching AS MATERIALIZED (SELECT profile_id FROM ({answers}) AS answers WHERE is_in)
SELECT (SELECT count(*) FROM matching), ARRAY(SELECT profile_id FROM matching ORDER BY profile_id LIMIT %(most)s)
"""


def matching(_: Permit[Segmentation], tree: Node, *, now: datetime, frozen: Mapping[str, Threshold] = NO_ENDS) -> Found:
    """Who matches at `now`, computed over everybody whom the purpose may see. `frozen` says where rankings end."""
    query = compile_rules({0: tree}, Asked.EVERYBODY, frozen)
    rows = _rows(_MATCHING.format(answers=query.sql), {**query.parameters, "now": now})
    return Found([row[0] for row in rows])


def count_and_sample(
    _: Permit[Segmentation], tree: Node, *, now: datetime, most: int, frozen: Mapping[str, Threshold] = NO_ENDS
) -> tuple[int, list[int]]:
    query = compile_rules({0: tree}, Asked.EVERYBODY, frozen)
    [(count, sample)] = _rows(_SAMPLE.format(answers=query.sql), {**query.parameters, "now": now, "most": most})
    return count, sample


@dataclass(frozen=True, slots=True)
class Reason:
    """A condition of a rule, whether it holds for the profile, and when that could change if nothing happens."""

    condition: str
    sentence: str
    is_true: bool
    next_change_at: datetime | None


def reasons(
    _: Permit[Segmentation],
    tree: Node,
    *,
    profile_id: int,
    now: datetime,
    locale: str,
    frozen: Mapping[str, Threshold] = NO_ENDS,
) -> tuple[bool, Sequence[Reason]] | None:
    """Whether the profile is in, and each condition; None for a profile that the purpose may not see."""
    leaves = list(leaves_of(tree))
    rows = _answers_for_one([tree, *leaves], profile_id, now, frozen)
    if not rows:
        return None
    found = [_reason(leaf, rows[place], locale) for place, leaf in enumerate(leaves, start=1)]
    return rows[0][0], found


def _reason(leaf: Leaf, answer: tuple[bool, datetime | None], locale: str) -> Reason:
    return Reason(to_text(leaf), explain(leaf, locale), *answer)


def _answers_for_one(
    rules: Iterable[Node], profile_id: int, now: datetime, frozen: Mapping[str, Threshold]
) -> Mapping[int, tuple[bool, datetime | None]]:
    query = compile_rules(dict(enumerate(rules)), Asked.SOME, frozen)
    rows = _rows(query.sql, {**query.parameters, **of_profiles([profile_id]), "now": now})
    return {rule: (is_in, change) for rule, _, is_in, change, _ in rows}


_IDENTIFIERS = "SELECT id FROM identifier WHERE profile_id = ANY(%(profiles)s::bigint[])"


def of_profiles(profiles: Iterable[int]) -> Mapping[str, str]:
    """What a query about some profiles takes of them."""
    given = {"profiles": bigints(profiles)}
    return {**given, "identifiers": bigints(one for (one,) in _rows(_IDENTIFIERS, given))}


def _rows(sql: str, parameters: Mapping[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
