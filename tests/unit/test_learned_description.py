"""Groups in words."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segments.learned import description


def described(*groups):
    """`groups` are (how many, recency, frequency, money)."""
    values = np.concatenate([np.tile([row], (count, 1)) for count, *row in groups]).astype(float)
    labels = np.repeat(np.arange(len(groups)), [count for count, *_ in groups])
    return description.describe(values, labels)


def test_describe__of_loyal_new_and_passing_customers__says_so_in_both_languages():
    loyal, new, passing = described((30, 12, 9, 340), (30, 3, 1, 25.5), (60, 400, 1, 8.25))

    assert (loyal.group, loyal.name.en, loyal.name.fr, loyal.size) == ("loyal", "Loyal", "Fidèles", 30)
    assert loyal.medians == (12, 9, 340)
    assert loyal.words.en == "Loyal: typically bought 9 times, last 12 days ago, spent 340 in all"
    assert loyal.words.fr == (
        "Fidèles : ont acheté 9 fois, la dernière il y a 12 jours, et dépensé 340 en tout (valeurs médianes)"
    )
    assert (new.group, new.words.en) == ("new", "New: typically bought once, last 3 days ago, spent 26 in all")
    assert passing.group == "came-and-went"
    assert passing.words.fr == (
        "De passage : ont acheté une fois, la dernière il y a 400 jours, et dépensé 8,25 en tout (valeurs médianes)"
    )


def test_describe__of_two_groups_of_one_name__tells_them_apart_by_what_differs_most():
    more, less = described((50, 400, 1, 900), (50, 400, 1, 10))

    assert (more.group, less.group) == ("not-back-yet-1", "not-back-yet-2")
    assert more.name.en == "Not back yet, spending more"
    assert less.name.fr == "Pas encore revenus, dépensant moins"


def test_describe__of_groups_that_differ_in_nothing__numbers_the_last_of_them():
    found = described(*[(10, 400, 1, 9)] * 5)

    assert [group.group for group in found] == [f"not-back-yet-{number}" for number in range(1, 6)]
    assert [group.name.en for group in found if group.name.en.endswith(")")] == [
        "Not back yet, not seen lately, buying more often, spending more (1)",
        "Not back yet, not seen lately, buying more often, spending more (2)",
    ]


def test_describe__of_a_single_day__reads_well():
    (group,) = described((5, 1, 2, 1234567))

    assert group.words.en.endswith("bought twice, last 1 day ago, spent 1,234,567 in all")
    assert "il y a 1 jour, et dépensé 1\N{NO-BREAK SPACE}234\N{NO-BREAK SPACE}567 en tout" in group.words.fr


features = st.tuples(st.integers(1, 40), st.floats(0, 2000), st.integers(1, 90), st.floats(0, 1e6))


@settings(max_examples=60, deadline=None)
@given(st.lists(features, min_size=1, max_size=12))
def test_describe__of_any_groups__gives_distinct_names_that_fit_their_column(groups):
    found = described(*groups)

    assert len({group.group for group in found}) == len(groups)
    assert len({group.name.en for group in found}) == len({group.name.fr for group in found}) == len(groups)
    assert all(0 < len(group.group) <= 64 for group in found)
    assert [group.size for group in found] == [count for count, *_ in groups]
