"""What the comparisons of rules mean, for the reference evaluator alone.

Texts, numbers and truth values are three kinds that never equal each other. A value that is missing, null, or of another
kind than the one it is compared with makes every comparison false.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from segments.language.tree import Comparison, Condition, Value
from segments.language.written import folded

Known = str | bool | Fraction


def found(values: Mapping[str, Any], name: str, inside: tuple[str, ...]) -> object:
    """The value of this name, or what lies inside of it: keys lead into objects only."""
    value = values.get(name)
    for key in inside:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def holds(condition: Condition, values: Mapping[str, Any]) -> bool:
    value = found(values, condition.name, condition.inside)
    if condition.comparison is Comparison.HAS:
        return isinstance(value, list) and any(_meets(condition.has, element) for element in value)
    return compares(condition.comparison, value, condition.value, ignores_case=condition.ignores_case)


def _meets(conditions: Iterable[Condition], element: object) -> bool:
    return isinstance(element, Mapping) and all(holds(condition, element) for condition in conditions)


def compares(comparison: Comparison, value: object, asked: Value, *, ignores_case: bool = False) -> bool:
    if value is None:
        return False
    if ignores_case:
        value, asked = _folded(value), _folded(asked)
    return _MEANINGS[comparison](value, asked)


def known(value: object) -> Known | None:
    """What can be compared; None for all else."""
    return value if isinstance(value, str | bool) else number(value)


def number(value: object) -> Fraction | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | Fraction):
        return None
    return value if isinstance(value, Fraction) else Fraction(str(value))


def is_same(value: object, other: object) -> bool:
    left, right = known(value), known(other)
    return left is not None and type(left) is type(right) and left == right


def matches(pattern: str, text: str) -> bool:
    """The whole text; `*` is any run of characters, `?` is one, and everything else is itself."""
    parts = {"*": ".*", "?": "."}
    written = "".join(parts.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(written, text, re.DOTALL) is not None


def _folded(value: Any) -> Any:  # noqa: ANN401  # a text, or the texts of a list
    if isinstance(value, list | tuple):
        return type(value)(folded(each) if isinstance(each, str) else each for each in value)
    return folded(value) if isinstance(value, str) else value


def _is_among(value: object, choices: tuple[Any, ...]) -> bool:
    return any(is_same(value, choice) for choice in choices)


def _contains(value: object, asked: object) -> bool:
    """A part of a text, or an element of a list."""
    if isinstance(value, str) and isinstance(asked, str):
        return asked in value
    return isinstance(value, list) and any(is_same(element, asked) for element in value)


def _asks_right(value: object, choices: tuple[Any, ...]) -> bool:
    """A list may be asked for anything, a text for texts only."""
    return isinstance(value, list) or all(isinstance(choice, str) for choice in choices)


def _is_ordered(order: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def is_so(value: object, asked: object) -> bool:
        left, right = known(value), known(asked)
        return left is not None and type(left) is type(right) and order(left, right)

    return is_so


def _is_text(relation: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, asked: isinstance(value, str) and relation(value, asked)


_at_least = _is_ordered(lambda left, right: left >= right)
_at_most = _is_ordered(lambda left, right: left <= right)
_MEANINGS: Final[Mapping[Comparison, Callable[[Any, Any], bool]]] = {
    Comparison.EXISTS: lambda _value, _asked: True,
    Comparison.EQUALS: is_same,
    Comparison.NOT_EQUALS: _is_ordered(lambda left, right: left != right),
    Comparison.IN: _is_among,
    Comparison.NOT_IN: lambda value, choices: known(value) is not None and not _is_among(value, choices),
    Comparison.GREATER: _is_ordered(lambda left, right: left > right),
    Comparison.GREATER_OR_EQUAL: _at_least,
    Comparison.LESS: _is_ordered(lambda left, right: left < right),
    Comparison.LESS_OR_EQUAL: _at_most,
    Comparison.BETWEEN: lambda value, ends: _at_least(value, ends[0]) and _at_most(value, ends[1]),
    Comparison.CONTAINS: _contains,
    Comparison.CONTAINS_ANY: lambda value, choices: (
        _asks_right(value, choices) and any(_contains(value, choice) for choice in choices)
    ),
    Comparison.CONTAINS_ALL: lambda value, choices: (
        _asks_right(value, choices) and all(_contains(value, choice) for choice in choices)
    ),
    Comparison.STARTS_WITH: _is_text(lambda text, start: text.startswith(start)),
    Comparison.ENDS_WITH: _is_text(lambda text, end: text.endswith(end)),
    Comparison.MATCHES: _is_text(lambda text, pattern: matches(pattern, text)),
}
