"""A rule as text, which people type and read; `text_reader` reads it.

count of "Order Completed" where "amount" >= 10 in last 90 days >= 3
and not (trait "country" in ("FR", "BE") or learned "value-groups" is "lost")
and sum of "amount" of "Order Completed" > 300
and not done "Unsubscribed" in last 30 days

All that can be said is in `docs/segment-rules.md`.
"""

from typing import assert_never

from segments.language.tree import (
    Active,
    Aggregate,
    Ahead,
    And,
    Anniversary,
    Between,
    Calendar,
    Comparison,
    Computed,
    Condition,
    Consented,
    Count,
    Dated,
    Event,
    Learned,
    Listed,
    Measure,
    Measured,
    Member,
    Near,
    Node,
    Not,
    Of,
    Or,
    Past,
    Period,
    Property,
    Rank,
    Sample,
    Score,
    Sequence,
    Since,
    Step,
    Trait,
    Unit,
    Value,
    Window,
    Zone,
)  # fmt: skip
from segments.language.written import (
    COMPARED,
    MADE,
    ZONES,
    written_date,
    written_number,
    written_scalar,
    written_unit,
    written_window,
)


def to_text(tree: Node) -> str:  # noqa: PLR0911  # one return for each node
    """The canonical text: `parse_text(to_text(tree)) == tree`."""
    match tree:
        case And(children):
            return " and ".join(_inside(child) for child in children)
        case Or(children):
            return " or ".join(_inside(child) for child in children)
        case Not(child):
            return f"not {_inside(child)}"
        case Trait(condition):
            return f"trait {_condition(condition)}"
        case Event(measured, comparison, value):
            return f"{measured_to_text(measured)}{_test(comparison, value)}"
        case Sequence():
            return _sequence(tree)
        case Rank():
            return _rank(tree)
        case Near() | Dated() | Anniversary() | Sample():
            return _parted(tree)
        case _:
            return _named(tree)


def _inside(node: Node) -> str:
    return f"({to_text(node)})" if isinstance(node, And | Or) else to_text(node)


def _parted(tree: Near | Dated | Anniversary | Sample) -> str:
    match tree:
        case Near(trait, latitude, longitude, metres):
            place = f"({written_number(latitude)}, {written_number(longitude)})"
            is_round = metres % 1_000 == 0
            distance = f"{written_number(metres / 1_000)} km" if is_round else f"{written_number(metres)} m"
            return f"trait {written_scalar(trait)} within {distance} of {place}"
        case Dated(trait, period):
            return f"trait {written_scalar(trait)}{_period(period)}"
        case Anniversary(trait, days_ahead, zone):
            unit = written_unit(days_ahead, Unit.DAYS)
            when = f"in next {days_ahead} {unit}" if days_ahead else "today"
            return f"anniversary of {written_scalar(trait)} {when}{_zone(zone)}"
        case Sample(salt, begins, ends):
            return f"sample {written_number(begins)} to {written_number(ends)} % of {written_scalar(salt)}"


def _named(tree: Learned | Score | Member | Consented | Computed | Listed) -> str:
    match tree:
        case Learned(model, group):
            return f"learned {written_scalar(model)} is {written_scalar(group)}"
        case Score(model, comparison, value):
            return f"score {written_scalar(model)}{_test(comparison, value)}"
        case Member(segment):
            return f"segment {written_scalar(segment)}"
        case Consented(purpose):
            return f"consent {written_scalar(purpose)}"
        case Computed(name, comparison, value):
            return f"computed {written_scalar(name)}{_test(comparison, value)}"
        case Listed(name):
            return f"listed {written_scalar(name)}"


# -- comparisons ----------------------------------------------------------------------------------------------------


def _condition(condition: Condition) -> str:
    written = f"{_path(condition.name, condition.inside)}{_test(condition.comparison, condition.value)}"
    if condition.has:
        return f"{written} ({' and '.join(map(_condition, condition.has))})"
    return f"{written} ignoring case" if condition.ignores_case else written


