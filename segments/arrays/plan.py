"""What a set of rules asks of the events, made once: one query for all that is counted, and one for all other conditions."""

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Several
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from sqlglot import exp

from segments.arrays.algebra import Joined, joining
from segments.arrays.counting import is_countable
from segments.arrays.sequences import steps_of
from segments.arrays.streams import DECIMALS, INEXACT, KINDS_A_COLUMN, MISSING, Kind
from segments.language import Node, leaves_of
from segments.language.compile import Asked, Query, chunks_of, compile_rules
from segments.language.compile.draft import Reach
from segments.language.compile.expressions import (
    DIALECT,
    Parameters,
    all_of,
    call,
    case,
    cast,
    coalesce,
    column,
    constant,
    eq,
    given,
    gt,
    is_one_of,
    le,
    whole,
)
from segments.language.compile.times import bound
from segments.language.compile.values import as_number, inside, is_scalar, trait_holds
from segments.language.compile.zoned import compile_zones
from segments.language.json_form import canonical
from segments.language.periods import EARLIEST, MOMENT
from segments.language.ranks import Threshold
from segments.language.tree import Aggregate, Calendar, Event, Measured, Of, Property, Sequence, Step

MOST_VALUE: Final = 9 * 10**11  # in millionths it still fits into eight bytes


@dataclass(frozen=True, slots=True)
class Counting:
    """A condition on events, at its place among all conditions, and the kinds of events that it asks for."""

    place: int
    leaf: Event | Sequence
    kinds: Several[Kind]


@dataclass(frozen=True, slots=True)
class Value:
    """Of an event, as the query sends it: a number, or a scalar that is like others or not."""

    property: Property
    is_number: bool


@dataclass(frozen=True, slots=True)
class Plan:
    segments: Several[int]
    rules: Several[Joined]
    size: int
    """How many different conditions there are."""
    counted: Several[Counting]
    kind_columns: int
    reach: Reach
    events: Query | None
    """Of `profiles`, `identifiers` and `since`, one row: profiles, times, kinds, values."""
    zones: Query | None
    """A row for each profile, if any condition that is counted asks what clocks show."""
    others: Callable[[Asked], Several[Query]]
    """The conditions that are not counted, each as a rule of its place. Compiled when first asked for, and kept."""


