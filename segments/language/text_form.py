"""A rule as people type it. Errors carry line and column.

count of "Order Completed" where "amount" >= 10 in last 90 days >= 3
and not (trait "country" in ("FR", "BE") or learned "value-groups" is "lost")
and sum of "amount" of "Order Completed" > 300
and not done "Unsubscribed" in last 30 days

rule   := term ("or" term)*            term := factor ("and" factor)*
factor := "not" factor | "(" rule ")" | trait | count | sum | done | learned
done NAME is "at least once"; "not done NAME" is a count of 0. Words of the language may be in any case.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from segments.language.errors import LanguageError, Span, closest
from segments.language.tree import (
    MAX_DEPTH,
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
)  # fmt: skip
from segments.language.written import BY_SYMBOL, SYMBOLS, written_number, written_scalar

STARTERS: Final = ("trait", "count", "sum", "done", "learned", "not", "(")
_COMPARISONS: Final = ("in", "contains", "starts", "exists", *BY_SYMBOL)
_TOKEN: Final = re.compile(
    r"""(?P<space>\s+) | (?P<text>"(?:[^"\\]|\\.)*") | (?P<number>-?\d+(?:\.\d+)?(?![\w.]))
      | (?P<word>[^\W\d][\w.]*) | (?P<symbol>!=|>=|<=|[=<>(),])""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    span: Span

    @property
    def word(self) -> str:
        """In lower case for words and symbols, empty for the others: a quoted "and" is a name."""
        return self.text.lower() if self.kind in {"word", "symbol"} else ""


def parse_text(text: str) -> Node:
    """The tree of a rule in the text form."""
    tree = _Reader(_tokens(text)).whole()
    check_size(tree)
    return tree


def to_text(tree: Node) -> str:
    """The canonical text: `parse_text(to_text(tree)) == tree`."""
    match tree:
        case And(children):
            return " and ".join(_inside(child) for child in children)
        case Or(children):
            return " or ".join(_inside(child) for child in children)
        case Not(child):
            return f"not {_inside(child)}"
        case Trait(condition):
            return f"trait {_condition_text(condition)}"
        case Learned(model, group):
            return f"learned {written_scalar(model)} is {written_scalar(group)}"
        case Event():
            return _event_text(tree)


# -- reading --------------------------------------------------------------------------------------------------------


def _tokens(text: str) -> list[_Token]:
    found, place, line, line_start = [], 0, 1, 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        span = Span(line=line, column=place - line_start + 1, length=len(match.group()) if match else 1)
        if match is None:
            raise _unreadable(text[place], span)
        if match.lastgroup != "space":
            found.append(_Token(str(match.lastgroup), match.group(), span))
        line += match.group().count("\n")
        place = match.end()
        line_start = text.rfind("\n", 0, place) + 1
    found.append(_Token("end", "", Span(line=line, column=place - line_start + 1)))
    return found


def _unreadable(character: str, span: Span) -> LanguageError:
    if character == '"':
        return LanguageError("text_not_closed", "This text is not closed by a quotation mark", span)
    return LanguageError("unexpected_character", f"{character!r} has no meaning here", span)


