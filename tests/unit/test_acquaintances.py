"""A load remembers whom it met lately, and is never wrong about anybody."""

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from cdp.ingestion import acquaintances
from cdp.ingestion.acquaintances import Acquaintances, Recent, number_of_pair

KEYS = st.integers(0, 12)
STEPS = st.lists(st.tuples(st.booleans(), st.lists(KEYS, max_size=4)), max_size=30)


@given(steps=STEPS, generation=st.integers(1, 5))
def test_recent__whatever_is_put_and_asked__knows_the_newest_and_never_another_value(steps, generation):
    with patch.object(acquaintances, "GENERATION", generation):
        follow(steps, generation)


def follow(steps, generation):
    recent, touched = Recent(), []
    for is_asked, keys in steps:
        if is_asked:
            found = recent.find(keys)
            assert all(value in {None, key + 100} for key, value in zip(keys, found, strict=True))
            assert all(value for key, value in zip(keys, found, strict=True) if key in touched[:generation])
            keys = [key for key, value in zip(keys, found, strict=True) if value]  # noqa: PLW2901  # those that it touched
        else:
            recent.put((key, key + 100) for key in keys)
        touched = list(dict.fromkeys([*reversed(keys), *touched]))


def test_recent__of_many_more_than_a_generation__keeps_no_more_than_two_and_what_came_at_once(monkeypatch):
    monkeypatch.setattr(acquaintances, "GENERATION", 10)
    recent = Recent()

    for key in range(1_000):
        recent.put([(key, key)])

    assert sum(value is not None for value in recent.find(range(1_000))) <= 20


def test_acquaintances__after_an_erasure__are_strangers():
    known = Acquaintances()
    known.forget_if_after(7)
    known.ids["email"].put([("ada@example.com", 1)])
    known.pairs.put([(number_of_pair(1, 2), True)])

    known.forget_if_after(7)
    before = known.ids["email"].find(["ada@example.com"]), known.pairs.find([number_of_pair(1, 2)])
    known.forget_if_after(8)

    assert before == ([1], [True])
    assert known.ids["email"].find(["ada@example.com"]) == [None]
    assert known.pairs.find([number_of_pair(1, 2)]) == [None]


@given(st.tuples(*[st.integers(1, 2**63 - 1)] * 2), st.tuples(*[st.integers(1, 2**63 - 1)] * 2))
def test_number_of_pair__of_two_pairs__is_the_same_only_where_they_are(one, other):
    assert (number_of_pair(*one) == number_of_pair(*other)) == (one == other)
