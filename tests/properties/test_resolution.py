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


# -- communities ----------------------------------------------------------------------------------------------------


@st.composite
def likenesses(draw, first=1, most=14):
    """Records of which some resemble each other, no two as much: then nothing but the weights can decide."""
    records = range(first, first + draw(st.integers(4, most)))
    pairs = [(left, right) for left in records for right in records if left < right]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, min_size=3, max_size=40))
    weights = draw(st.lists(st.integers(-20, 200), unique=True, min_size=len(chosen), max_size=len(chosen)))
    judged = [
        Judgement(*pair, True, Kind.PROBABILISTIC, weight / 8) for pair, weight in zip(chosen, weights, strict=True)
    ]
    return dict.fromkeys(records, "crm:id"), judged


def parts(clusters):
    members = {}
    for one, person in clusters.items():
        members.setdefault(person, set()).add(one)
    return {frozenset(each) for each in members.values()}


@given(likenesses(), st.randoms(use_true_random=False))
def test_communities__of_records_with_other_numbers__are_the_same(ledger, random):
    types, judgements = ledger
    new = dict(zip(types, random.sample(range(100, 900), len(types)), strict=True))
    renamed = [one._replace(left=min(new[one.left], new[one.right]), right=max(new[one.left], new[one.right]))
               for one in random.sample(judgements, len(judgements))]  # fmt: skip

    before = parts(resolve(types, judgements, {}).clusters)
    after = parts(resolve({new[one]: kind for one, kind in types.items()}, renamed, {}).clusters)

    assert after == {frozenset(new[one] for one in part) for part in before}


@given(likenesses(), likenesses(first=101), st.data())
def test_judgement__inside_one_cluster__changes_no_other(ledger, beside, data):
    types, judgements = {**ledger[0], **beside[0]}, [*ledger[1], *beside[1]]
    before = resolve(types, judgements, {})
    pair = data.draw(st.lists(st.sampled_from(sorted(ledger[0])), min_size=2, max_size=2, unique=True).map(sorted))
    more = Judgement(*pair, True, Kind.PROBABILISTIC, 11.11)

    after = resolve(types, [*judgements, more], {})

    assert {one: after.clusters[one] for one in beside[0]} == {one: before.clusters[one] for one in beside[0]}
    others = [one for one in before.refusals if one.left > 100]
    assert [one for one in after.refusals if one.left > 100] == others


@given(likenesses(), st.integers(2, 6))
def test_cluster__whatever_resembles_it__never_exceeds_its_limit(ledger, largest):
    types, judgements = ledger

    clusters = resolve(types, judgements, {ANY_TYPE: largest}).clusters

    assert max(Counter(clusters.values()).values()) <= largest


@given(likenesses(), st.data())
def test_refusals__of_records__say_between_whom_and_how_few(ledger, data):
    """Whoever was refused is apart, and whoever resembles another and is apart was refused."""
    types, judgements = ledger
    pair = data.draw(st.lists(st.sampled_from(sorted(types)), min_size=2, max_size=2, unique=True).map(sorted))
    apart = Judgement(*pair, False, Kind.STEWARD, -40.0)

    resolution = resolve(types, [*judgements, apart], {})

    prevail = [one for one in prevailing([*judgements, apart]) if one.is_same]
    torn = {(one.left, one.right) for one in prevail if resolution.clusters[one.left] != resolution.clusters[one.right]}
    assert {(one.left, one.right) for one in resolution.refusals} == torn
    for refusal in resolution.refusals:
        numbers = dict(refusal.evidence)
        assert numbers.get("pair", tuple(pair)) == tuple(pair)
        assert 0 < numbers.get("links", 1) < numbers.get("pairs", 2)