class _Reader:
    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens = tokens
        self._place = 0

    def whole(self) -> Node:
        tree = self._rule(1)
        if self._next.kind != "end":
            raise self._unexpected("`and`, `or` or the end", ("and", "or"))
        return tree

    def _rule(self, depth: int) -> Node:
        return self._joined("or", lambda: self._joined("and", lambda: self._factor(depth), And), Or)

    def _joined(self, word: str, part: Callable[[], Node], group: type[And | Or]) -> Node:
        parts = [part()]
        while self._take(word):
            parts.append(part())
        return group(tuple(parts)) if len(parts) > 1 else parts[0]

    def _factor(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise too_deep().at(self._next.span)
        if self._take("("):
            inner = self._rule(depth + 1)
            self._need(")")
            return inner
        if self._take("not"):
            return self._never() if self._next.word == "done" else Not(self._factor(depth + 1))
        start = self._next
        try:
            return self._leaf()
        except LanguageError as error:
            raise error.at(start.span) from None

    def _leaf(self) -> Node:
        if self._take("trait"):
            return Trait(self._condition())
        if self._take("learned"):
            model = self._name("the slug of a learned model")
            self._need("is")
            return Learned(model, self._name("the name of a group"))
        if self._take("done"):
            return Event(Measured(self._name("the name of an event"), Count(), self._where(), self._window()))
        if self._take("count"):
            self._need("of")
            return self._measured(Count())
        if self._take("sum"):
            self._need("of")
            measure = Aggregate(Of.SUM, Property(self._name("a property")))
            self._need("of")
            return self._measured(measure)
        raise self._unexpected("a condition (trait, count, sum, done, learned), `not` or `(`", STARTERS)

    def _measured(self, measure: Count | Aggregate) -> Event:
        name, where, window = self._name("the name of an event"), self._where(), self._window()
        comparison = BY_SYMBOL.get(self._next.word)
        if comparison is None:
            raise self._unexpected("one of = != > >= < <= and a number", ("in", "where", *BY_SYMBOL))
        self._place += 1
        return Event(Measured(name, measure, where, window), comparison, self._number())

    def _never(self) -> Event:
        self._need("done")
        name, where, window = self._name("the name of an event"), self._where(), self._window()
        return Event(Measured(name, Count(), where, window), Comparison.EQUALS, Decimal(0))

    def _where(self) -> tuple[Condition, ...]:
        conditions = []
        if self._take("where"):
            conditions.append(self._condition())
            while self._next.word == "and" and self._tokens[self._place + 1].kind == "text":
                self._place += 1
                conditions.append(self._condition())
        return tuple(conditions)

    def _window(self) -> Window | None:
        if not self._take("in"):
            return None
        if self._take("all"):
            self._need("time")
            return None
        self._need("last")
        start = self._next
        amount = self._number()
        if amount != amount.to_integral_value():
            raise LanguageError("window_not_whole", "A window needs a whole number", start.span)
        unit = next((unit for unit in Unit if self._next.word in {unit.value, unit.value[:-1]}), None)
        if unit is None:
            raise self._unexpected(f"one of {', '.join(Unit)}", tuple(Unit))
        self._place += 1
        try:
            return Window(int(amount), unit)
        except LanguageError as error:
            raise error.at(start.span) from None

    def _condition(self) -> Condition:
        start = self._next
        name = self._name("a name in quotation marks")
        comparison = self._comparison()
        value = self._comparison_value(comparison)
        try:
            return Condition(name, comparison, value)
        except LanguageError as error:
            raise error.at(start.span) from None

    def _comparison(self) -> Comparison:
        token = self._next
        if token.word in BY_SYMBOL:
            self._place += 1
            return BY_SYMBOL[token.word]
        if self._take("starts"):
            self._need("with")
            return Comparison.STARTS_WITH
        if token.word in {Comparison.IN, Comparison.CONTAINS, Comparison.EXISTS}:
            self._place += 1
            return Comparison(token.word)
        raise self._unexpected(
            "a comparison (= != > >= < <=, in, contains, starts with, exists)", (*_COMPARISONS, "starts with")
        )

    def _comparison_value(self, comparison: Comparison) -> Value:
        if comparison is Comparison.EXISTS:
            return None
        if comparison is not Comparison.IN:
            return self._scalar()
        self._need("(")
        values = [self._scalar()]
        while self._take(","):
            values.append(self._scalar())
        self._need(")")
        return tuple(values)

    def _scalar(self) -> Scalar:
        token = self._next
        if token.kind == "text":
            return self._text()
        if token.word in {"true", "false"}:
            self._place += 1
            return token.word == "true"
        return self._number("a text in quotation marks, a number, true or false")

    def _number(self, wanted: str = "a number") -> Decimal:
        token = self._next
        if token.kind != "number":
            raise self._unexpected(wanted, ())
        self._place += 1
        return Decimal(token.text)

    def _name(self, wanted: str) -> str:
        """Names are quoted; a plain word without spaces may go without."""
        if self._next.kind == "text":
            return self._text()
        if self._next.kind != "word":
            raise self._unexpected(wanted, ())
        self._place += 1
        return self._tokens[self._place - 1].text

    def _text(self) -> str:
        token = self._next
        self._place += 1
        try:
            return str(json.loads(token.text, strict=False))
        except ValueError:
            raise LanguageError("bad_escape", "In a text, write a backslash twice", token.span) from None

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _take(self, word: str) -> bool:
        taken = self._next.word == word
        self._place += taken
        return taken

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise self._unexpected(f"`{word}`", (word,))

    def _unexpected(self, wanted: str, known: Sequence[str]) -> LanguageError:
        token = self._next
        found = "the rule ends" if token.kind == "end" else f"there is {token.text}"
        meant = closest(token.text, known) if token.kind == "word" else None
        return LanguageError("unexpected_end" if token.kind == "end" else "unexpected_word",
                             f"Expected {wanted}, but {found}", token.span, meant)  # fmt: skip


# -- writing --------------------------------------------------------------------------------------------------------


def _inside(node: Node) -> str:
    return f"({to_text(node)})" if isinstance(node, And | Or) else to_text(node)


def _condition_text(condition: Condition) -> str:
    comparison, value = condition.comparison, condition.value
    symbol = SYMBOLS.get(comparison, comparison.value.replace("_", " "))
    if isinstance(value, tuple):
        return f"{written_scalar(condition.name)} {symbol} ({', '.join(written_scalar(each) for each in value)})"
    if value is None:
        return f"{written_scalar(condition.name)} {symbol}"
    return f"{written_scalar(condition.name)} {symbol} {written_scalar(value)}"


def _event_text(event: Event) -> str:
    measured = event.measured
    is_sum = isinstance(measured.measure, Aggregate)
    measure = f"sum of {written_scalar(measured.measure.property.name)} of" if is_sum else "count of"
    where = " and ".join(_condition_text(condition) for condition in measured.where)
    parts = [measure, written_scalar(measured.event), f"where {where}" if where else ""]
    parts.append(f"in last {measured.period.amount} {measured.period.unit}" if measured.period else "")
    parts += [SYMBOLS[event.comparison], written_number(event.value)]
    return " ".join(part for part in parts if part)
