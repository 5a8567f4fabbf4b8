"""What is counted or made of events, and compared."""

from collections.abc import Sequence
from decimal import Decimal

from sqlglot import exp

from segments.columnar.dialects import allof, anyof, is_true, whole
from segments.columnar.draft import Draft, column, is_known, or_nought
from segments.columnar.instants import micros_of, unit_number
from segments.columnar.writing import written
from segments.language.tree import (
    Active,
    Aggregate,
    CalendarUnit,
    Comparison,
    Count,
    End,
    Event,
    Measured,
    Of,
    Property,
    Since,
    Value,
    Zone,
)  # fmt: skip


class Measures(Draft):
    def _event(self, leaf: Event, number: int) -> exp.Expr:
        rule, measure = leaf.measured, leaf.measured.measure
        counted = self._counted(rule, number)
        if isinstance(measure, Aggregate) and measure.of not in {Of.SUM, Of.MINIMUM, Of.MAXIMUM, Of.DISTINCT}:
            return self._of_values(leaf, measure, counted, number)
        value = self._number_measured(rule, counted, number)
        return self.conditions.number_compares(leaf.comparison, value, leaf.value)

    def _number_measured(self, rule: Measured, counted: Sequence[exp.Expr], number: int) -> exp.Expr:
        """NULL where it is missing."""
        match rule.measure:
            case Count():
                return or_nought(self._happened_column(f"l{number}", exp.Count(this=exp.Star()), counted))
            case Active(unit, zone):
                days = self._units(unit, zone)
                different = exp.Count(this=exp.Distinct(expressions=[days]))
                return self._in_clock(number, different, counted, zone)
            case Since(end, unit):
                kind = exp.Min if end is End.FIRST else exp.Max
                at = self._happened_column(f"l{number}", kind(this=column("micros", "f")), counted)
                passed = exp.Sub(this=whole(micros_of(self.now)), expression=at)
                return self.dialect.divided(passed, unit.seconds * 1_000_000)
            case Aggregate(of, of_property):
                return self._aggregate(of, of_property, counted, number)

    def _aggregate(self, of: Of, of_property: Property, counted: Sequence[exp.Expr], number: int) -> exp.Expr:
        value = self._value(of_property)
        if of is Of.DISTINCT:
            different = exp.Distinct(expressions=[written(self.dialect, value)])
            return or_nought(self._happened_column(f"l{number}", exp.Count(this=different), counted))
        kind = {Of.SUM: exp.Sum, Of.MINIMUM: exp.Min, Of.MAXIMUM: exp.Max}[of]
        made = self._happened_column(f"l{number}", kind(this=self.dialect.number_of(value)), counted)
        return self._nought(made) if of is Of.SUM else made

    def _nought(self, value: exp.Expr) -> exp.Expr:
        return exp.Coalesce(this=value, expressions=[self.values.number(Decimal(0))])

    # -- values, and what is none

    def _of_values(self, leaf: Event, measure: Aggregate, counted: Sequence[exp.Expr], number: int) -> exp.Expr:
        value = self._value(measure.property)
        match measure.of:
            case Of.AVERAGE:
                return self._average(leaf, value, counted, number)
            case Of.VALUES:
                return self._has_values(leaf, value, counted, number)
            case Of.MOST_FREQUENT:
                made = self._most_frequent(value, counted, number)
            case _:
                made = self._at_an_end(measure.of, value, counted, number)
        return self.conditions.compares(leaf.comparison, self.dialect.parsed(made), leaf.value)

    def _average(self, leaf: Event, value: exp.Expr, counted: Sequence[exp.Expr], number: int) -> exp.Expr:
        """Compared without a division: an average is above a number if the sum of the differences is above nought."""
        asked = leaf.value if isinstance(leaf.value, tuple) else (leaf.value,)
        is_between = leaf.comparison is Comparison.BETWEEN
        comparisons = (Comparison.GREATER_OR_EQUAL, Comparison.LESS_OR_EQUAL) if is_between else (leaf.comparison,)
        return allof(
            [
                self.conditions.number_compares(
                    comparison, self._differences(value, each, counted, f"l{number}_{place}"), Decimal(0)
                )
                for place, (comparison, each) in enumerate(zip(comparisons, asked, strict=True))
            ]
        )

    def _differences(self, value: exp.Expr, asked: Value, counted: Sequence[exp.Expr], name: str) -> exp.Expr:
        number = asked if isinstance(asked, Decimal) else Decimal(0)
        difference = exp.Sub(this=self.dialect.number_of(value.copy()), expression=self.values.number(number))
        return self._happened_column(name, exp.Sum(this=difference), counted)

    def _has_values(self, leaf: Event, value: exp.Expr, counted: Sequence[exp.Expr], number: int) -> exp.Expr:
        choices = leaf.value if isinstance(leaf.value, tuple) else (leaf.value,)
        found = []
        for place, choice in enumerate(choices):
            is_it = self.conditions.is_among(value, (choice,))  # type: ignore[arg-type]  # the tree asks for values here
            column = self._happened_column(f"l{number}_{place}", exp.Count(this=exp.Star()), [*counted, is_it])
            found.append(is_true(exp.GT(this=column, expression=whole(0))))
        return anyof(found) if leaf.comparison is Comparison.CONTAINS_ANY else allof(found)

    def _at_an_end(self, of: Of, value: exp.Expr, counted: Sequence[exp.Expr], number: int) -> exp.Expr:
        """The text of the value at the first or last event that has one."""
        keys = [column(name, "f") for name in ("micros", "message_id", "source_id")]
        name = self.dialect.first_by if of is Of.FIRST else self.dialect.last_by
        made = self.dialect.by_key(name, self.dialect.as_json(value), keys)
        return self._happened_column(f"l{number}", made, [*counted, self.dialect.is_present(value.copy())])

    def _most_frequent(self, value: exp.Expr, counted: Sequence[exp.Expr], number: int) -> exp.Expr:
        """As JSON, of which the first by code point is taken of equally frequent ones."""
        json = written(self.dialect, value)
        each = exp.select(column("profile_id", "f"), exp.alias_(json, "value"), "count(*) AS times")
        each = each.from_("happened AS f").where(allof([one.copy() for one in counted]))
        each = each.where(is_known(json.copy()))
        each = each.group_by(column("profile_id", "f"), json.copy())
        rarity = exp.Neg(this=column("times", "v"))
        first = self.dialect.by_key(self.dialect.first_by, column("value", "v"), [rarity, column("value", "v")])
        query = exp.select("v.profile_id", exp.alias_(first, "value")).from_(each.subquery("v"))
        self.tables[f"t{number}"] = query.group_by("v.profile_id")
        return column("value", f"t{number}")

    # -- calendar units

    def _units(self, unit: CalendarUnit, zone: Zone) -> exp.Expr:
        """The number of the unit of an event: whole numbers only, so no engine's calendar is asked."""
        local: exp.Expr = column("micros", "f")
        if zone is not Zone.UTC:
            local = exp.Add(this=local, expression=column("shift", "clock"))
        return unit_number(self.dialect, local, unit)

    def _in_clock(self, number: int, made: exp.Expr, counted: Sequence[exp.Expr], zone: Zone) -> exp.Expr:
        if zone is Zone.UTC:
            return or_nought(self._happened_column(f"l{number}", made, counted))
        self.needs.has_clock = True
        whose = column("zone", "f") if zone is Zone.PROFILE else whole(0)
        query = exp.select("f.profile_id", exp.alias_(made, "value")).from_("happened AS f")
        on = [
            exp.EQ(this=column("zone", "clock"), expression=whose),
            exp.GTE(this=column("micros", "f"), expression=column("begins", "clock")),
            exp.LT(this=column("micros", "f"), expression=column("ends", "clock")),
        ]
        query = query.join("clock", on=allof(on)).where(allof([each.copy() for each in counted]))
        self.tables[f"t{number}"] = query.group_by("f.profile_id")
        return or_nought(column("value", f"t{number}"))
