"""The slow, obvious meaning of a rule for one profile. The compiled SQL is tested against this, never used instead.

It goes through the events one by one, and finds the next change by looking at every instant at which one could be.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from segments.language.tree import (
    And,
    Comparison,
    Condition,
    Count,
    Event,
    Leaf,
    Learned,
    Measured,
    Node,
    Not,
    Or,
    Trait,
    leaves_of,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """An event: its name, its corrected time, its properties, and the key that makes replays one."""

    name: str
    occurred_at: datetime
    properties: Mapping[str, Any]
    source_id: int
    message_id: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of one profile. Values are decoded JSON."""

    traits: dict[str, Any] = field(default_factory=dict)
    events: list[Fact] = field(default_factory=list)
    groups: dict[str, str] = field(default_factory=dict)


def is_in(tree: Node, facts: Facts, now: datetime) -> bool:
    match tree:
        case And(children):
            return all(is_in(child, facts, now) for child in children)
        case Or(children):
            return any(is_in(child, facts, now) for child in children)
        case Not(child):
            return not is_in(child, facts, now)
        case Trait(condition):
            return _holds(condition, facts.traits)
        case Learned(model, group):
            return facts.groups.get(model) == group
        case Event():
            return _compared(tree.comparison, _measured(tree.measured, facts, now), Fraction(tree.value))


def next_change(tree: Node, facts: Facts, now: datetime) -> datetime | None:
    """The first instant after `now` at which the answer is another one, if nothing happens until then."""
    answer = is_in(tree, facts, now)
    return next((at for at in _instants(tree, facts) if at > now and is_in(tree, facts, at) != answer), None)


def evaluate(tree: Node, facts: Facts, now: datetime) -> tuple[bool, datetime | None]:
    return is_in(tree, facts, now), next_change(tree, facts, now)


def _instants(tree: Node, facts: Facts) -> list[datetime]:
    """When an event begins to count, or stops to."""
    begins = {event.occurred_at for event in facts.events}
    windows = {
        leaf.measured.period.seconds for leaf in leaves_of(tree) if isinstance(leaf, Event) and leaf.measured.period
    }
    ends = {at + timedelta(seconds=seconds) for at in begins for seconds in windows}
    return sorted(begins | ends)


def _measured(rule: Measured, facts: Facts, now: datetime) -> Fraction:
    counted = {(fact.source_id, fact.message_id): fact for fact in facts.events if _counts(rule, fact, now)}
    if isinstance(rule.measure, Count):
        return Fraction(len(counted))
    numbers = [_number(fact.properties.get(rule.measure.property.name)) for fact in counted.values()]
    return sum((number for number in numbers if number is not None), Fraction(0))


def _counts(rule: Measured, fact: Fact, now: datetime) -> bool:
    if fact.name != rule.event or fact.occurred_at > now:
        return False
    if rule.period and fact.occurred_at <= now - timedelta(seconds=rule.period.seconds):
        return False
    return all(_holds(condition, fact.properties) for condition in rule.where)


def _holds(condition: Condition, values: Mapping[str, Any]) -> bool:
    found = values.get(condition.name)
    if found is None:
        return False
    if condition.comparison is Comparison.EXISTS:
        return True
    if condition.comparison is Comparison.IN:
        return isinstance(condition.value, tuple) and any(_same(found, choice) for choice in condition.value)
    if condition.comparison is Comparison.CONTAINS:
        return _contains(found, condition.value)
    if condition.comparison is Comparison.STARTS_WITH:
        return isinstance(found, str) and found.startswith(str(condition.value))
    left, right = _ordered(found), _ordered(condition.value)
    return type(left) is type(right) and left is not None and _compared(condition.comparison, left, right)


def _contains(found: object, value: object) -> bool:
    """A part of a text, or an element of a list."""
    if isinstance(found, str) and isinstance(value, str):
        return value in found
    return isinstance(found, list) and any(_same(element, value) for element in found)


def _same(found: object, value: object) -> bool:
    left, right = _ordered(found), _ordered(value)
    return left is not None and type(left) is type(right) and left == right


def _ordered(value: object) -> str | bool | Fraction | None:
    """Texts, truth values and numbers are three kinds that never equal each other; the rest cannot be compared."""
    return value if isinstance(value, str | bool) else _number(value)


def _number(value: object) -> Fraction | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return Fraction(str(value))


_COMPARED: Mapping[Comparison, Callable[[Any, Any], bool]] = {
    Comparison.EQUALS: lambda left, right: left == right,
    Comparison.NOT_EQUALS: lambda left, right: left != right,
    Comparison.GREATER: lambda left, right: left > right,
    Comparison.GREATER_OR_EQUAL: lambda left, right: left >= right,
    Comparison.LESS: lambda left, right: left < right,
    Comparison.LESS_OR_EQUAL: lambda left, right: left <= right,
}


def _compared(comparison: Comparison, left: object, right: object) -> bool:
    return _COMPARED[comparison](left, right)


def value_of(leaf: Leaf, facts: Facts, now: datetime) -> object:
    """What the leaf compares, as it is known of the profile; None where nothing is, or where there is no single value."""
    match leaf:
        case Trait(condition):
            return facts.traits.get(condition.name)
        case Event(measured):
            return _measured(measured, facts, now)
        case _:
            return None
