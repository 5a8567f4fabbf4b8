"""Learning from counted patterns: what was put in comes out, junk is set aside, and bad input ends in a word."""

import math

import duckdb
import numpy as np
import pytest

from identity.matching import dependence, engine, features, learning, training, weighing
from identity.matching.learning import Patterns

MATCHES = [np.array([0.9, 0.1]), np.array([0.8, 0.2]), np.array([0.7, 0.3])]
STRANGERS = [np.array([0.01, 0.99]), np.array([0.05, 0.95]), np.array([0.1, 0.9])]


def mixed(share, *, of=100_000):
    """Pairs as two independent classes give them, exactly."""
    places = np.array([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    of_class = [np.prod([one[places[:, c]] for c, one in enumerate(levels)], axis=0) for levels in (MATCHES, STRANGERS)]
    return Patterns(places, of * (share * of_class[0] + (1 - share) * of_class[1]), (2, 2, 2))


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5, 0.95])
def test_learn__pairs_of_two_classes__finds_them_again(share):
    learnt = learning.learn(mixed(share), STRANGERS, [0, 1, 2])

    assert learnt.has_converged
    assert learnt.share == pytest.approx(share, rel=0.05)
    for found, expected in zip(learnt.found, MATCHES, strict=True):
        assert found / found.sum() == pytest.approx(expected, abs=0.03)


def test_learn__too_few_rounds__is_told(monkeypatch):
    monkeypatch.setattr(learning, "ROUNDS", 2)

    assert not learning.learn(mixed(0.05), STRANGERS, [0, 1, 2]).has_converged


FAMILY_OF_MATCHES = [np.array([0.9, 0.1]), np.array([0.9, 0.1]), np.array([0.95, 0.05]), np.array([0.9, 0.1])]
FAMILY_OF_STRANGERS = [
    np.array([0.01, 0.99]),
    np.array([0.002, 0.998]),
    np.array([0.005, 0.995]),
    np.array([0.001, 0.999]),
]


OWN = {0: 0.02, 1: 0.02}  # as usual


def family_pairs(matches, relatives, *, alike=(0.01, 0.01), of=1_000_000):
    """Given name and birth date, which are a person's own, and surname and street, which a household shares. Of relatives
    some are `alike`: twins share a birth date, and a father and his son a name.
    """
    places = np.array([[i, j, k, m] for i in (0, 1) for j in (0, 1) for k in (0, 1) for m in (0, 1)])
    own = zip(alike, FAMILY_OF_STRANGERS, FAMILY_OF_MATCHES, strict=False)
    of_relatives = [(1 - share) * unlike + share * same for share, unlike, same in own]
    of_relatives += FAMILY_OF_MATCHES[len(alike) :]
    shares = (matches, relatives, 1 - matches - relatives)
    counts = sum(
        share * np.prod([one[places[:, c]] for c, one in enumerate(levels)], axis=0)
        for share, levels in zip(shares, (FAMILY_OF_MATCHES, of_relatives, FAMILY_OF_STRANGERS), strict=True)
    )
    return Patterns(places, of * counts, (2, 2, 2, 2))


def test_learn__more_pairs_of_relatives_than_of_one_person__learns_the_person():
    learnt = learning.learn(family_pairs(0.002, 0.02), FAMILY_OF_STRANGERS, [0, 1, 2, 3], own=OWN)

    assert learnt.share == pytest.approx(0.002, rel=0.05)
    assert learnt.related == pytest.approx(0.02, rel=0.05)
    assert learnt.found[0] / learnt.found[0].sum() == pytest.approx(FAMILY_OF_MATCHES[0], abs=0.03)


@pytest.mark.parametrize("alike", [0.0, 0.01, 0.02])
def test_learn__twins_as_many_as_is_usual_or_fewer__learns_the_person(alike):
    learnt = learning.learn(family_pairs(0.002, 0.02, alike=(alike, alike)), FAMILY_OF_STRANGERS, [0, 1, 2, 3], own=OWN)

    assert learnt.share == pytest.approx(0.002, rel=0.3)
    assert learnt.found[0] / learnt.found[0].sum() == pytest.approx(FAMILY_OF_MATCHES[0], abs=0.12)


@pytest.mark.parametrize("alike", [0.05, 0.3, 0.6])
def test_learn__a_fact_that_many_relatives_share__is_ones_own_as_far_as_they_do_not(alike):
    """As a mailbox: some families have one, in others everybody has their own."""
    pairs = family_pairs(0.01, 0.02, alike=(0.01, alike, 0.01))

    learnt = learning.learn(pairs, FAMILY_OF_STRANGERS, [0, 1, 2, 3], own={0: 0.02, 1: 0.3, 2: 0.02})

    assert learnt.alike[1] == pytest.approx(alike, abs=0.05)
    assert learnt.share == pytest.approx(0.01, rel=0.1)


def test_relatives__whatever_they_share__are_no_likelier_one_person_than_relatives_are():
    relatives = {"log_odds": -12.0, "alike": {"given_name": 0.01}}
    made = [{"output_column_name": name, "comparison_levels": []} for name in ("given_name", "street")]
    taken = weighing.relatives_sql({"comparisons": made, "relatives": relatives})

    def weighed(given, shared):
        said = f"SELECT {given}::DOUBLE AS mw_given_name, {shared}::DOUBLE AS mw_street"
        return duckdb.sql(f"SELECT mw_given_name + mw_street + {taken} FROM ({said})").fetchall()[0][0]

    of_relatives = [weighed(-4, shared) for shared in (0, 5, 12, 25, 60, 200)]
    of_one_person = [weighed(8, shared) for shared in (0, 5, 12, 25, 60, 200)]

    assert of_relatives == sorted(of_relatives)
    assert of_relatives[-1] == pytest.approx(12 - 4 - math.log2(0.99 + 0.01 * 2**-4))
    assert of_one_person[0] == pytest.approx(8, abs=0.01)
    assert of_one_person[-1] == pytest.approx(12 + 8 - math.log2(0.99 + 0.01 * 2**8))


