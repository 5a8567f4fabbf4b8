"""A tracking plan, compiled once, and what it says of an event. Pure.

A plan has rules, one for each kind of call and, of `track`, each event name. The JSON Schema (2020-12) of a rule speaks
of what the call says: `properties`, or the `traits` of identify and group. Schemas come from users, so nothing in them
may reach out (`$ref` within the rule alone), run away (no recursion, a bounded size, a regex engine without
backtracking) or be silently ignored (unknown formats are errors).

jsonschema-rs checks: chosen by measurement, see docs/adr/0008-jsonschema-rs-checks-tracking-plans.md.
"""

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError, ValidationErrorKind

from cdp.ingestion.messages import KINDS
from cdp.kernel.errors import TesseraError

LARGEST_PLAN_BYTES: Final = 2**18
MOST_RULES: Final = 500
LONGEST_EVENT_NAME: Final = 200
LARGEST_SCHEMA: Final = 10_000  # subschemas once every `$ref` is followed
DEEPEST: Final = 60
LONGEST_PLACE: Final = 200
MOST_SENDERS_NAMES: Final = 50  # of one rule, in one process: a map with a key for each customer is no list of names
ANY: Final = "*"

_REGEX_BYTES: Final = 1_000_000  # of a compiled pattern
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_ $.-]{0,63}")
_NEVER: Final = ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef")
_OWN_REFERENCE = re.compile(r"#(/[^%]*)?")
_SAYS_TRAITS: Final = frozenset({"identify", "group", "alias"})
_NAMES_UNEXPECTED: Final = frozenset({"additionalProperties", "unevaluatedProperties"})


class PlanError(TesseraError):
    """The tracking plan cannot be used."""

    code = "tracking_plan"

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(f"{place}: {message}" if place else message, place=place)


class Action(StrEnum):
    BLOCK = "BLOCK"
    OMIT = "OMIT"
    WARN = "WARN"


@dataclass(frozen=True, slots=True)
class Violation:
    """What is counted: a rule's event, the place with `*` for items and names of no schema, and the broken keyword."""

    event: str
    path: str
    keyword: str
    action: Action


@dataclass(frozen=True, slots=True)
class Verdict:
    """`event` is None where the plan refuses it; then `reason` says why, without a value of the event."""

    event: dict[str, Any] | None
    violations: Sequence[Violation] = ()
    code: str = ""
    reason: str = ""


@dataclass(slots=True)
class SendersNames:
    """Names that senders chose, told apart as long as they are few and look like names."""

    known: set[str] = field(default_factory=set)

    def shown(self, name: str) -> str:
        if name not in self.known:
            if len(self.known) >= MOST_SENDERS_NAMES or not _NAME.fullmatch(name):
                return ANY
            self.known.add(name)
        return name


@dataclass(frozen=True, slots=True)
class Rule:
    event: str
    action: Action
    validator: Draft202012Validator
    names: frozenset[str]  # that the schema itself speaks of
    others: SendersNames = field(default_factory=SendersNames)


@dataclass(frozen=True, slots=True)
class Plan:
    """`apply` is called for every event of the source: an event that keeps to its rule costs one call of the engine."""

    rules: Mapping[tuple[str, str], Rule]
    is_open: bool  # to events without a rule
    unplanned: SendersNames = field(default_factory=SendersNames)

    def apply(self, event: dict[str, Any]) -> Verdict:
        kind = event["type"]
        rule = self.rules.get((kind, event["event"].strip() if kind == "track" else ""))
        if rule is None:
            return Verdict(event) if self.is_open else self._refuse_unplanned(event)
        values = _values(event)
        if _is_valid(rule, values):
            return Verdict(event)
        return _judge(rule, event, list(_errors(rule, values)))

    def _refuse_unplanned(self, event: Mapping[str, Any]) -> Verdict:
        kind = event["type"]
        name = f"track {self.unplanned.shown(event['event'].strip())}" if kind == "track" else kind
        violation = Violation(name, "", "unplanned", Action.BLOCK)
        return Verdict(None, [violation], "unplanned_event", "The tracking plan has no rule for this event.")


# -- judging --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Error:
    """`path` leads to the value, or to where one is missing; `is_absent` in the second case."""

    path: tuple[str | int, ...]
    keyword: str
    message: str
    is_absent: bool = False


def _values(event: Mapping[str, Any]) -> dict[str, Any]:
    """What the call says. Some SDKs send the traits of a person in the context only."""
    own: dict[str, Any] = event.get("traits" if event["type"] in _SAYS_TRAITS else "properties", {})
    if event["type"] == "identify" and isinstance(within := event.get("context", {}).get("traits"), dict):
        return {**within, **own}
    return own


def _is_valid(rule: Rule, values: Mapping[str, Any]) -> bool:
    try:
        return bool(rule.validator.is_valid(values))
    except ValueError:  # deeper than the engine goes
        return False


