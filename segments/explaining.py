"""Why somebody is in a segment or not, what is known of each condition, and when the answer changes if nothing happens."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from django.db import connection

from consent.gate import Permit, Segmentation
from segments.facts import facts_of, names_in
from segments.language import And, Event, Node, Not, Or, Trait, explain, leaves_of, to_text
from segments.language.compile import Asked, chunks_of, compile_rules
from segments.language.ranks import Threshold
from segments.language.reference import Facts, value_of
from segments.language.tree import children_of
from segments.queries import NO_ENDS, of_profiles

MOST_STEPS: Final = 200
"""From one deadline to the next: a rule that could change so often and does not is looked no further into."""
MOST_EVENTS: Final = 100_000
"""Of one person: with more of them it is not said what was measured. The answers themselves are exact all the same."""

Answer = tuple[bool, datetime | None]
Ends = Mapping[str, Threshold]
"""Of rankings: where they end since their last refresh."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A condition, whether it holds, and when that could change if nothing happens. `known`: the value that is compared."""

    condition: str
    sentence: str
    is_true: bool
    next_change_at: datetime | None
    known: Any = None


@dataclass(frozen=True, slots=True)
class Part:
    """A node of the rule: `and`, `or`, `not` with its children, or a `condition` with its reason."""

    kind: str
    is_true: bool
    next_change_at: datetime | None
    reason: Reason | None
    children: Sequence["Part"]


@dataclass(frozen=True, slots=True)
class Next:
    """`at`: the first instant at which the answer is another one. Null: never, or not until `looked_until` if that is
    given. Exact, as long as nothing happens.
    """

    at: datetime | None
    looked_until: datetime | None


@dataclass(frozen=True, slots=True)
class Why:
    is_in: bool
    tree: Part
    when_next: Next

    @property
    def reasons(self) -> list[Reason]:
        """The conditions from left to right."""
        return [part.reason for part in _walked(self.tree) if part.reason is not None]


def explained(
    permit: Permit[Segmentation],
    tree: Node,
    *,
    profile_id: int,
    at: datetime,
    locale: str,
    tells_known: bool = True,
    frozen: Ends = NO_ENDS,
) -> Why | None:
    """By the definition `tree` as of an instant; None for a profile that the purpose may not see."""
    nodes = list(_nodes_of(tree))
    answers = _answers(nodes, profile_id, at, frozen)
    if not answers:
        return None
    facts = _facts(permit, tree, profile_id) if tells_known else None
    of_node = dict(zip(map(id, nodes), answers, strict=True))
    return Why(answers[0][0], _part(tree, of_node, facts, at, locale), _next(tree, profile_id, answers[0], frozen))


def _walked(part: Part) -> Iterator[Part]:
    yield part
    for child in part.children:
        yield from _walked(child)


def _nodes_of(tree: Node) -> Iterator[Node]:
    yield tree
    for child in children_of(tree):
        yield from _nodes_of(child)


def _part(node: Node, answers: Mapping[int, Answer], facts: Facts | None, at: datetime, locale: str) -> Part:
    is_true, change = answers[id(node)]
    children = [_part(child, answers, facts, at, locale) for child in children_of(node)]
    match node:
        case And() | Or() | Not():
            return Part(type(node).__name__.lower(), is_true, change, None, children)
        case leaf:
            known = None if facts is None else _shown(value_of(leaf, facts, at))
            return Part(
                "condition",
                is_true,
                change,
                Reason(to_text(leaf), explain(leaf, locale), *answers[id(leaf)], known),
                [],
            )


# -- answers ------------------------------------------------------------------------------------------------------------


def _answers(nodes: Sequence[Node], profile_id: int, at: datetime, frozen: Ends) -> list[Answer]:
    """Of each node, all from the same facts; none for a profile that is not seen."""
    found: dict[int, Answer] = {}
    for chunk in chunks_of(dict(enumerate(nodes))):
        query = compile_rules(chunk, Asked.SOME, frozen)
        rows = _rows(query.sql, {**query.parameters, **of_profiles([profile_id]), "now": at})
        found |= {rule: (is_in, change) for rule, _, is_in, change, _ in rows}
    return [found[place] for place in range(len(nodes))] if found else []


def _next(tree: Node, profile_id: int, answer: Answer, frozen: Ends) -> Next:
    """A deadline may be early: then the answer is what it was, and there is another one."""
    is_in, change = answer
    for _ in range(MOST_STEPS):
        if change is None:
            return Next(None, None)
        at = change
        [(then, change)] = _answers([tree], profile_id, at, frozen)
        if then is not is_in:
            return Next(at, None)
    return Next(None, change)


# -- what is known ------------------------------------------------------------------------------------------------------


def _facts(permit: Permit[Segmentation], tree: Node, profile_id: int) -> Facts | None:
    """The traits and events that are compared."""
    compared = [leaf for leaf in leaves_of(tree) if isinstance(leaf, Trait | Event)]
    facts = facts_of(permit, [profile_id], names_in(compared), most=MOST_EVENTS + 1).get(profile_id)
    return None if facts is None or len(facts.events) > MOST_EVENTS else facts


def _shown(value: object) -> Any:  # noqa: ANN401  # any JSON value
    """As JSON writes it: a fraction that no decimal equals is rounded to twelve digits."""
    if isinstance(value, Fraction | Decimal):
        return int(value) if value == int(value) else round(float(value), 12)
    if isinstance(value, dict):
        return {name: _shown(each) for name, each in value.items()}
    return [_shown(each) for each in value] if isinstance(value, list) else value


def _rows(sql: str, parameters: Any) -> list[Any]:  # noqa: ANN401  # as the cursor takes them
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
