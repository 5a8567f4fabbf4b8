"""The words of a rule as text, one after the other, each with its line and column."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from segments.language.errors import LanguageError, Span, closest
from segments.language.places import Places
from segments.language.tree import MAX_CHOICES, MAX_INSIDE, Scalar
from segments.language.written import MAX_WRITTEN, TIME_PATTERN, shown

_TOKEN: Final = re.compile(
    rf"""(?P<space>\s+) | (?P<text>"[^"\\]*(?:\\.[^"\\]*)*") | (?P<time>{TIME_PATTERN})(?!\w)
      | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?![\w.])) | (?P<word>[^\W\d]\w*(?:[.-]\w+)*)
      | (?P<symbol>!=|>=|<=|[=<>(),.%])""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    span: Span

    @property
    def word(self) -> str:
        """In lower case for words and symbols, empty for the others: a quoted "and" is a name."""
        return self.text.lower() if self.kind in {"word", "symbol"} else ""


def tokens_of(text: str) -> Iterator[Token]:
    """Lazily, so that a long text that is no rule is refused at its first mistake. The last one is `end`."""
    if len(text) > MAX_WRITTEN:
        message = f"A rule as text may have {MAX_WRITTEN} characters at most; JSON may hold longer lists"
        raise LanguageError("rule_too_long", message, Span(line=1, column=1))
    place, line, line_start = 0, 1, 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise _unreadable(text[place], Span(line=line, column=place - line_start + 1))
        found = match.group()
        if match.lastgroup != "space":
            yield Token(str(match.lastgroup), found, Span(line=line, column=place - line_start + 1, length=len(found)))
        if "\n" in found:
            line, line_start = line + found.count("\n"), place + found.rindex("\n") + 1
        place = match.end()
    yield Token("end", "", Span(line=line, column=place - line_start + 1))


def _unreadable(character: str, span: Span) -> LanguageError:
    if character == '"':
        return LanguageError("text_not_closed", "This text is not closed by a quotation mark", span)
    return LanguageError("unexpected_character", f"{character!r} has no meaning here", span)


class Words:
    """Reads from left to right, and looks a few words ahead."""

    def __init__(self, text: str) -> None:
        self._coming = tokens_of(text)
        self._ahead: list[Token] = []
        self.places = Places()

    def peek(self, steps: int = 0) -> Token:
        while len(self._ahead) <= steps:
            token = next(self._coming, None)
            if token is None:
                return self._ahead[-1]
            self._ahead.append(token)
        return self._ahead[steps]

    @property
    def next(self) -> Token:
        return self.peek()

    @property
    def span(self) -> Span:
        return self.peek().span

    def skip(self) -> Token:
        token = self.peek()
        if token.kind != "end":
            self._ahead.pop(0)
        return token

    def sees(self, phrase: str) -> bool:
        return all(self.peek(place).word == word for place, word in enumerate(phrase.split()))

    def take(self, phrase: str) -> bool:
        """Goes past these words, if they are the next ones."""
        if not self.sees(phrase):
            return False
        for _ in phrase.split():
            self.skip()
        return True

    def need(self, phrase: str) -> None:
        for word in phrase.split():
            if not self.take(word):
                raise self.unexpected(f"`{phrase}`", (word,))

    def end(self) -> None:
        if self.next.kind != "end":
            raise self.unexpected("`and`, `or` or the end", ("and", "or"))

    def unexpected(self, wanted: str, known: Sequence[str] = ()) -> LanguageError:
        token = self.next
        found = "the rule ends" if token.kind == "end" else f"there is {shown(token.text)}"
        meant = closest(token.text, known) if token.kind == "word" else None
        code = "unexpected_end" if token.kind == "end" else "unexpected_word"
        return LanguageError(code, f"Expected {wanted}, but {found}", token.span, meant)

    # -- values -------------------------------------------------------------------------------------------------

    def scalar(self) -> Scalar:
        if self.next.kind == "text":
            return self._text()
        if self.next.word in {"true", "false"}:
            return self.skip().word == "true"
        return self.number("a text in quotation marks, a number, true or false")

    def scalars(self) -> tuple[Scalar, ...]:
        """In parentheses, with commas."""
        start = self.span
        self.need("(")
        values = [self.scalar()]
        while self.take(","):
            if len(values) == MAX_CHOICES:
                raise LanguageError("too_many_choices", f"A list takes {MAX_CHOICES} values at most", start)
            values.append(self.scalar())
        self.need(")")
        return tuple(values)

    def number(self, wanted: str = "a number") -> Decimal:
        if self.next.kind != "number":
            raise self.unexpected(wanted)
        return Decimal(self.skip().text)

    def whole(self, what: str) -> int:
        start, number = self.span, self.number()
        if number.adjusted() > 20 or number != number.to_integral_value():
            raise LanguageError("window_not_whole", f"{what} needs a whole number of a sensible size", start)
        return int(number)

    def name(self, wanted: str) -> str:
        """Names are quoted; a plain word without spaces may go without."""
        if self.next.kind == "text":
            return self._text()
        if self.next.kind != "word":
            raise self.unexpected(wanted)
        return self.skip().text

    def path(self, wanted: str) -> tuple[str, tuple[str, ...]]:
        """A name, and the keys that lead into the object that it is: "address"."city"."""
        start, name, inside = self.span, self.name(wanted), []
        while self.take("."):
            inside.append(self.name("a key of the object, in quotation marks"))
            if len(inside) > MAX_INSIDE:
                raise LanguageError("path_too_deep", f"A path leads {MAX_INSIDE} levels into an object at most", start)
        return name, tuple(inside)

    def _text(self) -> str:
        token = self.skip()
        try:
            return str(json.loads(token.text, strict=False))
        except ValueError:
            raise LanguageError("bad_escape", "In a text, write a backslash twice", token.span) from None
