"""A proposed mapping: what a column is called counts, unless what is in it says otherwise."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.ingestion import column_names
from cdp.ingestion.dialects import Dialect
from cdp.ingestion.guessing import Sample, guess
from cdp.ingestion.mapping import mapping_in, parse_mapping

UUIDS = [f"0b8e4c9e-1f5a-4f0e-9c55-0000000000{number:02}" for number in range(10)]


def guessed(columns, *, region="FR", of_events=False):
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return guess(Sample(list(columns), rows, region, "people.csv"), of_events=of_events)


def remark(found, column):
    return next(one for one in found.columns if one["column"] == column)


# -- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "trait"),
    [
        ("firstName", "given_name"), ("PRENOM", "given_name"), ("Prénom", "given_name"), ("client_prenom", "given_name"),
        ("Nom", "surname"), ("last-name", "surname"), ("Nom de famille", "surname"), ("Nom et prénom", "full_name"),
        ("Code Postal", "postcode"), ("codePostal", "postcode"), ("CP", "postcode"), ("billing_zip", "postcode"),
        ("Ville", "city"), ("Adresse 1", "street"), ("Raison sociale", "organisation"), ("Civilité", "title"),
    ],
)  # fmt: skip
def test_column__of_a_known_name_in_any_spelling__is_the_trait(column, trait):
    found = guessed({"id": ["1", "2"], column: ["75001 A", "69001 B"] if trait == "postcode" else ["Ada", "Zoé"]})

    assert found.mapping == {"key": "id", "traits": {trait: column}}


def test_column__whose_contents_contradict_its_name__keeps_its_own_name():
    found = guessed({"id": ["1", "2"], "mail": ["12 rue de la Paix", "3 Main Street"]})

    assert found.mapping == {"key": "id", "traits": {"mail": "mail"}}
    assert "only 0% are e-mail addresses" in remark(found, "mail")["why"]


def test_column__without_a_telling_name__is_told_by_its_contents():
    found = guessed(
        {
            "c1": UUIDS[:3],
            "c2": ["ada@example.com", "zoe@example.com", ""],
            "c3": ["06 12 34 56 78", "+33 6 98 76 54 32", "01.44.55.66.77"],
            "c4": ["732829320", "404833048", "552100554"],
            "c5": ["73282932000074", "40483304800022", ""],
            "c6": ["a", "", "b"],
        }
    )

    assert found.mapping == {
        "key": "c1",
        "identifiers": {"email": "c2", "phone": "c3"},
        "traits": {"siren": "c4", "siret": "c5", "c6": "c6"},
    }


def test_key__is_a_column_of_that_name_only_if_its_values_differ():
    found = guessed({"id": ["1", "1", "2"], "customerNo": ["a", "b", "c"]})

    assert found.mapping == {"key": "customerNo", "traits": {"id": "id"}}


def test_key__that_no_column_can_be__is_asked_for():
    found = guessed({"name": ["Ada", "Ada"], "city": ["Paris", "Lyon"]})

    assert "key" not in found.mapping
    assert "# key: ?" in found.yaml


@pytest.mark.parametrize(
    ("dates", "region", "told"),
    [
        (["25/12/1980", "03/04/1985"], "FR", "the day comes first"),
        (["12/25/1980", "03/04/1985"], "FR", "CAUTION: the month comes first"),
        (["1980-12-25", "1985-04-03"], "FR", "100% are dates"),
    ],
)
def test_dates_of_birth__say_which_number_comes_first(dates, region, told):
    found = guessed({"id": ["1", "2"], "Date de naissance": dates}, region=region)

    assert found.mapping["traits"] == {"date_of_birth": "Date de naissance"}
    assert told in remark(found, "Date de naissance")["why"]


def test_region__is_proposed_where_the_sources_own_reads_no_number():
    american = {"id": ["1", "2"], "phone": ["702-919-1300", "(202) 456-1111"], "dob": ["12/25/1980", "1/2/1985"]}

    found = guessed(american, region="FR")

    assert found.mapping["region"] == "US"
    assert found.mapping["identifiers"] == {"phone": "phone"}


def test_time__is_the_rows_own_only_where_it_can_be_read():
    good = guessed({"id": ["1", "2"], "updated_at": ["2026-01-01T00:00:00Z", "2026-02-01 10:00"]})
    bad = guessed({"id": ["1", "2"], "updated_at": ["01/02/2026", "02/02/2026"]})

    assert good.mapping == {"key": "id", "observed_at": "updated_at"}
    assert bad.mapping == {"key": "id", "traits": {"updated_at": "updated_at"}}


def test_column__that_is_empty_or_always_the_same__is_left_out_with_the_reason():
    found = guessed({"id": list("12345"), "none": [""] * 5, "source": ["crm"] * 5, "plan": ["a", "b", "a", "b", "a"]})

    assert found.mapping == {"key": "id", "traits": {"plan": "plan"}}
    assert "# left out: none, it is empty" in found.yaml
    assert "all of the sample have 'crm'" in found.yaml


# -- events ---------------------------------------------------------------------------------------------------------


def test_events__have_name_time_ids_and_properties():
    found = guessed(
        {
            "EventId": UUIDS[:3],
            "evenement": ["Achat", "Visite", "Achat"],
            "horodatage": ["2026-01-01 10:00:00", "2026-01-02T10:00:00Z", "2026-01-03"],
            "customerId": ["c1", "c2", "c1"],
            "visitor_id": ["v1", "v2", "v3"],
            "Montant TTC": ["12,50", "7", ""],
        },
        of_events=True,
    )

    assert found.mapping == {
        "key": "EventId",
        "event": "evenement",
        "observed_at": "horodatage",
        "identifiers": {"anonymous_id": "visitor_id", "user_id": "customerId"},
        "properties": {"montant_ttc": "Montant TTC"},
    }


def test_order_numbers__are_no_message_ids_though_they_differ():
    found = guessed({"event": ["A", "B"], "user_id": ["1", "2"], "order_no": ["o1", "o2"]}, of_events=True)

    assert "key" not in found.mapping
    assert found.mapping["properties"] == {"order_no": "order_no"}


def test_events__of_which_nothing_is_known__ask_for_the_name_and_the_person():
    found = guessed({"a": ["1", "2"], "b": ["3", "4"]}, of_events=True)

    assert "# event: ?" in found.yaml
    assert "# identifiers: ?" in found.yaml


def test_encoding__that_was_guessed__is_said_where_it_can_be_changed():
    found = guess(Sample(["id"], [{"id": "1"}], "FR", "a.csv", Dialect(), "cp1252"), of_events=False)

    assert found.yaml.endswith('# dialect: {delimiter: ",", header: "yes", decimal: ".", encoding: "cp1252"}\n')


def test_column__as_french_exports_call_it__is_recognised():
    found = guessed({"N° client": ["7", "8"], "Né le": ["03/04/1985", "12/11/1990"]})

    assert found.mapping == {"key": "N° client", "traits": {"date_of_birth": "Né le"}}


# -- YAML -----------------------------------------------------------------------------------------------------------

COLUMNS = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=6, unique=True)
VALUES = st.one_of(
    st.text(max_size=12), st.sampled_from(["ada@example.com", "0612345678", "1980-12-25", "1", ""]), st.none(),
    st.integers(), st.lists(st.integers(), max_size=2), st.booleans(),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(columns=COLUMNS, data=st.data(), of_events=st.booleans())
def test_proposal__of_any_file__is_a_mapping_that_names_its_columns(columns, data, of_events):
    rows = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(columns, VALUES)), max_size=6))

    found = guess(Sample(columns, rows, "FR", "any.csv", Dialect(delimiter=";")), of_events=of_events)

    assert {one["column"] for one in found.columns} == set(columns)
    if found.mapping:
        read = mapping_in(found.yaml, of_events=of_events)
        assert read == parse_mapping(dict(found.mapping), of_events=of_events)
        assert set(read.columns) <= set(columns)


@given(st.text())
def test_snake__of_any_name__is_a_name(text):
    assert column_names.snake(text) or not text
