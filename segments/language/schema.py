"""The JSON form as a JSON Schema (draft 2020-12), for editors, clients and generators of rules.

Whatever `parse_json` takes is valid here. What a schema cannot say, such as that a period ends after it begins or how
deep a rule may be, `parse_json` refuses beyond it.
"""

from typing import Any, Final

from segments.language.tree import (
    LISTS,
    MAX_CALENDAR,
    MAX_CHOICES,
    MAX_COUNT,
    MAX_DAYS_AHEAD,
    MAX_INSIDE,
    MAX_LEAVES,
    MAX_METRES,
    MAX_OF_OBJECT,
    MAX_SECONDS,
    MAX_STEPS,
    MAX_TEXT,
    NUMBERS,
    ORDERINGS,
    TEXTUAL,
    CalendarUnit,
    Comparison,
    End,
    Of,
    Unit,
    Zone,
)
from segments.language.written import DATE_PATTERN, INSTANT_PATTERN, SYMBOLS

Schema = dict[str, Any]

_LARGEST: Final = 10**20
_SAME: Final = (Comparison.EQUALS, Comparison.NOT_EQUALS)


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _object(required: Schema, optional: Schema | None = None, **more: Any) -> Schema:  # any keyword
    """Takes these fields and no others."""
    fields = {"type": "object", "properties": required | (optional or {}), "required": list(required)}
    return fields | {"additionalProperties": False} | more


def _any(*choices: Schema) -> Schema:
    return {"anyOf": list(choices)}


def _one_of(words: Any) -> Schema:  # noqa: ANN401  # an enumeration or some of its members
    return {"enum": [str(word) for word in words]}


def _list_of(items: Schema, least: int, most: int) -> Schema:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def _number(**limits: float) -> Schema:
    return {"type": "number", **limits}


