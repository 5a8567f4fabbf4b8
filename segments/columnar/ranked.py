"""Ranks: what is ranked of a profile beside the value of the last one inside."""

from collections.abc import Sequence
from decimal import Decimal

from sqlglot import exp

from segments.columnar.conditions import ORDERS
from segments.columnar.dialects import allof, anyof, is_true, when, whole
from segments.columnar.draft import column, is_known
from segments.columnar.measures import Measures
from segments.language.json_form import canonical
from segments.language.ranks import Threshold
from segments.language.tree import Aggregate, Comparison, Member, Of, Property, Rank


class Ranked(Measures):
    def _rank(self, leaf: Rank, number: int) -> exp.Expr:
        threshold = self.frozen.get(canonical(leaf))
        if threshold is None or threshold.value is None:
            return exp.false()
        conditions = [self._is_inside(leaf, threshold, number)]
        if leaf.among is not None:
            self.needs.chosen[number] = Member(leaf.among)
            chosen = [exp.EQ(this=column("leaf", "f"), expression=whole(number))]
            conditions.append(self._some("chosen", number, chosen))
        return allof(conditions)

    def _is_inside(self, leaf: Rank, threshold: Threshold, number: int) -> exp.Expr:
        value = threshold.value or Decimal(0)
        beyond = Comparison.LESS if leaf.is_lowest else Comparison.GREATER
        is_beyond, is_equal = self._against(leaf, beyond, value, number)
        if threshold.profile_id is not None:
            profile = exp.LTE(this=column("profile_id", "person"), expression=whole(threshold.profile_id))
            is_equal = allof([is_equal, profile])
        return anyof([is_true(is_beyond), is_true(is_equal)])

    def _against(self, leaf: Rank, beyond: Comparison, value: Decimal, number: int) -> tuple[exp.Expr, exp.Expr]:
        """Whether what is ranked, rounded, is beyond a number, and whether it is that number."""
        if isinstance(leaf.of, Property):
            self.needs.traits.add(leaf.of.name)
            found = self.dialect.number_of(self.conditions.found(column("value", "f"), leaf.of.inside))
            named = when(self._is_named(leaf.of.name), found)
            ranked = self._column("trait", f"l{number}", exp.Max(this=named))
        else:
            counted = self._counted(leaf.of, number)
            if isinstance(leaf.of.measure, Aggregate) and leaf.of.measure.of is Of.AVERAGE:
                return self._average_against(leaf.of.measure, beyond, value, counted, number)
            some = self._happened_column(f"l{number}_some", exp.Count(this=exp.Star()), counted)
            ranked = when(exp.GT(this=some, expression=whole(0)), self._number_measured(leaf.of, counted, number))
        asked = self.values.number(value)
        return ORDERS[beyond](ranked, asked), exp.EQ(this=ranked.copy(), expression=asked.copy())

    def _average_against(
        self, measure: Aggregate, beyond: Comparison, value: Decimal, counted: Sequence[exp.Expr], number: int
    ) -> tuple[exp.Expr, exp.Expr]:
        """Rounded to nine decimals, halves away from zero: twice the differences against a billionth for each number."""
        found = self._value(measure.property)
        twice = exp.Mul(this=whole(2), expression=self._differences(found, value, counted, f"l{number}"))
        billionth = self.values.number(Decimal("0.000000001"))
        each = when(is_known(self.dialect.number_of(found.copy())), billionth)
        half = self._happened_column(f"l{number}_half", exp.Sum(this=each), counted)
        above = ORDERS[Comparison.GREATER_OR_EQUAL if value >= 0 else Comparison.GREATER](twice.copy(), half.copy())
        below_half = exp.Sub(this=self.values.number(Decimal(0)), expression=half.copy())
        below = ORDERS[Comparison.LESS_OR_EQUAL if value <= 0 else Comparison.LESS](twice.copy(), below_half)
        is_equal = allof([exp.not_(above.copy()), exp.not_(below.copy())])
        return (below if beyond is Comparison.LESS else above), is_equal
