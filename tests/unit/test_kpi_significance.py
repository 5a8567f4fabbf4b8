"""When a figure strays: both tests, and how often they are wrong when nothing happened."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segments.kpis.significance import adjusted, compare_shares, compare_values

FLAT = [(50, 1_000)] * 6


def test_share__that_doubled__strays():
    found = compare_shares(100, 1_000, FLAT)

    # By hand: pooled 400/7000, z = 0.05 / sqrt(p q (1/1000 + 1/6000))
    pooled = 400 / 7_000
    z = 0.05 / math.sqrt(pooled * (1 - pooled) * (1 / 1_000 + 1 / 6_000))
    assert found.expected == 0.05
    assert found.p == pytest.approx(math.erfc(z / math.sqrt(2)))


@pytest.mark.parametrize(
    ("numerator", "denominator", "past"),
    [(1, 10, FLAT), (0, 0, FLAT), (50, 1_000, FLAT[:3]), (0, 1_000, [(0, 1_000)] * 6)],
    ids=["few people", "nobody", "few periods", "never"],
)
def test_share__of_which_too_little_is_known__is_not_tested(numerator, denominator, past):
    assert compare_shares(numerator, denominator, past) is None


def test_value__beyond_the_limits__strays_and_within_does_not():
    past = [100, 104, 98, 101, 97, 103, 99, 102, 100, 96, 105, 100]

    assert compare_values(160, past, is_count=False).p < 0.001
    assert compare_values(103, past, is_count=False).p > 0.2
    assert compare_values(103, past, is_count=False).expected == 100


def test_count__that_never_moved__may_move_by_chance():
    assert compare_values(112, [100] * 12, is_count=True).p > 0.2
    assert compare_values(200, [100] * 12, is_count=True).p < 0.001
    assert compare_values(5, [5] * 3, is_count=True) is None


def test_money__that_never_moved__strays_when_it_does():
    assert compare_values(100, [100] * 12, is_count=False).p == 1
    assert compare_values(150, [100] * 12, is_count=False).p < 0.001


def test_adjusted__is_that_of_benjamini_and_hochberg():
    assert adjusted([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert adjusted([]) == []


@given(st.lists(st.floats(0, 1), max_size=50))
def test_adjusted__always__keeps_the_order_and_never_shrinks(probabilities):
    found = adjusted(probabilities)

    assert all(p <= q <= 1 for p, q in zip(probabilities, found, strict=True))
    by_p = [q for _, q in sorted(zip(probabilities, found, strict=True))]
    assert by_p == sorted(by_p)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32), periods=st.sampled_from([4, 6, 12, 24]), level=st.floats(0.1, 1_000))
def test_control_limits__on_quiet_series__are_wrong_as_often_as_they_say(seed, periods, level):
    drawn = np.random.default_rng(seed).normal(10 * level, level, (2_000, periods + 1))

    alarms = [compare_values(row[-1], row[:-1], is_count=False).p <= 0.05 for row in drawn]

    # 5 % of 2,000 is 100; five standard deviations of that are 49.
    assert 51 <= sum(alarms) <= 149


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.floats(0.05, 0.9), people=st.integers(200, 5_000))
def test_proportions__of_the_same_share__are_wrong_as_often_as_they_say(seed, share, people):
    drawn = np.random.default_rng(seed).binomial(people, share, (2_000, 9))

    alarms = [compare_shares(row[0], people, [(one, people) for one in row[1:]]).p <= 0.05 for row in drawn]

    assert 45 <= sum(alarms) <= 155


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_look__at_many_quiet_figures__alarms_in_a_share_of_looks_that_is_the_significance(seed):
    """Forty figures a look, 500 looks: with nothing to find, every look that alarms is false."""
    random_ = random.Random(seed)
    looks = [[random_.random() for _ in range(40)] for _ in range(500)]

    false = sum(min(adjusted(probabilities)) <= 0.05 for probabilities in looks)

    # 5 % of 500 is 25; five standard deviations of that are 25.
    assert 0 <= false <= 50
