"""Recognising columns: names and contents, English and French."""

import pytest

from identity.matching import columns

PEOPLE = [
    {"first": given, "last": last, "born": born, "town": town, "code": code}
    for given, last, born, town, code in (
        ("James", "Okafor", "12/03/1980", "Leeds", "LS1 4AP"),
        ("Sophie", "Martin", "31/12/1975", "Lyon", "69002"),
        ("Robert", "Nilsson", "1/2/1991", "Leeds", "LS2 8AB"),
        ("Catherine", "Dubois", "5/5/1966", "Lyon", "69003"),
        ("William", "Achebe", "7/8/2001", "Paris", "75011"),
        ("Thomas", "Lefevre", "17/8/1999", "Paris", "75012"),
    )
] * 2


def holding(**named):
    """Rows with these columns, each with the contents of one of `PEOPLE`'s."""
    return [{name: row[content] for name, content in named.items()} for row in PEOPLE]


@pytest.mark.parametrize(
    ("name", "trait"),
    [
        ("Prénom", "given_name"), ("nom", "surname"), ("date_naissance", "date_of_birth"), ("code_postal", "postcode"),
        ("ville", "city"), ("adresse", "street"), ("tel", "phone"), ("courriel", "email"), ("sexe", "gender"),
        ("siret", "national_id"), ("raison_sociale", "organisation"), ("firstName", "given_name"),
        ("LAST NAME", "surname"), ("Nachname", "surname"), ("geb_datum", "date_of_birth"), ("PLZ", "postcode"), ("Straße", "street"),
        ("fecha_nacimiento", "date_of_birth"), ("cognome", "surname"), ("achternaam", "surname"),
        ("PASSPORT_NUMBER", "passport"), ("drivers_license_number", "driving_licence"), ("Arbeitgeber", "employer"),
        ("place_of_birth", "birth_place"), ("customer_email_address", "email"), ("billing_city", "city"), ("contact_name", "full_name"),
        ("Prénoms", "given_name"), ("phone1", "phone"), ("email_1", "email"), ("fname1", "given_name"), ("Población", "city"),
        ("Pin Code", "postcode"), ("Telefonnr.", "phone"), ("DOB (dd/mm/yyyy)", "date_of_birth"),
    ],
)  # fmt: skip
def test_recognise__a_name__in_many_languages(name, trait):
    assert columns.recognise([name], []) == {trait: name}


def test_recognise__names_that_say_nothing__goes_by_contents():
    rows = holding(a="first", b="last", c="born", d="code")

    assert columns.recognise("abcd", rows) == {
        "given_name": "a", "surname": "b", "date_of_birth": "c", "postcode": "d",
    }  # fmt: skip


def test_recognise__a_name_that_is_wrong__yields_to_the_contents():
    rows = holding(email="born", first_name="first")

    assert columns.recognise(["email", "first_name"], rows) == {"given_name": "first_name", "date_of_birth": "email"}


def test_recognise__two_columns_swapped__are_swapped_back():
    rows = holding(city="code", postcode="town", given_name="last", surname="first")

    assert columns.recognise(["city", "postcode", "given_name", "surname"], rows) == {
        "given_name": "surname", "surname": "given_name", "city": "postcode", "postcode": "city",
    }  # fmt: skip


def test_recognise__a_column_that_counts_the_rows__is_no_telephone():
    rows = [{"number": str(10_000_000 + place)} for place in range(20)]

    assert columns.recognise(["number"], rows) == {}


def test_recognise__two_mailboxes__keeps_both():
    rows = [{"mail": "a@x.fr", "work": "b@y.fr"}, {"mail": "c@x.fr", "work": "d@y.fr"}]

    assert columns.recognise(["mail", "work"], rows) == {"email": "mail", "other_email": "work"}


def test_recognise__a_number_that_is_written_as_telephones_are__is_what_its_name_says():
    rows = [{"ssn": "786-77-6454", "tel": "555-010-1234"}, {"ssn": "688-88-6377", "tel": "555-010-9876"}]

    assert columns.recognise(["ssn", "tel"], rows) == {"national_id": "ssn", "phone": "tel"}
    assert columns.recognise(["ssn"], rows) == {"national_id": "ssn"}


def test_recognise__dates_without_gaps__are_dates_in_any_order():
    rows = [{"ddn": "06071981"}, {"ddn": "31121985"}, {"ddn": "19191204"}]

    assert columns.recognise(["ddn"], rows) == {"date_of_birth": "ddn"}


