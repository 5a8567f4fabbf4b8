"""Where two texts differ: the marks of the desk."""

from hypothesis import given
from hypothesis import strategies as st

from identity.review.differences import LONGEST, Part, marked


def test_marked__of_a_swapped_letter__marks_it_alone():
    assert marked("Lovelaec", ["Lovelace"]) == [
        Part("Lovelae", is_different=False), Part("c", is_different=True),
    ]  # fmt: skip


def test_marked__of_another_case__marks_nothing():
    assert marked("PARIS", ["Paris"]) == [Part("PARIS", is_different=False)]


def test_marked__beside_several__goes_by_the_most_similar():
    assert marked("Ada", ["Bob", "Adam"]) == [Part("Ada", is_different=False)]


def test_marked__beside_nothing_or_beyond_measure__marks_nothing():
    assert marked("Ada", []) == [Part("Ada", is_different=False)]
    assert marked("x" * (LONGEST + 1), ["y"]) == [Part("x" * (LONGEST + 1), is_different=False)]
    assert marked("", ["y"]) == []


@given(st.text(max_size=40), st.lists(st.text(max_size=40), max_size=3))
def test_marked__joined__is_always_the_text(text, others):
    assert "".join(part.text for part in marked(text, others)) == text
