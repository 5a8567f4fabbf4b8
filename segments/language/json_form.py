"""A rule as JSON, which is how it is stored and sent; `json_reader` reads it, `schema` describes it.

    {"and": [
      {"event": "Order Completed", "where": [{"property": "amount", "is": ">=", "value": 10}],
       "measure": {"sum": "amount"}, "is": "greater", "value": 300, "within": {"last": 90, "unit": "days"}},
      {"not": {"trait": "country", "is": "in", "value": ["FR", "BE"]}},
      {"learned": "value-groups", "group": "loyal"}]}

What is usual may be left out: `docs/segment-rules.md` says what then holds.
"""

import json
from typing import Any

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
    Top,
    Trait,
    Unit,
    Value,
    Window,
    Zone,
)  # fmt: skip
from segments.language.written import json_number, json_scalar, written_time


def to_json(tree: Node) -> dict[str, Any]:  # noqa: PLR0911  # one return for each node
    """The canonical form: `parse_json(to_json(tree)) == tree`."""
    match tree:
        case And(children):
            return {"and": [to_json(child) for child in children]}
        case Or(children):
            return {"or": [to_json(child) for child in children]}
        case Not(child):
            return {"not": to_json(child)}
        case Trait(condition):
            return _condition_json("trait", condition)
        case Event(measured, comparison, value):
            return {**measured_to_json(measured), **_tested(comparison, value)}
        case Sequence():
            return _sequence_json(tree)
        case Rank():
            return _rank_json(tree)
        case Near() | Dated() | Anniversary() | Sample():
            return _parted_json(tree)
        case _:
            return _named_json(tree)


def _parted_json(tree: Near | Dated | Anniversary | Sample) -> dict[str, Any]:
    match tree:
        case Near(trait, latitude, longitude, metres):
            place = {"latitude": latitude, "longitude": longitude, "metres": metres}
            return {"near": trait, **{name: json_number(number) for name, number in place.items()}}
        case Dated(trait, period):
            return {"dated": trait, "within": _period_json(period)}
        case Anniversary(trait, days_ahead, zone):
            return {"anniversary": trait, "days_ahead": days_ahead, **_zone_json(zone)}
        case Sample(salt, begins, ends):
            return {"sample": salt, "from": json_number(begins), "to": json_number(ends)}


def _named_json(tree: Learned | Score | Member | Consented | Computed | Listed) -> dict[str, Any]:
    match tree:
        case Learned(model, group):
            return {"learned": model, "group": group}
        case Score(model, comparison, value):
            return {"score": model, **_tested(comparison, value)}
        case Member(segment):
            return {"segment": segment}
        case Consented(purpose):
            return {"consent": purpose}
        case Computed(name, comparison, value):
            return {"computed": name, **_tested(comparison, value)}
        case Listed(name):
            return {"listed": name}


def canonical(node: Node) -> str:
    """The same text for the same meaning of a node. Python holds True and 1 to be equal; rules do not."""
    return json.dumps(to_json(node), sort_keys=True)


def measured_to_json(measured: Measured) -> dict[str, Any]:
    """How a computed trait is stored: the inside of a `rank`, and an event without its comparison."""
    return {
        "event": measured.event,
        **_where_json(measured.where),
        "measure": _measure_json(measured.measure),
        **({"within": _period_json(measured.period)} if measured.period is not None else {}),
    }


def _sequence_json(tree: Sequence) -> dict[str, Any]:
    written: dict[str, Any] = {"sequence": [_step_json(step) for step in tree.steps]}
    if tree.within is not None:
        written["within"] = _window_json("last", tree.within)
    if tree.without:
        written["without"] = [_step_json(step) for step in tree.without]
    if tree.then_not is not None:
        written["then_not"] = _step_json(tree.then_not)
    if tree.period is not None:
        written["period"] = _period_json(tree.period)
    return written


def _rank_json(tree: Rank) -> dict[str, Any]:
    ranked = tree.of
    of = measured_to_json(ranked) if isinstance(ranked, Measured) else _property_json("trait", ranked)
    written: dict[str, Any] = {"rank": of, **_top_json(tree.top)}
    if tree.is_lowest:
        written["lowest"] = True
    if tree.among is not None:
        written["among"] = tree.among
    if tree.refresh != Window(1, Unit.DAYS):
        written["refresh"] = _window_json("last", tree.refresh)
    return written


# -- parts ----------------------------------------------------------------------------------------------------------


def _condition_json(kind: str, condition: Condition) -> dict[str, Any]:
    written: dict[str, Any] = {kind: condition.name, **_inside_json(condition.inside)}
    if condition.has:
        return {**written, "has": [_condition_json("property", each) for each in condition.has]}
    written |= _tested(condition.comparison, condition.value)
    return {**written, "ignoring_case": True} if condition.ignores_case else written


def _tested(comparison: Comparison, value: Value) -> dict[str, Any]:
    if value is None:
        return {"is": comparison.value}
    written = [json_scalar(each) for each in value] if isinstance(value, tuple) else json_scalar(value)
    return {"is": comparison.value, "value": written}


def _measure_json(measure: Measure) -> str | dict[str, Any]:
    match measure:
        case Count():
            return "count"
        case Aggregate(of, made_of):
            return _property_json(of.value, made_of)
        case Active(unit, zone):
            return {"active": unit.value, **_zone_json(zone)}
        case Since(end, unit):
            return {"since": end.value, "unit": unit.value}


def _property_json(kind: str, found: Property) -> dict[str, Any]:
    return {kind: found.name, **_inside_json(found.inside)}


def _inside_json(inside: tuple[str, ...]) -> dict[str, Any]:
    return {"inside": list(inside)} if inside else {}


def _where_json(where: tuple[Condition, ...]) -> dict[str, Any]:
    return {"where": [_condition_json("property", each) for each in where]} if where else {}


def _step_json(step: Step) -> dict[str, Any]:
    return {"event": step.event, **_where_json(step.where)}


def _top_json(top: Top) -> dict[str, Any]:
    return {"percent" if top.is_percent else "top": json_number(top.amount)}


def _period_json(period: Period | Ahead) -> dict[str, Any]:
    match period:
        case Window():
            return _window_json("last", period)
        case Ahead(window):
            return _window_json("next", window)
        case Past(latest, earliest):
            less_than = {"less_than": _window_json("amount", earliest)} if earliest else {}
            return {"more_than": _window_json("amount", latest), **less_than}
        case Between(begins, ends):
            return {name: written_time(at) for name, at in (("from", begins), ("until", ends)) if at}
        case Calendar(amount, unit, zone, is_over):
            over = {"over": True} if is_over else {}
            return {"calendar": amount, "unit": unit.value, **_zone_json(zone), **over}
        case None:
            return {}


def _window_json(amount: str, window: Window) -> dict[str, Any]:
    return {amount: window.amount, "unit": window.unit.value}


def _zone_json(zone: Zone) -> dict[str, str]:
    return {} if zone is Zone.PROFILE else {"zone": zone.value}
