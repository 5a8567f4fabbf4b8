"""Reads from the text form what is compared: conditions on values, and what is counted or made of events.

measured := measure EVENT ["where" condition ("and" condition)*] [period]
measure  := "count of" | MADE ["of"] path "of" | UNIT [zone] "with" | UNIT "since" ("first" | "last")
"""

from collections.abc import Callable
from typing import Final

from segments.language.errors import LanguageError, Span
from segments.language.text_periods import (
    CALENDAR_UNITS,
    UNITS,
    read_calendar_unit,
    read_period_of_events,
    read_unit,
    read_zone,
)
from segments.language.tokens import Words
from segments.language.tree import (
    LISTS,
    MAX_LEAVES,
    MAX_OBJECTS,
    MAX_OF_OBJECT,
    NUMERIC,
    Active,
    Aggregate,
    Comparison,
    Condition,
    Count,
    End,
    Measure,
    Measured,
    Of,
    Property,
    Scalar,
    Since,
    Step,
    Value,
    objects_too_deep,
)
from segments.language.written import COMPARED, MADE

STARTERS: Final = (
    "trait", "count", *MADE.values(), *(unit.value for unit in CALENDAR_UNITS.values()), *UNITS, "done", "anniversary",
    "learned", "score", "segment", "consent", "computed", "top", "lowest", "sample", "listed", "not", "(",
)  # fmt: skip
"""What a condition begins with. A property with such a name is quoted in `where`."""
MEASURES: Final = ("count", *MADE.values(), *UNITS, *CALENDAR_UNITS)
_FIRST_WORDS: Final = frozenset(phrase.split()[0] for phrase in STARTERS)
_TESTS: Final = frozenset({phrase.split()[0] for phrase in COMPARED.values()} | {"."})


# -- conditions -----------------------------------------------------------------------------------------------------


def read_where(words: Words) -> tuple[Condition, ...]:
    conditions: list[Condition] = []
    if words.take("where"):
        conditions.append(_condition(words))
        while _goes_on(words):
            words.skip()
            conditions.append(_condition(words))
            if len(conditions) > MAX_LEAVES:
                message = f"An event may have {MAX_LEAVES} conditions at most"
                raise LanguageError("too_many_conditions", message, words.span)
    return tuple(conditions)


def _goes_on(words: Words) -> bool:
    """`and` joins one more property if a quoted name follows, or a word that begins no condition and is compared."""
    if not words.sees("and"):
        return False
    name = words.peek(1)
    is_word = name.kind == "word" and name.word not in _FIRST_WORDS
    return name.kind == "text" or (is_word and words.peek(2).word in _TESTS)


def _condition(words: Words, depth: int = 0) -> Condition:
    start = words.span
    name, inside = words.path("a name in quotation marks")
    return read_rest_of_condition(words, name, inside, start, depth)


def read_rest_of_condition(
    words: Words, name: str, inside: tuple[str, ...], start: Span, depth: int = 0
) -> Condition:  # fmt: skip
    """How the value is compared, after its path. `depth`: in how many lists of objects it lies."""
    comparison, value, value_at = read_test(words)
    has = _objects(words, depth + 1) if comparison is Comparison.HAS else ()
    ignores_case = words.take("ignoring case")
    try:
        condition = Condition(name, comparison, value, inside, ignores_case, has)
    except LanguageError as error:
        raise error.at(start) from None
    return words.places.note(condition, start, value_at)


def _objects(words: Words, depth: int) -> tuple[Condition, ...]:
    """What an object meets, in parentheses."""
    if depth > MAX_OBJECTS:
        raise objects_too_deep().at(words.span)
    words.need("(")
    conditions = [_condition(words, depth)]
    while words.take("and"):
        conditions.append(_condition(words, depth))
        if len(conditions) > MAX_OF_OBJECT:
            raise LanguageError("too_many_conditions", f"`has` takes {MAX_OF_OBJECT} conditions at most", words.span)
    words.need(")")
    return tuple(conditions)


def read_test(words: Words) -> tuple[Comparison, Value, Span]:
    """A comparison and its value, and where the value is."""
    for comparison, phrase in COMPARED.items():
        if words.take(phrase):
            start = words.span
            return comparison, _value(words, comparison, words.scalar), start
    known = tuple(COMPARED.values())
    raise words.unexpected("a comparison (= != > >= < <=, between, in, contains, exists and others)", known)


def read_number_test(words: Words) -> tuple[Comparison, Value, Span]:
    for comparison, phrase in COMPARED.items():
        if comparison in NUMERIC and words.take(phrase):
            start = words.span
            return comparison, _value(words, comparison, words.number), start
    raise words.unexpected("one of = != > >= < <= between, and a number", ("in", "where", "between"))


def _value(words: Words, comparison: Comparison, read: Callable[[], Scalar]) -> Value:
    if comparison in {Comparison.EXISTS, Comparison.HAS}:
        return None
    if comparison in LISTS:
        return words.scalars()
    if comparison is not Comparison.BETWEEN:
        return read()
    smaller = read()
    words.need("and")
    return smaller, read()


# -- events ---------------------------------------------------------------------------------------------------------


def read_step(words: Words) -> Step:
    start = words.span
    step = Step(words.name("the name of an event"), read_where(words))
    return words.places.note(step, start)


def sees_measure(words: Words) -> bool:
    return (
        words.sees("count") or words.next.word in CALENDAR_UNITS or words.next.word in UNITS or _made(words) is not None
    )


def read_measured(words: Words) -> Measured:
    measure, start = _measure(words), words.span
    event, where = words.name("the name of an event"), read_where(words)
    return words.places.note(Measured(event, measure, where, read_period_of_events(words)), start)


def _measure(words: Words) -> Measure:
    if words.take("count"):
        words.need("of")
        return Count()
    of = _made(words)
    if of is not None:
        return _aggregate(words, of)
    if words.peek(1).word == "since":
        return _since(words)
    if words.next.word in CALENDAR_UNITS:
        unit, zone = read_calendar_unit(words), read_zone(words)
        words.need("with")
        return Active(unit, zone)
    raise words.unexpected("what is measured (count of, sum of, days since last, …)", MEASURES)


def _made(words: Words) -> Of | None:
    return next((of for of, phrase in MADE.items() if words.sees(phrase)), None)


def _aggregate(words: Words, of: Of) -> Aggregate:
    words.need(MADE[of])
    words.take("of")
    start = words.span
    made_of = Property(*words.path("a property"))
    words.need("of")
    return Aggregate(of, words.places.note(made_of, start))


def _since(words: Words) -> Since:
    unit = read_unit(words)
    words.need("since")
    for end in End:
        if words.take(end.value):
            return Since(end, unit)
    raise words.unexpected("`first` or `last`", tuple(End))