IN_PARTS = [{"y": str(1940 + place), "m": str(place % 12 + 1), "d": str(place + 1)} for place in range(30)]


@pytest.mark.parametrize("names", [("birth_year", "birth_month", "birth_day"), ("annee_naissance", "mois_naissance", "jour_naissance"), ("by", "bm", "bd"), ("jahr", "monat", "tag")])  # fmt: skip
def test_recognise__a_date_in_three_columns__keeps_all(names):
    year, month, day = names
    rows = [{year: row["y"], month: row["m"], day: row["d"]} for row in IN_PARTS]

    for order in ([year, month, day], [day, month, year], [month, day, year]):
        assert columns.recognise(order, [{name: row[name] for name in order} for row in rows]) == {
            "birth_year": year, "birth_month": month, "birth_day": day,
        }  # fmt: skip


def test_recognise__a_date_in_three_columns_of_something_else__is_no_birth():
    rows = [{"exp_year": row["y"], "exp_month": row["m"], "exp_day": row["d"]} for row in IN_PARTS]

    assert {"birth_month", "birth_day"}.isdisjoint(columns.recognise(list(rows[0]), rows))


def test_recognise__a_whole_date_beside_its_parts__needs_no_parts():
    rows = [{"dob": f"{row['y']}-{int(row['m']):02}-{int(row['d']):02}", "birth_month": row["m"]} for row in IN_PARTS]

    assert columns.recognise(["dob", "birth_month"], rows) == {"date_of_birth": "dob"}


def test_recognise__a_year_alone__is_a_date_of_birth_and_no_postcode():
    rows = [{"birth_year": row["y"], "a": row["y"]} for row in IN_PARTS]

    assert columns.recognise(["birth_year"], rows) == {"date_of_birth": "birth_year"}
    assert columns.recognise(["a"], rows) == {"date_of_birth": "a"}


def test_recognise__two_columns_that_differ_in_a_number__the_fuller_comes_first():
    rows = [{"fname_c2": "Karl", "fname_c1": "Heinz", "lname_c1": "Meier"}] + [
        {"fname_c2": "NA", "fname_c1": "Ursula", "lname_c1": "Vogt"}
    ] * 3

    assert columns.recognise(["fname_c2", "fname_c1", "lname_c1"], rows) == {
        "given_name": "fname_c1", "middle_name": "fname_c2", "surname": "lname_c1",
    }  # fmt: skip


def test_recognise__columns_that_are_only_numbered__are_no_twins():
    rows = [
        {"column_1": given, "column_2": code} for given, code in zip(CONTENTS["given"], CONTENTS["number"], strict=True)
    ]

    assert columns.recognise(["column_1", "column_2"], rows) == {"given_name": "column_1"}


def test_recognise__what_stands_for_a_gap__is_no_value():
    rows = [{"mail": "ada@x.fr"}] + [{"mail": "NA"}, {"mail": "n/a"}, {"mail": "NULL"}] * 3

    assert columns.recognise(["mail"], rows) == {"email": "mail"}