def _errors(rule: Rule, values: Mapping[str, Any]) -> Iterator[_Error]:
    try:
        for error in rule.validator.iter_errors(values):
            yield from _told(error)
    except ValueError:
        yield _Error((), "depth", "the values are nested too deeply to be checked")


def _told(error: ValidationError) -> Iterator[_Error]:
    path, keyword, details = tuple(error.instance_path), error.kind.name, error.kind.as_dict()
    if keyword in _NAMES_UNEXPECTED:
        for name in details["unexpected"]:
            yield _Error((*path, name), keyword, "the plan does not know this property")
    elif keyword == "required":
        yield _Error((*path, details["property"]), keyword, "the property is missing", is_absent=True)
    else:
        yield _Error(path, keyword, error.message)


def _judge(rule: Rule, event: dict[str, Any], errors: Sequence[_Error]) -> Verdict:
    places = dict.fromkeys((_place(rule, error.path), error.keyword) for error in errors)
    violations = [Violation(rule.event, place, keyword, rule.action) for place, keyword in places]
    if rule.action is Action.BLOCK:
        return Verdict(None, violations, "plan_violation", _reason(errors))
    if rule.action is Action.OMIT:
        event = _without(event, [error.path for error in errors if not error.is_absent])
    return Verdict(event, violations)


def _place(rule: Rule, path: Sequence[str | int]) -> str:
    steps = (ANY if isinstance(step, int) else step if step in rule.names else rule.others.shown(step) for step in path)
    place = "".join(f"/{step}" for step in steps)
    return place if len(place) <= LONGEST_PLACE else place[: LONGEST_PLACE - 1] + "…"


def _reason(errors: Sequence[_Error]) -> str:
    first = errors[0]
    more = f" And {len(errors) - 1} more." if len(errors) > 1 else ""
    pointer = "".join(f"/{step}" for step in first.path)[:LONGEST_PLACE] or "/"
    return f"`{pointer}` breaks `{first.keyword}` of the tracking plan: {first.message}.{more}"


def _without(event: dict[str, Any], paths: Sequence[Sequence[str | int]]) -> dict[str, Any]:
    """A copy without these properties. What an array holds at a wrong place goes with its array."""
    left = deepcopy(event)
    if left["type"] == "identify":
        places = [left.get("traits"), left.get("context", {}).get("traits")]
    else:
        places = [left.get("traits" if left["type"] in _SAYS_TRAITS else "properties")]
    for values in places:
        for path in paths:
            _leave_out(values, path)
    return left


def _leave_out(values: Any, path: Sequence[str | int]) -> None:  # noqa: ANN401  # whatever JSON holds
    way = _to_property(path)
    for step in way[:-1]:
        values = _at(values, step)
    if way and isinstance(values, dict):
        values.pop(way[-1], None)


def _to_property(path: Sequence[str | int]) -> list[str | int]:
    innermost = max((place for place, step in enumerate(path) if isinstance(step, str)), default=-1)
    return list(path[: innermost + 1])


def _at(values: Any, step: str | int) -> Any:  # noqa: ANN401  # whatever JSON holds
    if isinstance(values, dict):
        return values.get(step)
    return values[step] if isinstance(values, list) and isinstance(step, int) and step < len(values) else None


# -- reading --------------------------------------------------------------------------------------------------------

DOCUMENT: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["rules"],
    "additionalProperties": False,
    "properties": {
        "unplanned": {"enum": ["ALLOW", "BLOCK"]},
        "rules": {
            "type": "array",
            "maxItems": MOST_RULES,
            "items": {
                "type": "object",
                "required": ["kind", "schema"],
                "additionalProperties": False,
                "properties": {
                    "kind": {"enum": sorted(KINDS)},
                    "event": {"type": "string", "maxLength": LONGEST_EVENT_NAME, "pattern": r"\S"},
                    "on_violation": {"enum": [action.value for action in Action]},
                    "schema": {"type": "object"},
                },
                "if": {"properties": {"kind": {"const": "track"}}},
                "then": {"required": ["event"]},
                "else": {"properties": {"event": False}},
            },
        },
    },
}
_DOCUMENT: Final = Draft202012Validator(dict(DOCUMENT), offline=True)


def compile_plan(document: object) -> Plan:
    """Raises `PlanError`, which says where: `rules[2].schema.properties.price.type: …`."""
    deque(_parts(document, ""), maxlen=0)
    if len(_written(document)) > LARGEST_PLAN_BYTES:
        raise PlanError(f"A plan has at most {LARGEST_PLAN_BYTES} bytes.")
    for error in _DOCUMENT.iter_errors(document):
        raise PlanError(_sentence(error), _dotted(error.instance_path))
    plan: Mapping[str, Any] = document  # type: ignore[assignment]  # the check above says so
    rules: dict[tuple[str, str], Rule] = {}
    for number, given in enumerate(plan["rules"]):
        key = (given["kind"], given.get("event", "").strip())
        if key in rules:
            raise PlanError("There is a rule for this event already.", f"rules[{number}]")
        rules[key] = _compiled(given, " ".join(filter(None, key)), f"rules[{number}].schema")
    return Plan(rules, is_open=plan.get("unplanned", "ALLOW") == "ALLOW")


