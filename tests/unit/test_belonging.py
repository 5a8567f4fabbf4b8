"""By what people belong together, as each one's own values say it."""

import pytest

from identity.matching.belonging import Rule, belongings_of, door_of, employer_of

HOME = {"surname": "Du Châtelet", "street": "12, rue de l'Église", "postcode": "54 300", "city": "Lunéville"}


def rules_of(**traits):
    return {each.rule: each.text for each in belongings_of(traits)}


def test_belongings__of_a_full_record__are_one_for_each_rule():
    found = rules_of(**HOME, phone="+33 3 83 00 00 00", email="emilie@academie.example", company="Académie")

    assert found == {
        Rule.ADDRESS: "12 rue de l eglise|54300",
        Rule.ADDRESS_AND_SURNAME: "12 rue de l eglise|54300|du chatelet",
        Rule.PHONE_AND_SURNAME: "33383000000|du chatelet",
        Rule.EMAIL_DOMAIN: "academie.example",
        Rule.ORGANISATION_NAME: "academie",
    }


def test_belongings__of_one_door_written_in_two_ways__are_the_same():
    apart = {"surname": "du chatelet", "street_number": 12, "street": "Rue de l'Eglise", "postcode": "54300"}

    assert rules_of(**apart) == rules_of(**HOME)


@pytest.mark.parametrize(
    "traits",
    [
        {"surname": "Germain"},
        {"street": "rue de l'Église", "postcode": "54300"},
        {"street": "12 rue de l'Église"},
        {"street_number": "12", "postcode": "54300"},
        {"street": None, "postcode": ["54300"]},
    ],
)
def test_door__without_street_number_and_town__is_none(traits):
    assert door_of(traits) == ""
    assert rules_of(**traits) == {}


@pytest.mark.parametrize(
    ("email", "domain"),
    [("ada@Engine.example", "engine.example"), ("ada@gmail.com", ""), ("ada", ""), (None, ""), ("ada@localhost", "")],
)
def test_employer__of_a_public_mailbox__is_none(email, domain):
    assert employer_of(email) == domain
