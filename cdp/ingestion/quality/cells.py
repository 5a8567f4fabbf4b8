"""What single values are: their type, whether they are missing, their shape, and whether they could name somebody. Pure."""

import re
from itertools import groupby
from typing import Any, Final

LARGEST: Final = 1e100
LONGEST_SHAPE: Final = 24
_LOOKED_AT: Final = 64
_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d{0,17})(?:\.\d{1,17})?(?:[eE][+-]?[0-7]?\d)?")  # never beyond LARGEST
_COMMA_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d{0,17}),\d{1,17}")
_BEGINS_NUMBER: Final = frozenset("+-0123456789")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}.*)?")
_WORD = re.compile(r"[A-Z]?[a-zà-ÿ]+|[A-Z]+(?![a-z])")
_SHOWN_SIGNS: Final = frozenset("@.-_/+:(),;#&'\"%€$")

# Columns with one of these words in their name hold what identifies or describes one person: only shapes are told.
PERSONAL_WORDS: Final = frozenset(
    """
    account address adresse agent anschrift birth birthday birthdate born card cell city client comment cookie courriel
    customer device dob email mail family fax firstname first forename geburtsdatum given guid iban id ids identifier ip
    key lastname last lat latitude lng lon longitude login message mobile naissance name names nom note notes passport
    password person phone postal postcode prenom prénom rue secret siren siret ssn strasse street subject suburb surname
    tel telephone token url user userid username uuid vorname nachname zip
    """.split()  # noqa: SIM905  # a list of seventy words reads better as text
)
_LOOKS_PERSONAL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|\+?[\d ().-]{9,20}|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}")


def is_missing(value: object) -> bool:
    return value is None or value != value or (isinstance(value, str) and (not value or value.isspace()))  # noqa: PLR0124  # NaN alone differs from itself


def number_in(text: str) -> float | None:
    """What is written as a number is one, but not `0800`, which is a code."""
    return float(text) if text[0] in _BEGINS_NUMBER and _NUMBER.fullmatch(text) else None


def with_point(value: Any) -> Any:  # noqa: ANN401  # whatever a row holds
    """A number that is written with a decimal comma, as the others are; anything else as it is."""
    return value.replace(",", ".") if isinstance(value, str) and _COMMA_NUMBER.fullmatch(value) else value


def is_date(text: str) -> bool:
    return text[4:5] == "-" and bool(_DATE.fullmatch(text))


def shape(text: str) -> str:
    """`Ada Lovelace-7` → `Aa Aa-9`: enough to see that a column changed its format, and nobody's name."""
    kinds = (kind for kind, _ in groupby(map(_kind, text[:_LOOKED_AT])))
    return "".join(kinds)[:LONGEST_SHAPE]


def _kind(sign: str) -> str:
    if sign.isdigit():
        return "9"
    if sign.isalpha():
        return "A" if sign.isupper() else "a"
    if sign.isspace():
        return " "
    return sign if sign in _SHOWN_SIGNS else "?"


def names_a_person(column: str) -> bool:
    """By the words of its name: `first_name`, `userId`, `Adresse`."""
    return any(word.lower() in PERSONAL_WORDS for word in _WORD.findall(column))


def looks_personal(text: str) -> bool:
    """An address, a telephone number, a UUID."""
    return bool(_LOOKS_PERSONAL.fullmatch(text))


def bounded(number: float) -> float:
    """Small enough that its square is a number, too."""
    return float(max(min(number, LARGEST), -LARGEST))


def trimmed(value: Any) -> Any:  # noqa: ANN401  # whatever a row holds
    """As a sample keeps it: numbers, short texts, and of everything else its type."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return bounded(value)
    if isinstance(value, str):
        return value[:_LOOKED_AT]
    return None if value is None else f"({type(value).__name__})"