def _written(document: object) -> bytes:
    """As JSON that Postgres can keep."""
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise PlanError("It holds NaN, an infinity, or half of a surrogate pair.") from None
    if b"\\u0000" in text:
        raise PlanError("It holds a NUL character.")
    return text


def _compiled(given: Mapping[str, Any], event: str, place: str) -> Rule:
    schema = given["schema"]
    _check_is_self_contained(schema, place)
    validator = _validator(schema, place)
    if _expanded_size(schema, schema, {}, place) > LARGEST_SCHEMA:
        raise PlanError(f"With its references it has more than {LARGEST_SCHEMA} subschemas.", place)
    return Rule(event, Action(given.get("on_violation", Action.WARN)), validator, frozenset(_names(schema)))


def _validator(schema: dict[str, Any], place: str) -> Draft202012Validator:
    try:
        return Draft202012Validator(
            schema, offline=True, validate_formats=True, ignore_unknown_formats=False, mask="the value",
            pattern_options=RegexOptions(size_limit=_REGEX_BYTES, dfa_size_limit=_REGEX_BYTES),
        )  # fmt: skip
    except ValidationError as error:
        raise PlanError(_sentence(error), _dotted(error.instance_path, place)) from None


def _check_is_self_contained(schema: object, place: str) -> None:
    """A property may well be called `$ref`; a reference is one that says text."""
    for where, part in _parts(schema, place):
        for word in _NEVER:
            if isinstance(part.get(word), str):
                raise PlanError(f"`{word}` is not supported: refer to `#/$defs/…` with `$ref`.", where)
        if isinstance(given := part.get("$schema"), str) and "2020-12" not in given:
            raise PlanError("Only JSON Schema 2020-12 is understood.", f"{where}.$schema")
        if isinstance(given := part.get("$ref"), str) and not _OWN_REFERENCE.fullmatch(given):
            raise PlanError("`$ref` may refer to its own schema alone: `#/$defs/…`.", f"{where}.$ref")


def _parts(document: object, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object in it with its place, schema or not. Raises `PlanError` for one that is nested too deeply."""
    waiting: list[tuple[str, object, int]] = [(place, document, 0)]
    while waiting:
        where, part, depth = waiting.pop()
        if depth > DEEPEST:
            raise PlanError(f"A plan is nested at most {DEEPEST} levels deep.", where[:LONGEST_PLACE])
        if isinstance(part, dict):
            yield where, part
            waiting.extend((f"{where}.{name}", inner, depth + 1) for name, inner in part.items())
        elif isinstance(part, list):
            waiting.extend((f"{where}[{number}]", inner, depth + 1) for number, inner in enumerate(part))


def _expanded_size(part: object, root: object, known: dict[str, int], place: str) -> int:
    """How many objects there are when references are followed. Raises `PlanError` where one leads back to itself."""
    if isinstance(part, list):
        return sum(_expanded_size(inner, root, known, place) for inner in part)
    if not isinstance(part, dict):
        return 0
    size = 1 + sum(_expanded_size(inner, root, known, place) for name, inner in part.items() if name != "$defs")
    reference = part.get("$ref")
    if isinstance(reference, str):
        if known.get(reference) == 0:
            raise PlanError(f"`$ref` {reference} leads back to itself: a schema may not be recursive.", place)
        if reference not in known:
            known[reference] = 0
            known[reference] = _expanded_size(_resolved(root, reference), root, known, place)
        size += known[reference]
    return size


def _resolved(root: object, reference: str) -> object:
    part = root
    for step in filter(None, reference.removeprefix("#").split("/")):
        name = step.replace("~1", "/").replace("~0", "~")
        part = part[int(name)] if isinstance(part, list) else part[name]  # type: ignore[index]  # the engine found it
    return part


def _names(schema: object) -> Iterator[str]:
    for _, part in _parts(schema, ""):
        for word in ("properties", "dependentSchemas"):
            if isinstance(part.get(word), dict):
                yield from part[word]
        if isinstance(part.get("required"), list):
            yield from filter(lambda name: isinstance(name, str), part["required"])


def _sentence(error: ValidationError) -> str:
    if isinstance(error.kind, ValidationErrorKind.Format) and error.kind.format == "regex":
        return "This is no regular expression, or it looks around, refers back, or is too large."
    return f"{error.message[:1].upper()}{error.message[1:300]}."


def _dotted(path: Sequence[str | int], place: str = "") -> str:
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return (place + steps).removeprefix(".")
