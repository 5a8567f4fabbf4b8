"""A rule as JSON, which is how it is stored and sent. Errors carry a JSON pointer.

    {"and": [
      {"event": "Order Completed", "where": [{"property": "amount", "is": ">=", "value": 10}],
       "measure": {"sum": "amount"}, "is": "greater", "value": 300, "within": {"last": 90, "unit": "days"}},
      {"not": {"trait": "country", "is": "in", "value": ["FR", "BE"]}},
      {"learned": "value-groups", "group": "loyal"}]}

`is` and `value` of an event default to "at least 1", `measure` to "count", and without `within` all time counts.
"""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from segments.language.errors import LanguageError, Span, closest
from segments.language.tree import (
    MAX_DEPTH,
    MAX_LEAVES,
    Aggregate,
    And,
    Comparison,
    Condition,
    Count,
    Event,
    Learned,
    Measured,
    Node,
    Not,
    Of,
    Or,
    Property,
    Scalar,
    Trait,
    Unit,
    Value,
    Window,
    check_size,
    too_deep,
    too_large,
)  # fmt: skip
from segments.language.written import BY_SYMBOL, json_scalar

_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "and": frozenset({"and"}),
    "or": frozenset({"or"}),
    "not": frozenset({"not"}),
    "trait": frozenset({"trait", "is", "value"}),
    "event": frozenset({"event", "where", "measure", "is", "value", "within"}),
    "learned": frozenset({"learned", "group"}),
}
_CONDITION_FIELDS: Final = frozenset({"property", "is", "value"})
_WINDOW_FIELDS: Final = frozenset({"last", "unit"})


def parse_json(document: object) -> Node:
    """The tree of a decoded JSON document, or of a text that holds one."""
    tree = _node(_decoded(document) if isinstance(document, str | bytes) else document, "", 1)
    check_size(tree)
    return tree


def to_json(tree: Node) -> dict[str, Any]:
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
        case Learned(model, group):
            return {"learned": model, "group": group}
        case Event():
            return _event_json(tree)


def canonical(node: Node) -> str:
    """The same text for the same meaning of a node. Python holds True and 1 to be equal; rules do not."""
    return json.dumps(to_json(node), sort_keys=True)


# -- reading --------------------------------------------------------------------------------------------------------


def _decoded(text: str | bytes) -> object:
    try:
        return json.loads(text, parse_float=Decimal)
    except json.JSONDecodeError as error:
        span = Span(line=error.lineno, column=error.colno)
        raise LanguageError("not_json", f"This is not JSON: {error.msg}", span) from error
    except RecursionError as error:
        raise too_deep().at(Span(pointer="")) from error
    except ValueError as error:  # not UTF-8, or a number with thousands of digits
        raise LanguageError("not_json", "This is not JSON in UTF-8 with numbers of a sensible size") from error


