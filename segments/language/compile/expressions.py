"""What queries are put together from. No text of a rule ever becomes SQL: every value is a parameter.

Nothing is copied while a query is built, for that is most of the work on large rules: hence `copy=False` everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

from sqlglot import exp

DIALECT: Final = "postgres"


@dataclass(slots=True)
class Parameters:
    """Every value of a rule travels beside the SQL. `cast` gives its placeholder, cast to a type."""

    values: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def cast(self, value: str, kind: str) -> exp.Expr:
        name = self.names.setdefault(value, f"v{len(self.names)}")
        self.values[name] = value
        return given(name, kind)

    def text(self, value: str) -> exp.Expr:
        return self.cast(value, "text")

    def number(self, value: Decimal) -> exp.Expr:
        return self.cast(f"{value:f}", "numeric")

    def seconds(self, seconds: int) -> exp.Expr:
        """Elapsed ones: a day of an interval would follow the clocks."""
        return self.cast(f"{seconds} seconds", "interval")

    def instant(self, at: datetime) -> exp.Expr:
        return self.cast(at.isoformat(), "timestamptz")


def given(name: str, kind: str) -> exp.Expr:
    """A parameter of the whole query, as `Asked` lists them."""
    return cast(exp.Placeholder(this=name), kind)


def cast(value: exp.Expr, kind: str) -> exp.Expr:
    return exp.cast(value, kind, copy=False)


def column(name: str, table: str | None = None) -> exp.Expr:
    return exp.column(exp.to_identifier(name, quoted=name == "group"), table)


def constant(value: str) -> exp.Expr:
    """A word of ours, never one of a rule."""
    return exp.Literal.string(value)


def whole(number: int) -> exp.Expr:
    return exp.Literal.number(number)


def instant(word: str) -> exp.Expr:
    return cast(constant(word), "timestamptz")


def call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=list(arguments))


# -- truth ----------------------------------------------------------------------------------------------------------


def eq(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    return exp.EQ(this=left, expression=right)


def gt(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    return exp.GT(this=left, expression=right)


def ge(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    return exp.GTE(this=left, expression=right)


def lt(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    return exp.LT(this=left, expression=right)


def le(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    return exp.LTE(this=left, expression=right)


def all_of(conditions: Sequence[exp.Expr]) -> exp.Expr:
    return exp.and_(*conditions, copy=False) if conditions else exp.true()


def any_of(conditions: Sequence[exp.Expr]) -> exp.Expr:
    return exp.or_(*conditions, copy=False) if conditions else exp.false()


def negated(condition: exp.Expr) -> exp.Expr:
    return exp.not_(condition, copy=False)


def is_known(value: exp.Expr) -> exp.Expr:
    return negated(is_missing(value))


def is_missing(value: exp.Expr) -> exp.Expr:
    return exp.Is(this=value, expression=exp.null())


def is_one_of(value: exp.Expr, array: exp.Expr) -> exp.Expr:
    return exp.EQ(this=value, expression=exp.Any(this=exp.paren(array, copy=False)))


def surely(condition: exp.Expr) -> exp.Expr:
    """NULL never leaves a leaf: what is not known to be so is not so."""
    return coalesce(condition, exp.false())


def so(condition: exp.Expr) -> exp.Expr:
    """What `surely` was asked of, for whoever takes null for false."""
    is_sure = isinstance(condition, exp.Coalesce) and condition.expressions == [exp.false()]
    return condition.this if is_sure else condition


# -- values ---------------------------------------------------------------------------------------------------------


def plus(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    return exp.Add(this=left, expression=right)


def minus(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    return exp.Sub(this=left, expression=right)


def times(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    return exp.Mul(this=left, expression=right)


def coalesce(first: exp.Expr, otherwise: exp.Expr) -> exp.Expr:
    return exp.Coalesce(this=first, expressions=[otherwise])


def least(values: Sequence[exp.Expr]) -> exp.Expr:
    return values[0] if len(values) == 1 else exp.Least(this=values[0], expressions=list(values[1:]))


def greatest(values: Sequence[exp.Expr]) -> exp.Expr:
    return values[0] if len(values) == 1 else exp.Greatest(this=values[0], expressions=list(values[1:]))


def case(condition: exp.Expr, value: exp.Expr, otherwise: exp.Expr | None = None) -> exp.Expr:
    return exp.paren(exp.Case(ifs=[exp.If(this=condition, true=value)], default=otherwise), copy=False)


def by_code_point(text: exp.Expr) -> exp.Expr:
    """Whatever the database sorts by."""
    return exp.Collate(this=text, expression=exp.to_identifier("C", quoted=True))


NOBODY_WAITS: Final = "9999-01-01"
"""Datetimes end there. What would change later does not."""


def ahead(change: exp.Expr) -> exp.Expr:
    """In the row of a profile: the instant, if it is still to come."""
    return case(all_of([gt(change, column("at")), lt(change, instant(NOBODY_WAITS))]), change)


def scalar(query: exp.Select) -> exp.Expr:
    return exp.paren(query, copy=False)


# -- aggregates -----------------------------------------------------------------------------------------------------


def filtered(aggregate: exp.Expr, conditions: Sequence[exp.Expr]) -> exp.Expr:
    return exp.Filter(this=aggregate, expression=exp.Where(this=all_of(conditions)))


def earliest(at: exp.Expr, conditions: Sequence[exp.Expr]) -> exp.Expr:
    return filtered(exp.Min(this=at), conditions)


def latest(at: exp.Expr, conditions: Sequence[exp.Expr]) -> exp.Expr:
    return filtered(exp.Max(this=at), conditions)


def count(conditions: Sequence[exp.Expr]) -> exp.Expr:
    return filtered(exp.Count(this=exp.Star()), conditions)


def count_different(value: exp.Expr, conditions: Sequence[exp.Expr]) -> exp.Expr:
    return filtered(exp.Count(this=exp.Distinct(expressions=[value])), conditions)


def in_order(values: exp.Expr, order: Sequence[exp.Expr], *, is_descending: bool) -> exp.Expr:
    """All values as an array, to take some by their places."""
    ordered = [exp.Ordered(this=each, desc=is_descending, nulls_first=is_descending) for each in order]
    return call("array_agg", exp.Order(this=values, expressions=ordered))


def at_place(array: exp.Expr, place: int) -> exp.Expr:
    return exp.Bracket(this=exp.paren(array, copy=False), expressions=[whole(place)], offset=1)
