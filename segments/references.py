"""What a rule needs that is not in it: other segments, lists, computed traits, rankings. And the order that follows.

A segment that refers to others is evaluated after them, level by level. Circles are refused when a definition is saved,
and so is the farewell of a segment that another one needs.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cdp.kernel.errors import TesseraError
from segments.language import Node, leaves_of, parse_json
from segments.language.tree import Computed, Listed, Member, Rank
from segments.models import Segment, SegmentVersion
from segments.queries import LiveVersion, live_versions

Live = Mapping[int, LiveVersion]


class UnknownReferenceError(TesseraError):
    """The rule refers to a segment that does not exist, or serves no longer: publish that one first."""

    code = "unknown_reference"


class CircularReferenceError(TesseraError):
    """A segment cannot need itself to be computed, neither directly nor by others: take one reference out."""

    code = "circular_reference"


class SegmentNeededError(TesseraError):
    """Other segments refer to this one: change or archive those first."""

    code = "segment_needed"


@dataclass(frozen=True, slots=True)
class Needs:
    """Names that a rule holds."""

    segments: frozenset[str]
    lists: frozenset[str]
    computed: frozenset[str]
    ranks: tuple[Rank, ...]


def needs_of(tree: Node) -> Needs:
    leaves = list(leaves_of(tree))
    ranks = tuple(leaf for leaf in leaves if isinstance(leaf, Rank))
    members = {leaf.segment for leaf in leaves if isinstance(leaf, Member)}
    return Needs(
        segments=frozenset(members | {rank.among for rank in ranks if rank.among is not None}),
        lists=frozenset(leaf.list for leaf in leaves if isinstance(leaf, Listed)),
        computed=frozenset(leaf.name for leaf in leaves if isinstance(leaf, Computed)),
        ranks=ranks,
    )


@lru_cache(maxsize=4_096)
def needs_of_stored(definition: str) -> Needs:
    """Of a definition as text. Kept: a batch comes every moment, and definitions seldom change."""
    return needs_of(parse_json(definition))


# -- the order ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Order:
    levels: Sequence[Live]
    """Each segment in a level after those that it refers to: one level when none refers to another."""
    followers: Mapping[int, frozenset[int]]
    """By segment, those that refer to it themselves."""


def order_of(live: Live) -> Order:
    graph = _graph_of(live)
    if not any(graph.values()):
        return Order([live] if live else [], {})
    depths: dict[str, int] = {}
    for slug in graph:
        _note_depth(graph, slug, depths)
    levels: list[dict[int, LiveVersion]] = [{} for _ in range(max(depths.values()) + 1)]
    for segment, version in live.items():
        levels[depths[version.slug]][segment] = version
    return Order(levels, _followers(live, graph))


def _followers(live: Live, graph: Mapping[str, frozenset[str]]) -> Mapping[int, frozenset[int]]:
    ids = {version.slug: segment for segment, version in live.items()}
    found: dict[int, set[int]] = defaultdict(set)
    for slug, named in graph.items():
        for other in named:
            found[ids[other]].add(ids[slug])
    return {segment: frozenset(them) for segment, them in found.items()}


def _referred_to_by(version: LiveVersion) -> frozenset[str]:
    return needs_of_stored(version.definition).segments


def _graph_of(live: Live) -> Mapping[str, frozenset[str]]:
    """By the names of the segments: those that each refers to, as far as they serve."""
    serving = {version.slug for version in live.values()}
    return {version.slug: _referred_to_by(version) & serving for version in live.values()}


def _note_depth(graph: Mapping[str, frozenset[str]], slug: str, depths: dict[str, int]) -> int:
    if slug not in depths:
        depths[slug] = 1 + max((_note_depth(graph, other, depths) for other in graph[slug]), default=-1)
    return depths[slug]


# -- what is refused ------------------------------------------------------------------------------------------------


def check_references(*, workspace_id: int, slug: str, tree: Node) -> None:
    """Raises when the rule of this segment refers to one that does not serve, or would need itself."""
    serving, named = live_versions(workspace_id), needs_of(tree).segments
    graph = _graph_with_what_is_under_way(workspace_id, serving)
    if slug in named:
        raise _circle((slug, slug))
    if unknown := sorted(named - {version.slug for version in serving.values()}):
        raise UnknownReferenceError(f"There is no segment {', '.join(unknown)} that serves", segments=unknown)
    for first in sorted(named):
        if path := _path(graph, first, slug):
            raise _circle((slug, *path))


def check_not_needed(segment: Segment) -> None:
    """Raises when a live segment refers to this one. What serves no longer, or is named otherwise, cannot be read."""
    graph = _graph_with_what_is_under_way(segment.workspace_id, live_versions(segment.workspace_id))
    if names := sorted(slug for slug, named in graph.items() if segment.slug in named):
        raise SegmentNeededError(f"Segments refer to {segment.slug}: {', '.join(names)}", segments=names)


def _graph_with_what_is_under_way(workspace_id: int, serving: Live) -> Mapping[str, frozenset[str]]:
    """A version that is being computed may serve at any moment, and until then the one before it does."""
    graph = {version.slug: _referred_to_by(version) for version in serving.values()}
    under_way = SegmentVersion.objects.filter(workspace_id=workspace_id, backfill__isnull=False)
    for slug, definition in under_way.values_list("segment__slug", "definition"):
        graph[slug] = graph.get(slug, frozenset()) | needs_of(parse_json(definition)).segments
    return graph


def _circle(path: Sequence[str]) -> CircularReferenceError:
    shown = " → ".join(path)
    return CircularReferenceError(f"A segment cannot need itself: {shown}", path=list(path))


def _path(graph: Mapping[str, frozenset[str]], start: str, end: str) -> Sequence[str] | None:
    """The names from one to the other along references."""
    waiting: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    while waiting:
        path = waiting.pop()
        if path[-1] == end:
            return path
        for name in sorted(graph.get(path[-1], ())):
            if name not in seen:
                seen.add(name)
                waiting.append((*path, name))
    return None
