"""Rules as one query over everybody, at an instant that is known: for DuckDB, Spark and ClickHouse.

As the instant is known, every period is a pair of whole numbers, microseconds since 1970, that Python computed; where
they differ by the zone of a profile, they stand in a small table. So no engine does arithmetic with calendars, and one
query is as good as another. It reads these relations, which `relations` makes for the rules that are asked:

    event   id, identifier_id, source_id, message_id, name, micros, properties
    who     identifier_id, profile_id               whoever may be seen now
    person  profile_id, zone                        likewise
    trait   profile_id, name, value                 JSON
    moment  profile_id, name, micros, day           traits that are dates
    chosen  leaf, profile_id                        who is in a group, on a list, in another segment, or consents
    score   profile_id, model, value
    zone    zone, and two columns for each period or anniversary that depends on it
    clock   zone, begins, ends, shift               what clocks show, for counting calendar units

The result has a row for each person: `profile_id` and, for each rule, a column r0, r1, … that is true or false.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Final

from sqlglot import exp

from cdp.kernel.errors import TesseraError
from segments.columnar.conditions import ORDERS, Conditions, Values
from segments.columnar.dialects import DIALECTS, Dialect, allof, anyof, call, is_true, text, when, whole
from segments.columnar.instants import bounds_in, micros_of, unit_number, widest_after
from segments.columnar.sequences import sequence
from segments.language.json_form import canonical
from segments.language.periods import EARLIEST
from segments.language.ranks import Threshold
from segments.language.tree import (
    Active,
    Aggregate,
    Ahead,
    And,
    Anniversary,
    Calendar,
    CalendarUnit,
    Comparison,
    Condition,
    Consented,
    Count,
    Dated,
    End,
    Event,
    Leaf,
    Learned,
    Listed,
    Measured,
    Member,
    Near,
    Node,
    Not,
    Of,
    Or,
    Period,
    Property,
    Rank,
    Sample,
    Score,
    Since,
    Step,
    Trait,
    Value,
    Zone,
    leaves_of,
)  # fmt: skip
from segments.language.tree import Sequence as Steps

EARTH: Final = 6_371_008.8
LARGEST_DIGEST: Final = 2**128 - 1

Chosen = Learned | Listed | Member | Consented


class UnsupportedRuleError(TesseraError):
    """The engine has no proven expression for a condition of the rule: take another one."""

    code = "rule_unsupported_by_engine"

    def __init__(self, what: object, dialect: str) -> None:
        kind = type(what).__name__
        message = f"{kind} cannot be computed by {dialect}: take the engine postgres"
        super().__init__(message, condition=kind, engine=dialect)


@dataclass(slots=True)
class Needs:
    """What the relations must hold for a query."""

    events: set[str] = field(default_factory=set)
    after: datetime | None = None
    """No event that counts is as old as this. None: all may count."""
    until: datetime | None = None
    traits: set[str] = field(default_factory=set)
    dates: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)
    chosen: dict[int, Chosen] = field(default_factory=dict)
    periods: dict[int, Calendar] = field(default_factory=dict)
    anniversaries: dict[int, Anniversary] = field(default_factory=dict)
    has_clock: bool = False

    @property
    def has_zones(self) -> bool:
        return bool(self.periods or self.anniversaries or self.has_clock)


@dataclass(frozen=True, slots=True)
class Compiled:
    sql: str
    parameters: Mapping[str, str]
    needs: Needs


def compile_rules(
    rules: Sequence[Node],
    *,
    dialect: str,
    now: datetime,
    workspace_zone: tzinfo = UTC,
    frozen: Mapping[str, Threshold] | None = None,
) -> Compiled:
    """The query that evaluates these rules at once. Computed traits must have been resolved."""
    return _Compiler(DIALECTS[dialect], now, workspace_zone, frozen or {}).compiled(rules)


class _Compiler:
    def __init__(
        self, dialect: Dialect, now: datetime, workspace_zone: tzinfo, frozen: Mapping[str, Threshold]
    ) -> None:
        self.dialect, self.now, self.workspace_zone, self.frozen = dialect, now, workspace_zone, frozen
        self.values = Values(dialect)
        self.conditions = Conditions(dialect, self.values)
        self.needs = Needs(until=now)
        self.leaves: dict[str, exp.Expr] = {}
        self.columns: dict[str, dict[str, exp.Expr]] = {}  # of each table that is read once: name → aggregate
        self.tables: dict[str, exp.Query] = {}  # of leaves that need a table of their own: name → its query
        self.begins: list[datetime | None] = []  # after when the events of each leaf count

    def compiled(self, rules: Sequence[Node]) -> Compiled:
        distinct = {canonical(leaf): leaf for rule in rules for leaf in leaves_of(rule)}
        for number, (key, leaf) in enumerate(distinct.items()):
            self.leaves[key] = self._leaf(leaf, number)
        self.needs.after = None if None in self.begins else min(filter(None, self.begins), default=self.now)
        query = self._known(rules)
        for name, table in self._tables().items():
            query = query.with_(name, as_=table, copy=False)
        return Compiled(query.sql(self.dialect.name), self.values.given, self.needs)

    # -- the tree

    def _known(self, rules: Sequence[Node]) -> exp.Select:
        answers = [exp.alias_(is_true(self._tree(rule)), f"r{place}") for place, rule in enumerate(rules)]
        query = exp.select(*_named({"person": ["profile_id"]}), *answers).from_("person")
        for name in (*self.columns, *self.tables):
            relation = f"of_{name}" if name in self.columns else name
            query = query.join(relation, on=f"{relation}.profile_id = person.profile_id", join_type="left")
        return query

    def _tree(self, node: Node) -> exp.Expr:
        match node:
            case And(children):
                return exp.and_(*(self._tree(child) for child in children), copy=False)
            case Or(children):
                return exp.or_(*(self._tree(child) for child in children), copy=False)
            case Not(child):
                return exp.not_(self._tree(child), copy=False)
            case _:
                return is_true(self.leaves[canonical(node)].copy())

    def _tables(self) -> dict[str, exp.Query]:
        """Of events first those that any leaf reads, then what is made of them."""
        tables: dict[str, exp.Query] = {}
        if self.needs.events:
            tables["happened"] = self._happened()
        for name, columns in self.columns.items():
            tables[f"of_{name}"] = self._aggregated(name, columns)
        return {**tables, **self.tables}

    def _aggregated(self, name: str, columns: Mapping[str, exp.Expr]) -> exp.Select:
        made = [exp.alias_(value, column, copy=False) for column, value in columns.items()]
        query = exp.select(*_named({"f": ["profile_id"]}), *made).group_by("f.profile_id")
        if name == "happened":
            return query.from_("happened AS f")
        if name == "moment" and self.needs.has_zones:
            columns = {"m": ("profile_id", "name", "micros", "day"), "zone": self._of_zones()}
            zoned = exp.select(*_named(columns)).from_("moment AS m")
            zoned = zoned.join("person", on="person.profile_id = m.profile_id")
            zoned = zoned.join("zone", on="zone.zone = person.zone")
            return query.from_(zoned.subquery("f"))
        return query.from_(f"{name} AS f")

    def _happened(self) -> exp.Select:
        """The events that any leaf may count, with whose they are by now."""
        columns = {"who": ("profile_id",), "event": ("name", "micros", "source_id", "message_id", "properties")}
        query = exp.select(*_named(columns)).from_("event").join("who", on="who.identifier_id = event.identifier_id")
        if self.needs.has_zones:
            query = query.select(*_named({"zone": self._of_zones()}))
            query = query.join("person", on="person.profile_id = who.profile_id")
            query = query.join("zone", on="zone.zone = person.zone")
        names = [self.values.text(name) for name in sorted(self.needs.events)]
        query = query.where(exp.In(this=_column("name", "event"), expressions=names))
        query = query.where(exp.LTE(this=_column("micros", "event"), expression=whole(micros_of(self.now))))
        if self.needs.after is not None:
            query = query.where(exp.GT(this=_column("micros", "event"), expression=whole(micros_of(self.needs.after))))
        return query

    def _of_zones(self) -> list[str]:
        """The columns of `zone`."""
        ends = [f"{end}_{number}" for number in self.needs.periods for end in ("after", "until")]
        return ["zone", *ends, *(f"days_{number}" for number in self.needs.anniversaries)]

    # -- leaves

    def _leaf(self, leaf: Leaf, number: int) -> exp.Expr:  # noqa: C901, PLR0911  # one case for each kind
        match leaf:
            case Trait(condition):
                return self._some("trait", number, self._of_trait(condition))
            case Near():
                return self._some("trait", number, self._near(leaf))
            case Dated(trait, period):
                self.needs.dates.add(trait)
                return self._some(
                    "moment", number, [self._is_named(trait), *self._during(period, number, is_dated=True)]
                )
            case Anniversary():
                return self._some("moment", number, self._anniversary(leaf, number))
            case Event():
                return self._event(leaf, number)
            case Steps():
                return self._sequence(leaf, number)
            case Learned() | Member() | Consented() | Listed():
                self.needs.chosen[number] = leaf
                return self._some("chosen", number, [exp.EQ(this=_column("leaf", "f"), expression=whole(number))])
            case Score():
                return self._some("score", number, self._score(leaf))
            case Rank():
                return self._rank(leaf, number)
            case Sample():
                return self._sample(leaf)
            case _:
                raise UnsupportedRuleError(leaf, self.dialect.name)

    def _some(self, table: str, number: int, conditions: Sequence[exp.Expr]) -> exp.Expr:
        """Whether any row of the person's is so."""
        found = exp.Max(this=when(allof(conditions), whole(1), whole(0)))
        return exp.EQ(this=self._column(table, f"l{number}", found), expression=whole(1))

    def _column(self, table: str, name: str, aggregate: exp.Expr) -> exp.Expr:
        self.columns.setdefault(table, {})[name] = aggregate
        return _column(name, f"of_{table}")

    def _is_named(self, name: str) -> exp.Expr:
        return exp.EQ(this=_column("name", "f"), expression=self.values.text(name))

    def _of_trait(self, condition: Condition) -> list[exp.Expr]:
        self.needs.traits.add(condition.name)
        holds = self.conditions.holds(condition, _column("value", "f"), condition.inside)
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
        number = self.dialect.number_of(self.conditions.found(_column("value", "f"), (name,)))
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
        day = self.dialect.contains(_column(f"days_{number}", "f"), _column("day", "f"))
        return [self._is_named(leaf.trait), exp.NEQ(this=_column("day", "f"), expression=text("")), day]

    def _score(self, leaf: Score) -> list[exp.Expr]:
        self.needs.models.add(leaf.model)
        value = self.dialect.decimal(_column("value", "f"))
        model = exp.EQ(this=_column("model", "f"), expression=self.values.text(leaf.model))
        return [model, self.conditions.number_compares(leaf.comparison, value, leaf.value)]

    def _sample(self, leaf: Sample) -> exp.Expr:
        """The digest as hexadecimal digits, which sort as the numbers that they are."""
        profile = self.dialect.string(_column("profile_id", "person"))
        digest = self.dialect.md5(call("concat", self.values.text(f"{leaf.salt}:"), profile))
        ends = [ceil(Fraction(end) * LARGEST_DIGEST / 100) for end in (leaf.begins, leaf.ends)]
        low, high = (text(f"{end:032x}") for end in ends)
        return allof([exp.GTE(this=digest, expression=low), exp.LT(this=digest.copy(), expression=high)])

    # -- events

    def _event(self, leaf: Event, number: int) -> exp.Expr:
        rule, measure = leaf.measured, leaf.measured.measure
        counted = self._counted(rule, number)
        if isinstance(measure, Aggregate) and measure.of not in {Of.SUM, Of.MINIMUM, Of.MAXIMUM, Of.DISTINCT}:
            return self._of_values(leaf, measure, counted, number)
        value = self._number_measured(rule, counted, number)
        return self.conditions.number_compares(leaf.comparison, value, leaf.value)

    def _counted(self, rule: Measured, number: int) -> list[exp.Expr]:
        self.needs.events.add(rule.event)
        self.begins.append(widest_after(rule.period, self.now))
        return [self._is_named(rule.event), *self._where(rule.where), *self._during(rule.period, number)]

    def _where(self, where: Iterable[Condition]) -> list[exp.Expr]:
        properties = _column("properties", "f")
        return [self.conditions.holds(one, properties.copy(), (one.name, *one.inside)) for one in where]

    def _during(self, period: Period | Ahead, number: int, *, is_dated: bool = False) -> list[exp.Expr]:
        """Within the bounds of the period, which stand in a table if they are those of the profile's zone."""
        micros = _column("micros", "f")
        if isinstance(period, Calendar) and period.zone is Zone.PROFILE:
            self.needs.periods[number] = period
            after, until = _column(f"after_{number}", "f"), _column(f"until_{number}", "f")
            return [exp.GT(this=micros, expression=after), exp.LTE(this=micros.copy(), expression=until)]
        is_theirs = isinstance(period, Calendar) and period.zone is Zone.WORKSPACE
        first, last = bounds_in(period, self.now, self.workspace_zone if is_theirs else UTC)
        lower: list[exp.Expr] = [exp.GT(this=micros, expression=whole(first))] if first > micros_of(EARLIEST) else []
        is_open = not is_dated and last == micros_of(self.now)  # `happened` has nothing later
        return lower if is_open else [*lower, exp.LTE(this=micros.copy(), expression=whole(last))]

    def _happened_column(self, name: str, aggregate: exp.Expr, conditions: Sequence[exp.Expr]) -> exp.Expr:
        made = exp.Filter(this=aggregate, expression=exp.Where(this=allof([each.copy() for each in conditions])))
        return self._column("happened", name, made)

    def _number_measured(self, rule: Measured, counted: Sequence[exp.Expr], number: int) -> exp.Expr:
        """NULL where it is missing."""
        match rule.measure:
            case Count():
                return _or_nought(self._happened_column(f"l{number}", exp.Count(this=exp.Star()), counted))
            case Active(unit, zone):
                days = self._units(unit, zone)
                different = exp.Count(this=exp.Distinct(expressions=[days]))
                return self._in_clock(number, different, counted, zone)
            case Since(end, unit):
                kind = exp.Min if end is End.FIRST else exp.Max
                at = self._happened_column(f"l{number}", kind(this=_column("micros", "f")), counted)
                passed = exp.Sub(this=whole(micros_of(self.now)), expression=at)
                return self.dialect.divided(passed, unit.seconds * 1_000_000)
            case Aggregate(of, of_property):
                return self._aggregate(of, of_property, counted, number)

    def _aggregate(self, of: Of, of_property: Property, counted: Sequence[exp.Expr], number: int) -> exp.Expr:
        value = self._value(of_property)
        if of is Of.DISTINCT:
            written = exp.Distinct(expressions=[self._written(value)])
            return _or_nought(self._happened_column(f"l{number}", exp.Count(this=written), counted))
        kind = {Of.SUM: exp.Sum, Of.MINIMUM: exp.Min, Of.MAXIMUM: exp.Max}[of]
        made = self._happened_column(f"l{number}", kind(this=self.dialect.number_of(value)), counted)
        return self._nought(made) if of is Of.SUM else made

    def _nought(self, value: exp.Expr) -> exp.Expr:
        return exp.Coalesce(this=value, expressions=[self.values.number(Decimal(0))])

    def _value(self, of_property: Property) -> exp.Expr:
        return self.conditions.found(_column("properties", "f"), (of_property.name, *of_property.inside))

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
        keys = [_column(name, "f") for name in ("micros", "message_id", "source_id")]
        name = self.dialect.first_by if of is Of.FIRST else self.dialect.last_by
        made = self.dialect.by_key(name, self._as_json(value), keys)
        return self._happened_column(f"l{number}", made, [*counted, self.dialect.is_present(value.copy())])

    def _as_json(self, value: exp.Expr) -> exp.Expr:
        return call("to_json", value) if self.dialect.name == "spark" else value

    def _most_frequent(self, value: exp.Expr, counted: Sequence[exp.Expr], number: int) -> exp.Expr:
        """As JSON, of which the first by code point is taken of equally frequent ones."""
        written = self._written(value)
        each = exp.select(_column("profile_id", "f"), exp.alias_(written, "value"), "count(*) AS times")
        each = each.from_("happened AS f").where(allof([one.copy() for one in counted]))
        each = each.where(exp.Not(this=exp.Is(this=written.copy(), expression=exp.null())))
        each = each.group_by(_column("profile_id", "f"), written.copy())
        rarity = exp.Neg(this=_column("times", "v"))
        first = self.dialect.by_key(self.dialect.first_by, _column("value", "v"), [rarity, _column("value", "v")])
        query = exp.select("v.profile_id", exp.alias_(first, "value")).from_(each.subquery("v"))
        self.tables[f"t{number}"] = query.group_by("v.profile_id")
        return _column("value", f"t{number}")

    def _written(self, value: exp.Expr) -> exp.Expr:
        """JSON of a text, a number or a truth value, the same of two that are the same; NULL of all else."""
        words = self.dialect
        number = words.string(words.number_of(value.copy()))
        point = words.contains(number.copy(), text("."))
        short = call("rtrim", call("rtrim", number.copy(), text("0")), text("."))
        if words.name == "spark":  # what is cut off comes first there
            short = exp.Anonymous(
                this="rtrim",
                expressions=[text("."), exp.Anonymous(this="rtrim", expressions=[text("0"), number.copy()])],
            )
        plain = when(point, short, number.copy())
        plain = when(exp.EQ(this=plain.copy(), expression=text("-0")), text("0"), plain)
        truth = when(exp.EQ(this=words.truth_of(value.copy()), expression=exp.true()), text("true"), text("false"))
        return exp.Case(
            ifs=[
                exp.If(this=words.is_text(value.copy()), true=self._quoted(words.text_of(value.copy()))),
                exp.If(this=words.is_truth(value.copy()), true=truth),
                exp.If(this=words.is_number(value.copy()), true=plain),
            ],
            default=exp.null(),
        )

    def _quoted(self, plain: exp.Expr) -> exp.Expr:
        """As JSON writes a text."""
        for character, escaped in _ESCAPES:
            plain = self.dialect.replaced(plain, text(character), text(escaped))
        return call("concat", text('"'), plain, text('"'))

    # -- calendar units

    def _units(self, unit: CalendarUnit, zone: Zone) -> exp.Expr:
        """The number of the unit of an event: whole numbers only, so no engine's calendar is asked."""
        local: exp.Expr = _column("micros", "f")
        if zone is not Zone.UTC:
            local = exp.Add(this=local, expression=_column("shift", "clock"))
        return unit_number(self.dialect, local, unit)

    def _in_clock(self, number: int, made: exp.Expr, counted: Sequence[exp.Expr], zone: Zone) -> exp.Expr:
        if zone is Zone.UTC:
            return _or_nought(self._happened_column(f"l{number}", made, counted))
        self.needs.has_clock = True
        whose = _column("zone", "f") if zone is Zone.PROFILE else whole(0)
        query = exp.select("f.profile_id", exp.alias_(made, "value")).from_("happened AS f")
        on = [
            exp.EQ(this=_column("zone", "clock"), expression=whose),
            exp.GTE(this=_column("micros", "f"), expression=_column("begins", "clock")),
            exp.LT(this=_column("micros", "f"), expression=_column("ends", "clock")),
        ]
        query = query.join("clock", on=allof(on)).where(allof([each.copy() for each in counted]))
        self.tables[f"t{number}"] = query.group_by("f.profile_id")
        return _or_nought(_column("value", f"t{number}"))

    # -- sequences and ranks

    def _sequence(self, leaf: Steps, number: int) -> exp.Expr:
        first = leaf.steps[0]
        begins = self._counted(Measured(first.event, Count(), first.where, leaf.period), number)
        steps = [allof(begins), *(self._is_step(step) for step in leaf.steps[1:])]
        without = [self._is_step(step) for step in leaf.without]
        then_not = self._is_step(leaf.then_not) if leaf.then_not else None
        within = leaf.within.seconds * 1_000_000 if leaf.within else None
        self.tables[f"t{number}"] = sequence(steps, without, then_not, within, micros_of(self.now))
        return exp.Not(this=exp.Is(this=_column("profile_id", f"t{number}"), expression=exp.null()))

    def _is_step(self, step: Step) -> exp.Expr:
        self.needs.events.add(step.event)
        return allof([self._is_named(step.event), *self._where(step.where)])

    def _rank(self, leaf: Rank, number: int) -> exp.Expr:
        threshold = self.frozen.get(canonical(leaf))
        if threshold is None or threshold.value is None:
            return exp.false()
        conditions = [self._is_inside(leaf, threshold, number)]
        if leaf.among is not None:
            self.needs.chosen[number] = Member(leaf.among)
            chosen = [exp.EQ(this=_column("leaf", "f"), expression=whole(number))]
            conditions.append(self._some("chosen", number, chosen))
        return allof(conditions)

    def _is_inside(self, leaf: Rank, threshold: Threshold, number: int) -> exp.Expr:
        value = threshold.value or Decimal(0)
        beyond = Comparison.LESS if leaf.is_lowest else Comparison.GREATER
        is_beyond, is_equal = self._against(leaf, beyond, value, number)
        if threshold.profile_id is not None:
            profile = exp.LTE(this=_column("profile_id", "person"), expression=whole(threshold.profile_id))
            is_equal = allof([is_equal, profile])
        return anyof([is_true(is_beyond), is_true(is_equal)])

    def _against(self, leaf: Rank, beyond: Comparison, value: Decimal, number: int) -> tuple[exp.Expr, exp.Expr]:
        """Whether what is ranked, rounded, is beyond a number, and whether it is that number."""
        if isinstance(leaf.of, Property):
            self.needs.traits.add(leaf.of.name)
            found = self.dialect.number_of(self.conditions.found(_column("value", "f"), leaf.of.inside))
            named = when(self._is_named(leaf.of.name), found)
            column = self._column("trait", f"l{number}", exp.Max(this=named))
        else:
            counted = self._counted(leaf.of, number)
            if isinstance(leaf.of.measure, Aggregate) and leaf.of.measure.of is Of.AVERAGE:
                return self._average_against(leaf.of.measure, beyond, value, counted, number)
            some = self._happened_column(f"l{number}_some", exp.Count(this=exp.Star()), counted)
            column = when(exp.GT(this=some, expression=whole(0)), self._number_measured(leaf.of, counted, number))
        asked = self.values.number(value)
        return ORDERS[beyond](column, asked), exp.EQ(this=column.copy(), expression=asked.copy())

    def _average_against(
        self, measure: Aggregate, beyond: Comparison, value: Decimal, counted: Sequence[exp.Expr], number: int
    ) -> tuple[exp.Expr, exp.Expr]:
        """Rounded to nine decimals, halves away from zero: twice the differences against a billionth for each number."""
        found = self._value(measure.property)
        twice = exp.Mul(this=whole(2), expression=self._differences(found, value, counted, f"l{number}"))
        billionth = self.values.number(Decimal("0.000000001"))
        each = when(exp.Not(this=exp.Is(this=self.dialect.number_of(found.copy()), expression=exp.null())), billionth)
        half = self._happened_column(f"l{number}_half", exp.Sum(this=each), counted)
        above = ORDERS[Comparison.GREATER_OR_EQUAL if value >= 0 else Comparison.GREATER](twice.copy(), half.copy())
        below_half = exp.Sub(this=self.values.number(Decimal(0)), expression=half.copy())
        below = ORDERS[Comparison.LESS_OR_EQUAL if value <= 0 else Comparison.LESS](twice.copy(), below_half)
        is_equal = allof([exp.not_(above.copy()), exp.not_(below.copy())])
        return (below if beyond is Comparison.LESS else above), is_equal


_ESCAPES: Final = (
    ("\\", "\\\\"), ('"', '\\"'), ("\b", "\\b"), ("\f", "\\f"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"),
    *((chr(code), f"\\u{code:04x}") for code in range(1, 32) if chr(code) not in "\b\f\n\r\t"),
)  # fmt: skip


def _column(name: str, table: str) -> exp.Expr:
    return exp.column(name, table)


def _named(columns: Mapping[str, Iterable[str]]) -> list[exp.Expr]:
    """Columns of several tables under their own names, which ClickHouse would make longer."""
    return [exp.alias_(_column(name, table), name) for table, names in columns.items() for name in names]


def _or_nought(value: exp.Expr) -> exp.Expr:
    return exp.Coalesce(this=value, expressions=[whole(0)])


def _half_sine_squared(one: exp.Expr, other: exp.Expr) -> exp.Expr:
    half = exp.Div(this=exp.paren(exp.Sub(this=one.copy(), expression=other.copy())), expression=whole(2))
    return call("pow", call("sin", half), whole(2))
