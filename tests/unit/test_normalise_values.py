"""Dates, postcodes, countries, amounts, companies, towns, short answers: one value each, and what is unsure says so."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from cdp.ingestion import normalise
from cdp.ingestion.normalise import NORMALISERS, Quality, dates, postcodes, towns, units
from cdp.ingestion.normalise.corrections import BUILT_IN, corrections_from
from cdp.ingestion.normalise.postcodes import postcode
from cdp.ingestion.normalise.towns import town
from cdp.ingestion.normalise.units import Quantity


def read(kind, raw, region="FR", corrections=BUILT_IN):
    return NORMALISERS[kind](raw, region=region, corrections=corrections)


def value(kind, raw, region="FR"):
    found = read(kind, raw, region)
    return found and found.value


# -- dates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "1915-12-10", "1915/12/10", "19151210", "10/12/1915", "10.12.1915", "10-12-1915", "10 12 1915",
        "10 décembre 1915", "10 DECEMBRE 1915", "10 déc. 1915", "jeudi 10 décembre 1915", "10 December 1915",
        "December 10, 1915", "Dec 10th, 1915", "10-Dec-1915", "10th of December 1915", "1915-12-10T00:00:00Z",
        "Thu, 10 Dec 1915 00:00:00 GMT", "1915-W49-5", "10/12/1915 00:00",
    ],
)  # fmt: skip
def test_date__however_written__is_one_day(written):
    assert dates.date(written, region="FR") == "1915-12-10"


@pytest.mark.parametrize(
    "written",
    ["31/02/2000", "12/25/2020", "2020-13-01", "29 février 2021", "1er", "32 mai 2020", "0001-01-01", "2300-01-01",
     "2020-W54-1", "10/12/85", "44197", "yesterday", "9" * 65, "", None, True],
)  # fmt: skip
def test_date__that_cannot_be_or_that_nobody_explained__is_none(written):
    assert dates.date(written, region="FR") is None


def test_date__without_a_region__tells_both_readings():
    found = dates.read("03/04/2020")

    assert (found.value, found.quality) == ("2020-04-03", Quality.AMBIGUOUS)
    assert found.readings == ("2020-04-03", "2020-03-04")
    assert dates.read("12/25/2020").value == "2020-12-25"
    assert dates.read("04/04/2020").quality == Quality.EXACT


def test_date__of_two_digits__needs_a_pivot_and_tells_the_other_century():
    young, old = dates.read("10/12/24", region="FR", pivot=26), dates.read("10/12/85", region="FR", pivot=26)

    assert (young.value, young.readings) == ("2024-12-10", ("2024-12-10", "1924-12-10"))
    assert (old.value, old.quality) == ("1985-12-10", Quality.EXACT)
    assert value("date_of_birth", "10 déc 85") == "1985-12-10"


@pytest.mark.parametrize(
    ("written", "day"),
    [(1_700_000_000, "2023-11-14"), ("1700000000000", "2023-11-14"), (-1_704_153_600, "1916-01-01")],
)
def test_date__of_an_epoch__is_its_day_in_utc(written, day):
    assert dates.date(written) == day


def test_date__of_a_serial_number__is_read_when_asked():
    assert dates.read("44197", has_serials=True).value == "2021-01-01"
    assert dates.read(44197.75, has_serials=True).value == "2021-01-01"
    assert dates.read("60", has_serials=True) is None


def test_date__of_a_time__is_its_day():
    assert dates.date(datetime(1915, 12, 10, 23, 59, tzinfo=UTC)) == "1915-12-10"


def test_date__of_a_short_weekday_or_month__is_told_by_what_follows():
    assert dates.date("mar 3 mars 2020") == "2020-03-03"
    assert dates.date("mar 3, 2020") == "2020-03-03"


# -- postcodes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "region", "normal"),
    [
        ("75 015", "FR", "75015"), ("F-75015", "FR", "75015"), ("75015 CEDEX 15", "FR", "75015"), (1000, "FR", "01000"),
        ("97410", "RE", "97410"), ("sw1a1aa", "GB", "SW1A 1AA"), ("m1 1ae", "GB", "M1 1AE"), ("1234ab", "NL", "1234 AB"),
        ("k1a0b1", "CA", "K1A 0B1"), ("1234567", "PT", "1234-567"), ("00950", "PL", "00-950"), ("s-11455", "SE", "114 55"),
        ("1010", "LV", "LV-1010"), ("01100", "LT", "LT-01100"), ("500", "AD", "AD500"), ("mtp1001", "MT", "MTP 1001"),
        ("d02x285", "IE", "D02 X285"), ("902101234", "US", "90210-1234"), (2060, "AU", "2060"), ("10115", "DE", "10115"),
        ("D-10115", "DE", "10115"), ("CH-8000", "CH", "8000"), ("11000", "CZ", "110 00"), ("1000001", "JP", "100-0001"),
    ],
)  # fmt: skip
def test_postcode__of_a_country__is_written_as_there(written, region, normal):
    assert postcode(written, region=region) == normal


@pytest.mark.parametrize(
    ("written", "region"),
    [("00123", "FR"), ("1000", "FR"), ("99999", "FR"), ("75015", "RE"), ("123", "DE"), ("75015", ""), ("75015", "ZZ"),
     ("1234SS", "NL"), ("D1A 1A1", "CA"), ("99999", "ES"), ("\u0667\u0665\u0660\u0661\u0665", "FR"), ("7" * 40, "FR"), ("", "FR")],
)  # fmt: skip
def test_postcode__that_the_country_does_not_have__is_none(written, region):
    assert postcode(written, region=region) is None


EUROPE = {
    "AT", "BE", "BG", "CH", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IS", "IT", "LI",
    "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
}  # fmt: skip


def test_postcode__of_europe_and_english_speaking_countries__is_known():
    assert postcodes.SHAPES.keys() >= EUROPE | {"AU", "CA", "NZ", "US"}


# -- countries, currencies, languages -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "written", "normal"),
    [
        ("country", "Royaume-Uni", "GB"), ("country", "UK", "GB"), ("country", "u.k.", "GB"), ("country", "fra", "FR"),
        ("country", "États-Unis", "US"), ("country", "etats unis", "US"), ("country", "Pays-Bas", "NL"),
        ("country", "Côte d’Ivoire", "CI"), ("country", "Corée du Sud", "KR"), ("country", "Nowhere", None),
        ("country", "x" * 101, None), ("currency", "€", "EUR"), ("currency", "euros", "EUR"),
        ("currency", "livre sterling", "GBP"), ("currency", "US Dollar", "USD"), ("currency", "$", None),
        ("currency", "kr", None), ("currency", "US$", "USD"), ("currency", "", None), ("language", "fr_FR", "fr-FR"),
        ("language", "français", "fr"), ("language", "German", "de"), ("language", "eng", "en"),
        ("language", "zh-hant-tw", "zh-Hant-TW"), ("language", "fr-XX", None), ("language", "fr_FR.UTF-8", "fr-FR"),
        ("language", "nobody", None),
    ],
)  # fmt: skip
def test_word__of_a_code__is_the_code(kind, written, normal):
    assert value(kind, written) == normal


def test_currency__that_several_countries_call_so__is_told_by_the_region():
    assert (value("currency", "$", "US"), value("currency", "dollars", "CA")) == ("USD", "CAD")
    assert value("currency", "kr", "SE") == "SEK"


# -- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "region", "normal"),
    [
        ("1.234,56", "", "1234.56"), ("1,234.56", "", "1234.56"), ("1 234 567,8", "FR", "1234567.8"),
        ("1'234.50", "CH", "1234.50"), ("1,234", "US", "1234"), ("1,234", "FR", "1.234"), ("1.234", "DE", "1234"),
        ("0,123", "", "0.123"), ("-5", "", "-5"), ("−5", "", "-5"), ("1.234.567", "", "1234567"), (12.5, "FR", "12.5"),
    ],
)  # fmt: skip
def test_number__with_any_signs__is_one(written, region, normal):
    assert units.number(written, region=region) == Decimal(normal)


@pytest.mark.parametrize("written", ["1,234", "1,23,4", "1.234,56,7", "abc", "", "1,2345,678", "9" * 65])
def test_number__that_is_none_or_two__is_none(written):
    assert units.number(written) is None


def test_number__that_can_be_two__tells_both():
    found = read("number", "1,234", "")

    assert (found.quality, found.readings) == (Quality.AMBIGUOUS, ("1234", "1.2340"))


@pytest.mark.parametrize(
    ("written", "region", "amount"),
    [
        ("12,50 €", "FR", Quantity(Decimal("12.50"), "EUR")),
        ("€ 12.50", "FR", Quantity(Decimal("12.50"), "EUR")),
        ("1.234,56 EUR", "FR", Quantity(Decimal("1234.56"), "EUR")),
        ("$1,234.50", "US", Quantity(Decimal("1234.50"), "USD")),
        ("12", "FR", None),
        ("12 florins", "FR", None),
        ("$12 €", "US", None),
    ],
)
def test_money__before_or_after_its_currency__is_an_amount(written, region, amount):
    assert units.money(written, region=region) == amount


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("1,80 m", Quantity(Decimal("1.80"), "m")),
        ("180 cm", Quantity(Decimal("1.80"), "m")),
        ("5 ft 11 in", Quantity(Decimal("1.8034"), "m")),
        ("5'11\"", Quantity(Decimal("1.8034"), "m")),
        ("75 Kg", Quantity(Decimal(75), "kg")),
        ("10 lbs", Quantity(Decimal("4.5359237"), "kg")),
        ("1,80 mètres", Quantity(Decimal("1.80"), "m")),
        ("33cl", Quantity(Decimal("0.33"), "l")),
        ("12 parsecs", None),
        ("1,80", None),
        ("x" * 65, None),
    ],
)
def test_measure__in_any_unit__is_in_metres_kilograms_or_litres(written, amount):
    assert units.measure(written, region="FR") == amount


@pytest.mark.parametrize(
    ("kind", "written", "normal"),
    [
        ("money", "12,50 €", "12.5 EUR"),
        ("money", "1 234 €", "1234 EUR"),
        ("money", "1,2345 €", "1.2345 EUR"),
        ("money", "12", None),
        ("measure", "1,524 m", "1.5240 m"),
        ("measure", "180 cm", "1.8 m"),
        ("measure", "12 parsecs", None),
        ("number", "-0,00", "0"),
        ("number", "x", None),
    ],
)
def test_amount__as_text__can_be_read_again_as_the_same(kind, written, normal):
    assert value(kind, written) == normal


# -- companies, answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "written", "normal"),
    [
        ("siren", "552 100 554", "552100554"), ("siren", "552 100 555", None), ("siret", "732 829 320 00074", "73282932000074"),
        ("siret", "732 829 320 00075", None), ("vat_number", "FR 40 303265045", "FR40303265045"),
        ("vat_number", "40303265045", "FR40303265045"), ("vat_number", "BE 0403.019.261", "BE0403019261"),
        ("vat_number", "ZZ1", None), ("siren", "1" * 41, None), ("gender", "Mme", "f"), ("gender", "HOMME", "m"),
        ("gender", "non-binaire", "x"), ("gender", "unknown", None), ("truth", "Oui", "true"), ("truth", False, "false"),
        ("truth", 0, "false"), ("truth", "maybe", None),
    ],
)  # fmt: skip
def test_value__with_check_digits_or_a_fixed_answer__is_that_or_nothing(kind, written, normal):
    assert value(kind, written) == normal


# -- towns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("ST DENIS", "Saint-Denis"), ("St-Denis", "Saint-Denis"), ("Saint Denis CEDEX 2", "Saint-Denis"),
        ("STE FOY LES LYON", "Sainte-Foy-les-Lyon"), ("Monptellier", "Montpellier"), ("PARIS 15", "Paris 15e"),
        ("Paris 15ème", "Paris 15e"), ("paris xv", "Paris 15e"), ("Paris 1er arrondissement", "Paris 1er"),
        ("PARIS 21", "Paris 21"), ("NEUILLY SUR SEINE", "Neuilly-sur-Seine"), ("Neuilly s/Seine", "Neuilly-sur-Seine"),
        ("saint etienne", "Saint-Étienne"), ("GENEVE", "Genève"), ("LE HAVRE", "Le Havre"), ("LES ULIS", "Les Ulis"),
        ("VILLENEUVE D'ASCQ", "Villeneuve d'Ascq"), ("75012 Paris", "Paris"), ("Évry-Courcouronnes", "Évry-Courcouronnes"),
    ],
)  # fmt: skip
def test_town__of_france_in_any_spelling__is_one(written, normal):
    assert town(written, region="FR") == normal


def test_town__whose_rules_do_not_settle__keeps_the_form_of_a_name(monkeypatch):
    monkeypatch.setattr(towns, "_MOST_ROUNDS", 1)

    assert town("STE MARIE AUX CHENES", region="FR") == "Ste Marie Aux Chenes"


def test_town__of_another_country__keeps_its_own_saints_and_words():
    assert town("ST ALBANS", region="GB") == "St Albans"
    assert town("Lile", region="AU") == "Lile"
    assert town("", region="FR") is None


# -- the dictionary -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("ada@gmial.com", "ada@gmail.com"), ("ada@hotmial.fr", "ada@hotmail.fr"), ("ada@yaho.fr", "ada@yahoo.fr"),
        ("ada@orange.fe", "ada@orange.fr"), ("ada@wanadoo.f", "ada@wanadoo.fr"), ("ada@gmail.con", "ada@gmail.com"),
        ("ada@exmaple.com", "ada@exmaple.com"), ("Ada+x@GMIAL.com", "ada+x@gmail.com"),
    ],
)  # fmt: skip
def test_email__of_a_misspelt_provider__is_corrected_and_says_so(written, normal):
    found = read("email", written)

    assert found.value == normal
    assert (found.quality == Quality.CORRECTED) is (normal != written.lower())


@pytest.mark.parametrize(
    "domain",
    [
        "gmai.com", "gmal.com", "gamil.com", "gmail.co", "gmail.cm", "mail.com", "email.com", "ymail.com", "gmx.com",
        "rocketmail.com", "gmx.fr", "aol.fr", "yaho.com", "hotmail.co", "hotmail.be", "hotmail.it", "yahoo.it", "yahoo.ca",
        "live.be", "live.nl", "outlook.be", "free.com", "orange.com", "sfr.com", "me.com", "mac.com", "web.de", "mail.ru",
        "proton.me", "pm.me", "laposte.fr", "numericable.com", "bbox.com", "neuf.com", "fastmail.com", "hey.com",
    ],
)  # fmt: skip
def test_email__of_a_domain_that_exists_or_may__is_left(domain):
    assert normalise.email(f"ada@{domain}") == f"ada@{domain}"


def test_dictionary__that_is_built_in__is_large_and_settled():
    assert len(BUILT_IN.domains) >= 150
    assert len(BUILT_IN.towns) >= 100
    assert BUILT_IN.domains.keys().isdisjoint(BUILT_IN.domains.values())
    assert all(normalise.emails.checked(f"a@{right}") == f"a@{right}" for right in BUILT_IN.domains.values())
    assert all(town(right, region="FR") == right for right in BUILT_IN.towns.values())


def test_dictionary__of_a_workspace__goes_before_the_built_in_one():
    own = corrections_from(
        [
            ("DOMAIN", "gmial.com", "gmial.com"),
            ("DOMAIN", "acme.con", "acme.com"),
            ("TOWN", "Ville Neuve", "Villeneuve"),
        ]
    )

    assert normalise.email("a@gmial.com", own) == "a@gmial.com"
    assert normalise.email("a@acme.con", own) == "a@acme.com"
    assert normalise.email("a@acme.con") == "a@acme.con"
    assert town("VILLE-NEUVE", region="AU", corrections=own) == "Villeneuve"
    assert own.digest != BUILT_IN.digest


def test_dictionary__with_a_chain_or_a_circle__ends_or_corrects_nothing():
    own = corrections_from(
        [("DOMAIN", "a.x", "b.x"), ("DOMAIN", "b.x", "c.x"), ("DOMAIN", "d.x", "e.x"), ("DOMAIN", "e.x", "d.x")]
    )

    assert (own.domains["a.x"], own.domains["b.x"]) == ("c.x", "c.x")
    assert own.domains.keys().isdisjoint({"d.x", "e.x"})


def test_dictionary__of_no_entries__is_the_built_in_one():
    assert corrections_from([]) is BUILT_IN


# -- traits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trait", "raw", "normal"),
    [
        ("firstName", "ADA", "Ada"), ("Prénom", "ADA", "Ada"), ("nom", "DUPONT", "Dupont"), ("full_name", "ADA BYRON", "Ada Byron"),
        ("birthday", "10/12/85", "1985-12-10"), ("date_naissance", "10/12/1985", "1985-12-10"), ("Code postal", 1000, "01000"),
        ("pays", "Royaume-Uni", "GB"), ("ville", "ST DENIS", "Saint-Denis"), ("mobile", "0612345678", "+33612345678"),
        ("sexe", "Femme", "f"), ("locale", "fr_FR", "fr-FR"), ("siret", "732 829 320 00074", "73282932000074"),
        ("state", "VIC", "VIC"), ("title", "DR", "DR"), ("company", "ACME", "ACME"), ("country", "Atlantis", "Atlantis"),
        ("x" * 65, "ADA", "ADA"), ("given_name", "A" * 513, "A" * 513), ("ville", "x" * 600, "x" * 600),
    ],
)  # fmt: skip
def test_trait__by_its_name_in_english_or_french__is_normalised_and_others_stay(trait, raw, normal):
    assert normalise.trait_value(trait, raw, region="FR") == normal


def test_identifier__of_an_address__is_corrected_by_the_dictionary_that_is_given():
    own = corrections_from([("DOMAIN", "acme.con", "acme.com")])

    assert normalise.identifier_value("email", "a@acme.con", region="", corrections=own) == "a@acme.com"
    assert normalise.identifier_value("user_id", "a@acme.con", region="", corrections=own) == "a@acme.con"
