"""What a glance decides is what the resolver decides, for any judgements whatever; all else it calls doubtful."""

import numpy as np
from hypothesis import event, given
from hypothesis import strategies as st

from identity import glance
from identity.resolver import ANY_TYPE, SHARED_AFTER, Judgement, Kind, resolve

TYPES = ("user_id", "email", "phone", "anonymous_id", "crm:id")
LIMITS = {"user_id": 1, "crm:id": 3, ANY_TYPE: 7, SHARED_AFTER: 4}


@st.composite
def crowds(draw):
    """(identifier → type, identifier → profile, judgements): mostly what record linkage found, as in a batch."""
    types = draw(st.dictionaries(st.integers(1, 40), st.sampled_from(TYPES), min_size=2, max_size=30))
    profiles = {one: draw(st.sampled_from([one, one, min(types)])) for one in types}
    pair = st.lists(st.sampled_from(sorted(types)), min_size=2, max_size=2, unique=True).map(sorted)
    judgement = st.builds(
        lambda ends, is_same, kind, weight: Judgement(*ends, is_same, kind, weight),
        pair, st.sampled_from([True] * 9 + [False]),
        st.sampled_from([Kind.PROBABILISTIC] * 3 + [Kind.DETERMINISTIC, Kind.STEWARD]),
        st.sampled_from([1.0, 5.0, 30.0]),
    )  # fmt: skip
    return types, profiles, draw(st.lists(judgement, max_size=30))


def crowd_of(types, profiles, judgements, parting=()):
    ids = np.array(sorted(types))
    ends, parted = (
        np.searchsorted(ids, np.array([one[:2] for one in some], dtype=np.int64).reshape(-1, 2))
        for some in (judgements, parting)
    )
    return glance.Crowd(
        ids=ids,
        kinds=np.array([TYPES.index(types[one]) for one in ids]),
        types=TYPES,
        profiles=np.array([profiles[one] for one in ids]),
        left=ends[:, 0],
        right=ends[:, 1],
        is_same=np.array([one.is_same for one in judgements], dtype=bool),
        judged_by=np.array([tuple(Kind).index(one.kind) for one in judgements], dtype=np.int64),
        parting=(parted[:, 0], parted[:, 1]),
    )


@given(crowds())
def test_glance__where_nothing_is_doubtful__sees_what_the_resolver_finds(known):
    types, profiles, judgements = known

    seen = glance.look_at(crowd_of(types, profiles, judgements), LIMITS)

    found = resolve(types, judgements, LIMITS)
    refused = {end for one in found.refusals for end in (one.left, one.right)}
    sure = [place for place, is_doubtful in enumerate(seen.is_doubtful) if not is_doubtful]
    ids = sorted(types)
    event(f"sure of {len(sure) * 4 // len(ids)} quarters")
    assert {ids[place]: int(seen.people[place]) for place in sure} == {
        ids[place]: found.clusters[ids[place]] for place in sure
    }
    assert refused.isdisjoint(ids[place] for place in sure)


@given(crowds())
def test_glance__whom_judgements_or_profiles_connect__are_one_neighbourhood(known):
    types, profiles, judgements = known

    seen = glance.look_at(crowd_of(types, profiles, judgements), LIMITS)

    number = dict(zip(sorted(types), zip(seen.neighbourhoods, seen.is_doubtful, strict=True), strict=True))
    assert all(number[one.left] == number[one.right] for one in judgements if one.is_same)
    assert all(number[one] == number[other] for one in types for other in types if profiles[one] == profiles[other])


@given(crowds(), st.data())
def test_glance__whom_a_judgement_connected_until_now__are_neighbours_and_not_one_person_for_it(known, data):
    types, profiles, judgements = known
    counts = data.draw(st.lists(st.booleans(), min_size=len(judgements), max_size=len(judgements)))
    standing, parting = (
        [one for one, is_so in zip(judgements, counts, strict=True) if is_so is so] for so in (True, False)
    )

    seen = glance.look_at(crowd_of(types, profiles, standing, parting), LIMITS)

    number = dict(zip(sorted(types), seen.neighbourhoods, strict=True))
    assert all(number[one.left] == number[one.right] for one in parting)
    assert seen.people.tolist() == glance.look_at(crowd_of(types, profiles, standing), LIMITS).people.tolist()


@given(crowds(), st.integers(2, 5), st.data())
def test_shares__of_some_neighbourhoods__are_all_of_each_and_of_no_other(known, count, data):
    seen = glance.look_at(crowd_of(*known), LIMITS)
    some = data.draw(st.sets(st.sampled_from(sorted(set(seen.neighbourhoods.tolist()))), min_size=1))
    chosen = np.isin(seen.neighbourhoods, list(some))

    shares = glance.shares(seen, chosen, count)

    assert len(shares) == count
    assert np.array_equal(np.sum(shares, axis=0), chosen)
    assert all(len({tuple(row) for row in np.array(shares).T[seen.neighbourhoods == one]}) == 1 for one in some)


def test_shares__of_many_of_one_size__are_of_one_size():
    types = dict.fromkeys(range(1, 401), "crm:id")
    alike = [Judgement(one, one + 1, True, Kind.PROBABILISTIC, 9.0) for one in range(1, 401, 2)]
    seen = glance.look_at(crowd_of(types, {one: one for one in types}, alike), LIMITS)

    shares = glance.shares(seen, np.ones(400, dtype=bool), 4)

    assert [int(share.sum()) for share in shares] == [100, 100, 100, 100]


@given(crowds(), st.sampled_from(TYPES))
def test_glance__on_a_type_that_is_limited_in_time__is_always_doubtful(known, kind):
    types, profiles, judgements = known

    seen = glance.look_at(crowd_of(types, profiles, judgements), LIMITS, windowed={kind})

    ids = sorted(types)
    assert all(seen.is_doubtful[place] for place, one in enumerate(ids) if types[one] == kind)


def test_glance__at_pairs_and_triples_that_resemble_each_other__is_sure_of_them():
    types = dict.fromkeys(range(1, 7), "crm:id")
    alike = [Judgement(*ends, True, Kind.PROBABILISTIC, 9.0) for ends in ((1, 2), (3, 4), (4, 5))]

    seen = glance.look_at(crowd_of(types, {one: one for one in types}, alike), LIMITS)

    assert not seen.is_doubtful.any()
    assert seen.people.tolist() == [1, 1, 3, 3, 3, 6]
