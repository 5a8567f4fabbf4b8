"""What a steward sees of a pair: both sides, where they differ, and what each of the two people consists of.

A handful of queries by key, all bounded: a person of five hundred identifiers is shown by the first few dozen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cdp.models import Identifier, IdentifierTrait
from identity.models import Judgement, ReviewPair
from identity.queries import current_judgements
from identity.review.differences import Part, marked
from identity.review.drawing import Bar, Edge, Node, joined, placed, waterfall
from identity.review.second_look import Merge, merge_of

MOST_NODES: Final = 30  # of either person
MOST_EDGES: Final = 120
MOST_NEIGHBOURS: Final = 8
MOST_VALUES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Value:
    """One candidate of a trait, in parts, and who told it."""

    parts: Sequence[Part]
    source: str
    observed_at: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """One trait of both sides of a pair, and what its comparison weighed."""

    name: str
    left: Sequence[str]
    right: Sequence[str]
    weight: float | None
    left_values: Sequence[Value] = ()
    right_values: Sequence[Value] = ()

    @property
    def is_different(self) -> bool:
        """No value of one side is a value of the other, whatever the case."""
        return {value.casefold() for value in self.left}.isdisjoint(value.casefold() for value in self.right)


@dataclass(frozen=True, slots=True)
class Shown:
    pair: ReviewPair
    lines: Sequence[Line]
    bars: Sequence[Bar]
    nodes: Sequence[Node]
    edges: Sequence[Edge]
    splittable: Sequence[Judgement]
    hidden_nodes: int
    neighbours: Sequence[ReviewPair]
    merge: Merge


def shown(pair: ReviewPair) -> Shown:
    members, hidden = _members(pair)
    nodes = placed(members, (pair.left_id, pair.right_id))
    judgements = _judgements(nodes)
    edges = [(one.left_id, one.right_id, one.verdict == "SAME", one.weight, one.kind) for one in judgements]
    return Shown(
        pair=pair,
        lines=lines_of(pair),
        bars=waterfall(pair.weight, pair.evidence),
        nodes=list(nodes.values()),
        edges=joined(nodes, edges),
        splittable=[one for one in judgements if one.verdict == "SAME"],
        hidden_nodes=hidden,
        neighbours=_neighbours(pair, nodes),
        merge=merge_of(pair),
    )


def lines_of(pair: ReviewPair) -> list[Line]:
    """Both sides beside each other. Where sources differ about one side, each value is shown."""
    told: dict[int, dict[str, dict[str, tuple[str, datetime]]]] = {pair.left_id: {}, pair.right_id: {}}
    seen = IdentifierTrait.objects.filter(identifier__in=told).order_by("name", "-observed_at")
    for identifier, name, value, source, at in seen.values_list(
        "identifier", "name", "value", "source__name", "observed_at"
    )[:MOST_VALUES]:
        told[identifier].setdefault(name, {}).setdefault(str(value), (source, at))
    left, right = told[pair.left_id], told[pair.right_id]
    return [
        _line(name, left.get(name, {}), right.get(name, {}), pair.evidence.get(name))
        for name in sorted(left.keys() | right.keys())
    ]


Told = Mapping[str, tuple[str, datetime]]


def _line(name: str, left: Told, right: Told, weight: object) -> Line:
    return Line(
        name, sorted(left), sorted(right), weight if isinstance(weight, int | float) else None,
        _values(left, right), _values(right, left),
    )  # fmt: skip


def _values(told: Told, other_side: Told) -> list[Value]:
    return [Value(marked(value, other_side), *told[value]) for value in sorted(told)]


def _members(pair: ReviewPair) -> tuple[list[tuple[int, str, str]], int]:
    """Identifiers of both people, the two of the question first; and how many more there are."""
    sides = {pair.left.profile_id: "LEFT", pair.right.profile_id: "RIGHT"}
    asked = {pair.left_id: "LEFT", pair.right_id: "RIGHT"}
    members = [(pair.left_id, "LEFT", str(pair.left)), (pair.right_id, "RIGHT", str(pair.right))]
    hidden = 0
    for profile, side in sides.items():
        others = Identifier.objects.filter(profile_id=profile).exclude(pk__in=asked).order_by("pk")
        members += [(one.pk, side, str(one)) for one in others[: MOST_NODES - 1]]
        hidden += max(0, others.count() - (MOST_NODES - 1))
    return members, hidden


def _judgements(nodes: Mapping[int, Node]) -> list[Judgement]:
    within = current_judgements().filter(left__in=nodes, right__in=nodes).order_by("pk")
    newest: dict[tuple[int, int, str], Judgement] = {}
    for one in within.select_related("left", "right")[:MOST_EDGES]:
        newest[one.left_id, one.right_id, one.verdict] = one
    return list(newest.values())


def _neighbours(pair: ReviewPair, nodes: Mapping[int, Node]) -> list[ReviewPair]:
    """Other pairs that wait and touch one of the two people: an answer to this one may answer them."""
    waiting = ReviewPair.objects.filter(workspace=pair.workspace_id, judgement=None).exclude(pk=pair.pk)
    touching = waiting.filter(left__in=nodes).union(waiting.filter(right__in=nodes))
    found = sorted(touching.values_list("pk", flat=True)[:MOST_NEIGHBOURS])
    return list(ReviewPair.objects.filter(pk__in=found).select_related("left", "right").order_by("-priority", "pk"))
