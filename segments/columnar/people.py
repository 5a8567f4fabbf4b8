"""Conditions on what is known of people beside their events."""

from fractions import Fraction
from math import ceil
from typing import Final

from sqlglot import exp

from segments.columnar.dialects import allof, call, text, whole
from segments.columnar.draft import Draft, column
from segments.language.tree import Anniversary, Condition, Near, Sample, Score

EARTH: Final = 6_371_008.8
LARGEST_DIGEST: Final = 2**128 - 1


class People(Draft):
    def _of_trait(self, condition: Condition) -> list[exp.Expr]:
        self.needs.traits.add(condition.name)
        holds = self.conditions.holds(condition, column("value", "f"), condition.inside)
        return [self._is_named(condition.name), holds]

    def _near(self, leaf: Near) -> list[exp.Expr]:
        self.needs.traits.add(leaf.trait)
        latitude, longitude = (self._coordinate(name) for name in ("latitude", "longitude"))
        inside = [
            exp.LTE(this=call("abs", each.copy()), expression=whole(most))
            for each, most in ((latitude, 90), (longitude, 180))
        ]
        return [self._is_named(leaf.trait), *inside, self._is_close(leaf, latitude, longitude)]

    def _coordinate(self, name: str) -> exp.Expr:
        number = self.dialect.number_of(self.conditions.found(column("value", "f"), (name,)))
        return self.dialect.double(number)

    def _is_close(self, leaf: Near, latitude: exp.Expr, longitude: exp.Expr) -> exp.Expr:
        """By the haversine, as the reference has it."""
        here = [self.dialect.double(self.values.number(each)) for each in (leaf.latitude, leaf.longitude)]
        here = [call("radians", each) for each in here]
        there = [call("radians", each) for each in (latitude, longitude)]
        along, across = (_half_sine_squared(one, other) for one, other in zip(there, here, strict=True))
        both = exp.Mul(this=call("cos", here[0].copy()), expression=call("cos", there[0].copy()))
        square = exp.Add(this=along, expression=exp.Mul(this=both, expression=across))
        root = call("least", self.dialect.double(whole(1)), call("sqrt", square))
        metres = exp.Mul(this=exp.Literal.number(str(2 * EARTH)), expression=call("asin", root))
        return exp.LTE(this=metres, expression=self.dialect.double(self.values.number(leaf.metres)))

    def _anniversary(self, leaf: Anniversary, number: int) -> list[exp.Expr]:
        self.needs.dates.add(leaf.trait)
        self.needs.anniversaries[number] = leaf
        day = self.dialect.contains(column(f"days_{number}", "f"), column("day", "f"))
        return [self._is_named(leaf.trait), exp.NEQ(this=column("day", "f"), expression=text("")), day]

    def _score(self, leaf: Score) -> list[exp.Expr]:
        self.needs.models.add(leaf.model)
        value = self.dialect.decimal(column("value", "f"))
        model = exp.EQ(this=column("model", "f"), expression=self.values.text(leaf.model))
        return [model, self.conditions.number_compares(leaf.comparison, value, leaf.value)]

    def _sample(self, leaf: Sample) -> exp.Expr:
        """The digest as hexadecimal digits, which sort as the numbers that they are."""
        profile = self.dialect.string(column("profile_id", "person"))
        digest = self.dialect.md5(call("concat", self.values.text(f"{leaf.salt}:"), profile))
        ends = [ceil(Fraction(end) * LARGEST_DIGEST / 100) for end in (leaf.begins, leaf.ends)]
        low, high = (text(f"{end:032x}") for end in ends)
        return allof([exp.GTE(this=digest, expression=low), exp.LT(this=digest.copy(), expression=high)])


def _half_sine_squared(one: exp.Expr, other: exp.Expr) -> exp.Expr:
    half = exp.Div(this=exp.paren(exp.Sub(this=one.copy(), expression=other.copy())), expression=whole(2))
    return call("pow", call("sin", half), whole(2))
