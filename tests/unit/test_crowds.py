"""Whose very many identifiers are: arrays say what a dictionary would."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from identity import crowds

identifiers = st.integers(1, 30)
people = st.dictionaries(identifiers, st.integers(1, 5), max_size=20)
pairs = st.lists(st.tuples(identifiers, identifiers), max_size=20)


def seen(profiles):
    ids = np.array(sorted(profiles), np.int64)
    return crowds.Seen(ids, np.array([profiles[one] for one in ids.tolist()], np.int64))


def ends(pairs):
    return (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))


@given(profiles=people, pairs=pairs)
def test_seen__of_any_pairs__tells_those_that_are_known_and_two_people(profiles, pairs):
    found = seen(profiles).are_apart(*ends(pairs)).tolist()

    assert found == [{left, right} <= profiles.keys() and profiles[left] != profiles[right] for left, right in pairs]


@settings(deadline=None)  # the first look at a table loads what Arrow reckons with
@given(profiles=people, pairs=pairs)
def test_seen__of_any_pairs__keeps_those_of_which_both_ends_are_known(profiles, pairs):
    left, right = ends(pairs)

    found = seen(profiles).of(pa.table({"left_id": left, "right_id": right}))

    assert [tuple(pair.values()) for pair in found.to_pylist()] == [
        pair for pair in pairs if {*pair} <= profiles.keys()
    ]


@given(profiles=people, wanted=st.lists(identifiers, max_size=20))
def test_seen__of_any_identifiers__counts_the_people_behind_those_it_knows(profiles, wanted):
    found = seen(profiles)
    asked = np.array(wanted, np.int64)

    assert found.people_behind(asked) == len({profiles[one] for one in wanted if one in profiles})
