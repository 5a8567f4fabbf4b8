"""Reads a rule as people type it; `text_form` writes it. Errors carry line and column.

rule   := term ("or" term)*        term := factor ("and" factor)*
factor := "not" factor | "(" rule ")" | condition

done NAME is "at least once"; "not done NAME" is a count of 0. Words of the language may be in any case.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal

from segments.language.errors import LanguageError, Span
from segments.language.places import Places
from segments.language.text_measures import (
    STARTERS,
    read_measured,
    read_number_test,
    read_rest_of_condition,
    read_step,
    read_test,
    sees_measure,
)  # fmt: skip
from segments.language.text_periods import read_period, read_period_of_events, read_window, read_zone, sees_period
from segments.language.tokens import Words
from segments.language.tree import (
    MAX_DEPTH,
    MAX_LEAVES,
    MAX_STEPS,
    And,
    Anniversary,
    Comparison,
    Computed,
    Consented,
    Count,
    Dated,
    Event,
    Leaf,
    Learned,
    Listed,
    Measured,
    Member,
    Near,
    Node,
    Not,
    Or,
    Property,
    Rank,
    Sample,
    Score,
    Sequence,
    Step,
    Top,
    Trait,
    Unit,
    Window,
    check_number,
    check_size,
    too_deep,
    too_large,
)  # fmt: skip


def parse_text(text: str) -> Node:
    """The tree of a rule in the text form."""
    return parse_text_with_places(text)[0]


def parse_text_with_places(text: str) -> tuple[Node, Places]:
    words = Words(text)
    tree = _Reader(words).rule(1)
    words.end()
    check_size(tree)
    return tree, words.places


def parse_measured_text(text: str) -> Measured:
    """What a computed trait is: a condition on events without its comparison."""
    words = Words(text)
    start = words.span
    try:
        measured = read_measured(words)
    except LanguageError as error:
        raise error.at(start) from None
    words.end()
    return measured


class _Reader:
    def __init__(self, words: Words) -> None:
        self._words = words
        self._leaves = 0
        self._readers: Mapping[str, Callable[[], Leaf]] = {
            "trait": self._trait,
            "done": self._done,
            "anniversary": self._anniversary,
            "learned": self._learned,
            "score": self._score,
            "segment": lambda: Member(self._name("the slug of a segment")),
            "consent": lambda: Consented(self._name("a purpose")),
            "computed": self._computed,
            "top": lambda: self._rank(is_lowest=False),
            "lowest": lambda: self._rank(is_lowest=True),
            "sample": self._sample,
            "listed": lambda: Listed(self._name("the slug of a list")),
        }

    # -- nodes --------------------------------------------------------------------------------------------------

    def rule(self, depth: int) -> Node:
        return self._joined("or", lambda: self._joined("and", lambda: self._factor(depth), And), Or)

    def _joined(self, word: str, part: Callable[[], Node], group: type[And | Or]) -> Node:
        parts = [part()]
        while self._words.take(word):
            parts.append(part())
        return group(tuple(parts)) if len(parts) > 1 else parts[0]

    def _factor(self, depth: int) -> Node:
        words = self._words
        if depth > MAX_DEPTH:
            raise too_deep().at(words.span)
        if words.take("("):
            inner = self.rule(depth + 1)
            words.need(")")
            return inner
        if words.sees("not done"):
            return self._never()
        if words.take("not"):
            return Not(self._factor(depth + 1))
        return self._leaf()

    def _never(self) -> Node:
        """Of one event it is a count of 0, of several one after the other the opposite."""
        self._words.need("not")
        leaf = self._leaf()
        if isinstance(leaf, Event):
            return self._words.places.note(Event(leaf.measured, Comparison.EQUALS, Decimal(0)), self._words.span)
        return Not(leaf)

    def _leaf(self) -> Leaf:
        start = self._words.span
        self._leaves += 1
        if self._leaves > MAX_LEAVES:
            raise too_large().at(start)
        try:
            return self._read_leaf()
        except LanguageError as error:
            raise error.at(start) from None

    def _read_leaf(self) -> Leaf:
        words = self._words
        read = self._readers.get(words.next.word)
        if read is None and not sees_measure(words):
            message = "a condition (trait, count, sum, done, segment and others), `not` or `(`"
            raise words.unexpected(message, STARTERS)
        if read is None:
            return self._event()
        words.skip()
        start = words.span
        return words.places.note(read(), start)

    def _name(self, wanted: str) -> str:
        return self._words.name(wanted)

    # -- traits -------------------------------------------------------------------------------------------------

    def _trait(self) -> Trait | Near | Dated:
        words, start = self._words, self._words.span
        name, inside = words.path("a name in quotation marks")
        if not words.sees("within") and not sees_period(words):
            return Trait(read_rest_of_condition(words, name, inside, start))
        if inside:
            message = "Only a value can lie inside an object: places and dates are traits themselves"
            raise LanguageError("path_not_possible", message, start)
        return self._near(name) if words.take("within") else self._dated(name)

    def _near(self, name: str) -> Near:
        words, start = self._words, self._words.span
        metres = self._words.number()
        _check_number(metres, start)
        if words.take("km"):
            metres *= 1_000
        else:
            words.need("m")
        words.need("of (")
        latitude = words.number()
        words.need(",")
        longitude = words.number()
        words.need(")")
        return Near(name, latitude, longitude, metres)

    def _dated(self, name: str) -> Dated:
        start, period = self._words.span, read_period(self._words)
        if period is None:
            raise LanguageError("period_missing", "A date always lies in all time: use `exists`", start)
        return Dated(name, period)

    def _anniversary(self) -> Anniversary:
        words = self._words
        words.need("of")
        start, name, days_ahead = words.span, words.name("a trait that is a date"), 0
        if not words.take("today"):
            words.need("in next")
            days_ahead = words.whole("A number of days")
            if not words.take("day"):
                words.need("days")
        return words.places.note(Anniversary(name, days_ahead, read_zone(words)), start)

    # -- events -------------------------------------------------------------------------------------------------

    def _event(self) -> Event:
        words = self._words
        measured = read_measured(words)
        comparison, value, value_at = read_number_test(words) if measured.is_number else read_test(words)
        return words.places.note(Event(measured, comparison, value), value_at)

    def _done(self) -> Event | Sequence:
        words, start = self._words, self._words.span
        first = read_step(words)
        if words.sees("then"):
            return self._sequence(first)
        measured = Measured(first.event, Count(), first.where, read_period_of_events(words))
        return Event(words.places.note(measured, start))

    def _sequence(self, first: Step) -> Sequence:
        words, steps, then_not = self._words, [first], None
        while then_not is None and words.take("then"):
            if words.take("not"):
                then_not = read_step(words)
            else:
                steps.append(read_step(words))
            self._check_steps(len(steps))
        within = read_window(words) if words.take("within") else None
        without = self._without()
        return Sequence(tuple(steps), within, without, then_not, read_period_of_events(words))

    def _without(self) -> tuple[Step, ...]:
        """`or` names one more event if a quoted name follows: no condition begins with one."""
        words, steps = self._words, []
        if words.take("without"):
            steps.append(read_step(words))
            while words.sees("or") and words.peek(1).kind == "text":
                words.skip()
                steps.append(read_step(words))
                self._check_steps(len(steps))
        return tuple(steps)

    def _check_steps(self, count: int) -> None:
        """At once: there may be as many as a text has room for."""
        if count > MAX_STEPS:
            raise LanguageError("steps_out_of_range", f"A sequence has {MAX_STEPS} steps at most", self._words.span)

    # -- what is kept of a profile ------------------------------------------------------------------------------

    def _learned(self) -> Learned:
        model = self._name("the slug of a learned model")
        self._words.need("is")
        return Learned(model, self._name("the name of a group"))

    def _score(self) -> Score:
        words, start = self._words, self._words.span
        model = words.name("the slug of a learned model")
        comparison, value, value_at = read_number_test(words)
        return words.places.note(Score(model, comparison, value), start, value_at)

    def _computed(self) -> Computed:
        words, start = self._words, self._words.span
        name = words.name("the name of a computed trait")
        comparison, value, value_at = read_test(words)
        return words.places.note(Computed(name, comparison, value), start, value_at)

    def _sample(self) -> Sample:
        words = self._words
        begins = words.number()
        words.need("to")
        ends = words.number()
        words.need("% of")
        return Sample(self._name("a text that names the sample"), begins, ends)

    # -- ranks --------------------------------------------------------------------------------------------------

    def _rank(self, *, is_lowest: bool) -> Rank:
        words = self._words
        top = self._top()
        words.need("by")
        of = self._ranked_trait() if words.take("trait") else read_measured(words)
        among = self._among()
        refresh = read_window(words) if words.take("refreshed every") else Window(1, Unit.DAYS)
        return Rank(of, top, is_lowest, among, refresh)

    def _top(self) -> Top:
        start, amount = self._words.span, self._words.number()
        try:
            return Top(amount, is_percent=self._words.take("%"))
        except LanguageError as error:
            raise error.at(start) from None

    def _ranked_trait(self) -> Property:
        start = self._words.span
        return self._words.places.note(Property(*self._words.path("a trait")), start)

    def _among(self) -> str | None:
        if not self._words.take("among"):
            return None
        self._words.need("segment")
        return self._name("the slug of a segment")


def _check_number(number: Decimal, span: Span) -> None:
    """Before it is made metres of: a product would round it."""
    try:
        check_number(number)
    except LanguageError as error:
        raise error.at(span) from None
