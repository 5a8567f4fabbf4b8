"""A first plan from what was seen: types that every value had, required what every event had. Pure.

It is a draft for people: nobody promised what is merely usual. Nothing of the values gets into it.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cdp.ingestion.plan_check import LONGEST_EVENT_NAME, MOST_RULES, Action

MOST_PROPERTIES: Final = 100  # of one object: past that its keys are data
DEEPEST_PROPOSED: Final = 4
FEW: Final = 20  # events from which on "in all" means something

_DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})")
_ORDER = ("null", "boolean", "integer", "number", "string", "array", "object")


@dataclass(slots=True)
class Shape:
    """What values at one place were: how many of each type, and what lay within."""

    types: Counter[str] = field(default_factory=Counter)
    texts_with_time: int = 0
    properties: dict[str, "Shape"] = field(default_factory=dict)
    items: "Shape | None" = None
    has_many_names: bool = False

    def see(self, value: object, depth: int = 0) -> None:
        kind = _type_of(value)
        self.types[kind] += 1
        if isinstance(value, str):
            self.texts_with_time += bool(_DATE_TIME.fullmatch(value))
        elif isinstance(value, dict) and depth < DEEPEST_PROPOSED:
            self._see_properties(value, depth)
        elif isinstance(value, list) and depth < DEEPEST_PROPOSED:
            self.items = self.items or Shape()
            for item in value:
                self.items.see(item, depth + 1)

    def _see_properties(self, value: Mapping[str, object], depth: int) -> None:
        for name, inner in value.items():
            if name not in self.properties and len(self.properties) >= MOST_PROPERTIES:
                self.has_many_names = True
                continue
            self.properties.setdefault(name, Shape()).see(inner, depth + 1)

    def schema(self) -> dict[str, Any]:
        types = _merged(self.types)
        made: dict[str, Any] = {"type": types[0] if len(types) == 1 else types} if types else {}
        if self.types["string"] and self.texts_with_time == self.types["string"]:
            made["format"] = "date-time"
        if self.properties and not self.has_many_names:
            made["properties"] = {name: self.properties[name].schema() for name in sorted(self.properties)}
            made |= self._required()
        if self.items and self.items.types:
            made["items"] = self.items.schema()
        return made

    def _required(self) -> dict[str, list[str]]:
        in_all = [name for name, shape in self.properties.items() if shape.types.total() == self.types["object"]]
        return {"required": sorted(in_all)} if in_all else {}


def _type_of(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value) and value.is_integer()):
        return "integer"
    names = {float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _merged(seen: Mapping[str, int]) -> list[str]:
    types = {kind for kind, times in seen.items() if times}
    if "number" in types:
        types.discard("integer")
    return sorted(types, key=_ORDER.index)


def propose(events: Iterable[tuple[str, str, Mapping[str, Any]]]) -> dict[str, Any]:
    """A plan document from (kind, name, properties as stored), which keeps and counts what differs."""
    shapes: dict[tuple[str, str], Shape] = {}
    for kind, name, values in events:
        key = (kind, name if kind == "track" else "")
        if len(name) <= LONGEST_EVENT_NAME and (key in shapes or len(shapes) < MOST_RULES):
            shapes.setdefault(key, Shape()).see(_said(kind, values))
    return {"unplanned": "ALLOW", "rules": list(_rules(shapes))}


def _said(kind: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without what storing adds beside the properties, which the plan does not look at."""
    added = {
        "group": ("groupId",),
        "alias": ("previousId",),
        "page": ("name", "category"),
        "screen": ("name", "category"),
    }
    return {name: value for name, value in values.items() if name not in added.get(kind, ())}


def _rules(shapes: Mapping[tuple[str, str], Shape]) -> Iterator[dict[str, Any]]:
    for (kind, name), shape in sorted(shapes.items()):
        schema = shape.schema()
        if shape.types.total() < FEW:
            schema.pop("required", None)
        named = {"event": name} if kind == "track" else {}
        yield {"kind": kind, **named, "on_violation": Action.WARN.value, "schema": schema}
