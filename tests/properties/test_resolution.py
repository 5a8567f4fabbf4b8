"""Laws of resolution, for any judgements whatever."""

from collections import Counter

from hypothesis import assume, given
from hypothesis import strategies as st

from identity.resolver import ANY_TYPE, Judgement, Kind, joins_two_of_a_kind, prevailing, resolve, uniting

TYPES = ("user_id", "email", "phone", "anonymous_id", "crm:id")
LIMITS = {"user_id": 1, "crm:id": 2, ANY_TYPE: 7}

identifiers = st.dictionaries(st.integers(1, 12), st.sampled_from(TYPES), min_size=2, max_size=12)


@st.composite
def ledgers(draw):
    types = draw(identifiers)
    pair = st.lists(st.sampled_from(sorted(types)), min_size=2, max_size=2, unique=True).map(sorted)
    judgement = st.builds(
        lambda ends, is_same, kind, weight: Judgement(*ends, is_same, kind, weight),
        pair, st.sampled_from([True, True, True, False]), st.sampled_from(Kind), st.sampled_from([1.0, 5.0, 30.0]),
    )  # fmt: skip
    return types, draw(st.lists(judgement, max_size=25))


@given(ledgers(), st.randoms(use_true_random=False))
def test_resolve__judgements_in_another_order__gives_the_same_people(ledger, random):
    types, judgements = ledger
    shuffled = random.sample(judgements, len(judgements))
    shuffled_types = dict(random.sample(list(types.items()), len(types)))

    assert resolve(shuffled_types, shuffled, LIMITS) == resolve(types, judgements, LIMITS)


@given(ledgers())
def test_resolve__the_same_judgements_twice__changes_nothing(ledger):
    types, judgements = ledger

    assert resolve(types, judgements * 2, LIMITS) == resolve(types, judgements, LIMITS)


@given(ledgers())
def test_not_same__whatever_else_is_said__is_never_crossed(ledger):
    types, judgements = ledger

    clusters = resolve(types, judgements, LIMITS).clusters

    apart = [one for one in prevailing(judgements) if not one.is_same]
    assert all(clusters[one.left] != clusters[one.right] for one in apart)


def says_two_are_one(judgement, types):
    return judgement.is_same and joins_two_of_a_kind(judgement, types)


@given(ledgers())
def test_limits__of_a_person__hold(ledger):
    types, judgements = ledger

    clusters = resolve(types, judgements, LIMITS).clusters

    counts = Counter((clusters[one], kind) for one, kind in types.items())
    sizes = Counter(clusters.values())
    doubled = Counter(clusters[one.left] for one in prevailing(judgements) if says_two_are_one(one, types))
    assert all(count <= LIMITS.get(kind, count) * (1 + doubled[person]) for (person, kind), count in counts.items())
    assert max(sizes.values()) <= LIMITS[ANY_TYPE]


@st.composite
def plain_ledgers(draw):
    """What was seen or said of records, without anything that a guard would refuse."""
    ends = st.lists(st.integers(1, 10), min_size=2, max_size=2, unique=True).map(sorted)
    kinds = st.sampled_from([Kind.DETERMINISTIC, Kind.STEWARD])
    judgement = st.builds(lambda pair, kind: Judgement(*pair, True, kind, 30.0), ends, kinds)
    return draw(st.lists(judgement, max_size=15))


@given(plain_ledgers(), st.data())
def test_merge__then_undone__restores_everybody(ledger, data):
    """Whichever of their identifiers the merge rests on, and whatever kind it is of."""
    types = dict.fromkeys(range(1, 11), "crm:id")
    before = resolve(types, ledger, {}).clusters
    left, right = data.draw(st.lists(st.sampled_from(range(1, 11)), min_size=2, max_size=2, unique=True))
    assume(before[left] != before[right])
    ends = [data.draw(st.sampled_from([one for one in types if before[one] == before[side]])) for side in (left, right)]
    merge = Judgement(*sorted(ends), True, data.draw(st.sampled_from([Kind.DETERMINISTIC, Kind.STEWARD])), 30.0)
    merged = [*ledger, merge]
    assert resolve(types, merged, {}).clusters[left] == resolve(types, merged, {}).clusters[right]

    retracted = uniting(merged, left, right)
    parted = Judgement(*sorted((left, right)), False, Kind.STEWARD, -40.0)
    kept = [one for place, one in enumerate(merged) if place not in retracted]

    assert resolve(types, [*kept, parted], {}).clusters == before


@given(plain_ledgers(), st.data())
def test_undo__of_any_two__parts_them(ledger, data):
    types = dict.fromkeys(range(1, 11), "crm:id")
    left, right = data.draw(st.lists(st.sampled_from(range(1, 11)), min_size=2, max_size=2, unique=True))

    retracted = uniting(ledger, left, right)
    after = resolve(types, [one for place, one in enumerate(ledger) if place not in retracted], {}).clusters

    assert after[left] != after[right]


@given(ledgers())
def test_person__is_named_after_the_oldest_identifier(ledger):
    types, judgements = ledger

    clusters = resolve(types, judgements, LIMITS).clusters

    assert clusters.keys() == types.keys()
    assert all(person == min(one for one in clusters if clusters[one] == person) for person in clusters.values())
