"""Normalising is idempotent and never fails, whatever comes; spellings of one thing are one value."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.ingestion import normalise
from cdp.ingestion.normalise import BUILT_IN, NORMALISERS, Quality, dates, phones
from cdp.ingestion.normalise.corrections import corrections_from
from cdp.ingestion.normalise.names import NameParts, name_parts
from cdp.ingestion.normalise.postcodes import SHAPES, postcode
from cdp.ingestion.normalise.values import folded

REGIONS = st.sampled_from(["", "FR", "AU", "US", "DE", "GB", "RE", "CH"])
KINDS = st.sampled_from(["user_id", "anonymous_id", "email", "phone", "crm:id"])
TRAITS = st.sampled_from(
    ["email", "phone", "date_of_birth", "given_name", "full_name", "plan", "city", "postcode", "pays", "siret", "sexe"]
)
OWN = corrections_from([("DOMAIN", "gmail.com", "googlemail.com"), ("TOWN", "a", "b"), ("TOWN", "paris", "PARIS")])
WORDS = st.text(
    st.sampled_from("abdeilmnorstABDEILMNORSTéÉßİŉǆΣ -'’.0159/,+()€$"), max_size=24
)  # what names, towns and amounts are made of, and letters whose case is odd
ANYTHING = st.one_of(
    st.text(max_size=40), WORDS, st.emails(), st.integers(), st.floats(), st.booleans(), st.none(),
    st.from_regex(r"\A(\+33|0033|0)[ .]?\(?0?\)?[1-9][ 0-9.]{8,14}\Z"),
    st.from_regex(r"\A[0-9]{1,4}[-/. ][0-9]{1,2}[-/. ][0-9]{1,4}\Z"),
    st.from_regex(r"\A[0-9]{1,2} (jan|feb|mars|mai|dec)\.? [0-9]{2,4}\Z"),
    st.from_regex(r"\A(ST|Ste|Saint)[ -][A-Za-z]{1,8}([ -](sur|LES|en|d')[ -]?[A-Z]{1,6})?( CEDEX [0-9])?\Z"),
    st.from_regex(r"\A[0-9]{1,3}([., ][0-9]{3}){0,2}([.,][0-9]{1,3})? ?(€|EUR|\$|kg|m|cm)?\Z"),
)  # fmt: skip


@given(raw=ANYTHING, kind=KINDS, region=REGIONS)
def test_identifier_value__of_its_own_result__is_that_result(raw, kind, region):
    once = normalise.identifier_value(kind, raw, region=region)

    assert once is None or normalise.identifier_value(kind, once, region=region) == once


@given(raw=ANYTHING, trait=TRAITS, region=REGIONS, corrections=st.sampled_from([BUILT_IN, OWN]))
def test_trait_value__of_its_own_result__is_that_result(raw, trait, region, corrections):
    once = normalise.trait_value(trait, raw, region=region, corrections=corrections)

    again = normalise.trait_value(trait, once, region=region, corrections=corrections)
    assert again == once or once != once  # noqa: PLR0124  # NaN


@pytest.mark.parametrize("kind", sorted(NORMALISERS))
@given(raw=ANYTHING, region=REGIONS, corrections=st.sampled_from([BUILT_IN, OWN]))
def test_normaliser__of_its_own_result__is_that_result_exactly(kind, raw, region, corrections):
    once = NORMALISERS[kind](raw, region=region, corrections=corrections)

    if once is not None:
        again = NORMALISERS[kind](once.value, region=region, corrections=corrections)
        assert again is not None
        assert again.value == once.value
        assert again.quality == Quality.EXACT
        assert once.readings == () or once.readings[0] == once.value


@given(raw=ANYTHING, region=REGIONS)
def test_name_parts__of_anything__have_no_letter_that_was_not_there(raw, region):
    parts = name_parts(raw, region=region) or NameParts()

    found = parts.given_name + parts.middle_name + parts.surname + parts.suffix
    assert set(folded(found)) <= set(folded(normalise.text(raw)))


@given(raw=st.emails())
def test_email__from_an_address__loses_its_case(raw):
    normal = normalise.email(raw)

    assert normal is None or normal == normal.lower()
    assert normalise.email(raw.upper()) == normal or not raw.isascii()


# -- phones ---------------------------------------------------------------------------------------------------------

GAPS = st.sampled_from(["", " ", ".", "-", "\u00a0", "\u202f", "/", "  "])
HEADS = st.sampled_from(
    ["0", "+33", "+33 ", "0033", "0033 ", "00 33 ", "+33 (0)", "+33(0) ", "(0)", "33", "(+33) ", "+330"]
)
MOBILES = st.from_regex(r"\A[67][1-6]([0-9]{2}){3}[0-9]\Z").filter(
    lambda digits: normalise.phone(f"+33{digits}", region="") == f"+33{digits}"
)


@given(digits=MOBILES, heads=st.tuples(HEADS, HEADS), gaps=st.tuples(GAPS, GAPS))
def test_phone__of_france_in_two_spellings__is_one(digits, heads, gaps):
    first, second = (
        normalise.phone(head + gap.join([digits[:1], *(digits[at : at + 2] for at in (1, 3, 5, 7))]), region="FR")
        for head, gap in zip(heads, gaps, strict=True)
    )

    assert first == second == f"+33{digits}"


@given(
    number=st.one_of(MOBILES.map("+33{}".format), st.from_regex(r"\A\+[1-9][0-9]{6,13}\Z")),
    regions=st.tuples(REGIONS, REGIONS),
)
def test_phone__that_is_international__is_the_same_in_every_region(number, regions):
    one, other = (normalise.phone(number, region=region) for region in regions)

    assert one == other


@given(raw=ANYTHING, region=REGIONS)
def test_phone__that_is_one__is_e164(raw, region):
    found = phones.phone(raw, region=region)

    assert found is None or (found[0] == "+" and found[1:].isascii() and found[1:].isdigit() and 6 < len(found) <= 16)


# -- dates ----------------------------------------------------------------------------------------------------------

DAYS = st.dates(date(1800, 1, 1), date(2199, 12, 31))
FRENCH = ("janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre",
          "décembre")  # fmt: skip


@given(day=DAYS)
def test_date__in_the_ways_of_its_region__is_that_day(day):
    month = FRENCH[day.month - 1]
    in_french = (
        f"{day:%d/%m/%Y}",
        f"{day.day}.{day.month}.{day.year}",
        f"{day.day} {month} {day.year}",
        f"{day:%Y%m%d}",
    )

    assert {dates.date(written, region="FR") for written in in_french} == {day.isoformat()}
    assert dates.date(f"{day:%m/%d/%Y}", region="US") == dates.date(day) == day.isoformat()


@given(day=DAYS)
def test_date__without_a_region__is_among_its_readings(day):
    found = dates.read(f"{day:%m/%d/%Y}")

    assert day.isoformat() in (found.readings or (found.value,))
    assert (found.quality == Quality.AMBIGUOUS) is (day.day <= 12 and day.day != day.month)


# -- postcodes ------------------------------------------------------------------------------------------------------


@given(data=st.data(), region=st.sampled_from(sorted(SHAPES)))
@settings(max_examples=200)
def test_postcode__with_or_without_its_spaces_and_case__is_one(data, region):
    signs = {"9": "0123456789", "A": "ABCDEFGHJKLMNPRSTUVWXYZ", "*": "0123456789ACDEFHKNPRTVWXY"}
    code = "".join(
        data.draw(st.sampled_from(signs[sign])) if sign in signs else sign
        for sign in SHAPES[region].replace(region, region.lower())
    )

    written = postcode(code, region=region)
    bare = postcode(code.replace(" ", "").replace("-", "").lower(), region=region)

    assert written == bare
    assert written is None or postcode(f" {written} ", region=region) == written
