"""Leaves about what is measured of events: whether it compares as asked, and when that could change."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from math import ceil, floor
from typing import Final

from sqlglot import exp

from segments.language.compile import times
from segments.language.compile.draft import Draft, Facts
from segments.language.compile.expressions import (
    Parameters,
    ahead,
    all_of,
    any_of,
    at_place,
    by_code_point,
    call,
    cast,
    column,
    count,
    count_different,
    earliest,
    eq,
    filtered,
    ge,
    in_order,
    is_known,
    is_one_of,
    latest,
    minus,
    negated,
    plus,
    surely,
    whole,
)
from segments.language.compile.values import (
    as_number,
    choices,
    condition_holds,
    holds,
    inside,
    is_scalar,
    kind,
    number_holds,
)
from segments.language.tree import (
    Active,
    Aggregate,
    Comparison,
    Count,
    End,
    Event,
    Measured,
    Of,
    Property,
    Since,
    Step,
    Value,
)

FOREVER: Final = 10_000 * 366 * 86_400
"""Seconds that never pass between two instants."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Over the columns of a profile: whether a leaf is true, and the instants at which that could change.

    Null ones are none. All of them lie after now, or are not the first that does: early is allowed, late never.
    """

    is_true: exp.Expr
    changes: Sequence[exp.Expr] = ()


def event_leaf(leaf: Event, draft: Draft) -> Answer:
    answer = Measuring(leaf.measured, draft).compared(leaf.comparison, leaf.value)
    return replace(answer, changes=[*answer.changes, coming(leaf.measured, draft)])


def is_event(step: Step | Measured, facts: Facts, parameters: Parameters) -> list[exp.Expr]:
    """The row is an event of this name that meets these conditions."""
    name = facts.names[step.event] = parameters.text(step.event)
    properties = column("properties", "e")
    conditions = [condition_holds(condition, properties, parameters) for condition in step.where]
    return [eq(column("name", "e"), name), *conditions]


def coming(measured: Measured, draft: Draft) -> exp.Expr:
    """When the first event begins to count that does not yet: of its name, whatever else is asked of it."""
    period = times.begins_later(measured.period)
    any_one = is_event(Step(measured.event), draft.events, draft.parameters)
    key = ("coming", measured.event, repr(period))
    first = draft.events.column(
        key, lambda: earliest(times.happened(), [*any_one, negated(times.has_begun(period, draft))])
    )
    return times.begins_at(period, first, draft)


class Measuring:
    """A measured value: what is asked of it becomes columns of the events."""

    def __init__(self, measured: Measured, draft: Draft) -> None:
        self.measured, self.draft = measured, draft
        self.period, self.measure = measured.period, measured.measure
        self.counted = [*is_event(measured, draft.events, draft.parameters), *times.counts(self.period, draft)]
        draft.events.reach.include(times.bound(self.period))

    def compared(  # noqa: PLR0911  # one return for each measure
        self, comparison: Comparison, value: Value
    ) -> Answer:
        match self.measure:
            case Count() if self.draft.tells_changes:
                return self._count(comparison, value)
            case Count():
                return self._number(self.how_many(), comparison, value, None)
            case Since():
                return self._since(self.measure, comparison, value)
            case Active():
                return self._number(self.active(self.measure), comparison, value, self.oldest())
            case Aggregate(Of.VALUES, of):
                return self._values(of, comparison, value)
            case Aggregate(Of.FIRST | Of.LAST | Of.MOST_FREQUENT, of):
                found = surely(holds(comparison, value, self.chosen(self.measure), self.draft.parameters))
                return self._until_one_ends(found, self.oldest("value", self._has_value(of)))
            case Aggregate(Of.AVERAGE, of):
                total, many = self.total(of), self.numbers(of)
                per = surely(number_holds(comparison, value, total, self.draft.parameters, per=many))
                return self._until_one_ends(per, self.oldest("number", self._has_number(of)))
            case Aggregate(of_what, of):
                number = self.number(Aggregate(of_what, of))
                return self._number(number, comparison, value, self.oldest(*self._contributing(of_what, of)))

    # -- answers ----------------------------------------------------------------------------------------------------

    def _number(self, number: exp.Expr, comparison: Comparison, value: Value, oldest: exp.Expr | None) -> Answer:
        """Where zero does not compare so, Postgres shall see that who has no event is out."""
        if isinstance(number, exp.Coalesce) and not is_so_of_zero(comparison, value):
            number = number.this
        return self._until_one_ends(surely(number_holds(comparison, value, number, self.draft.parameters)), oldest)

    def _until_one_ends(self, is_true: exp.Expr, oldest: exp.Expr | None) -> Answer:
        """Every event that counts no longer may change what is made of them: the oldest is the first of these."""
        return Answer(is_true, [] if oldest is None else times.ends_at(self.period, oldest, self.draft))

    def _count(self, comparison: Comparison, value: Value) -> Answer:
        changes: list[exp.Expr] = []
        is_true = numbered(comparison, value, lambda least: self._reaches(least, changes))
        return Answer(is_true, changes)

    def _reaches(self, number: int, changes: list[exp.Expr]) -> exp.Expr:
        """There are so many, until the newest but so many ends to count: exact."""
        if number <= 0:
            return exp.true()
        if not times.ends(self.period):
            return ge(self.how_many(), whole(number))
        newest = self._nth_newest(number)
        changes += times.ends_at(self.period, newest, self.draft)
        return is_known(newest)

    def _since(self, since: Since, comparison: Comparison, value: Value) -> Answer:
        """So many whole units have passed once the instant is reached at which the last of them ends."""
        at = self.oldest_of_all() if since.end is End.FIRST else self.newest()
        passed = minus(column("at"), at)
        changes = times.ends_at(self.period, at, self.draft)

        def has_passed(units: int) -> exp.Expr:
            if units <= 0:
                return exp.true()
            if units * since.unit.seconds > FOREVER:
                return exp.false()
            seconds = self.draft.parameters.seconds(units * since.unit.seconds)
            changes.append(ahead(plus(at, seconds)))
            return ge(passed, seconds)

        is_true = numbered(comparison, value, has_passed)
        return Answer(all_of([is_known(at), surely(is_true)]), changes)

    def _values(self, of: Property, comparison: Comparison, value: Value) -> Answer:
        """Whether one of the choices was said, or each."""
        wanted = value if isinstance(value, tuple) else (value,)
        among = choices(tuple(each for each in wanted if each is not None), self.draft.parameters)
        property_value = self._value(of)
        said = [is_one_of(property_value, among)]
        key = ("said", repr(of), repr(sorted(map(repr, wanted))))
        if comparison is not Comparison.CONTAINS_ALL:
            newest = self._column(("newest", *key), lambda: latest(times.happened(), [*self.counted, *said]))
            return self._until_one_ends(is_known(newest), newest)
        many = self._column(("different", *key), lambda: count_different(property_value, [*self.counted, *said]))
        different = len({(type(each), each) for each in wanted})
        is_true = surely(ge(many, whole(different)))
        return self._until_one_ends(is_true, self.oldest("said", said, key))

    # -- values, which ranks compare too ----------------------------------------------------------------------------

    def how_many(self) -> exp.Expr:
        """Of no event null: its row may be missing."""
        return exp.Coalesce(this=self._column(("count",), lambda: count(self.counted)), expressions=[whole(0)])

    def number(self, measure: Aggregate) -> exp.Expr:
        """Zero or null of nothing, as `Of` says."""
        of = measure.property
        match measure.of:
            case Of.SUM:
                return exp.Coalesce(this=self.total(of), expressions=[whole(0)])
            case Of.DISTINCT:
                value = self._value(of)
                made = self._column(
                    ("distinct", repr(of)), lambda: count_different(value, [*self.counted, is_scalar(value)])
                )
                return exp.Coalesce(this=made, expressions=[whole(0)])
            case Of.MINIMUM:
                return self._column(("minimum", repr(of)), lambda: earliest(self._number_of(of), self.counted))
            case _:
                return self._column(("maximum", repr(of)), lambda: latest(self._number_of(of), self.counted))

    def total(self, of: Property) -> exp.Expr:
        return self._column(("sum", repr(of)), lambda: filtered(exp.Sum(this=self._number_of(of)), self._summed(of)))

    def numbers(self, of: Property) -> exp.Expr:
        amount = self._number_of(of)
        return self._column(("numbers", repr(of)), lambda: filtered(exp.Count(this=amount), self._summed(of)))

    def active(self, measure: Active) -> exp.Expr:
        zone = self.draft.zone_of_event(measure.zone)
        unit = call("core.local_unit", times.happened(), exp.Literal.string(measure.unit), zone)
        made = self._column(("active", repr(measure)), lambda: count_different(unit, self.counted))
        return exp.Coalesce(this=made, expressions=[whole(0)])

    def chosen(self, measure: Aggregate) -> exp.Expr:
        """The first, last or most frequent value, as JSON."""
        of = measure.property
        value, has_value = self._value(of), [*self.counted, *self._has_value(of)]
        if measure.of is Of.MOST_FREQUENT:
            return self._column(("most frequent", repr(of)), lambda: self._most_frequent(value))
        order = [times.happened(), column("message_id", "e"), column("source_id", "e")]
        order[1] = by_code_point(order[1])
        ordered = in_order(value, order, is_descending=measure.of is Of.LAST)
        return self._column((measure.of, repr(of)), lambda: at_place(filtered(ordered, has_value), 1))

    def _most_frequent(self, value: exp.Expr) -> exp.Expr:
        """Of equally frequent ones `mode` takes the first in order. 1.0 is 1, and is written so."""
        written = exp.Case(ifs=[exp.If(this=is_scalar(value), true=call("core.written", value))])
        order = exp.Order(expressions=[exp.Ordered(this=by_code_point(exp.paren(written, copy=False)))])
        mode = exp.WithinGroup(this=call("mode"), expression=order)
        return cast(filtered(mode, self.counted), "jsonb")

    # -- columns ----------------------------------------------------------------------------------------------------

    def oldest(self, kind_of_event: str = "", also: Sequence[exp.Expr] = (), key: object = "") -> exp.Expr | None:
        """The first event that ends to count, of those that matter; none if no event ever does."""
        if not times.ends(self.period):
            return None
        of = repr(self.measure.property) if isinstance(self.measure, Aggregate) and kind_of_event else ""
        conditions = [*self.counted, *also]
        return self._column(("oldest", kind_of_event, of, key), lambda: earliest(times.happened(), conditions))

    def oldest_of_all(self) -> exp.Expr:
        return self._column(("oldest", "", "", ""), lambda: earliest(times.happened(), self.counted))

    def newest(self) -> exp.Expr:
        return self._nth_newest(1)

    def _nth_newest(self, number: int) -> exp.Expr:
        if number == 1:
            return self._column(("newest",), lambda: latest(times.happened(), self.counted))
        newest_first = in_order(times.happened(), [times.happened()], is_descending=True)
        return self._column(("newest", number), lambda: at_place(filtered(newest_first, self.counted), number))

    def _column(self, key: tuple[object, ...], made: Callable[[], exp.Expr]) -> exp.Expr:
        events = (self.measured.event, repr(self.measured.where), repr(self.period))
        return self.draft.events.column((*events, *key), made)

    def _value(self, of: Property) -> exp.Expr:
        return inside(column("properties", "e"), (of.name, *of.inside), self.draft.parameters)

    def _number_of(self, of: Property) -> exp.Expr:
        return as_number(self._value(of))

    def _has_value(self, of: Property) -> list[exp.Expr]:
        return [exp.NEQ(this=kind(self._value(of)), expression=exp.Literal.string("null"))]

    def _has_number(self, of: Property) -> list[exp.Expr]:
        return [eq(kind(self._value(of)), exp.Literal.string("number"))]

    def _summed(self, of: Property) -> list[exp.Expr]:
        """Nothing else adds anything. Over everybody it is cheaper to leave it out before; of a few, not to ask."""
        return self.counted if self.draft.tells_changes else [*self.counted, *self._has_number(of)]

    def _contributing(self, what: Of, of: Property) -> tuple[str, Sequence[exp.Expr]]:
        """Which events make the number what it is. Adding zero does not."""
        if what is Of.SUM:
            return "summand", [exp.NEQ(this=self._number_of(of), expression=whole(0))]
        return ("scalar", [is_scalar(self._value(of))]) if what is Of.DISTINCT else ("number", self._has_number(of))


def is_so_of_nothing(leaf: Event) -> bool:
    """Of whom no event counts."""
    measure = leaf.measured.measure
    is_zero = isinstance(measure, Count | Active) or (isinstance(measure, Aggregate) and measure.of in _ZERO_OF_NOTHING)
    return is_zero and is_so_of_zero(leaf.comparison, leaf.value)


_ZERO_OF_NOTHING: Final = frozenset({Of.SUM, Of.DISTINCT})


def is_so_of_zero(comparison: Comparison, value: Value) -> bool:
    low, high = value if isinstance(value, tuple) else (value, value)
    least, most = Decimal(low or 0), Decimal(high or 0)
    return least <= 0 <= most if comparison is Comparison.BETWEEN else _ORDERS[comparison](0, least)


_ORDERS: Final[Mapping[Comparison, Callable[[int, Decimal], bool]]] = {
    Comparison.EQUALS: operator.eq,
    Comparison.NOT_EQUALS: operator.ne,
    Comparison.GREATER: operator.gt,
    Comparison.GREATER_OR_EQUAL: operator.ge,
    Comparison.LESS: operator.lt,
    Comparison.LESS_OR_EQUAL: operator.le,
}


def numbered(comparison: Comparison, value: Value, reaches: Callable[[int], exp.Expr]) -> exp.Expr:
    """A comparison of a whole number, told by what it reaches."""
    low, high = value if isinstance(value, tuple) else (value, value)
    least, beyond = ceil(Decimal(low or 0)), floor(Decimal(high or 0)) + 1
    match comparison:
        case Comparison.GREATER_OR_EQUAL:
            return reaches(least)
        case Comparison.GREATER:
            return reaches(beyond)
        case Comparison.LESS:
            return negated(reaches(least))
        case Comparison.LESS_OR_EQUAL:
            return negated(reaches(beyond))
        case Comparison.NOT_EQUALS:
            return any_of([negated(reaches(least)), reaches(beyond)]) if least < beyond else exp.true()
        case _:
            return all_of([reaches(least), negated(reaches(beyond))]) if least < beyond else exp.false()
