"""Rules as people read them: typed, said in a sentence, and with the place of a mistake."""

from typing import Any

from django.utils.translation import get_language

from segments.language import LanguageError, Measured, Node, explain, explain_measured, parse_json, to_text


def text_of(definition: Any) -> str:  # noqa: ANN401  # JSON
    """A stored definition as people type it."""
    return to_text(parse_json(definition))


def sentence_of(rule: Node) -> str:
    return explain(rule, get_language() or "en")


def measure_in_words(measured: Measured) -> str:
    return explain_measured(measured, get_language() or "en")


def marked(text: str, error: LanguageError) -> dict[str, str]:
    """The text of a rule in three pieces: before, at and after the place of the error."""
    if error.span is None or error.span.line is None:
        return {"before": text, "at": "", "after": ""}
    lines = text.split("\n")
    start = sum(len(line) + 1 for line in lines[: error.span.line - 1]) + (error.span.column or 1) - 1
    end = start + max(error.span.length, 1)
    return {"before": text[:start], "at": text[start:end] or "⁠ ", "after": text[end:]}
