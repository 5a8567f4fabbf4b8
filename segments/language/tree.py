"""A definition as a frozen tree. Both written forms, the compiler, the evaluator and the sentences read this one.

Every node checks its own values when it is made, so a tree that exists is a rule that can be computed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from segments.language.errors import LanguageError

MAX_DEPTH: Final = 50
"""Levels of and / or / not. Deeper rules are refused: nobody reads them, and databases limit nesting too."""
MAX_LEAVES: Final = 300
"""Conditions in a rule. A long list of values is one condition: `in`."""
MAX_CHOICES: Final = 10_000
MAX_TEXT: Final = 1_000
MAX_COUNT: Final = 1_000_000_000
MAX_SECONDS: Final = 100 * 36_525 * 864  # 100 Julian years

Scalar = str | bool | Decimal
Value = Scalar | tuple[Scalar, ...] | None


class Comparison(StrEnum):
    EQUALS = "equals"
    NOT_EQUALS = "not_equals"
    IN = "in"
    GREATER = "greater"
    GREATER_OR_EQUAL = "greater_or_equal"
    LESS = "less"
    LESS_OR_EQUAL = "less_or_equal"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    EXISTS = "exists"


ORDERINGS: Final = frozenset(
    {Comparison.GREATER, Comparison.GREATER_OR_EQUAL, Comparison.LESS, Comparison.LESS_OR_EQUAL}
)
NUMERIC: Final = ORDERINGS | {Comparison.EQUALS, Comparison.NOT_EQUALS}


class Unit(StrEnum):
    """Elapsed time: a day is 24 hours, whatever the clocks on the wall do."""

    SECONDS = "seconds"
    MINUTES = "minutes"
    HOURS = "hours"
    DAYS = "days"

    @property
    def seconds(self) -> int:
        return _SECONDS[self]


_SECONDS = {Unit.SECONDS: 1, Unit.MINUTES: 60, Unit.HOURS: 3_600, Unit.DAYS: 86_400}


@dataclass(frozen=True, slots=True)
class Window:
    """An event at `e` counts at `t` when t - window < e <= t."""

    amount: int
    unit: Unit

    def __post_init__(self) -> None:
        if self.amount <= 0:
            raise LanguageError("window_not_positive", "A window must be longer than nothing")
        if self.seconds > MAX_SECONDS:
            raise LanguageError("window_too_long", "A window may be 100 years at most; leave it out for all time")

    @property
    def seconds(self) -> int:
        return self.amount * self.unit.seconds


@dataclass(frozen=True, slots=True)
class Condition:
    """A value is compared: of a trait, or of a property of an event."""

    name: str
    comparison: Comparison
    value: Value = None

    def __post_init__(self) -> None:
        check_name(self.name)
        _check_value(self.comparison, self.value)


@dataclass(frozen=True, slots=True)
class Trait:
    condition: Condition


@dataclass(frozen=True, slots=True)
class Count:
    pass


@dataclass(frozen=True, slots=True)
class Sum:
    property: str

    def __post_init__(self) -> None:
        check_name(self.property)


@dataclass(frozen=True, slots=True)
class Event:
    """How many events of this name, or the sum of one of their properties. Without a window: ever."""

    name: str
    where: tuple[Condition, ...] = ()
    measure: Count | Sum = Count()
    comparison: Comparison = Comparison.GREATER_OR_EQUAL
    number: Decimal = Decimal(1)
    window: Window | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.comparison not in NUMERIC:
            raise LanguageError("not_a_number_comparison", f"A count or sum cannot be compared with {self.comparison}")
        check_number(self.number)
        if isinstance(self.measure, Count) and abs(self.number) > MAX_COUNT:
            raise LanguageError("count_too_large", f"A count may be compared with {MAX_COUNT} at most")
        if len(self.where) > MAX_LEAVES:
            raise LanguageError("too_many_conditions", f"An event may have {MAX_LEAVES} conditions at most")


@dataclass(frozen=True, slots=True)
class Learned:
    """The profile is in this group of a learned model."""

    model: str
    group: str

    def __post_init__(self) -> None:
        check_name(self.model)
        check_name(self.group)


@dataclass(frozen=True, slots=True)
class Not:
    child: "Node"


@dataclass(frozen=True, slots=True)
class And:
    children: tuple["Node", ...]

    def __post_init__(self) -> None:
        _check_group(self.children)


@dataclass(frozen=True, slots=True)
class Or:
    children: tuple["Node", ...]

    def __post_init__(self) -> None:
        _check_group(self.children)


Leaf = Trait | Event | Learned
Node = And | Or | Not | Leaf


def children_of(node: Node) -> tuple[Node, ...]:
    if isinstance(node, And | Or):
        return node.children
    return (node.child,) if isinstance(node, Not) else ()


def leaves_of(tree: Node) -> Iterator[Leaf]:
    """From left to right."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, And | Or | Not):
            waiting.extend(reversed(children_of(node)))
        else:
            yield node


