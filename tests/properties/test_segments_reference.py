"""The reference itself: what it says changes when it says so, and not before; and each kind of condition by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segments.language import parse_text
from segments.language.ranks import Threshold, rounded
from segments.language.reference import Fact, Facts, evaluate, is_in, next_change, threshold
from segments.language.tree import Count, Measured, Property, Rank, Top
from tests.factories.rules import leaves, offsets_from, persons_about, starts, trees

NOW = datetime(2026, 3, 28, 12, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def known_of(start, person):
    return Facts(
        traits=person["traits"],
        events=[Fact(name, start + offset, said, *key) for name, offset, said, key in person["events"]],
        groups=person["groups"],
        scores=person["scores"],
    )


worlds = starts.flatmap(
    lambda start: st.tuples(
        st.builds(known_of, st.just(start), persons_about(start)), trees(leaves(start=start)),
        offsets_from(start).map(lambda offset: start + offset), st.lists(offsets_from(start), max_size=5),
    )
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(worlds)
def test_reference__from_now_to_the_next_change__says_the_same(world):
    facts, tree, now, offsets = world
    answer, change = evaluate(tree, facts, now)

    later = [now + abs(offset) for offset in offsets]
    assert {is_in(tree, facts, at) for at in later if change is None or at < change} <= {answer}
    if change is not None:
        assert change > now
        assert is_in(tree, facts, change) is not answer
        assert is_in(tree, facts, max(now, change - MOMENT)) is answer


def happened(*named_offsets):
    return Facts(
        events=[
            Fact(name, NOW + offset, said, 1, str(place)) for place, (name, offset, said) in enumerate(named_offsets)
        ],
        traits={"timezone": "Europe/Paris"},
    )


@pytest.mark.parametrize(
    ("rule", "facts", "expected"),
    [
        ('done "A" then "B" within 1 hour', happened(("A", -DAY, {}), ("B", HOUR - DAY - MOMENT, {})), True),
        ('done "A" then "B" within 1 hour', happened(("A", -DAY, {}), ("B", HOUR - DAY, {})), False),
        ('done "A" then "B"', happened(("A", -DAY, {}), ("B", -DAY, {})), False),
        ('done "A" then "A"', happened(("A", -DAY, {}), ("A", -HOUR, {})), True),
        ('done "A" then not "B" within 1 hour', happened(("A", -HOUR, {})), True),
        ('done "A" then not "B" within 1 hour', happened(("A", MOMENT - HOUR, {})), False),
        ('done "A" then not "B" within 1 hour', happened(("A", -HOUR, {}), ("B", -MOMENT, {})), False),
        ('days since last "A" >= 1', happened(("A", -DAY, {})), True),
        ('days since last "A" >= 1', happened(("A", MOMENT - DAY, {})), False),
        ('days since last "A" >= 0', happened(), False),
        ('average "x" of "A" = 1.5', happened(("A", -DAY, {"x": 1}), ("A", -HOUR, {"x": Decimal("2.0")})), True),
        ('distinct "x" of "A" = 2', happened(("A", -DAY, {"x": 1}), ("A", -DAY, {"x": Decimal("1.0")}),
                                             ("A", -DAY, {"x": "1"})), True),
        ('last "x" of "A" = 2', happened(("A", -DAY, {"x": 2}), ("A", -HOUR, {"x": None})), True),
        ('most frequent "x" of "A" = 3', happened(("A", -DAY, {"x": 3}), ("A", -HOUR, {"x": 20})), False),
        ('most frequent "x" of "A" = 20', happened(("A", -DAY, {"x": 3}), ("A", -HOUR, {"x": 20})), True),
        ('done "A" today', happened(("A", timedelta(hours=-13), {})), True),  # 23:00 in UTC is midnight in Paris
        ('done "A" today', happened(("A", timedelta(hours=-13) - MOMENT, {})), False),
    ],
)  # fmt: skip
def test_reference__of_what_happened__says_what_the_words_mean(rule, facts, expected):
    assert is_in(parse_text(rule), facts, NOW) is expected


def test_reference__of_an_absence__tells_when_it_comes_true():
    facts = happened(("A", -MOMENT, {}))

    assert next_change(parse_text('done "A" then not "B" within 1 hour'), facts, NOW) == NOW + HOUR - MOMENT


@pytest.mark.parametrize(
    ("top", "is_lowest", "value", "profile"),
    [
        (Top(Decimal(1)), False, Decimal(3), 2),
        (Top(Decimal(2)), False, Decimal(3), 4),
        (Top(Decimal(9)), False, Decimal(1), 1),
        (Top(Decimal(1)), True, Decimal(1), 1),
        (Top(Decimal(26), is_percent=True), False, Decimal(3), None),  # 26 % of 4 are 2
        (Top(Decimal(75), is_percent=True), False, Decimal(2), None),
    ],
)
def test_threshold__is_that_of_the_last_one_inside(top, is_lowest, value, profile):
    ages = {1: 1, 2: 3, 3: 2, 4: 3, 5: None, 6: "3"}
    population = [Facts(traits={"age": age}, profile_id=profile) for profile, age in ages.items()]

    assert threshold(Rank(Property("age"), top, is_lowest), population, NOW) == Threshold(value, profile, NOW)


def test_threshold__of_events_that_nobody_has__lets_nobody_in():
    rank = Rank(Measured("A", Count()), Top(Decimal(100), is_percent=True))

    assert threshold(rank, [Facts(profile_id=1)], NOW) == Threshold(None, None, NOW)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Fraction(1, 3), "0.333333333"), (Fraction(2, 3), "0.666666667"), (Fraction(-2, 3), "-0.666666667"),
        (Fraction(5, 10**10), "0.000000001"), (Fraction(-5, 10**10), "-0.000000001"),
        (Fraction(10**25 + 1), "10000000000000000000000001"),
    ],
)  # fmt: skip
def test_rounded__goes_away_from_zero_at_a_half(value, expected):
    assert rounded(value) == Decimal(expected)
