"""Numbers, amounts of money and measures, as people write them: `1.234,56`, `12,50 €`, `5 ft 11 in`.

Which sign divides the decimals is told by the number where it has both, by three digits and the region where it has one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final

from cdp.ingestion.normalise.countries import currency
from cdp.ingestion.normalise.values import MOST_CACHED, Normal, Quality, spaced

LONGEST: Final = 64

# Where a point groups thousands and a comma divides the decimals; in French-speaking countries spaces group.
_COMMA_DECIMAL: Final = frozenset(
    {"AT", "BE", "BR", "DE", "DK", "ES", "FI", "FR", "GP", "GF", "GR", "HR", "IT", "LU", "MQ", "NL", "NO", "PL", "PT",
     "RE", "RO", "RU", "SE", "SI", "SK", "TR", "YT", "CZ", "HU", "BG", "EE", "LT", "LV", "AR", "CL", "CO"}
)  # fmt: skip
_POINT_DECIMAL: Final = frozenset({"AU", "CA", "CH", "CN", "GB", "IE", "IN", "JP", "KR", "MX", "NZ", "SG", "US", "UK"})

_NUMBER = r"[-+\u2212]?\d[\d.,'\u2019 ]*"
_PLAIN = re.compile(r"([-+\u2212]?)(\d+)(?:\.(\d+))?", re.ASCII)
_GROUPED = re.compile(r"\d{1,3}(?:([ '\u2019.,])\d{3})(?:\1\d{3})*", re.ASCII)
_MONEY = re.compile(
    rf"(?P<before>[^\d\s.,+\u2212-][^\d.,]*?)?\s*(?P<number>{_NUMBER})\s*(?P<after>[^\d\s.,][^\d]*)?", re.ASCII
)
_MEASURE = re.compile(rf"({_NUMBER})\s*([^\W\d_.]+|'+|\"|\u2019\u2019?|\u2033|\u2032)\.?")
_FEET = re.compile(
    r"(\d{1,2})\s*(?:ft|feet|foot|pieds?|'|\u2019|\u2032)\s*(\d{1,2}(?:\.\d+)?)\s*(?:in|inch(?:es)?|pouces?|\"|''|\u2019\u2019|\u2033)?",
    re.ASCII,
)

# What one of a unit is in metres, kilograms and litres.
_UNITS: Final = {
    "m": ("m", "1", "metre metres meter meters mètre mètres"), "cm": ("m", "0.01", "centimetre centimetres centimeter centimeters centimètre centimètres"),
    "mm": ("m", "0.001", "millimetres millimètres"), "km": ("m", "1000", "kilometre kilometres kilometer kilometers kilomètre kilomètres"),
    "in": ("m", "0.0254", 'inch inches pouce pouces " ″'), "ft": ("m", "0.3048", "foot feet pied pieds ' \u2032"),
    "yd": ("m", "0.9144", "yard yards"), "mi": ("m", "1609.344", "mile miles"),
    "kg": ("kg", "1", "kgs kilo kilos kilogram kilograms kilogramme kilogrammes"), "g": ("kg", "0.001", "gr gram grams gramme grammes"),
    "mg": ("kg", "0.000001", ""), "t": ("kg", "1000", "tonne tonnes"), "lb": ("kg", "0.45359237", "lbs pound pounds livre livres"),
    "oz": ("kg", "0.028349523125", "ounce ounces once onces"), "st": ("kg", "6.35029318", "stone"),
    "l": ("l", "1", "litre litres liter liters"), "dl": ("l", "0.1", ""), "cl": ("l", "0.01", "centilitre centilitres"),
    "ml": ("l", "0.001", "millilitre millilitres milliliters"),
}  # fmt: skip
_FACTORS: Final = {
    word: (unit, Decimal(factor)) for name, (unit, factor, words) in _UNITS.items() for word in (name, *words.split())
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """`unit` is m, kg, l, or a currency of ISO 4217."""

    number: Decimal
    unit: str


def number(raw: object, *, region: str = "") -> Decimal | None:
    """The number; None for what is none, and for one as `1,234` where no region says which it is."""
    readings = _numbers(spaced(raw), region.upper())
    return readings[0] if len(readings) == 1 else None


def money(raw: object, *, region: str = "") -> Quantity | None:
    """An amount with its currency, before or after it."""
    written = spaced(raw)
    found = _MONEY.fullmatch(written) if len(written) <= LONGEST else None
    if not found or bool(found["before"]) == bool(found["after"]):
        return None
    amount = number(found["number"], region=region)
    unit = currency((found["before"] or found["after"]).strip(), region=region)
    return Quantity(amount, unit) if amount is not None and unit else None


def measure(raw: object, *, region: str = "") -> Quantity | None:
    """A length in metres, a weight in kilograms, a volume in litres."""
    written = spaced(raw).lower()
    if len(written) > LONGEST:
        return None
    if found := _FEET.fullmatch(written):
        return Quantity(Decimal(found[1]) * _FACTORS["ft"][1] + Decimal(found[2]) * _FACTORS["in"][1], "m")
    found = _MEASURE.fullmatch(written)
    if not found or found[2] not in _FACTORS or (amount := number(found[1], region=region)) is None:
        return None
    unit, factor = _FACTORS[found[2]]
    return Quantity(amount * factor, unit)


def read_number(raw: object, *, region: str = "") -> Normal | None:
    readings = tuple(written_as(one) for one in _numbers(spaced(raw), region.upper()))
    if len(readings) > 1:
        return Normal(readings[0], Quality.AMBIGUOUS, ("thousands_or_decimals",), readings)
    return Normal(readings[0]) if readings else None


def read_money(raw: object, *, region: str = "") -> Normal | None:
    found = money(raw, region=region)
    return Normal(f"{written_as(found.number)} {found.unit}") if found else None


def read_measure(raw: object, *, region: str = "") -> Normal | None:
    found = measure(raw, region=region)
    return Normal(f"{written_as(found.number)} {found.unit}") if found else None


def written_as(amount: Decimal) -> str:
    """With a point and no groups. Three decimals get a fourth, or `1.234` could be read as a thousand again."""
    plain = f"{amount:f}"
    whole, _, decimals = plain.partition(".")
    decimals = decimals.rstrip("0")
    if whole in {"-0", "+0"} and not decimals:
        whole = "0"
    if len(decimals) == 3:
        decimals += "0"
    return f"{whole}.{decimals}" if decimals else whole


@lru_cache(MOST_CACHED)
def _numbers(written: str, region: str) -> tuple[Decimal, ...]:
    if len(written) > LONGEST:
        return ()
    return tuple(dict.fromkeys(_readings(written.replace("\u2212", "-"), region)))


def _readings(written: str, region: str) -> Iterator[Decimal]:
    sign, digits = (written[0], written[1:]) if written[:1] in {"-", "+"} else ("", written)
    point, comma = digits.rfind("."), digits.rfind(",")
    if point >= 0 and comma >= 0:
        yield from _divided(sign, digits, "." if point > comma else ",")
    elif point < 0 and comma < 0:
        yield from _divided(sign, digits, "")
    else:
        yield from _of_one_sign(sign, digits, "." if point >= 0 else ",", region)


def _of_one_sign(sign: str, digits: str, mark: str, region: str) -> Iterator[Decimal]:
    """`1,234`: groups where the region writes them so, decimals where it does not, and else both are told."""
    grouped = _GROUPED.fullmatch(digits)
    if not grouped or grouped[1] != mark or digits.startswith("0"):
        yield from _divided(sign, digits, mark)
        return
    decimal = "," if region in _COMMA_DECIMAL else "." if region in _POINT_DECIMAL else ""
    if decimal != mark or digits.count(mark) > 1:
        yield from _divided(sign, digits, "")
    if decimal in {mark, ""} and digits.count(mark) == 1:
        yield from _divided(sign, digits, mark)


def _divided(sign: str, digits: str, mark: str) -> Iterator[Decimal]:
    """The number whose decimals come after `mark`, if its groups are of three."""
    whole, _, decimals = digits.rpartition(mark) if mark else (digits, "", "")
    grouped = _GROUPED.fullmatch(whole)
    plain = whole.replace(grouped[1], "") if grouped else whole
    if _PLAIN.fullmatch(f"{sign}{plain}.{decimals}" if mark else f"{sign}{plain}"):
        yield Decimal(f"{sign}{plain}.{decimals}" if mark else f"{sign}{plain}")
