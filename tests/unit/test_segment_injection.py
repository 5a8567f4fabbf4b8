"""No text of a rule is ever part of the SQL: whatever it says, the query is the same, and only its parameters differ."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segments.language import canonical
from segments.language.compile import Asked, Query, compile_rules
from segments.language.compile.members import compile_members
from segments.language.ranks import Threshold
from segments.language.tree import (
    LISTS,
    Active,
    Aggregate,
    And,
    Anniversary,
    Calendar,
    CalendarUnit,
    Comparison,
    Condition,
    Dated,
    Event,
    Learned,
    Listed,
    Measured,
    Member,
    Near,
    Node,
    Of,
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
)

ONE = Decimal(1)
DAY = Window(1, Unit.DAYS)
# What is folded, escaped or quoted differs from the text itself, of any of them alike: so equal values stay as few.
BEGINNING = '%*Ab"'
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30).map(BEGINNING.__add__)


def conditions(text: str) -> Iterator[Condition]:
    for comparison in Comparison:
        if comparison is Comparison.EXISTS:
            yield Condition(text, comparison, None, (text,))
            continue
        if comparison is Comparison.HAS:
            yield Condition(text, comparison, None, (text,), has=(Condition(text, Comparison.EQUALS, text, (text,)),))
            continue
        is_list = comparison in LISTS or comparison is Comparison.BETWEEN
        value = (text, text) if is_list else text
        for ignores_case in (False, True):
            yield Condition(text, comparison, value, (text,), ignores_case)


def measured(text: str) -> Iterator[Event]:
    of, where = Property(text, (text,)), tuple(conditions(text))
    for made in Of:
        comparison, value = Comparison.GREATER, ONE
        if made in {Of.FIRST, Of.LAST, Of.MOST_FREQUENT, Of.VALUES}:
            comparison, value = Comparison.CONTAINS, text
        yield Event(Measured(text, Aggregate(made, of), where, DAY), comparison, value)
    yield Event(Measured(text, Active(CalendarUnit.DAYS), where, Calendar(1, CalendarUnit.DAYS)))


def everything(text: str) -> Node:
    """Every node, with the text wherever one may stand."""
    step = Step(text, tuple(conditions(text)))
    leaves: list[Node] = [
        *(Trait(condition) for condition in conditions(text)),
        *measured(text),
        Sequence((step, step), DAY, (step,), step, DAY),
        Near(text, ONE, ONE, ONE),
        Dated(text, DAY),
        Anniversary(text),
        Learned(text, text),
        Score(text, Comparison.EQUALS, ONE),
        Member(text),
        Listed(text),
        Sample(text, Decimal(0), Decimal(50)),
        ranked(text),
    ]
    return And(tuple(leaves))


def ranked(text: str) -> Rank:
    return Rank(Measured(text, Aggregate(Of.SUM, Property(text))), Top(ONE), among=text)


END = Threshold(ONE, 1, datetime(2026, 1, 1, tzinfo=UTC))


def compiled(text: str, asked: Asked) -> Query:
    return compile_rules({1: everything(text)}, asked, {canonical(ranked(text)): END})


def of_members(text: str) -> Query:
    return compile_members(everything(text), {canonical(ranked(text)): END})


@cache
def plain(asked: Asked) -> str:
    return compiled(BEGINNING, asked).sql


@cache
def plain_members() -> str:
    return of_members(BEGINNING).sql


@pytest.mark.slow
@pytest.mark.parametrize("asked", list(Asked))
@given(texts)
@settings(max_examples=10, deadline=None)  # each compiles hundreds of conditions
def test_query__of_any_text_in_every_place__is_the_same(asked, text):
    query = compiled(text, asked)

    assert query.sql == plain(asked)
    assert text in query.parameters.values()


@pytest.mark.slow
@given(texts)
@settings(max_examples=3, deadline=None)  # of leaves compiled as above
def test_query_of_members__of_any_text_in_every_place__is_the_same(text):
    query = of_members(text)

    assert query.sql == plain_members()
    assert text in query.parameters.values()


def test_query__shows_no_text__of_any_node():
    assert "Ab" not in plain(Asked.SOME)
