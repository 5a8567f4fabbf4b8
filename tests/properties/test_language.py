"""What is written of a rule is read back as the same rule, in either form."""

import json
from copy import deepcopy
from decimal import Decimal

import jsonschema_rs
from hypothesis import given, settings
from hypothesis import strategies as st

from segments.language import (
    Computed,
    Condition,
    Event,
    LanguageError,
    Learned,
    Member,
    Rank,
    Step,
    Trait,
    canonical,
    explain,
    leaves_of,
    measured_from_json,
    measured_to_json,
    measured_to_text,
    parse_json,
    parse_json_with_places,
    parse_measured_text,
    parse_text,
    parse_text_with_places,
    to_json,
    to_text,
)
from segments.language.schema import RULE_SCHEMA
from segments.language.tree import Comparison, Measured, Property, Sequence, Top
from tests.factories.rules import VALUES, leaves, trees, windows

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


CONDITIONS = st.one_of(computed(), oddly_named(), leaves())
RULES = trees(CONDITIONS)
MEASURED = st.one_of(leaves("event"), leaves("value"), leaves("list of values")).map(lambda event: event.measured)


@settings(max_examples=100, deadline=None)
@given(RULES)
def test_rule__written_and_read__is_always_the_same(tree):
    text, document = to_text(tree), to_json(tree)

    assert canonical(parse_text(text)) == canonical(parse_json(document)) == canonical(tree)
    assert parse_json(document) == tree
    assert to_text(parse_text(text)) == text
    assert explain(parse_json(document), "fr") == explain(parse_text(text), "fr") == explain(tree, "fr")


@settings(max_examples=30, deadline=None)
@given(RULES)
def test_rule__read_with_places__has_one_for_each_condition(tree):
    for read, places in (parse_text_with_places(to_text(tree)), parse_json_with_places(to_json(tree))):
        assert canonical(read) == canonical(tree)
        assert all(places.of_name(leaf) and places.of_value(leaf) for leaf in leaves_of(read))


@settings(max_examples=30, deadline=None)
@given(MEASURED)
def test_measured_value__written_and_read__is_always_the_same(measured):
    assert measured_from_json(measured_to_json(measured)) == measured
    assert parse_measured_text(measured_to_text(measured)) == measured


# -- the schema -----------------------------------------------------------------------------------------------------

VALIDATOR = jsonschema_rs.Draft202012Validator(RULE_SCHEMA)
UNSAYABLE = {
    "name_missing", "window_empty", "number_not_exact", "value_not_text", "percent_out_of_range", "not_a_time",
    "text_not_storable", "rule_too_deep", "rule_too_large",
}  # fmt: skip
"""What is wrong with a document that the schema takes: blank names, ends that come before beginnings, and so on."""
STRAY = st.sampled_from([
    None, True, False, 0, 1, -1, 1.5, 10**9, 10**20, 1e300, "", " ", "x", "exists", "in", "between", ">=", "days", "utc",
    "count", "2026-01-01", "2026-13-01", "2026-01-01T12:00", "x" * 1_001, [], ["x"], [1, 2], ["a", True], {},
    {"last": 1}, {"last": 0}, {"next": 3}, {"from": "2026-01-01"}, {"sum": "amount"}, {"values": "x"}, {"event": "X"},
]).map(deepcopy)  # fmt: skip
FIELDS = st.sampled_from(
    ["trait", "is", "value", "inside", "ignoring_case", "within", "measure", "where", "unit", "zone", "period", "not",
     "and", "then_not", "without", "top", "percent", "among", "last", "from", "until", "over", "x"]
)  # fmt: skip


def parts_of(document):
    """Every object and list of a document, with the documents inside."""
    waiting = [document]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict | list):
            yield part
            waiting.extend(part.values() if isinstance(part, dict) else part)


@st.composite
def mutated(draw):
    document = json.loads(json.dumps(to_json(draw(CONDITIONS))))
    for _ in range(draw(st.integers(1, 2))):
        part = draw(st.sampled_from(list(parts_of(document))))
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        way = draw(st.sampled_from(["add", "remove", "replace", "replace"]))
        if way == "add" and isinstance(part, dict):
            part[draw(FIELDS)] = draw(STRAY)
        elif way == "remove" and keys:
            del part[draw(st.sampled_from(keys))]
        elif keys:
            part[draw(st.sampled_from(keys))] = draw(STRAY)
    return document


@settings(max_examples=50, deadline=None)
@given(RULES)
def test_rule__as_json__is_always_valid_under_the_schema(tree):
    assert VALIDATOR.is_valid(to_json(tree))


@settings(max_examples=250, deadline=None)
@given(mutated())
def test_document__that_the_schema_refuses__is_always_refused_by_the_reader_and_the_reverse(document):
    try:
        parse_json(document)
        refused_as = None
    except LanguageError as error:
        refused_as = error.code

    if VALIDATOR.is_valid(document):
        assert refused_as is None or refused_as in UNSAYABLE
    else:
        assert refused_as is not None