def test_learn__without_a_fact_of_ones_own__knows_no_relatives():
    learnt = learning.learn(family_pairs(0.002, 0.02), FAMILY_OF_STRANGERS, [2, 3], own=OWN)

    assert learnt.related == 0
    assert learnt.share == pytest.approx(0.022, rel=0.05)


def strangers_of(places, counts, alone):
    """Random pairs that are all of strangers, and what they are looked at for."""
    patterns = Patterns(np.array(places), np.array(counts), (2,) * len(places[0]))
    return patterns, [dependence.Together(patterns, 1 / patterns.pairs)], np.array(alone), [1] * len(places[0])


def test_ties__of_a_column_and_its_copy__take_the_copy_back():
    seen = strangers_of(
        [[0, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1]], [100.0, 9_900.0, 100.0, 9_900.0], [0.01, 0.01, 0.5]
    )

    found = dependence.ties(*seen)

    assert [(tie.one, tie.other) for tie in found] == [(0, 1)]
    assert found[0].bits == pytest.approx(np.log2(100))


def test_ties__of_a_rare_coincidence__stand_behind_what_tells_most():
    """Twins share a birth date; but that two share a telephone is best told by their street."""
    phone_street_dob = [[0, 0, 0], [0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 1, 1]]
    seen = strangers_of(phone_street_dob, [40.0, 2_000.0, 200.0, 200.0, 60.0, 997_500.0], [0.00224, 0.00224, 0.0001])

    found = dependence.ties(*seen)

    assert found[0][:2] == (0, 1)
    assert len(found) == 2


def test_ties__that_random_pairs_are_too_few_for__are_looked_up_where_one_of_the_two_agrees():
    random, seen, alone, depths = strangers_of([[0, 0], [1, 1]], [2.0, 99_998.0], [0.00002, 0.00002])
    session = Patterns(np.array([[0, 0]]), np.array([2_000.0]), (2, 2))

    found = dependence.ties(random, [dependence.Together(session, 1e-8, 0), *seen], alone, depths)

    assert [round(tie.bits, 1) for tie in found] == [15.6]
    assert dependence.ties(random, seen, alone, depths) == []


@pytest.fixture
def duck():
    with engine.connect(memory_limit="512MB", threads=1) as connection:
        yield connection


def load(duck, records):
    engine.load(
        duck, [(place, None, *(one.get(trait) for trait in features.TRAITS)) for place, one in enumerate(records)]
    )


def crowd(size, **changes):
    """People of whom each has two records, with names that nobody else has."""
    one = [
        {
            "given_name": f"g{chr(97 + n % 26)}{n}", "surname": f"s{n}{chr(97 + n % 7)}", "email": f"u{n}@x.fr",
            "date_of_birth": f"19{n % 90 + 10}-{n % 12 + 1:02}-{n % 28 + 1:02}", "city": f"town{n % 40}",
        }
        for n in range(size // 2)
    ]  # fmt: skip
    return [{**person, **changes} for person in one for _ in range(2)]


def test_rules__one_junk_mailbox_on_many_records__loses_the_mailbox_and_not_the_rule(duck, monkeypatch):
    monkeypatch.setattr(training, "MOST_PAIRS_OF_SMALL_DATA", 1_000)
    monkeypatch.setattr(training, "PAIRS_PER_RECORD", 1)
    records = crowd(2_000)
    for one in records[:600]:
        one["email"] = "a@b.fr"
    load(duck, records)

    rules, set_aside = training.chosen_rules(duck, [("email",)], len(records))

    assert [training.pairs_made_by(duck, rule) for rule in rules] == [700]
    assert set_aside == [{"rule": "email", "pairs": 600 * 599 // 2 + 700, "values": 1}]


def test_rules__a_birthday_that_all_share__is_no_rule(duck):
    load(duck, crowd(2_000, date_of_birth="1970-01-01"))

    rules, set_aside = training.chosen_rules(duck, [("dob",), ("email",)], 2_000)

    assert rules == [("email",)]
    assert [one["rule"] for one in set_aside] == ["dob"]


def test_train__columns_that_say_nothing__are_left_out_and_the_rest_learns(duck):
    load(duck, crowd(400, city="Paris", phone=None))

    model = training.train(duck)

    assert "city" not in model.metadata["columns"]
    assert "phone" not in model.metadata["columns"]
    assert model.metadata["unconverged"] == []


def test_train__twice__gives_the_same_model(duck):
    load(duck, crowd(400))

    first, again = training.train(duck), training.train(duck)

    assert first.settings == again.settings


def test_train__nothing_in_common__says_so(duck):
    load(duck, [{"given_name": f"g{n}", "surname": f"s{n}"} for n in range(50)])

    with pytest.raises(training.TooLittleToLearnError):
        training.train(duck)


def test_unusable_values__placeholders_and_role_mailboxes__are_counted(duck):
    load(duck, [{"email": "info@x.fr", "surname": "N/A"}, {"email": "ada@x.fr", "surname": "King"}])

    assert features.unusable_values(duck) == {"surname": 1, "email": 1}
