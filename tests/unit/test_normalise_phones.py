"""Every way in which a French number is written is one number; letters, fillers and inventions are none."""

import pytest

from cdp.ingestion.normalise import Quality, phone, phones


@pytest.mark.parametrize(
    "written",
    [
        "06 12 34 56 78", "0612345678", "06.12.34.56.78", "06-12-34-56-78", "06/12/34/56/78", "0 612 345 678",
        "0033612345678", "0033 6 12 34 56 78", "00 33 (0) 6 12 34 56 78", "(0033) 6 12 34 56 78",
        "+33612345678", "+33 6 12 34 56 78", "+33 (0)6 12 34 56 78", "+33.6.12.34.56.78", "(+33) 6 12 34 56 78",
        "+33 0612345678", "33612345678", "612345678", "(0)6 12 34 56 78", "06\u00a012\u00a034\u00a056\u00a078",
        "06\u202f12\u202f34\u202f56\u202f78", "06\u201112\u201134\u201156\u201178", "\u200e0612345678", "'0612345678",
        "Tél. : 06.12.34.56.78", "tel:+33612345678", "Portable 06 12 34 56 78", "".join(chr(0xFF10 + int(digit)) for digit in "0612345678"), " 06 12 34 56 78 ",
    ],
)  # fmt: skip
def test_phone__of_france_in_any_spelling__is_one(written):
    assert phone(written, region="FR") == "+33612345678"


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("0692 12 34 56", "+262692123456"),
        ("+33 692 12 34 56", "+262692123456"),
        ("0033692123456", "+262692123456"),
        ("0262 12 34 56", "+262262123456"),
        ("0639 20 12 34", "+262639201234"),
        ("0590 12 34 56", "+590590123456"),
        ("0596 50 12 34", "+596596501234"),
        ("0594 20 00 01", "+594594200001"),
        ("0508 41 12 34", "+508411234"),
    ],
)
@pytest.mark.parametrize("region", ["FR", "GP"])
def test_phone__of_a_department_overseas__has_the_code_of_its_plan(written, normal, region):
    assert phone(written, region=region) == normal


def test_phone__of_france_dialled_overseas__is_french():
    found = phones.read("06 12 34 56 78", region="RE")

    assert (found.value, found.quality, found.notes) == ("+33612345678", Quality.REPAIRED, ("french_plan",))


@pytest.mark.parametrize(
    ("written", "region", "normal"),
    [
        ("06 12 34 56 78 poste 12", "FR", "+33612345678"),
        ("06 12 34 56 78 ext. 4", "FR", "+33612345678"),
        ("(415) 555-2671 x12", "US", "+14155552671"),
    ],
)
def test_phone__with_an_extension__drops_it_and_says_so(written, region, normal):
    found = phones.read(written, region=region)

    assert (found.value, found.notes) == (normal, ("extension_dropped",))


@pytest.mark.parametrize(
    "written",
    [
        "06 12 34 56 AB", "1-800-FLOWERS", "call me", "0666666666", "0600000000", "06 11 11 11 11", "00000", "12",
        "06 12 34 56 78 06 12 34 56 78", "06 12 34 56", "+999 123", "+4930000000000001", "9" * 65, "", None, True,
    ],
)  # fmt: skip
def test_phone__that_nobody_has__is_none(written):
    assert phone(written, region="FR") is None


@pytest.mark.parametrize(
    ("written", "region", "normal"),
    [
        ("1-800-555-0100   ", "US", "+18005550100"),
        ("011 33 6 12 34 56 78", "US", "+33612345678"),
        ("0033612345678", "", "+33612345678"),
        ("0612345678", "", None),
        ("020 7946 0958", "GB", "+442079460958"),
        ("0412 345 678", "au", "+61412345678"),
    ],
)
def test_phone__dialled_elsewhere__follows_its_region(written, region, normal):
    assert phone(written, region=region) == normal
