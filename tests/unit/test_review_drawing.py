"""The two pictures of the desk: places and widths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.review.drawing import GRAPH_HEIGHT, GRAPH_WIDTH, TO_BEGIN_WITH, WIDTH, joined, placed, waterfall

WEIGHTS = st.dictionaries(st.text(min_size=1, max_size=5), st.floats(-40, 40), max_size=8)


def test_waterfall__goes_from_what_was_known_to_the_match_weight():
    bars = waterfall(3.0, {"city": -2.0, "surname": 10.0, "note": "text"})

    assert [(bar.name, bar.weight, bar.sum) for bar in bars] == [
        (TO_BEGIN_WITH, -5.0, -5.0), ("surname", 10.0, 5.0), ("city", -2.0, 3.0),
    ]  # fmt: skip
    assert [(bar.x, bar.width) for bar in bars] == [(0.0, 200.0), (0.0, 400.0), (320.0, 80.0)]


@given(st.floats(-60, 60), WEIGHTS)
def test_waterfall__always_ends_at_the_weight_and_stays_on_its_row(weight, evidence):
    bars = waterfall(weight, evidence)

    assert bars[-1].sum == pytest.approx(weight, abs=1e-9)
    assert all(bar.x >= -1e-6 and bar.x + bar.width <= WIDTH + 1e-6 for bar in bars)


@given(st.integers(1, 30), st.integers(1, 30))
def test_placed__of_any_two_people__stays_in_the_picture(left, right):
    members = [(n, "LEFT", "l") for n in range(left)] + [(100 + n, "RIGHT", "r") for n in range(right)]

    nodes = placed(members, (0, 100))

    assert len(nodes) == left + right
    assert all(0 <= node.x <= GRAPH_WIDTH and 0 <= node.y <= GRAPH_HEIGHT for node in nodes.values())
    assert {pk for pk, node in nodes.items() if node.is_asked} == {0, 100}


def test_joined__leaves_out_edges_to_who_is_not_shown():
    nodes = placed([(1, "LEFT", "a"), (2, "RIGHT", "b")], (1, 2))

    edges = joined(nodes, [(1, 2, True, 30.0, "STEWARD"), (1, 9, True, 30.0, "STEWARD")])

    assert [(edge.left.id, edge.right.id, edge.is_between) for edge in edges] == [(1, 2, True)]
