"""What a set of rules asks of the events, made once: one query for all that is counted, and one for all other conditions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from sqlglot import exp

from segments.arrays.algebra import Joined, joining
from segments.arrays.counting import is_countable
from segments.arrays.streams import DECIMALS, INEXACT, KINDS_A_COLUMN, MISSING
from segments.language import Node, leaves_of
from segments.language.compile import Asked, Query, chunks_of, compile_rules
from segments.language.compile.expressions import (
    DIALECT,
    Parameters,
    all_of,
    call,
    case,
    cast,
    column,
    constant,
    eq,
    given,
    gt,
    is_one_of,
    le,
    whole,
)
from segments.language.compile.values import as_number, condition_holds, inside
from segments.language.json_form import canonical
from segments.language.ranks import Threshold
from segments.language.tree import Aggregate, Event, Measured, Past, Property, Window

MOST_VALUE: Final = 9 * 10**11  # in millionths it still fits into eight bytes


@dataclass(frozen=True, slots=True)
class Counting:
    """A condition on events, at its place among all conditions: which kind of events, and which of their values."""

    place: int
    leaf: Event
    kind: int
    value: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    segments: Sequence[int]
    rules: Sequence[Joined]
    size: int
    """How many different conditions there are."""
    counted: Sequence[Counting]
    kind_columns: int
    events: Query | None
    """Of `profiles`, `identifiers` and `since`, one row: profiles, times, kinds, values."""
    others: Callable[[Asked], Sequence[Query]]
    """The conditions that are not counted, each as a rule of its place. Compiled when first asked for, and kept."""


def plan_of(rules: Mapping[int, Node], frozen: Mapping[str, Threshold], *, counts_events: bool = True) -> Plan:
    """Of whole rules, with the ends of their rankings. Without `counts_events` all is left to the database."""
    distinct = {canonical(leaf): leaf for rule in rules.values() for leaf in leaves_of(rule)}
    places = {key: place for place, key in enumerate(distinct)}
    leaves = list(distinct.values())
    countable = {
        place: leaf
        for place, leaf in enumerate(leaves)
        if counts_events and isinstance(leaf, Event) and is_countable(leaf)
    }
    counted, kinds, values = _counted(countable)
    others = {place: leaf for place, leaf in enumerate(leaves) if place not in countable}
    return Plan(
        segments=list(rules),
        rules=[joining(rule, places) for rule in rules.values()],
        size=len(leaves),
        counted=counted,
        kind_columns=-(-len(kinds) // KINDS_A_COLUMN),
        events=_events(kinds, values) if counted else None,
        others=cache(lambda asked: _others(others, asked, frozen)),
    )


def _others(leaves: Mapping[int, Node], asked: Asked, frozen: Mapping[str, Threshold]) -> Sequence[Query]:
    return [compile_rules(chunk, asked, frozen) for chunk in chunks_of(leaves)]


def _counted(leaves: Mapping[int, Event]) -> tuple[Sequence[Counting], Sequence[Measured], Sequence[Property]]:
    """The kinds of events that are counted, and the properties that are measured, each once."""
    kinds: dict[str, Measured] = {}
    values: dict[Property, None] = {}
    counted = []
    for place, leaf in leaves.items():
        kind = canonical(Event(Measured(leaf.measured.event, where=leaf.measured.where)))
        kinds.setdefault(kind, leaf.measured)
        value = leaf.measured.measure.property if isinstance(leaf.measured.measure, Aggregate) else None
        if value is not None:
            values.setdefault(value)
        counted.append(
            Counting(place, leaf, list(kinds).index(kind), None if value is None else list(values).index(value))
        )
    return counted, list(kinds.values()), list(values)


# -- the one query for all events -----------------------------------------------------------------------------------


def longest_of(plan: Plan) -> int | None:
    """Seconds after which no event counts any more; none when some count for ever."""
    lengths = [_length(counting.leaf.measured) for counting in plan.counted]
    return None if None in lengths else max((length for length in lengths if length is not None), default=0)


def _length(measured: Measured) -> int | None:
    if isinstance(measured.period, Window):
        return measured.period.seconds
    if isinstance(measured.period, Past) and measured.period.earliest is not None:
        return measured.period.earliest.seconds
    return None


def _events(kinds: Sequence[Measured], values: Sequence[Property]) -> Query:
    """One row of bytes, as the driver gives bytes on without a look at them: of so many events nothing is parsed."""
    parameters = Parameters()
    is_of = [_is_of(measured, parameters) for measured in kinds]
    columns = [column("profile_id", "e"), column("occurred_at", "e")]
    columns += [_bits(is_of[start : start + KINDS_A_COLUMN]) for start in range(0, len(is_of), KINDS_A_COLUMN)]
    columns += [_millionths(each, parameters) for each in values]
    named = [exp.alias_(each, f"c{place}", copy=False) for place, each in enumerate(columns)]
    names = exp.array(*dict.fromkeys(parameters.text(measured.event) for measured in kinds), copy=False)
    rows = exp.select(*named, copy=False).from_("event AS e").where(
        is_one_of(column("profile_id", "e"), given("profiles", "bigint[]")),
        is_one_of(column("identifier_id", "e"), given("identifiers", "bigint[]")),
        is_one_of(column("name", "e"), names),
        gt(column("occurred_at", "e"), given("since", "timestamptz")),
        copy=False,
    )  # fmt: skip
    sent = [_sent(place, "timestamptz_send" if place == 1 else "int8send") for place in range(len(columns))]
    return Query(
        exp.select(*sent, copy=False).from_(rows.subquery("e", copy=False), copy=False).sql(DIALECT), parameters.values
    )


def _is_of(measured: Measured, parameters: Parameters) -> exp.Expr:
    is_named = eq(column("name", "e"), parameters.text(measured.event))
    return all_of(
        [is_named, *(condition_holds(each, column("properties", "e"), parameters) for each in measured.where)]
    )


def _bits(is_of: Sequence[exp.Expr]) -> exp.Expr:
    bits: exp.Expr = whole(0)
    for place, condition in enumerate(is_of):
        bits = exp.BitwiseOr(this=bits, expression=case(condition, whole(1 << place), whole(0)))
    return cast(exp.paren(bits, copy=False), "bigint")


def _millionths(measured: Property, parameters: Parameters) -> exp.Expr:
    """Exact, or said to be not: an inexact value leaves all to the database."""
    number = as_number(inside(column("properties", "e"), (measured.name, *measured.inside), parameters))
    millionths = exp.Mul(this=number, expression=whole(10**DECIMALS))
    is_exact = all_of([le(call("abs", number), whole(MOST_VALUE)), eq(call("trunc", millionths), millionths)])
    value = exp.Case(ifs=[exp.If(this=exp.Is(this=number, expression=exp.null()), true=whole(MISSING)),
                          exp.If(this=is_exact, true=millionths)], default=whole(INEXACT))  # fmt: skip
    return cast(value, "bigint")


def _sent(place: int, sender: str) -> exp.Expr:
    return call("string_agg", call(sender, column(f"c{place}", "e")), cast(constant(""), "bytea"))
