"""Cleaning, recognising columns, accuracy, thresholds: the parts of matching that need no training."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from identity.matching import accuracy, columns, engine, features, thresholds


@pytest.fixture
def duck():
    with engine.connect(memory_limit="256MB", threads=1) as connection:
        yield connection


def cleaned(duck, *records):
    rows = [(place, None, *(record.get(trait) for trait in features.TRAITS)) for place, record in enumerate(records)]
    engine.load(duck, rows)
    relation = duck.execute("SELECT * FROM record ORDER BY unique_id")
    names = [column[0] for column in relation.description]
    return [dict(zip(names, row, strict=True)) for row in relation.fetchall()]


@pytest.mark.parametrize(
    ("trait", "given", "column", "expected"),
    [
        ("given_name", "  Éloïse-Marie ", "given_name", "eloise marie"),
        ("given_name", "unknown", "given_name", None),
        ("surname", "N/A", "surname", None),
        ("surname", "Иванова", "surname", "ivanova"),
        ("surname", "Παπαδόπουλος", "surname", "papadopoylos"),
        ("surname", "Großmann", "surname", "grossmann"),
        ("surname", "王", "surname", "王"),
        ("surname", "Dobbins Senior", "generation", "sr"),
        ("name_suffix", "Jr.", "generation", "jr"),
        ("age", " 42.0", "age", "42"),
        ("age", "999", "age", None),
        ("name_suffix", "PhD", "generation", None),
        ("surname", "Dobbins Senior", "surname", "dobbins"),
        ("native_name", "ВАСИЛЬЕВ, Александр", "given_name", "aleksandr"),
        ("other_surname", "Née-Durand", "other_surname", "nee durand"),
        ("passport", "12 AB-34567", "passport", "12ab34567"),
        ("driving_licence", "000000", "driving_licence", None),
        ("employer", "Acme S.A.R.L.", "employer", "acme"),
        ("record_type", "PERSON", "kind", "person"),
        ("record_type", "Organization", "kind", "organisation"),
        ("organisation", "Acme", "kind", "organisation"),
        ("surname", "Lovelace", "kind", "person"),
        ("email", "Ada Lovelace <Ada@Example.com>", "email", "ada@example.com"),
        ("date_of_birth", "24-May-11", "dob", "20110524"),
        ("date_of_birth", "3. Dezember 1980", "dob", "19801203"),
        ("full_name", "Ada King Lovelace", "given_name", "ada"),
        ("full_name", "Ada King Lovelace", "surname", "lovelace"),
        ("date_of_birth", "19081209", "dob", "19081209"),
        ("date_of_birth", "1908-12-09", "dob", "19081209"),
        ("date_of_birth", "9/12/1908", "dob", "19081209"),
        ("date_of_birth", "yesterday", "dob", None),
        ("email", " Ada@Example.COM ", "email", "ada@example.com"),
        ("email", "info@example.com", "email", None),
        ("email", "ada at example", "email", None),
        ("phone", "+33 6 12 34 56 78", "phone", "612345678"),
        ("phone", "12", "phone", None),
        ("street", "12 bis Rue de la Paix", "house_number", "12"),
        ("street", "12 Rue de la Paix", "street_name", "rue de la paix"),
        ("postcode", "SW1A 1AA", "postcode", "sw1a1aa"),
        ("organisation", "The Acme Co. Ltd", "organisation", "acme"),
        ("organisation", "Limited", "organisation", "limited"),
        ("website", "https://www.Example.com/shop", "website", "example.com"),
    ],
)
def test_clean__of_a_value__is_what_can_be_compared(duck, trait, given, column, expected):
    assert cleaned(duck, {trait: given})[0][column] == expected


@pytest.mark.parametrize(
    ("mailbox", "given", "family", "expected"),
    [
        ("ada.lovelace", "Ada", "Lovelace", True),
        ("lovelace-ada", "Ada", "Lovelace", True),
        ("a.lovelace", "Ada", "Lovelace", True),
        ("mario.de.la.cruz", "Mario", "de la Cruz", True),
        ("ada", "Ada", "Lovelace", True),
        ("ada.lovelace", None, "Lovelace", False),
        ("ada.lovelace", None, None, False),
        ("ada.lovelace1815", "Ada", "Lovelace", False),
        ("ada.lovelcae", "Ada", "Lovelace", False),
        ("countess", "Ada", "Lovelace", False),
    ],
)
def test_mailbox__of_its_owners_names_alone__says_nothing_beyond_them(duck, mailbox, given, family, expected):
    cleaned(duck, {"email": f"{mailbox}@example.com", "given_name": given, "surname": family})

    told = duck.execute("SELECT is_made_of_names(email_name, given_name, surname) FROM record").fetchall()

    assert told == [(expected,)]


def test_clean__dates_with_a_month_first__are_told_by_the_others(duck):
    found = cleaned(duck, {"date_of_birth": "12/31/1908"}, {"date_of_birth": "02/03/1910"})

    assert [record["dob"] for record in found] == ["19081231", "19100203"]


@pytest.mark.parametrize(
    ("said", "other", "expected"),
    [
        ("06071981", "12311908", "19810607"),
        ("06071981", "31121908", "19810706"),
        ("06071981", "12/31/1908", "19810607"),
        ("19191204", "12311908", "19191204"),
    ],
)
def test_clean__dates_without_gaps__are_read_in_the_order_of_the_others(duck, said, other, expected):
    found = cleaned(duck, {"date_of_birth": said}, {"date_of_birth": other})

    assert found[0]["dob"] == expected


@pytest.mark.parametrize(
    ("parts", "dob", "year"),
    [
        (("1967", "9", "27"), "19670927", "1967"),
        (("67", "09", "27"), "19670927", "1967"),
        (("1967.0", "9.0", "5.0"), "19670905", "1967"),
        (("1967", "septembre", "27"), "19670927", "1967"),
        (("1967", "Sep", "1"), "19670901", "1967"),
        (("1967", "NA", "27"), None, "1967"),
        (("1967", None, None), None, "1967"),
        ((None, "9", "27"), None, None),
    ],
)
def test_clean__a_date_in_three_columns__is_put_together(duck, parts, dob, year):
    given = dict(zip(("birth_year", "birth_month", "birth_day"), parts, strict=True))

    (found,) = cleaned(duck, given)

    assert (found["dob"], found["birth_year"]) == (dob, year)


def test_clean__a_whole_date_beside_its_parts__is_believed(duck):
    (found,) = cleaned(
        duck, {"date_of_birth": "1967-09-27", "birth_year": "1976", "birth_month": "1", "birth_day": "2"}
    )

    assert found["dob"] == "19670927"


def test_clean__twice__gives_the_same(duck):
    first = cleaned(duck, {"given_name": "Éloïse", "street": "12 Rue X", "organisation": "Acme Ltd"})[0]

    again = cleaned(duck, {name: first[name] for name in ("given_name", "street", "organisation")})[0]

    assert again == first


SAID = ("12 rue Pasteur, 69007 Lyon", "Ada Lovelace", "SARL Durand", "1976-01-02", "ada@example.org", "n/a", "7")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(features.TRAITS), st.sampled_from(SAID)))
def test_clean__told_which_traits_there_are__makes_the_same_records(duck, said):
    of_all = cleaned(duck, said)

    features.clean(duck, given=said.keys())

    assert [tuple(one.values()) for one in of_all] == duck.execute("SELECT * FROM record").fetchall()


def test_recognise__by_name__knows_the_common_ones():
    names = [
        "rec_id",
        " given_name",
        "Last Name",
        "dob",
        "emailAddress",
        "zip",
        "suburb",
        "address_1",
        "soc_sec_id",
        "entity",
    ]

    found = columns.recognise(names, [], excluded={"rec_id", "entity"})

    assert found == {
        "given_name": " given_name", "surname": "Last Name", "date_of_birth": "dob", "email": "emailAddress",
        "postcode": "zip", "city": "suburb", "street": "address_1", "national_id": "soc_sec_id",
    }  # fmt: skip


def test_recognise__by_contents__where_the_name_says_nothing():
    sample = [
        {"a": "ada@x.fr", "b": "1815-12-10", "c": "+44 20 7946 0000", "d": "www.x.fr", "e": "blue"},
        {"a": "bob@x.fr", "b": "1900-01-02", "c": "020 7946 0001", "d": "", "e": "red"},
        {"a": None, "b": "1999-09-09", "c": "0207946002", "d": "https://y.fr", "e": "red"},
    ]
    sample[0]["b"] = "1915-12-10"

    assert columns.recognise("abcde", sample) == {"email": "a", "date_of_birth": "b", "website": "d", "phone": "c"}


def test_recognise__the_truth__is_never_looked_at():
    assert columns.recognise(["email"], [{"email": "a@x.fr"}] * 2, excluded={"email"}) == {}


CLUSTERS = {1: "a", 2: "a", 3: "a", 4: "b", 5: "c"}
TRUTH = {1: "x", 2: "x", 3: "y", 4: "y", 5: "z"}


def test_pairwise__counts_pairs():
    found = accuracy.pairwise(CLUSTERS, TRUTH)

    assert (found.precision, found.recall) == (1 / 3, 1 / 2)
    assert found.as_dict() == {"precision": 0.333333, "recall": 0.5, "f1": 0.4}


def test_b_cubed__counts_records():
    found = accuracy.b_cubed(CLUSTERS, TRUTH)

    assert found.precision == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1 + 1) / 5)
    assert found.recall == pytest.approx((1 + 1 + 1 / 2 + 1 / 2 + 1) / 5)


def test_accuracy__of_nobody__is_perfect():
    assert accuracy.pairwise({}, {}).f1 == 1.0


def test_accuracy__without_any_right_pair__has_no_f1():
    assert accuracy.pairwise({1: "a", 2: "a", 3: "b", 4: "c"}, {1: "x", 2: "y", 3: "z", 4: "z"}).f1 == 0.0


def test_thresholds__of_two_clear_groups__lie_between_them():
    chosen = thresholds.choose(np.array([12.0, 11.0, 10.0, 9.0, -8.0, -9.0]))

    assert chosen.lower == thresholds.log_odds(0.1)
    assert chosen.upper == pytest.approx(9.0, abs=1e-5)
    assert chosen.upper < 9.0


def test_thresholds__where_nothing_is_clear__still_link_the_likelier_half():
    """A fixed probability of 0.95 would link none of these."""
    chosen = thresholds.choose(np.array([1.5, 1.4, 1.3, -3.0, -3.1]))

    assert chosen.upper == pytest.approx(1.3, abs=1e-5)
    assert chosen.upper < 1.3


@given(st.lists(st.integers(-300, 300).map(lambda tenths: tenths / 10), min_size=1, max_size=40))
def test_thresholds__of_any_pairs__link_those_that_make_the_expected_f_best(weights):
    likely = np.sort(thresholds.probabilities(np.array(weights)))[::-1]
    weight_of_recall = thresholds.PRECISION_OVER_RECALL**2
    best = max(
        (1 + weight_of_recall) * likely[:linked].sum() / (linked + weight_of_recall * likely.sum())
        for linked in range(1, likely.size + 1)
    )

    otherwise_summed = np.nextafter(np.array(weights), -np.inf)
    linked = thresholds.probabilities(otherwise_summed[otherwise_summed >= thresholds.choose(np.array(weights)).upper])

    achieved = (1 + weight_of_recall) * linked.sum() / (linked.size + weight_of_recall * likely.sum())
    assert achieved == pytest.approx(best)


def test_thresholds__of_no_pairs__link_nothing_doubtful():
    assert thresholds.choose(np.array([])).upper == pytest.approx(-thresholds.log_odds(0.1))


def test_implied_prior__of_clear_scores__is_the_share_of_matches():
    """Ten sure matches among a thousand pairs, scored with a prior ten times too small."""
    weights = np.array([20.0] * 10 + [-30.0] * 90)

    assert thresholds.implied_prior(weights, 0.001, 1000) == pytest.approx(0.01, rel=1e-3)


def test_log_odds__of_a_half__is_nought():
    assert thresholds.log_odds(0.5) == 0.0
    assert math.isclose(thresholds.probabilities(np.array([3.0]))[0], 8 / 9)


def test_calibrated__without_judgements__believes_the_model():
    slope, shift = thresholds.calibrated(np.array([]), np.array([], dtype=bool))

    assert (slope, shift) == pytest.approx((1.0, 0.0), abs=1e-6)


def test_calibrated__a_model_that_is_four_bits_too_sure__is_taken_back():
    weights = np.linspace(-10, 20, 2_000)
    labels = np.random.default_rng(1).random(2_000) < thresholds.probabilities(weights - 4)

    slope, shift = thresholds.calibrated(weights, labels)

    assert slope == pytest.approx(1.0, abs=0.2)
    assert shift == pytest.approx(-4.0, abs=0.8)


def test_calibrated__stewards_who_always_agree__stays_finite():
    slope, shift = thresholds.calibrated(np.array([5.0, 6.0, 7.0]), np.array([True, True, True]))

    assert 0.5 < slope < 2.0
    assert abs(shift) < 3.0


@pytest.mark.parametrize(
    ("trait", "given", "column", "expected"),
    [
        ("full_name", "Lovelace, Ada", "surname", "lovelace"),
        ("full_name", "Mme Ada Lovelace", "given_name", "ada"),
        ("full_name", "Ada King Lovelace", "middle_name", "king"),
        ("surname", "Smith Jr", "surname", "smith"),
        ("given_name", "Bob", "given_root", "robert"),
        ("surname", "Phillips", "surname_sound", "flps"),
        ("date_of_birth", "12 décembre 1908", "dob", "19081212"),
        ("date_of_birth", "Dec 12, 1908", "dob", "19081212"),
        ("date_of_birth", "3/31/54", "dob", "19540331"),
        ("date_of_birth", "1954", "birth_year", "1954"),
        ("date_of_birth", "1954", "dob", None),
        ("gender", "Femme", "gender", "f"),
        ("phone", "000 000 000", "phone", None),
        ("street", "12 av. Foch", "street", "12 avenue foch"),
        ("full_address", "123 Main St, Las Vegas NV 89132", "postcode", "89132"),
        ("full_address", "123 Main St, Las Vegas NV 89132", "city", "las vegas"),
        ("organisation", "Dupont S.A.R.L.", "organisation", "dupont"),
        ("organisation", "Ashcroft Plastics Ltd", "initials", "ap"),
        ("email", "a.b+shop@x.fr", "email_name", "ab"),
    ],
)
def test_clean__of_a_value_written_otherwise__is_what_can_be_compared(duck, trait, given, column, expected):
    assert cleaned(duck, {trait: given})[0][column] == expected