def plan_of(rules: Mapping[int, Node], frozen: Mapping[str, Threshold], *, counts_events: bool = True) -> Plan:
    """Of whole rules, with the ends of their rankings. Without `counts_events` all is left to the database."""
    distinct = {canonical(leaf): leaf for rule in rules.values() for leaf in leaves_of(rule)}
    places = {key: place for place, key in enumerate(distinct)}
    leaves = list(distinct.values())
    countable = {place: leaf for place, leaf in enumerate(leaves) if counts_events and is_countable(leaf)}
    others = {place: leaf for place, leaf in enumerate(leaves) if place not in countable}
    read = _Read()
    counted = [Counting(place, leaf, read.kinds_of(leaf)) for place, leaf in countable.items()]
    return Plan(
        segments=list(rules),
        rules=[joining(rule, places) for rule in rules.values()],
        size=len(leaves),
        counted=counted,
        kind_columns=-(-len(read.kinds) // KINDS_A_COLUMN),
        reach=read.reach,
        events=_events([step for _, step in read.kinds.values()], read.values) if counted else None,
        zones=compile_zones() if read.has_calendars else None,
        others=cache(lambda asked: _others(others, asked, frozen)),
    )


def _others(leaves: Mapping[int, Node], asked: Asked, frozen: Mapping[str, Threshold]) -> Several[Query]:
    return [compile_rules(chunk, asked, frozen) for chunk in chunks_of(leaves)]


@dataclass(slots=True)
class _Read:
    """What is read of the events, each once, by its place among all: kinds, and values."""

    kinds: dict[str, tuple[int, Step]] = field(default_factory=dict)
    values: dict[Value, set[str]] = field(default_factory=dict)  # and the names of the events that are asked for it
    reach: Reach = field(default_factory=Reach)
    has_calendars: bool = False

    def kinds_of(self, leaf: Event | Sequence) -> Several[Kind]:
        period = leaf.period if isinstance(leaf, Sequence) else leaf.measured.period
        self.reach.include(bound(period))
        self.has_calendars |= isinstance(period, Calendar)
        if isinstance(leaf, Sequence):
            return [(self._kind(step), None) for step in steps_of(leaf)]
        return [(self._kind(Step(leaf.measured.event, leaf.measured.where)), self._value(leaf.measured))]

    def _kind(self, step: Step) -> int:
        key = canonical(Event(Measured(step.event, where=step.where)))
        return self.kinds.setdefault(key, (len(self.kinds), step))[0]

    def _value(self, measured: Measured) -> int | None:
        measure = measured.measure
        if not isinstance(measure, Aggregate):
            return None
        value = Value(measure.property, is_number=measure.of is not Of.DISTINCT)
        self.values.setdefault(value, set()).add(measured.event)
        return list(self.values).index(value)


# -- the one query for all events -----------------------------------------------------------------------------------


def earliest_of(plan: Plan, first: datetime) -> str:
    """What happened then or before counts at no instant from the first one on."""
    reach = plan.reach
    if reach.is_endless:
        return "-infinity"
    of_length = EARLIEST + max(first - EARLIEST - timedelta(seconds=reach.seconds), timedelta(0))
    return min(of_length, of_length if reach.since is None else reach.since - MOMENT).isoformat()


def _events(kinds: Several[Step], values: Mapping[Value, set[str]]) -> Query:
    """One row of bytes, as the driver gives bytes on without a look at them: of so many events nothing is parsed."""
    parameters = Parameters()
    fields = _Fields(parameters)
    is_of = [_is_of(step, fields) for step in kinds]
    columns = {"profile": column("profile_id", "e"), "at": column("occurred_at", "e")}
    columns |= {
        f"kinds{start}": _bits(is_of[start : start + KINDS_A_COLUMN]) for start in range(0, len(is_of), KINDS_A_COLUMN)
    }
    columns |= {
        f"value{place}": fields.sent(each, of=sorted(names)) for place, (each, names) in enumerate(values.items())
    }
    named = [exp.alias_(each, name, copy=False) for name, each in columns.items()]
    names = exp.array(*dict.fromkeys(parameters.text(step.event) for step in kinds), copy=False)
    told = exp.select(*named, copy=False).from_(fields.rows(names).subquery("e", copy=False), copy=False)
    sent = [_together(name, list(values)) for name in columns]
    return Query(
        exp.select(*sent, copy=False).from_(told.subquery("e", copy=False), copy=False).sql(DIALECT), parameters.values
    )


@dataclass(slots=True)
class _Fields:
    """Each property that is asked for is taken out of the event once: that is most of the work on events."""

    parameters: Parameters
    names: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> exp.Expr:
        return column(self.names.setdefault(name, f"field{len(self.names)}"), "e")

    def sent(self, value: Value, *, of: Several[str]) -> exp.Expr:
        """Of the events that have one of these names: of others nobody asks, and a number takes long to tell."""
        found = inside(self[value.property.name], value.property.inside, self.parameters)
        is_asked = is_one_of(column("name", "e"), exp.array(*map(self.parameters.text, of), copy=False))
        if value.is_number:
            return case(is_asked, _millionths(as_number(found)), whole(MISSING))
        return case(all_of([is_asked, is_scalar(found)]), cast(found, "text"))

    def rows(self, names: exp.Expr) -> exp.Select:
        """`OFFSET 0` keeps Postgres from taking them out where they are asked for. The name is asked for as a sum of texts,
        so that no index finds events by it: of a name that is new Postgres expects none, and would read everybody's.
        """
        taken = [
            exp.alias_(inside(column("properties", "e"), (name,), self.parameters), alias, copy=False)
            for name, alias in self.names.items()
        ]
        rows = exp.select("e.profile_id", "e.occurred_at", "e.name").select(*taken, copy=False).from_("event AS e")
        name = exp.paren(exp.DPipe(this=column("name", "e"), expression=constant("")), copy=False)
        return rows.where(
            is_one_of(column("profile_id", "e"), given("profiles", "bigint[]")),
            is_one_of(column("identifier_id", "e"), given("identifiers", "bigint[]")),
            is_one_of(name, names),
            gt(column("occurred_at", "e"), given("since", "timestamptz")),
            copy=False,
        ).offset(0, copy=False)


def _is_of(step: Step, fields: _Fields) -> exp.Expr:
    is_named = eq(column("name", "e"), fields.parameters.text(step.event))
    return all_of([is_named, *(trait_holds(each, fields[each.name], fields.parameters) for each in step.where)])


def _bits(is_of: Several[exp.Expr]) -> exp.Expr:
    bits: exp.Expr = whole(0)
    for place, condition in enumerate(is_of):
        bits = exp.BitwiseOr(this=bits, expression=case(condition, whole(1 << place), whole(0)))
    return cast(exp.paren(bits, copy=False), "bigint")


def _millionths(number: exp.Expr) -> exp.Expr:
    """Exact, or said to be not: an inexact value leaves all to the database."""
    millionths = exp.Mul(this=number, expression=whole(10**DECIMALS))
    is_exact = all_of([le(call("abs", number), whole(MOST_VALUE)), eq(call("trunc", millionths), millionths)])
    value = exp.Case(ifs=[exp.If(this=exp.Is(this=number, expression=exp.null()), true=whole(MISSING)),
                          exp.If(this=is_exact, true=millionths)], default=whole(INEXACT))  # fmt: skip
    return cast(value, "bigint")


def _together(name: str, values: Several[Value]) -> exp.Expr:
    """As bytes; scalars as a list in JSON, without its brackets."""
    sent, nothing = column(name, "e"), cast(constant(""), "bytea")
    if name.startswith("value") and not values[int(name.removeprefix("value"))].is_number:
        return call("string_agg", coalesce(sent, constant("null")), constant(","))
    return call("string_agg", call("timestamptz_send" if name == "at" else "int8send", sent), nothing)