def check_size(tree: Node) -> None:
    """Refuse a rule that is too deep or too large to be computed. Does not recurse, so no depth can break it."""
    waiting, leaves = [(tree, 1)], 0
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise too_deep()
        waiting.extend((child, depth + 1) for child in children_of(node))
        leaves += not children_of(node)
        if leaves > MAX_LEAVES:
            raise too_large()


def too_deep() -> LanguageError:
    return LanguageError("rule_too_deep", f"A rule may have {MAX_DEPTH} levels at most")


def too_large() -> LanguageError:
    return LanguageError("rule_too_large", f"A rule may have {MAX_LEAVES} conditions at most; use `in` for many values")


# -- values ---------------------------------------------------------------------------------------------------------


def check_name(name: str) -> None:
    if not name.strip():
        raise LanguageError("name_missing", "A name is needed")
    check_text(name)


def check_text(text: str) -> None:
    """Postgres keeps neither NUL nor halves of a surrogate pair, so no value can ever equal such a text."""
    if len(text) > MAX_TEXT:
        raise LanguageError("text_too_long", f"A text may have {MAX_TEXT} characters at most")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
        raise LanguageError("text_not_storable", "A text may not hold NUL or half a surrogate pair")


def check_number(number: Decimal) -> None:
    """What JSON, Postgres and floats of a browser all write and read back unchanged."""
    if not number.is_finite():
        raise LanguageError("not_a_number", "A number is needed")
    digits = 27 if number == number.to_integral_value() else 15
    if abs(number.adjusted()) > 27 or len(number.normalize().as_tuple().digits) > digits:
        raise LanguageError("number_not_exact", "A number may have 27 digits if it is whole, and 15 if it has decimals")


def _check_value(comparison: Comparison, value: Value) -> None:
    if comparison is Comparison.EXISTS:
        if value is not None:
            raise LanguageError("value_not_wanted", "`exists` takes no value")
    elif comparison is Comparison.IN:
        _check_choices(value)
    elif comparison in ORDERINGS and isinstance(value, bool):
        raise LanguageError("value_not_ordered", "True and false have no order: use equals")
    elif comparison is Comparison.STARTS_WITH and not isinstance(value, str):
        raise LanguageError("value_not_text", "`starts with` needs a text")
    else:
        _check_scalar(value)


def _check_choices(value: Value) -> None:
    if not isinstance(value, tuple) or not value:
        raise LanguageError("choices_missing", "`in` needs a list with at least one value")
    if len(value) > MAX_CHOICES:
        raise LanguageError("too_many_choices", f"`in` takes {MAX_CHOICES} values at most")
    for choice in value:
        _check_scalar(choice)


def _check_scalar(value: Value) -> None:
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, Decimal):
        check_number(value)
    elif not isinstance(value, bool):
        raise LanguageError("value_missing", "A value is needed: a text, a number, true or false")


def _check_group(children: tuple["Node", ...]) -> None:
    if len(children) < 2:
        raise LanguageError("group_too_small", "`and` and `or` join at least two conditions")
