"""What is written of a rule is read back as the same rule, in either form."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from segments.language import (
    Computed,
    Condition,
    Event,
    Learned,
    Member,
    Rank,
    Step,
    Trait,
    canonical,
    parse_json,
    parse_text,
    to_json,
    to_text,
)
from segments.language.tree import Comparison, Measured, Property, Sequence, Top
from tests.factories.rules import LEAVES, VALUES, trees, windows

HARD_NAMES = st.one_of(
    st.sampled_from(["and", "or", "in", "not", "of", "a.b", 'say "hi"', "\\", "é è", "trait", "a\nb", "where", "~/", "( )"]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(str.strip),
)  # fmt: skip


@st.composite
def computed(draw):
    comparison = draw(st.sampled_from(list(VALUES)))
    return Computed(draw(HARD_NAMES), comparison, draw(VALUES[comparison]))


@st.composite
def oddly_named(draw):
    condition = Condition(
        draw(HARD_NAMES), Comparison.EQUALS, draw(HARD_NAMES), tuple(draw(st.lists(HARD_NAMES, max_size=3)))
    )
    steps = tuple(Step(draw(HARD_NAMES), (condition,) * draw(st.integers(0, 2))) for _ in range(2))
    return draw(st.sampled_from([
        Trait(condition), Sequence(steps, None, steps), Sequence(steps), Event(Measured(draw(HARD_NAMES))),
        Learned(draw(HARD_NAMES), draw(HARD_NAMES)), Member(draw(HARD_NAMES)),
        Rank(Property(draw(HARD_NAMES)), Top(Decimal(3)), among=draw(HARD_NAMES), refresh=draw(windows)),
    ]))  # fmt: skip


RULES = trees(st.one_of(computed(), oddly_named(), *LEAVES.values()))


@settings(max_examples=600, deadline=None)
@given(RULES)
def test_rule__written_and_read__is_always_the_same(tree):
    text, document = to_text(tree), to_json(tree)

    assert canonical(parse_text(text)) == canonical(parse_json(document)) == canonical(tree)
    assert parse_json(document) == tree
    assert to_text(parse_text(text)) == text