# Heads as registers, shops and CRMs write them, each with what is in it.
CONTENTS = {
    "given": ["James", "Sophie", "Robert", "Catherine", "William", "Thomas"],
    "family": ["Okafor", "Martin", "Nilsson", "Dubois", "Achebe", "Lefevre"],
    "second": ["A", "", "Lee", "", "M", ""],
    "suffix": ["", "JR", "", "SR", "", ""],
    "address": ["1204 OAK ST", "88 ELM DR", "7 PARK AVE", "311 HILL RD", "4520 LAKE DR", "19 MAIN ST"],
    "town": ["Cary", "Durham", "Raleigh", "Apex", "Monroe", "Wilson"],
    "code": ["27511", "27701", "27601", "27502", "28110", "27893"],
    "number": ["9195550142", "9195550199", "7045550123", "3365550161", "8285550175", "2525550188"],
    "born": ["1951-04-03", "1988-12-11", "1967-07-30", "1979-02-14", "2001-09-09", "1943-05-21"],
    "years": ["74", "37", "58", "46", "24", "82"],
    "lately": ["2019-03-01", "2020-11-17", "2018-06-30", "2021-01-05", "2019-08-22", "2020-02-02"],
    "place": ["35.7796", "35.9940", "35.7327", "36.0726", "35.2271", "34.9854"],
    "mail": ["james12@x.com", "sophie9@x.com", "rob@y.org", "cd@x.com", "will@z.net", "tl@y.org"],
    "school": ["Oak Early Learning Center", "St Mary School", "Elm Academy", "Hill Child Care", "Lake School", "Apex Academy"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (
            ("last_name:family first_name:given midl_name:second name_suffix_lbl:suffix birth_age:years res_street_address:address"
            " res_city_desc:town zip_code:code full_phone_num:number registr_dt:lately"),
            ("given_name:first_name middle_name:midl_name surname:last_name phone:full_phone_num street:res_street_address"
            " city:res_city_desc postcode:zip_code name_suffix:name_suffix_lbl age:birth_age"),
        ),
        (
            "BIRTHDATE:born DEATHDATE:lately FIRST:given LAST:family MAIDEN:family ADDRESS:address CITY:town ZIP:code LAT:place",
            "given_name:FIRST surname:LAST date_of_birth:BIRTHDATE street:ADDRESS city:CITY postcode:ZIP other_surname:MAIDEN",
        ),
        (
            ("FirstName:given LastName:family MOTHERS_MAIDEN_NAME:family Default_Address_Address1:address"
            " Default_Address_City:town Default_Address_Zip:code Phone:number createdate:lately"),
            ("given_name:FirstName surname:LastName phone:Phone street:Default_Address_Address1 city:Default_Address_City"
            " postcode:Default_Address_Zip"),
        ),
        ("Site_name:school Address:address Zip:code Phone:number", "phone:Phone street:Address postcode:Zip organisation:Site_name"),
        ("name:school town:town", "city:town organisation:name"),
        ("a:given b:mail c:born", "given_name:a date_of_birth:c email:b"),
        ("fn:given ln:family stNo:place add1:address", "given_name:fn surname:ln street_number:stNo street:add1"),
    ],
)  # fmt: skip
def test_recognise__a_head_of_a_register__finds_what_tells_people_apart(head, expected):
    names = dict(pair.split(":") for pair in head.split())
    rows = [{name: CONTENTS[content][place % 6] for name, content in names.items()} for place in range(12)]

    assert columns.recognise(list(names), rows) == dict(pair.split(":") for pair in expected.split())


@pytest.mark.parametrize("name", ["created_at", "registration_date", "last_visit", "date_deces", "order_date"])
def test_recognise__a_date_of_something_else__is_no_birth(name):
    assert columns.recognise([name], [{name: value} for value in CONTENTS["born"] * 2]) == {}


def test_recognise__dates_of_a_few_years__are_no_births_unless_they_are_called_so():
    rows = [{"d": value} for value in CONTENTS["lately"] * 2]

    assert columns.recognise(["d"], rows) == {}
    assert columns.recognise(["dob"], [{"dob": row["d"]} for row in rows]) == {"date_of_birth": "dob"}


def test_recognise__a_name_beside_a_given_name__is_the_surname():
    rows = [{"vorname": "Ada", "name": "Lovelace"}, {"vorname": "Grace", "name": "Hopper"}]

    assert columns.recognise(["vorname", "name"], rows) == {"given_name": "vorname", "surname": "name"}


def test_recognise__two_surnames_and_two_numbers__keeps_all():
    found = columns.recognise(["prenom", "nom_naissance", "nom_usage", "ssn", "national_id"], [])

    assert found == {
        "given_name": "prenom", "surname": "nom_naissance", "national_id": "ssn", "other_surname": "nom_usage",
        "other_id": "national_id",
    }  # fmt: skip


def test_recognise__a_short_word_in_a_longer_name__says_nothing():
    assert columns.recognise(["signup_via"], []) == {}


def test_recognise__what_a_record_is_of__goes_by_contents():
    rows = [{"kind": "PERSON"}, {"kind": "ORGANIZATION"}]

    assert columns.recognise(["kind"], rows) == {"record_type": "kind"}


def test_recognise__a_tenth_of_junk__changes_nothing():
    rows = [{"mail": "ada@x.fr"}] * 9 + [{"mail": "none"}]

    assert columns.recognise(["mail"], rows) == {"email": "mail"}


def test_recognise__an_empty_column__goes_by_its_name():
    assert columns.recognise(["dob"], [{"dob": ""}, {"dob": None}]) == {"date_of_birth": "dob"}


def test_as_yaml__of_any_name__is_read_back():
    assert columns.as_yaml({"email": "it's"}, key="no") == "key: 'no'\ntraits:\n  email: 'it''s'\n"
