"""A load remembers whom it met, and is never wrong about anybody."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from cdp.ingestion import acquaintances
from cdp.ingestion.acquaintances import Acquaintances, Table, names_of_pairs

VALUES = st.lists(st.text(max_size=3), max_size=8)
STEPS = st.lists(st.tuples(st.booleans(), VALUES), max_size=20)


def names_of(values):
    return acquaintances.names_of(pa.array(values, pa.string()))


def numbers(*values):
    return np.array(values, np.int64)


@given(steps=STEPS, slots=st.sampled_from([16, 64, 1024]))
def test_table__whatever_is_put_and_asked__knows_what_was_put_last_or_nothing(steps, slots):
    """It forgets where it is full, and never mistakes one for another, however many meet in one slot."""
    table, put = Table(slots), {}
    for number, (is_asked, values) in enumerate(steps, start=1):
        if is_asked:
            found = dict(zip(values, table.find(names_of(values)).tolist(), strict=True))
            assert all(key in {0, put.get(value, 0)} for value, key in found.items())
            assert slots < 1024 or found == {value: put.get(value, 0) for value in values}
        else:
            table.put(names_of(values), numbers(*range(number, number + len(values))))
            put.update(zip(values, range(number, number + len(values)), strict=True))


def test_table__that_is_full__begins_anew():
    table, names = Table(16), names_of([str(number) for number in range(100)])
    for place in range(100):
        table.put((names[0][place : place + 1], names[1][place : place + 1]), numbers(place + 1))

    known = table.find(names)

    assert 0 < np.count_nonzero(known) <= 16
    assert known[99] == 100


def test_acquaintances__after_an_erasure__are_strangers():
    known, ada, pair = Acquaintances(), names_of(["ada@example.com"]), names_of_pairs(numbers(1), numbers(2))
    known.forget_if_after(7)
    known.ids["email"].put(ada, numbers(1))
    known.pairs.put(pair, numbers(5))

    known.forget_if_after(7)
    before = known.ids["email"].find(ada).tolist(), known.pairs.find(pair).tolist()
    known.forget_if_after(8)

    assert before == ([1], [5])
    assert known.ids["email"].find(ada).tolist() == known.pairs.find(pair).tolist() == [0]


@given(values=st.lists(st.text(), unique=True, max_size=50))
def test_names__of_different_values__differ(values):
    assert len(set(zip(*(part.tolist() for part in names_of(values)), strict=True))) == len(values)


@given(values=st.lists(st.text(), min_size=2, max_size=50), first=st.integers(0, 2))
def test_names__of_a_part_of_a_column__are_those_of_its_values(values, first):
    part = pa.array(values, pa.string()).slice(first)

    assert [one.tolist() for one in acquaintances.names_of(part)] == [one.tolist() for one in names_of(values[first:])]