def _whole(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


# -- comparisons ----------------------------------------------------------------------------------------------------


def _is(*comparisons: Comparison) -> Schema:
    symbols = [SYMBOLS[comparison] for comparison in comparisons if comparison in SYMBOLS]
    return _one_of([*comparisons, *symbols])


def _tested(name: str, value: Schema, *, may_lack_is: bool = False) -> Schema:
    """The fields `is` and `value` together: by themselves, to be joined with a node's own fields."""
    required = ["value"] if may_lack_is else ["is", "value"]
    return {"properties": {"is": _ref(name), "value": value}, "required": required}


_NO_VALUE: Final[Schema] = {"properties": {"is": {"const": "exists"}, "value": False}}
_TEST: Final = _any(
    _NO_VALUE,
    _tested("same", _ref("scalar"), may_lack_is=True),
    _tested("ordering", _any(_ref("number"), _ref("text"))),
    _tested("textual", _ref("text")),
    _tested("listing", _ref("choices")),
    _tested("between", _any(_list_of(_ref("number"), 2, 2), _list_of(_ref("text"), 2, 2))),
)
_LIST_TEST: Final = _any(
    _tested("containing", _ref("scalar")), _tested("containing_some", _ref("choices")),
)  # fmt: skip


def _number_test(number: Schema, *, may_lack_value: bool) -> Schema:
    """A count without `is` and `value` is at least 1."""
    required = [] if may_lack_value else ["value"]
    single = {"properties": {"is": _ref("single_number"), "value": number}, "required": required}
    return _any(single, _tested("between", _list_of(number, 2, 2)))


# -- events ---------------------------------------------------------------------------------------------------------


def _made(of: Any) -> list[Schema]:  # noqa: ANN401  # some members of `Of`
    return [_object({each.value: _ref("name")}, {"inside": _ref("inside")}) for each in Of if each in of]


_NUMBER_MADE: Final = _any(*_made(NUMBERS))
_VALUE_MADE: Final = _any(*_made({Of.FIRST, Of.LAST, Of.MOST_FREQUENT}))
_LIST_MADE: Final = _any(*_made({Of.VALUES}))
_COUNTED: Final = _any(
    {"const": "count"},
    _object({"active": _one_of(CalendarUnit)}, {"zone": _one_of(Zone)}),
    _object({"since": _one_of(End)}, {"unit": _one_of(Unit)}),
)
_COUNT: Final = _whole(-MAX_COUNT, MAX_COUNT) | {"type": "number"}
_WHERE: Final[Schema] = {"where": _list_of(_ref("condition"), 0, MAX_LEAVES)}


def _event(measure: Schema, test: Schema, *, must_measure: bool) -> Schema:
    optional = {**_WHERE, "measure": measure, "within": _ref("period"), "is": True, "value": True}
    return _object(
        {"event": _ref("name")} | ({"measure": optional.pop("measure")} if must_measure else {}), optional, **test
    )


_EVENT: Final = _any(
    _event(_COUNTED, _number_test(_COUNT, may_lack_value=True), must_measure=False),
    _event(_NUMBER_MADE, _number_test(_ref("number"), may_lack_value=True), must_measure=True),
    _event(_VALUE_MADE, _TEST, must_measure=True),
    _event(_LIST_MADE, _LIST_TEST, must_measure=True),
)
_MEASURED_NUMBER: Final = _object(
    {"event": _ref("name")}, {**_WHERE, "measure": _any(_COUNTED, _NUMBER_MADE), "within": _ref("period")}
)
_STEP: Final = _object({"event": _ref("name")}, _WHERE)
_CHAIN: Final = {"within": _ref("window"), "without": _list_of(_ref("step"), 0, MAX_STEPS), "period": _ref("period")}
_SEQUENCE: Final = _any(
    _object({"sequence": _list_of(_ref("step"), 2, MAX_STEPS)}, _CHAIN),
    _object(
        {"sequence": _list_of(_ref("step"), 1, MAX_STEPS - 1), "within": _ref("window"), "then_not": _ref("step")},
        _CHAIN,
    ),
)


# -- time -----------------------------------------------------------------------------------------------------------


def _length(amount: str) -> Schema:
    """At most a hundred years in each unit; days if no unit is given."""
    limits = [_object({amount: _whole(1, MAX_SECONDS // unit.seconds), "unit": {"const": unit.value}}) for unit in Unit]
    return _any(_object({amount: _whole(1, MAX_SECONDS // Unit.DAYS.seconds)}), *limits)


_PERIOD: Final = _any(
    _length("last"),
    _object({"more_than": _ref("length")}, {"less_than": _ref("length")}),
    _object({"from": _ref("time")}, {"until": _ref("time")}),
    _object({"until": _ref("time")}),
    _object(
        {"calendar": _whole(1, MAX_CALENDAR)},
        {"unit": _one_of(CalendarUnit), "zone": _one_of(Zone), "over": {"type": "boolean"}},
    ),
)


# -- rules ----------------------------------------------------------------------------------------------------------

_IGNORING_CASE: Final[Schema] = {"ignoring_case": {"type": "boolean"}}
_VALUE_AT: Final[Schema] = {"inside": _ref("inside"), "is": True, "value": True, **_IGNORING_CASE}


def _compared(kind: str) -> Schema:
    """A value, or a list that has an object."""
    has = _object(
        {kind: _ref("name"), "has": _ref("objects")},
        {"inside": _ref("inside"), "is": {"const": "has"}, **_IGNORING_CASE},
    )
    return _any(_object({kind: _ref("name")}, _VALUE_AT, **_TEST), has)


_COMPARED: Final[Schema] = {"is": True, "value": True}
_RANK: Final[Schema] = {
    "rank": _any(_MEASURED_NUMBER, _object({"trait": _ref("name")}, {"inside": _ref("inside")})),
}
_RANK_MORE: Final[Schema] = {"lowest": {"type": "boolean"}, "among": _ref("name"), "refresh": _ref("window")}

_KINDS: Final[dict[str, Schema]] = {
    "and": _object({"and": _ref("rules")}),
    "or": _object({"or": _ref("rules")}),
    "not": _object({"not": _ref("rule")}),
    "trait": _compared("trait"),
    "near": _object(
        {
            "near": _ref("name"),
            "latitude": _number(minimum=-90, maximum=90),
            "longitude": _number(minimum=-180, maximum=180),
            "metres": _number(exclusiveMinimum=0, maximum=MAX_METRES),
        }
    ),
    "dated": _object({"dated": _ref("name"), "within": _any(_ref("period"), _ref("ahead"))}),
    "anniversary": _object(
        {"anniversary": _ref("name")}, {"days_ahead": _whole(0, MAX_DAYS_AHEAD), "zone": _one_of(Zone)}
    ),
    "event": _EVENT,
    "sequence": _SEQUENCE,
    "learned": _object({"learned": _ref("name"), "group": _ref("name")}),
    "score": _object({"score": _ref("name")}, _COMPARED, **_number_test(_ref("number"), may_lack_value=False)),
    "segment": _object({"segment": _ref("name")}),
    "consent": _object({"consent": _ref("name")}),
    "computed": _object({"computed": _ref("name")}, _COMPARED, **_TEST),
    "rank": _any(
        _object({**_RANK, "top": _whole(1, MAX_COUNT)}, _RANK_MORE),
        _object({**_RANK, "percent": _number(exclusiveMinimum=0, maximum=100)}, _RANK_MORE),
    ),
    "sample": _object(
        {"sample": _ref("name"), "to": _number(exclusiveMinimum=0, maximum=100)},
        {"from": _number(minimum=0, exclusiveMaximum=100)},
    ),
    "listed": _object({"listed": _ref("name")}),
}

RULE_SCHEMA: Final[Schema] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Rule of a segment",
    "description": "Who is in. `docs/segment-rules.md` says what each condition means.",
    "$ref": "#/$defs/rule",
    "$defs": {
        "rule": _any(*(_ref(kind) for kind in _KINDS)),
        **_KINDS,
        "rules": _list_of(_ref("rule"), 1, MAX_LEAVES),
        "condition": _compared("property"),
        "objects": _list_of(_ref("condition"), 1, MAX_OF_OBJECT),
        "step": _STEP,
        "period": _PERIOD,
        "window": _length("last"),
        "ahead": _length("next"),
        "length": _length("amount"),
        "time": {"type": "string", "pattern": f"^(?:{DATE_PATTERN}|{INSTANT_PATTERN})$"},
        "same": _is(*_SAME, Comparison.CONTAINS),
        "single_number": _is(*_SAME, *(each for each in Comparison if each in ORDERINGS)),
        "ordering": _is(*(each for each in Comparison if each in ORDERINGS)),
        "textual": _is(*(each for each in Comparison if each in TEXTUAL)),
        "listing": _is(*(each for each in Comparison if each in LISTS)),
        "containing": _is(Comparison.CONTAINS),
        "containing_some": _is(Comparison.CONTAINS_ANY, Comparison.CONTAINS_ALL),
        "between": _is(Comparison.BETWEEN),
        "choices": _list_of(_ref("scalar"), 1, MAX_CHOICES),
        "scalar": _any(_ref("text"), _ref("number"), {"type": "boolean"}),
        "number": _number(exclusiveMinimum=-_LARGEST, exclusiveMaximum=_LARGEST),
        "text": {"type": "string", "maxLength": MAX_TEXT},
        "name": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT},
        "inside": _list_of(_ref("name"), 0, MAX_INSIDE),
    },
}
