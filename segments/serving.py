"""A rule as it is computed: as it was written, with computed traits in place, and with who is in or out by hand around it.

Where rankings end is read once for all rules of a batch. Equal rules with equal ends compile to equal queries, so these
are kept.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from consent.gate import Permit, Segmentation
from segments.language import (
    And,
    Listed,
    Measured,
    Node,
    Not,
    Or,
    Rank,
    canonical,
    measured_from_json,
    measured_to_json,
    parse_json,
    resolved,
)  # fmt: skip
from segments.language.compile import Asked, Query, chunks_of, compile_rules
from segments.language.ranks import Threshold
from segments.models import ComputedTraitVersion, RankThreshold, SegmentVersion
from segments.queries import LiveVersion, own_lists_of
from segments.references import needs_of, needs_of_stored


def compiled(
    permit: Permit[Segmentation], live: Mapping[int, LiveVersion], asked: Asked
) -> Sequence[tuple[Sequence[int], Query]]:
    """Queries that evaluate these segments, as many to a query as fit."""
    ranks = [rank for version in live.values() for rank in needs_of_stored(version.definition).ranks]
    ends = frozen_ends(permit.workspace_id, ranks)
    return _compiled(tuple(live.items()), tuple(sorted(ends.items())), asked)


@lru_cache(maxsize=256)
def _compiled(
    live: tuple[tuple[int, LiveVersion], ...], ends: tuple[tuple[str, Threshold], ...], asked: Asked
) -> Sequence[tuple[Sequence[int], Query]]:
    """Kept, as a batch comes every moment and definitions seldom change."""
    rules = {segment: whole_of_live(version) for segment, version in live}
    return [(list(chunk), compile_rules(chunk, asked, dict(ends))) for chunk in chunks_of(rules)]


# -- whole rules ----------------------------------------------------------------------------------------------------


def whole_of_live(version: LiveVersion) -> Node:
    """Computed traits as they were measured when it was published: whoever changes one publishes the segments anew."""
    measured = {slug: measured_from_json(each) for slug, each in json.loads(version.computed).items()}
    return whole(parse_json(version.definition), version.slug, version.own_lists, measured)


def whole_of_version(permit: Permit[Segmentation], version: SegmentVersion) -> Node:
    """Of a version that is computed beside the one that serves."""
    measured = {slug: measured_from_json(each) for slug, each in (version.computed or {}).items()}
    return whole(parse_json(version.definition), version.segment.slug, own_lists_of(permit.workspace_id), measured)


def whole_of(permit: Permit[Segmentation], tree: Node, slug: str) -> Node:
    """Of a version that does not serve yet."""
    measured = measured_by(permit.workspace_id, tree)
    return whole(tree, slug, own_lists_of(permit.workspace_id), measured)


def with_computed(permit: Permit[Segmentation], tree: Node) -> Node:
    """A rule that is only asked about. Raises `LanguageError` for a computed trait that there is not."""
    return resolved(tree, measured_by(permit.workspace_id, tree))


def whole(tree: Node, slug: str, own_lists: Iterable[str], computed: Mapping[str, Measured]) -> Node:
    """Who is in by hand is in; who is kept out by hand is not, whatever else is said."""
    rule, own = resolved(tree, computed), set(own_lists)
    if f"+{slug}" in own:
        rule = Or((rule, Listed(f"+{slug}")))
    if f"-{slug}" in own:
        rule = And((rule, Not(Listed(f"-{slug}"))))
    return rule


# -- what rules need beside their text ------------------------------------------------------------------------------


def measured_by(workspace_id: int, tree: Node) -> Mapping[str, Measured]:
    """How the computed traits of a rule are measured, as far as there are such."""
    names = needs_of(tree).computed
    if not names:
        return {}
    versions = ComputedTraitVersion.objects.filter(
        workspace_id=workspace_id, trait__slug__in=names, trait__archived_at=None
    )
    newest = versions.order_by("trait_id", "-number").distinct("trait_id")
    return {slug: measured_from_json(each) for slug, each in newest.values_list("trait__slug", "definition")}


def pinned(workspace_id: int, tree: Node) -> Mapping[str, Any] | None:
    """What a version keeps of its computed traits; None when it uses none. Raises `LanguageError` for unknown ones."""
    found = measured_by(workspace_id, tree)
    resolved(tree, found)
    return {slug: measured_to_json(each) for slug, each in found.items()} or None


def key_of(rank: Rank) -> str:
    """Under which the end of a ranking is kept: equal leaves share one."""
    return hashlib.sha256(canonical(rank).encode()).hexdigest()


def frozen_ends(workspace_id: int, ranks: Iterable[Rank]) -> Mapping[str, Threshold]:
    """Where these rankings end since their last refresh, by their canonical form, as far as they were computed."""
    wanted = {key_of(rank): canonical(rank) for rank in ranks}
    if not wanted:
        return {}
    kept = RankThreshold.objects.filter(workspace_id=workspace_id, key__in=list(wanted))
    rows = kept.values_list("key", "value", "profile_id", "computed_at")
    return {wanted[key]: Threshold(value, profile, at) for key, value, profile, at in rows}
