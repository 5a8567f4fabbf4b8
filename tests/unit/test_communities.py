"""Loosely tied records part into people, whatever the density of their links."""

import itertools
import random

import pytest

from identity.matching.accuracy import pairwise
from identity.matching.communities import Bridge, Link, bridges, communities, probability
from identity.resolver import ANY_TYPE, Judgement, Kind, resolve


def clique(*records, weight=10.0):
    return [Link(left, right, weight) for left, right in itertools.combinations(records, 2)]


def is_one_family(one, other):
    return one != other and one // 4 == other // 4


def families(*, people, records, linked, confused, seed):
    """Families of four, whose members' records are linked now and then, more weakly. → true person by record, links."""
    randomly = random.Random(seed)
    truth = {person * 100 + number: person for person in range(people) for number in range(records)}
    links = []
    for left, right in itertools.combinations(truth, 2):
        if truth[left] == truth[right] and randomly.random() < linked:
            links.append(Link(left, right, randomly.uniform(1, 25)))
        elif is_one_family(truth[left], truth[right]) and randomly.random() < confused:
            links.append(Link(left, right, min(20.0, randomly.expovariate(0.3))))
    return truth, links


@pytest.mark.parametrize("linked", [0.3, 0.5, 0.8])
def test_communities__of_confusable_families__are_the_people_whatever_the_density(linked):
    """Twenty records a person. Connected components make one person of each family, at a precision of a quarter."""
    truth, links = families(people=20, records=20, linked=linked, confused=0.02, seed=5)
    judgements = [Judgement(*link[:2], True, Kind.PROBABILISTIC, link.weight) for link in links]

    clusters = resolve(dict.fromkeys(truth, "crm:id"), judgements, {ANY_TYPE: 500}).clusters

    entities = {record: str(person) for record, person in truth.items()}
    found = pairwise(clusters, entities)
    assert found.precision > 0.98
    assert found.recall > 0.98


def test_communities__without_a_cut_that_explains_more__stay_one():
    assert set(communities([Link(1, 2, 5), Link(2, 3, 5)]).values()) == {0}
    assert set(communities(clique(1, 2, 3, 4, 5, 6)[1:]).values()) == {0}


def test_communities__held_together_by_one_link__part():
    links = [*clique(1, 2, 3, 4), *clique(5, 6, 7, 8), Link(4, 5, 3)]

    found = communities(links)

    assert {found[one] for one in (1, 2, 3, 4)}.isdisjoint(found[one] for one in (5, 6, 7, 8))
    assert bridges(links, found) == {(0, 1): Bridge(links=1, pairs=16, within=1.0)}


def test_communities__beyond_the_largest_size__part_where_the_ties_are_fewest():
    links = [*clique(1, 2, 3, 4), *clique(5, 6, 7, 8), *(Link(one, one + 4, 9) for one in (1, 2, 3, 4))]

    found = communities(links, largest=4)

    assert [len({found[one] for one in side}) for side in ((1, 2, 3, 4), (5, 6, 7, 8))] == [1, 1]
    assert found[1] != found[5]


@pytest.mark.parametrize(("weight", "chance"), [(0, 0.5), (1, 2 / 3), (-1, 1 / 3), (5000, 1.0), (-5000, 0.0)])
def test_probability__of_odds__is_between_none_and_one(weight, chance):
    assert probability(weight) == pytest.approx(chance)
