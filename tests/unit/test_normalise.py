"""Two spellings of one thing are one value; fillers and the invalid identify nobody."""

from datetime import date

import pytest

from cdp.ingestion import normalise


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        (" Ada@Example.COM ", "ada@example.com"),
        ("ada.lovelace+news@example.co.uk", "ada.lovelace+news@example.co.uk"),
        ("jürgen@exämple.de", "jürgen@exämple.de"),
        ("jürgen@xn--exmple-cua.de", "jürgen@exämple.de"),
        ("ada@example.com\x00", "ada@example.com"),
        ("ada@localhost", None),
        ("a..b@example.com", None),
        ("Ada <ada@example.com>", None),
        ("ada", None),
        ("", None),
        (None, None),
        (42, None),
    ],
)
def test_email__in_any_spelling__is_lower_case_or_nothing(raw, normal):
    assert normalise.email(raw) == normal


@pytest.mark.parametrize(
    ("raw", "region", "normal"),
    [
        ("06 12 34 56 78", "FR", "+33612345678"),
        ("+33 (0)6 12 34 56 78", "", "+33612345678"),
        ("0412 345 678", "AU", "+61412345678"),
        (412345678, "AU", "+61412345678"),
        ("06 12 34 56 78", "", None),
        ("06 12 34 56 78", "ZZ", None),
        ("0000000000", "FR", None),
        ("call me", "FR", None),
    ],
)
def test_phone__dialled_in_a_region__is_e164_or_nothing(raw, region, normal):
    assert normalise.phone(raw, region=region) == normal


@pytest.mark.parametrize(
    ("raw", "region", "normal"),
    [
        ("1915-12-10", "", "1915-12-10"),
        ("19151210", "", "1915-12-10"),
        (19151210, "", "1915-12-10"),
        ("1915-12-10T00:00:00Z", "", "1915-12-10"),
        (date(1915, 12, 10), "", "1915-12-10"),
        ("10/12/1915", "FR", "1915-12-10"),
        ("10/12/1915", "US", "1915-10-12"),
        ("1915-12/10", "", None),
        ("19151332", "", None),
        ("0001-01-01", "", None),
        ("yesterday", "", None),
    ],
)
def test_date__however_written__is_iso_or_nothing(raw, region, normal):
    assert normalise.date(raw, region=region) == normal


def test_name__with_odd_space_and_decomposed_letters__is_trimmed_and_composed():
    assert normalise.name("  Zoe\u0308 \t  Müller ") == "Zoë Müller"
    assert normalise.name(" \n ") is None


@pytest.mark.parametrize(
    "filler", ["", " ", "null", "NULL", "None", "anonymous", "-1", "0", "0000-0000", "---", "undefined"]
)
@pytest.mark.parametrize("kind", ["user_id", "anonymous_id", "email", "phone"])
def test_identifier__that_programs_write_for_nobody__is_none(filler, kind):
    assert normalise.identifier_value(kind, filler, region="FR") is None


@pytest.mark.parametrize("raw", [None, True, ["a"], {"id": 1}, "x" * 513])
def test_identifier__that_is_no_short_text__is_none(raw):
    assert normalise.identifier_value("user_id", raw, region="FR") is None


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("user_id", 42, "42"),
        ("user_id", 42.0, "42"),
        ("user_id", "  Ada ", "Ada"),
        ("email", "Ada@Example.com", "ada@example.com"),
        ("email", "not an address", None),
        ("phone", "0612345678", "+33612345678"),
        ("crm:id", "0", "0"),
        ("crm:id", "null", None),
    ],
)
def test_identifier__of_a_type__is_normalised_by_its_type(kind, raw, value):
    assert normalise.identifier_value(kind, raw, region="FR") == value


@pytest.mark.parametrize(
    ("trait", "raw", "value"),
    [
        ("email", "Ada@Example.com", "ada@example.com"),
        ("email", " not an address ", "not an address"),
        ("date_of_birth", "10.12.1915", "1915-12-10"),
        ("date_of_birth", "in winter", "in winter"),
        ("given_name", " Ada   Byron ", "Ada Byron"),
        ("plan", "  pro  ", "pro"),
        ("plan", "  ", None),
        ("plan", None, None),
        ("age", 36, 36),
        ("is_vip", False, False),
        ("tags", ["a", "b"], ["a", "b"]),
    ],
)
def test_trait__is_normal_where_there_is_a_norm__and_else_as_it_came(trait, raw, value):
    assert normalise.trait_value(trait, raw, region="FR") == value
