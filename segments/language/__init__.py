"""The rule language: one frozen tree, two written forms, SQL, and sentences. Knows no framework."""

from segments.language.errors import LanguageError, Span
from segments.language.json_form import canonical, parse_json, to_json
from segments.language.sentences import explain
from segments.language.text_form import parse_text, to_text
from segments.language.tree import (
    MAX_DEPTH,
    MAX_LEAVES,
    Aggregate,
    And,
    Comparison,
    Condition,
    Count,
    Event,
    Leaf,
    Learned,
    Measured,
    Node,
    Not,
    Of,
    Or,
    Property,
    Trait,
    Unit,
    Window,
    leaves_of,
)  # fmt: skip

__all__ = [
    "MAX_DEPTH",
    "MAX_LEAVES",
    "Aggregate",
    "And",
    "Comparison",
    "Condition",
    "Count",
    "Event",
    "LanguageError",
    "Leaf",
    "Learned",
    "Measured",
    "Node",
    "Not",
    "Of",
    "Or",
    "Property",
    "Span",
    "Trait",
    "Unit",
    "Window",
    "canonical",
    "explain",
    "leaves_of",
    "parse_json",
    "parse_text",
    "to_json",
    "to_text",
]
