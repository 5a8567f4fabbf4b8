"""What is asked in a cheaper way is the same question."""

import itertools

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from identity.matching import distances


@pytest.fixture(scope="module")
def duck():
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


LETTERS = st.text("aab1é@", min_size=1, max_size=14)
EDITS = st.lists(st.tuples(st.sampled_from("idsx"), st.integers(0, 20), st.sampled_from("ab9é")), max_size=3)


def edited(text, edits):
    for kind, number, letter in edits:
        place = number % (len(text) + 1)
        if kind == "i":
            text = text[:place] + letter + text[place:]
        elif kind == "d":
            text = text[:place] + text[place + 1 :]
        elif kind == "s":
            text = text[:place] + letter + text[place + 1 :]
        else:
            text = text[:place] + text[place : place + 2][::-1] + text[place + 2 :]
    return text


def answers(duck, most, pairs):
    condition = f'damerau_levenshtein("a", b) <= {most}'
    rows = duck.execute(
        f"SELECT COALESCE({condition}, false), COALESCE({distances.quickly(condition)}, false)"
        " FROM (SELECT unnest($one::VARCHAR[]) AS a, unnest($other::VARCHAR[]) AS b)",
        {"one": [one for one, _ in pairs], "other": [other for _, other in pairs]},
    ).fetchall()
    return [row[0] for row in rows], [row[1] for row in rows]


@given(st.lists(st.tuples(LETTERS, EDITS), min_size=1, max_size=40), st.sampled_from([1, 2]))
@settings(max_examples=60)
@example([("abcdef", [("x", 0, "a"), ("x", 3, "a")]), ("ca", [("x", 0, "a"), ("i", 1, "b")])], 2)
def test_condition__asked_quickly__has_the_same_answer(duck, texts, most):
    pairs = [(text, edited(text, edits)) for text, edits in texts]
    pairs += [(one, other) for (one, _), (other, _) in itertools.pairwise(pairs)]

    slowly, quickly = answers(duck, most, pairs)

    assert quickly == slowly


def test_condition__on_nothing__is_not_fulfilled(duck):
    assert answers(duck, 2, [(None, "ab"), ("ab", None), ("abcdefgh", "abcdefgh")])[1] == [False, False, True]


def test_quickly__of_any_other_condition__is_that_condition():
    assert distances.quickly("a = b AND length(a) <= 2") == "a = b AND length(a) <= 2"


def test_quickly__within_a_longer_condition__leaves_the_rest():
    condition = "damerau_levenshtein(postcode_l, postcode_r) <= 1 AND city_l = city_r"

    made = distances.quickly(condition)

    assert made.endswith(" AND city_l = city_r")
    assert "jaro_similarity(postcode_l, postcode_r)" in made
