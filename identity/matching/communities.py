"""Which records of a loosely tied group are one person: communities of the graph of likenesses (Leiden, CPM).

A chain of likenesses may run through several people: a father and a son, two who share a name and a town. How dense the
links within one person are differs from data to data, so no resolution fits all. Each of a ladder of resolutions proposes
a partition, and the one is taken that describes the links in the fewest bits: the links within and between its parts at
their own densities, and the partition itself. So the group as a whole stays unless a split explains it better.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

SEED: Final = 20260801
# From "one link in thirty holds two groups together" to "every other one must be there", in steps of about a half.
RESOLUTIONS: Final = (0.03, 0.05, 0.08, 0.12, 0.18, 0.25, 0.33, 0.42, 0.5)
# Of three records no two links are a thread, and there is nothing to estimate a density from.
FEWEST_RECORDS: Final = 4
# Where every record resembles so many of the others, any two parts share at least a third of their pairs.
CLOSELY_TIED: Final = 2 / 3


class Link(NamedTuple):
    """Two records that resemble each other; `weight` is log2 of the odds that they are one person."""

    left: int
    right: int
    weight: float


class Bridge(NamedTuple):
    """What holds two communities together, and how closely the records within the communities are tied."""

    links: int
    pairs: int
    within: float


Communities = Mapping[int, int]  # record → number of its community


def communities(links: Sequence[Link], *, largest: int | None = None) -> Communities:
    """The community of every record of one connected group of `links`, none beyond `largest` if that can be had.

    The answer follows from the weights alone: neither the order of the links nor, where no two weights are equal,
    the numbers of the records matter.
    """
    degrees = Counter(end for link in links for end in (link.left, link.right))
    size = len(degrees)
    fits = largest is None or size <= largest
    if fits and (size < FEWEST_RECORDS or is_closely_tied(degrees.values())):
        return dict.fromkeys(degrees, 0)
    return _best_described(_in_canonical_order(links), largest)


def is_closely_tied(degrees: Collection[int]) -> bool:
    return min(degrees) >= CLOSELY_TIED * (len(degrees) - 1)


def bridges(links: Iterable[Link], found: Communities) -> Mapping[tuple[int, int], Bridge]:
    """By the numbers of two communities, the lower first."""
    sizes = Counter(found.values())
    between: Counter[tuple[int, int]] = Counter()
    inside = 0
    for link in links:
        one, other = sorted((found[link.left], found[link.right]))
        if one == other:
            inside += 1
        else:
            between[one, other] += 1
    within = inside / max(1, sum(map(_pairs_of, sizes.values())))
    return {(one, other): Bridge(count, sizes[one] * sizes[other], within) for (one, other), count in between.items()}


def probability(weight: float) -> float:
    """Of odds that are given as their log2."""
    return 1 / (1 + math.exp2(-max(weight, -1000)))


# -- the best of a ladder of partitions -----------------------------------------------------------------------------


class _Graph(NamedTuple):
    """Records by their places in the canonical order, and the probabilities of the links between them."""

    records: Sequence[int]
    edges: Sequence[tuple[int, int, float]]


def _in_canonical_order(links: Sequence[Link]) -> _Graph:
    """Records are ordered by the weights of their links, so that their numbers say nothing; those break ties alone."""
    weights: defaultdict[int, list[float]] = defaultdict(list)
    for link in links:
        weights[link.left].append(link.weight)
        weights[link.right].append(link.weight)
    records = sorted(weights, key=lambda record: (sorted(weights[record], reverse=True), record))
    places = {record: place for place, record in enumerate(records)}
    ends = [sorted((places[link.left], places[link.right])) for link in links]
    edges = [(left, right, probability(link.weight)) for (left, right), link in zip(ends, links, strict=True)]
    return _Graph(records, sorted(edges))


def _best_described(graph: _Graph, largest: int | None) -> Communities:
    proposals = [[0] * len(graph.records), *(_proposal(graph, resolution) for resolution in RESOLUTIONS)]
    within_bounds = [each for each in proposals if largest is None or max(Counter(each).values()) <= largest]
    best = min(within_bounds or proposals[-1:], key=lambda proposal: _bits(graph, proposal))
    return dict(zip(graph.records, best, strict=True))


def _proposal(graph: _Graph, resolution: float) -> list[int]:
    from graspologic_native import leiden  # noqa: PLC0415  # few groups are loose enough to need it

    named = [(str(left), str(right), chance) for left, right, chance in graph.edges]
    _, found = leiden(named, resolution=resolution, use_modularity=False, iterations=3, seed=SEED)
    return [found[str(place)] for place in range(len(graph.records))]


def _bits(graph: _Graph, proposal: Sequence[int]) -> float:
    """How long the shortest description of the links is, in natural units, if these are the communities."""
    sizes = Counter(proposal)
    everything = sum(chance for *_, chance in graph.edges)
    inside = sum(chance for left, right, chance in graph.edges if proposal[left] == proposal[right])
    pairs_inside = sum(map(_pairs_of, sizes.values()))
    pairs_outside = _pairs_of(len(proposal)) - pairs_inside
    return _surprise(inside, pairs_inside) + _surprise(everything - inside, pairs_outside) + _partition(sizes)


def _surprise(links: float, pairs: int) -> float:
    """Of which among `pairs` are linked, when it is known how many are."""
    if not 0 < links < pairs:
        return 0.0
    density = links / pairs
    return -pairs * (density * math.log(density) + (1 - density) * math.log1p(-density))


def _partition(sizes: Mapping[int, int]) -> float:
    """Of how many communities there are, how large each is, and who is in which."""
    count, parts = sum(sizes.values()), len(sizes)
    ways_of_sizes = math.lgamma(count) - math.lgamma(parts) - math.lgamma(count - parts + 1)
    ways_of_members = math.lgamma(count + 1) - sum(math.lgamma(size + 1) for size in sizes.values())
    return math.log(count) + ways_of_sizes + ways_of_members


def _pairs_of(count: int) -> int:
    return count * (count - 1) // 2
