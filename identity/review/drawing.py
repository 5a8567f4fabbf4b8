"""Numbers for two pictures: what each comparison weighed, and how the identifiers of a person hold together.

The page only writes them down as SVG. Both have a fixed size, whatever they show.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

WIDTH: Final = 400.0  # of a row of bars
LEAST_SPAN: Final = 1e-6  # in bits: what is less is drawn as nothing
TO_BEGIN_WITH: Final = ""  # the bar of what was known before any comparison
GRAPH_WIDTH, GRAPH_HEIGHT, MARGIN = 640.0, 260.0, 36.0


@dataclass(frozen=True, slots=True)
class Bar:
    """From where the sum stood to where it stands now. `x` and `width` are places on a row of `WIDTH`."""

    name: str
    weight: float
    x: float
    width: float
    sum: float


@dataclass(frozen=True, slots=True)
class Node:
    id: int
    x: float
    y: float
    label: str
    side: str  # LEFT or RIGHT: whose it is
    is_asked: bool  # one of the two that the question is about


@dataclass(frozen=True, slots=True)
class Edge:
    left: Node
    right: Node
    is_same: bool
    is_between: bool  # the two people, who are none yet
    weight: float
    kind: str


def waterfall(weight: float, evidence: Mapping[str, Any]) -> list[Bar]:
    """From what was known before to the match weight, the strongest comparison first."""
    weights = {name: float(one) for name, one in evidence.items() if _is_number(one)}
    before = weight - sum(weights.values())
    steps = [(TO_BEGIN_WITH, before), *sorted(weights.items(), key=lambda step: (-abs(step[1]), step[0]))]
    sums = [0.0]
    for _, step in steps:
        sums.append(sums[-1] + step)
    low, high = min(sums), max(sums)
    scale = WIDTH / max(high - low, LEAST_SPAN)
    return [
        Bar(name, step, (min(start, end) - low) * scale, abs(end - start) * scale, end)
        for (name, step), start, end in zip(steps, sums, sums[1:], strict=False)
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def placed(members: Sequence[tuple[int, str, str]], asked: tuple[int, int]) -> dict[int, Node]:
    """Identifiers (id, side, label) on two rings beside each other, one for each person."""
    sides = {side: [one for one in members if one[1] == side] for side in ("LEFT", "RIGHT")}
    nodes = {}
    for middle, side in ((0.25, "LEFT"), (0.75, "RIGHT")):
        # Whom the question is about sits where the two rings are nearest to each other.
        ring = sorted(sides[side], key=lambda one: (one[0] not in asked, one[0]))
        facing = 0.0 if side == "LEFT" else math.pi
        for place, (pk, _, label) in enumerate(ring):
            angle = facing + 2 * math.pi * place / len(ring)
            radius = 0 if len(ring) == 1 else 1
            x = GRAPH_WIDTH * middle + radius * math.cos(angle) * (GRAPH_WIDTH / 4 - MARGIN)
            y = GRAPH_HEIGHT / 2 + radius * math.sin(angle) * (GRAPH_HEIGHT / 2 - MARGIN)
            nodes[pk] = Node(pk, round(x, 1), round(y, 1), label, side, pk in asked)
    return nodes


def joined(nodes: Mapping[int, Node], edges: Iterable[tuple[int, int, bool, float, str]]) -> list[Edge]:
    """Judgements (left, right, same, weight, kind) between the nodes."""
    return [
        Edge(nodes[left], nodes[right], is_same, nodes[left].side != nodes[right].side, weight, kind)
        for left, right, is_same, weight, kind in edges
        if left in nodes and right in nodes
    ]
