"""Comparisons of JSON values on any engine: what `segments.language.comparing` says, as an expression.

Each may be NULL, which counts as false.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from sqlglot import exp

from segments.columnar.dialects import Dialect, allof, anyof, is_true, text, when
from segments.language.tree import Comparison, Condition, Scalar, Value
from segments.language.written import FOLDED_FROM, FOLDED_TO, folded

Compared = Callable[[exp.Expr, exp.Expr], exp.Expr]


def _operator(kind: type[exp.Expr]) -> Compared:
    return lambda left, right: kind(this=left, expression=right)


ORDERS: Final[Mapping[Comparison, Compared]] = {
    Comparison.EQUALS: _operator(exp.EQ),
    Comparison.NOT_EQUALS: _operator(exp.NEQ),
    Comparison.GREATER: _operator(exp.GT),
    Comparison.GREATER_OR_EQUAL: _operator(exp.GTE),
    Comparison.LESS: _operator(exp.LT),
    Comparison.LESS_OR_EQUAL: _operator(exp.LTE),
}


@dataclass(slots=True)
class Values:
    """Every value of a rule travels beside the SQL, as a text that the engine reads as what it is."""

    dialect: Dialect
    given: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def text(self, value: str) -> exp.Expr:
        name = self.names.setdefault(value, f"v{len(self.names)}")
        self.given[name] = value
        return self.dialect.parameter(name)

    def number(self, value: Decimal) -> exp.Expr:
        return self.dialect.decimal(self.text(f"{value:f}"))


@dataclass(frozen=True, slots=True)
class Conditions:
    dialect: Dialect
    values: Values
    ignores_case: bool = False
    depth: int = 0
    """In how many lists, each an element of the one about it, the value lies."""

    def found(self, column: exp.Expr, keys: tuple[str, ...]) -> exp.Expr:
        """What lies inside of the JSON of a column; without keys the value itself."""
        return self.inside(self.dialect.parsed(column), keys)

    def inside(self, value: exp.Expr, keys: tuple[str, ...]) -> exp.Expr:
        for key in keys:
            value = self.dialect.inside(value, key, self.values.text)
        return value

    def holds(self, condition: Condition, column: exp.Expr, keys: tuple[str, ...]) -> exp.Expr:
        return self.meets(condition, self.found(column, keys))

    def meets(self, condition: Condition, value: exp.Expr) -> exp.Expr:
        if condition.comparison is Comparison.HAS:
            return self._has_object(value, condition.has)
        conditions = replace(self, ignores_case=condition.ignores_case)
        return conditions.compares(condition.comparison, value, condition.value)

    def compares(  # noqa: PLR0911  # one return for each way of comparing
        self, comparison: Comparison, value: exp.Expr, asked: Value
    ) -> exp.Expr:
        """Of one value: present, and as the comparison says."""
        if comparison is Comparison.EXISTS:
            return self.dialect.is_present(value)
        if comparison is Comparison.BETWEEN and isinstance(asked, tuple):
            ends = ((Comparison.GREATER_OR_EQUAL, asked[0]), (Comparison.LESS_OR_EQUAL, asked[1]))
            return allof([self._ordered(one, value.copy(), end) for one, end in ends])
        if comparison in {Comparison.IN, Comparison.NOT_IN} and isinstance(asked, tuple):
            return self._chosen(comparison, value, asked)
        if comparison is Comparison.CONTAINS and not isinstance(asked, tuple):
            return self._contains(value, asked)
        if comparison in {Comparison.CONTAINS_ANY, Comparison.CONTAINS_ALL} and isinstance(asked, tuple):
            return self._contains_choices(comparison, value, asked)
        if comparison in ORDERS:
            return self._ordered(comparison, value, asked)
        return self._textual(comparison, self._text(value), str(asked))

    # -- of scalars

    def _ordered(self, comparison: Comparison, value: exp.Expr, asked: Value) -> exp.Expr:
        """A value of another kind is NULL, and so is its comparison."""
        compared = ORDERS[comparison]
        if isinstance(asked, bool):
            return compared(self.dialect.truth_of(value), exp.convert(asked))
        if isinstance(asked, Decimal):
            return compared(self.dialect.number_of(value), self.values.number(asked))
        return compared(self._text(value), self._asked(str(asked)))

    def _chosen(
        self, comparison: Comparison, value: exp.Expr, choices: tuple[Scalar, ...]
    ) -> exp.Expr:  # fmt: skip
        among = self.is_among(value, choices)
        if comparison is Comparison.IN:
            return among
        words = self.dialect
        kinds = [words.is_text(value.copy()), words.is_number(value.copy()), words.is_truth(value.copy())]
        return allof([anyof(kinds), exp.not_(exp.Coalesce(this=among, expressions=[exp.false()]), copy=False)])

    def is_among(self, value: exp.Expr, choices: tuple[Scalar, ...]) -> exp.Expr:
        """Kind by kind, each with one list."""
        texts = [self._asked(each) for each in choices if isinstance(each, str)]
        truths = [exp.convert(each) for each in choices if isinstance(each, bool)]
        numbers = [self.values.number(each) for each in choices if isinstance(each, Decimal)]
        kinds = (
            (self._text(value.copy()), texts),
            (self.dialect.truth_of(value.copy()), truths),
            (self.dialect.number_of(value.copy()), numbers),
        )
        asked = [exp.In(this=found, expressions=each) for found, each in kinds if each]
        return anyof([exp.Coalesce(this=one, expressions=[exp.false()]) for one in asked])

    # -- of texts and lists

    def _contains(self, value: exp.Expr, asked: Value) -> exp.Expr:
        element = self._has_element(value, (asked,))  # type: ignore[arg-type]  # the tree lets no list in here
        if not isinstance(asked, str):
            return element
        part = self.dialect.contains(self._text(value.copy()), self._asked(asked))
        return anyof([exp.Coalesce(this=part, expressions=[exp.false()]), element])

    def _contains_choices(
        self, comparison: Comparison, value: exp.Expr, choices: tuple[Scalar, ...]
    ) -> exp.Expr:  # fmt: skip
        joined = anyof if comparison is Comparison.CONTAINS_ANY else allof
        if not all(isinstance(choice, str) for choice in choices):
            return joined([self._has_element(value.copy(), (choice,)) for choice in choices])
        return joined([self._contains(value.copy(), choice) for choice in choices])

    def _has_element(self, value: exp.Expr, choices: tuple[Scalar, ...]) -> exp.Expr:
        return self._some_element(value, lambda element: self.is_among(element, choices))

    def _has_object(self, value: exp.Expr, conditions: Iterable[Condition]) -> exp.Expr:
        """Elements that are no objects have no fields."""
        within = replace(self, depth=self.depth + 1)

        def fits(element: exp.Expr) -> exp.Expr:
            fields = [(each, within.inside(element.copy(), (each.name, *each.inside))) for each in conditions]
            return allof([is_true(within.meets(each, field)) for each, field in fields])

        return self._some_element(value, fits)

    def _some_element(self, value: exp.Expr, holds: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
        lists = when(self.dialect.is_list(value.copy()), value.copy())
        some = self.dialect.some_element(lists, f"x{self.depth}", holds)
        return exp.Coalesce(this=some, expressions=[exp.false()])

    def _textual(self, comparison: Comparison, value: exp.Expr, asked: str) -> exp.Expr:
        if comparison is Comparison.MATCHES:
            pattern = _like(folded(asked) if self.ignores_case else asked)
            return self.dialect.like(value, self.values.text(pattern))
        relation = self.dialect.starts if comparison is Comparison.STARTS_WITH else self.dialect.ends
        return relation(value, self._asked(asked))

    def _text(self, value: exp.Expr) -> exp.Expr:
        plain = self.dialect.text_of(value)
        return self.dialect.folded(plain, text(FOLDED_FROM), text(FOLDED_TO)) if self.ignores_case else plain

    def _asked(self, asked: str) -> exp.Expr:
        return self.values.text(folded(asked) if self.ignores_case else asked)

    # -- of numbers

    def number_compares(self, comparison: Comparison, value: exp.Expr, asked: Value) -> exp.Expr:
        """Of an expression that is a number, or NULL."""
        if comparison is Comparison.BETWEEN and isinstance(asked, tuple):
            low, high = (self._number(each) for each in asked)
            return allof([exp.GTE(this=value, expression=low), exp.LTE(this=value.copy(), expression=high)])
        return ORDERS[comparison](value, self._number(asked))

    def _number(self, asked: Value) -> exp.Expr:
        return self.values.number(asked if isinstance(asked, Decimal) else Decimal(0))


def _like(pattern: str) -> str:
    """`*` and `?` as LIKE has them, and what LIKE means something by as itself."""
    written = {"*": "%", "?": "_", "%": r"\%", "_": r"\_", "\\": r"\\"}
    return "".join(written.get(character, character) for character in pattern)