def _node(found: object, pointer: str, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise too_deep().at(Span(pointer=pointer))
    rule = _object(found, pointer)
    kind = _kind_of(rule, pointer)
    _refuse_unknown(rule, _FIELDS[kind], pointer)
    if kind == "not":
        return Not(_node(rule["not"], f"{pointer}/not", depth + 1))
    if kind in {"and", "or"}:
        return _group(kind, rule[kind], f"{pointer}/{kind}", depth + 1)
    try:
        return _leaf(kind, rule, pointer)
    except LanguageError as error:
        raise error.at(Span(pointer=pointer)) from None


def _group(kind: str, found: object, pointer: str, depth: int) -> Node:
    if not isinstance(found, list) or not found:
        raise LanguageError("group_empty", f"`{kind}` needs a list of rules", Span(pointer=pointer))
    if len(found) > MAX_LEAVES:
        raise too_large().at(Span(pointer=pointer))
    children = tuple(_node(child, f"{pointer}/{place}", depth) for place, child in enumerate(found))
    if len(children) == 1:
        return children[0]
    return And(children) if kind == "and" else Or(children)


def _leaf(kind: str, rule: Mapping[str, object], pointer: str) -> Node:
    if kind == "trait":
        return Trait(_condition("trait", rule, pointer))
    if kind == "learned":
        return Learned(_text(rule, "learned", pointer), _text(rule, "group", pointer))
    measured = Measured(
        event=_text(rule, "event", pointer),
        measure=_measure(rule.get("measure", "count"), f"{pointer}/measure"),
        where=_conditions(rule.get("where", []), f"{pointer}/where"),
        period=_window(rule["within"], f"{pointer}/within") if rule.get("within") is not None else None,
    )
    comparison = _comparison(rule.get("is", ">="), f"{pointer}/is")
    return Event(measured, comparison, _number(rule.get("value", 1), f"{pointer}/value"))


def _conditions(found: object, pointer: str) -> tuple[Condition, ...]:
    if not isinstance(found, list):
        raise LanguageError("list_needed", "`where` needs a list of conditions", Span(pointer=pointer))
    return tuple(_property_condition(each, f"{pointer}/{place}") for place, each in enumerate(found))


def _property_condition(found: object, pointer: str) -> Condition:
    rule = _object(found, pointer)
    _refuse_unknown(rule, _CONDITION_FIELDS, pointer)
    try:
        return _condition("property", rule, pointer)
    except LanguageError as error:
        raise error.at(Span(pointer=pointer)) from None


def _condition(kind: str, rule: Mapping[str, object], pointer: str) -> Condition:
    comparison = _comparison(rule.get("is", "exists" if "value" not in rule else "="), f"{pointer}/is")
    name, value = _text(rule, kind, pointer), _value(rule.get("value"), f"{pointer}/value")
    try:
        return Condition(name, comparison, value)
    except LanguageError as error:
        raise error.at(Span(pointer=f"{pointer}/value" if "value" in rule else pointer)) from None


def _measure(found: object, pointer: str) -> Count | Aggregate:
    if found == "count":
        return Count()
    if isinstance(found, dict) and set(found) == {"sum"}:
        return Aggregate(Of.SUM, Property(_text(found, "sum", pointer)))
    message = '`measure` is "count" or {"sum": PROPERTY}'
    raise LanguageError("unknown_measure", message, Span(pointer=pointer), closest(found, ["count", "sum"]))


def _comparison(found: object, pointer: str) -> Comparison:
    if isinstance(found, str) and found in BY_SYMBOL:
        return BY_SYMBOL[found]
    try:
        return Comparison(found)  # type: ignore[arg-type]  # anything else is the error below
    except ValueError:
        known = [*Comparison, *BY_SYMBOL]
        message = f"There is no comparison {found!r}; there are {', '.join(Comparison)}"
        raise LanguageError("unknown_comparison", message, Span(pointer=pointer), closest(found, known)) from None


def _window(found: object, pointer: str) -> Window:
    rule = _object(found, pointer)
    _refuse_unknown(rule, _WINDOW_FIELDS, pointer)
    amount, unit = rule.get("last"), rule.get("unit", "days")
    if isinstance(amount, bool) or not isinstance(amount, int):
        raise LanguageError("window_not_whole", "`last` needs a whole number", Span(pointer=f"{pointer}/last"))
    known = next((each for each in Unit if each.value == unit), None)
    if known is None:
        message = f"There is no unit {unit!r}; there are {', '.join(Unit)}"
        raise LanguageError("unknown_unit", message, Span(pointer=f"{pointer}/unit"), closest(unit, list(Unit)))
    try:
        return Window(amount, known)
    except LanguageError as error:
        raise error.at(Span(pointer=pointer)) from None


def _value(found: object, pointer: str) -> Value:
    if found is None:
        return None
    if isinstance(found, list):
        return tuple(_scalar(each, f"{pointer}/{place}") for place, each in enumerate(found))
    return _scalar(found, pointer)


def _scalar(found: object, pointer: str) -> Scalar:
    if isinstance(found, str | bool):
        return found
    return _number(found, pointer)


def _number(found: object, pointer: str) -> Decimal:
    if isinstance(found, bool) or not isinstance(found, int | float | Decimal):
        raise LanguageError("not_a_number", "A number is needed", Span(pointer=pointer))
    try:
        return Decimal(str(found))
    except ValueError:  # a whole number of thousands of digits
        raise LanguageError("number_not_exact", "This number is too long", Span(pointer=pointer)) from None


def _object(found: object, pointer: str) -> Mapping[str, object]:
    if not isinstance(found, dict):
        raise LanguageError("object_needed", "A JSON object is needed", Span(pointer=pointer))
    return found


def _text(rule: Mapping[str, object], field: str, pointer: str) -> str:
    found = rule.get(field)
    if not isinstance(found, str):
        raise LanguageError("name_missing", f"`{field}` needs a text", Span(pointer=f"{pointer}/{field}"))
    return found


def _kind_of(rule: Mapping[str, object], pointer: str) -> str:
    kinds = [kind for kind in _FIELDS if kind in rule]
    if len(kinds) == 1:
        return kinds[0]
    message = f"A rule has exactly one of {', '.join(_FIELDS)}"
    meant = next((near for field in rule if (near := closest(field, _FIELDS))), None) if not kinds else None
    raise LanguageError("unknown_rule", message, Span(pointer=pointer), meant)


def _refuse_unknown(rule: Mapping[str, object], known: Iterable[str], pointer: str) -> None:
    for field in rule:
        if field not in known:
            place = Span(pointer=f"{pointer}/{str(field).replace('~', '~0').replace('/', '~1')}")
            raise LanguageError("unknown_field", f"There is no field {field!r} here", place, closest(field, known))


# -- writing --------------------------------------------------------------------------------------------------------


def _condition_json(kind: str, condition: Condition) -> dict[str, Any]:
    written: dict[str, Any] = {kind: condition.name, "is": condition.comparison.value}
    if isinstance(condition.value, tuple):
        written["value"] = [json_scalar(each) for each in condition.value]
    elif condition.value is not None:
        written["value"] = json_scalar(condition.value)
    return written


def _event_json(event: Event) -> dict[str, Any]:
    measured = event.measured
    written: dict[str, Any] = {"event": measured.event}
    if measured.where:
        written["where"] = [_condition_json("property", condition) for condition in measured.where]
    written["measure"] = {"sum": measured.measure.property.name} if isinstance(measured.measure, Aggregate) else "count"
    written |= {"is": event.comparison.value, "value": json_scalar(event.value)}
    if isinstance(measured.period, Window):
        written["within"] = {"last": measured.period.amount, "unit": measured.period.unit.value}
    return written
