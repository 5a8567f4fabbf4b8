"""What is wrong with a rule, and where: a code for programs, a sentence for people."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from cdp.kernel.errors import TesseraError

_LONGEST_WORD: Final = 200


@dataclass(frozen=True, slots=True)
class Span:
    """The place of an error: a JSON pointer in the JSON form, line and column (from 1) in the text form."""

    pointer: str | None = None
    line: int | None = None
    column: int | None = None
    length: int = 1

    def __str__(self) -> str:
        if self.pointer is not None:
            return f"at {self.pointer or 'the top'}"
        return f"line {self.line}, column {self.column}"


class LanguageError(TesseraError):
    """The rule cannot be understood: change it at the place that is named."""

    code = "segment_rule"

    def __init__(self, code: str, message: str, span: Span | None = None, suggestion: str | None = None) -> None:
        self.code = code  # type: ignore[misc]  # one class for all mistakes: callers catch it, clients read the code
        self.problem = message
        self.span = span
        self.suggestion = suggestion
        place = f" ({span})" if span else ""
        hint = f" Did you mean {suggestion}?" if suggestion else ""
        super().__init__(f"{message}{place}.{hint}", **_details(span, suggestion))

    def at(self, span: Span) -> "LanguageError":
        """The same mistake with its place, which a node does not know when it refuses its own values."""
        return self if self.span else LanguageError(self.code, self.problem, span, self.suggestion)


def closest(word: object, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    if not isinstance(word, str) or len(word) > _LONGEST_WORD:
        return None
    by_lower = {each.lower(): each for each in known}
    found = get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def _details(span: Span | None, suggestion: str | None) -> dict[str, object]:
    places = {name: getattr(span, name) for name in ("pointer", "line", "column")} if span else {}
    found = {**places, "suggestion": suggestion}
    return {name: value for name, value in found.items() if value is not None}
