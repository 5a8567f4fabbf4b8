"""Phone numbers in E.164, however they are dialled. Letters and numbers that nobody has are refused."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber

from cdp.ingestion.normalise.values import MOST_CACHED, Normal, Quality, text

LONGEST: Final = 64
LONGEST_E164: Final = 16  # with its plus; the plan of Germany knows longer ones
FRANCE: Final = 33
EQUAL_AT_THE_END: Final = 8  # so many equal digits at the end of a number, and it was typed to fill a field

# France and its departments overseas dial each other by ten digits, without a country code.
_OVERSEAS_PLANS: Final = ("RE", "YT", "GP", "MQ", "GF", "PM", "BL", "MF")
_OVERSEAS: Final = (
    "262", "263", "269", "508", "590", "594", "596", "639", "690", "691", "692", "693", "694", "696", "697",
)  # fmt: skip

_LABEL = re.compile(r"(?:t[ée]l(?:[ée]phone)?|phone|mobile|mob|portable|port|gsm|fixe)\.?\s*:?\s*|tel:", re.IGNORECASE)
_EXTENSION = re.compile(r"(?:;ext=|,|#|\b(?:ext(?:ension|n)?|poste|p|x)\.?|(?<=\d)x)\s*:?\s*\d{1,7}#?$", re.IGNORECASE)
_ODD_SPACES = re.compile(r"[\s\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]+")
_TRUNK = re.compile(r"\(\s*0\s*\)")
_ABROAD = re.compile(r"(?:\+\s*)?(?:\(\s*)?00")
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212\u30fc", "-"))
_NUMBER = re.compile(r"\(?[+\uff0b]?[\d\s().\-/]+")


def phone(raw: object, *, region: str) -> str | None:
    """E.164. A number without `+` or `00` is read as one dialled in `region` (ISO 3166)."""
    found = _phone(text(raw), region.upper())
    return found.value if found else None


def read(raw: object, *, region: str) -> Normal | None:
    """As `phone`; the notes tell of an extension that was dropped, or of a department overseas that was found."""
    return _phone(text(raw), region.upper())


@lru_cache(MOST_CACHED)
def _phone(written: str, region: str) -> Normal | None:
    dialled, has_extension = _dialled(written)
    if not _NUMBER.fullmatch(dialled):
        return None
    for number, is_moved in _candidates(dialled, region):
        if phonenumbers.is_valid_number(number):
            return _normal(number, is_moved=is_moved, has_extension=has_extension)
    return None


def _dialled(written: str) -> tuple[str, bool]:
    """Without what people write around a number, and whether they wrote an extension."""
    if len(written) > LONGEST:
        return "", False
    plain = _ODD_SPACES.sub(" ", written.translate(_DASHES)).strip().lstrip("'\u2019").strip()
    labelled = _LABEL.match(plain)
    plain = plain[labelled.end() :] if labelled else plain
    shorter = _EXTENSION.sub("", plain)
    return _TRUNK.sub("", shorter).strip(), shorter != plain


def _candidates(dialled: str, region: str) -> Iterator[tuple[PhoneNumber, bool]]:
    """What the digits can mean, the likeliest first, and whether a plan overseas was needed for it."""
    abroad = _ABROAD.match(dialled)
    if abroad:
        yield from _in_plan("+" + dialled[abroad.end() :], "")
    yield from _in_plan(dialled, region)
    if region in _OVERSEAS_PLANS and not dialled.startswith("+"):
        yield from ((number, True) for number, _ in _in_plan(dialled, "FR"))


def _in_plan(dialled: str, region: str) -> Iterator[tuple[PhoneNumber, bool]]:
    """`0596…` and even `+33 596…` are Martinique, though the plan of France has room for such numbers too."""
    for number in _parsed(dialled, region):
        national = str(number.national_number)
        if number.country_code == FRANCE and national.startswith(_OVERSEAS):
            yield from ((moved, True) for moved in _overseas(national))
        yield number, False


def _overseas(national: str) -> Iterator[PhoneNumber]:
    for plan in _OVERSEAS_PLANS:
        yield from _parsed(f"0{national}", plan)
    if national.startswith("508"):  # the one whose own numbers have six digits
        yield from _parsed(f"+{national}", "")


def _parsed(dialled: str, region: str) -> list[PhoneNumber]:
    try:
        return [phonenumbers.parse(dialled, region or None)]
    except NumberParseException:
        return []


def _normal(number: PhoneNumber, *, is_moved: bool, has_extension: bool) -> Normal | None:
    national = phonenumbers.national_significant_number(number)
    value = f"+{number.country_code}{national}"
    if len(value) > LONGEST_E164 or len(set(national[-EQUAL_AT_THE_END:])) == 1:
        return None
    notes = (*(("french_plan",) if is_moved else ()), *(("extension_dropped",) if has_extension else ()))
    return Normal(value, Quality.REPAIRED if notes else Quality.EXACT, notes)