def _path(name: str, inside: tuple[str, ...]) -> str:
    return ".".join(written_scalar(each) for each in (name, *inside))


def _test(comparison: Comparison, value: Value) -> str:
    written = f" {COMPARED[comparison]}"
    if value is None:
        return written
    if not isinstance(value, tuple):
        return f"{written} {written_scalar(value)}"
    if comparison is Comparison.BETWEEN:
        return f"{written} {written_scalar(value[0])} and {written_scalar(value[1])}"
    return f"{written} ({', '.join(written_scalar(each) for each in value)})"


# -- events ---------------------------------------------------------------------------------------------------------


def measured_to_text(measured: Measured) -> str:
    step = Step(measured.event, measured.where)
    return f"{_measure(measured.measure)} {_step(step)}{_period(measured.period)}"


def _measure(measure: Measure) -> str:
    match measure:
        case Count():
            return "count of"
        case Aggregate(of, made_of):
            reads_so = of in {Of.DISTINCT, Of.FIRST, Of.LAST, Of.MOST_FREQUENT}
            return f"{MADE[of]}{'' if reads_so else ' of'} {_property(made_of)} of"
        case Active(unit, zone):
            return f"{unit.value}{_zone(zone)} with"
        case Since(end, unit):
            return f"{unit.value} since {end.value}"


def _property(found: Property) -> str:
    return _path(found.name, found.inside)


def _step(step: Step) -> str:
    where = " and ".join(_condition(condition) for condition in step.where)
    return f"{written_scalar(step.event)} where {where}" if where else written_scalar(step.event)


def _sequence(tree: Sequence) -> str:
    written = "done " + " then ".join(_step(step) for step in tree.steps)
    if tree.then_not is not None:
        written += f" then not {_step(tree.then_not)}"
    if tree.within is not None:
        written += f" within {written_window(tree.within)}"
    if tree.without:
        written += " without " + " or ".join(_step(step) for step in tree.without)
    return written + _period(tree.period)


def _rank(tree: Rank) -> str:
    of = tree.of
    ranked = measured_to_text(of) if isinstance(of, Measured) else f"trait {_property(of)}"
    amount = f"{written_number(tree.top.amount)}{' %' if tree.top.is_percent else ''}"
    written = f"{'lowest' if tree.is_lowest else 'top'} {amount} by {ranked}"
    if tree.among is not None:
        written += f" among segment {written_scalar(tree.among)}"
    if tree.refresh != Window(1, Unit.DAYS):
        written += f" refreshed every {written_window(tree.refresh)}"
    return written


# -- time -----------------------------------------------------------------------------------------------------------


def _period(period: Period | Ahead) -> str:
    match period:
        case None:
            return ""
        case Window():
            return f" in last {written_window(period)}"
        case Ahead(window):
            return f" in next {written_window(window)}"
        case Past():
            return _past(period)
        case Between(begins, ends):
            parts = (f" {word} {written_date(at)}" for word, at in (("from", begins), ("until", ends)) if at)
            return "".join(parts)
        case Calendar():
            return _calendar(period)
        case _:
            assert_never(period)


def _past(period: Past) -> str:
    latest, earliest = period.latest, period.earliest
    if earliest is None:
        return f" more than {written_window(latest)} ago"
    is_same_unit = latest.unit is earliest.unit
    return f" between {latest.amount if is_same_unit else written_window(latest)} and {written_window(earliest)} ago"


def _calendar(period: Calendar) -> str:
    unit = written_unit(period.amount, period.unit)
    if period.amount == 1 and not period.is_over:
        return f" this {unit}{_zone(period.zone)}"
    return f" in {'previous' if period.is_over else 'last'} {period.amount} calendar {unit}{_zone(period.zone)}"


def _zone(zone: Zone) -> str:
    return "" if zone is Zone.PROFILE else f" in {ZONES[zone]}"
