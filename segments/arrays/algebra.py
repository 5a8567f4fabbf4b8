"""Rules over a batch: the answers of their conditions joined by and, or, not; see `language.compile` for the algebra."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from segments.arrays.counting import Answer
from segments.arrays.streams import NEVER, Instants
from segments.language.json_form import canonical
from segments.language.tree import And, Node, Not, Or


@dataclass(frozen=True, slots=True)
class Until:
    """Until when it is surely true, and surely false; -NEVER where it is not so now."""

    false: Instants
    true: Instants

    @property
    def answer(self) -> Answer:
        return Answer(self.false != -NEVER, np.maximum(self.false, self.true))


Joined = Callable[[Sequence[Until]], Until]
"""Joins what is known of the conditions, each at its place."""


def until(leaf: Answer) -> Until:
    return Until(np.where(leaf.is_true, leaf.change, -NEVER), np.where(leaf.is_true, -NEVER, leaf.change))


def joining(rule: Node, places: Mapping[str, int]) -> Joined:
    """The rule as a function of its conditions, whose canonical forms have these places."""
    if isinstance(rule, Not):
        child = joining(rule.child, places)
        return lambda leaves: _turned(child(leaves))
    if isinstance(rule, And | Or):
        children = [joining(each, places) for each in rule.children]
        join = _all if isinstance(rule, And) else _any
        return lambda leaves: join([child(leaves) for child in children])
    place = places[canonical(rule)]
    return lambda leaves: leaves[place]


def _turned(child: Until) -> Until:
    return Until(child.true, child.false)


def _all(children: Sequence[Until]) -> Until:
    return Until(
        reduce(np.minimum, [each.false for each in children]), reduce(np.maximum, [each.true for each in children])
    )


def _any(children: Sequence[Until]) -> Until:
    return Until(
        reduce(np.maximum, [each.false for each in children]), reduce(np.minimum, [each.true for each in children])
    )
