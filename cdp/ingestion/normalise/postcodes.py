"""Postcodes, checked and spaced as their country writes them. A code of a country that is not listed is left alone."""

import re
from functools import cache, lru_cache
from typing import Final

from cdp.ingestion.normalise.values import MOST_CACHED, Normal, Quality, text

# `9` is a digit, `A` a letter, `*` either; anything else stands for itself and is put where it is missing.
SHAPES: Final = {
    "AD": "AD999", "AL": "9999", "AT": "9999", "AU": "9999", "BA": "99999", "BE": "9999", "BG": "9999",
    "BL": "99999", "BR": "99999-999", "CA": "A9A 9A9", "CH": "9999", "CN": "999999", "CY": "9999", "CZ": "999 99",
    "DE": "99999", "DK": "9999", "EE": "99999", "ES": "99999", "FI": "99999", "FO": "999", "FR": "99999",
    "GF": "99999", "GL": "9999", "GP": "99999", "GR": "999 99", "HR": "99999", "HU": "9999", "IE": "A9* ****",
    "IL": "9999999", "IN": "999999", "IS": "999", "IT": "99999", "JP": "999-9999", "KR": "99999", "LI": "9999",
    "LT": "LT-99999", "LU": "9999", "LV": "LV-9999", "MA": "99999", "MC": "99999", "MD": "MD-9999", "ME": "99999",
    "MF": "99999", "MK": "9999", "MQ": "99999", "MT": "AAA 9999", "MX": "99999", "NC": "99999", "NL": "9999 AA",
    "NO": "9999", "NZ": "9999", "PF": "99999", "PL": "99-999", "PM": "99999", "PT": "9999-999", "RE": "99999",
    "RO": "999999", "RS": "99999", "SE": "999 99", "SG": "999999", "SI": "9999", "SK": "999 99", "SM": "99999",
    "TN": "9999", "TR": "99999", "UA": "99999", "US": "99999", "VA": "99999", "WF": "99999", "YT": "99999",
    "ZA": "9999",
}  # fmt: skip

_SLOT: Final = {"9": "[0-9]", "A": "[A-Z]", "*": "[0-9A-Z]"}

# What a shape does not say, on the code without its spaces.
_RANGES: Final = {
    "AU": r"0[2-9]\d\d|[1-9]\d{3}", "BE": r"[1-9]\d{3}", "CA": r"[ABCEGHJ-NPRSTVXY]\d[ABCEGHJ-NPRSTV-Z]\d[ABCEGHJ-NPRSTV-Z]\d",
    "CH": r"[1-9]\d{3}", "DE": r"(?!00)\d{5}", "ES": r"(?:0[1-9]|[1-4]\d|5[0-2])\d{3}",
    "FR": r"(?:0[1-9]|[1-8]\d|9[0-8])\d{3}", "GF": r"973\d\d", "GP": r"971\d\d", "IE": r"[AC-FHKNPRTV-Y](?:\d\d|6W)[AC-FHKNPRTV-Y\d]{4}",
    "LI": r"94(?:8[5-9]|9[0-8])", "MC": r"980\d\d", "MQ": r"972\d\d", "NL": r"[1-9]\d{3}(?!SA|SD|SS)[A-Z]{2}", "NC": r"988\d\d",
    "PF": r"987\d\d", "PM": r"97500", "RE": r"974\d\d", "SM": r"4789\d", "VA": r"00120", "WF": r"986\d\d", "YT": r"976\d\d",
}  # fmt: skip
_RANGE = {country: re.compile(pattern, re.ASCII) for country, pattern in _RANGES.items()}

_SIGNS: Final = {"FR": "F", "DE": "D", "AT": "A", "BE": "B", "IT": "I", "ES": "E", "SE": "S", "NO": "N", "HU": "H"}
_BRITISH: Final = frozenset({"GB", "UK", "GG", "JE", "IM"})
_BRITISH_CODE = re.compile(
    r"GIR0AA|[A-PR-UWYZ](?:\d[A-HJKPSTUW\d]?|[A-HK-Y]\d[ABEHMNPRV-Y\d]?)\d[ABD-HJLNP-UW-Z]{2}", re.ASCII
)
_AMERICAN_LONG = re.compile(r"\d{9}", re.ASCII)
_CEDEX = re.compile(r"\s*\bCEDEX\b.*")
_FILLING = re.compile(r"[\s.\-\u2010-\u2015]+")
_LONGEST: Final = 32
_LOST_ZERO: Final = frozenset(
    {"FR", "DE", "ES", "IT", "US", "EE", "FI", "TR", "UA"}
)  # five digits, often a number in a table


def postcode(raw: object, *, region: str) -> str | None:
    found = read(raw, region=region)
    return found.value if found else None


def read(raw: object, *, region: str) -> Normal | None:
    """None for what is no postcode of `region`, or when there is no region. A number has lost its zeros in front."""
    written, country = text(raw), region.upper()
    if isinstance(raw, int | float) and country in _LOST_ZERO and len(written) == 4 and written.isdigit():
        padded = _postcode(f"0{written}", country)
        return Normal(padded, Quality.REPAIRED, ("leading_zero",)) if padded else None
    found = _postcode(written, country)
    return Normal(found) if found else None


@lru_cache(MOST_CACHED)
def _postcode(written: str, country: str) -> str | None:
    if len(written) > _LONGEST:
        return None
    compact = _FILLING.sub("", _CEDEX.sub("", written.upper()))
    if country in _BRITISH:
        return f"{compact[:-3]} {compact[-3:]}" if _BRITISH_CODE.fullmatch(compact) else None
    if country in {"US", "PR", "VI", "GU"}:
        return f"{compact[:5]}-{compact[5:]}" if _AMERICAN_LONG.fullmatch(compact) else _shaped(compact, "US", "99999")
    shape = SHAPES.get(country)
    return _shaped(compact, country, shape) if shape else None


def _shaped(compact: str, country: str, shape: str) -> str | None:
    """The code in its shape, with or without the sign of its country before it: `F-75015`, `LV1010`."""
    is_signed = shape.startswith(country)
    slots = shape.removeprefix(country) if is_signed else shape
    for bare in (compact, compact.removeprefix(country), compact.removeprefix(_SIGNS.get(country, country))):
        if _pattern(slots).fullmatch(bare) and (country not in _RANGE or _RANGE[country].fullmatch(bare)):
            left = iter(bare)
            return (country if is_signed else "") + "".join(next(left) if sign in _SLOT else sign for sign in slots)
    return None


@cache
def _pattern(slots: str) -> re.Pattern[str]:
    return re.compile("".join(_SLOT.get(sign, "") for sign in slots))
