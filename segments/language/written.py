"""The words that both written forms share: how comparisons, units, times and values are written."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from segments.language.tree import CalendarUnit, Comparison, Of, Scalar, Unit, Window, Zone

MAX_WRITTEN: Final = 1_000_000
"""Characters of a rule as text."""

SYMBOLS: Final[Mapping[Comparison, str]] = {
    Comparison.EQUALS: "=",
    Comparison.NOT_EQUALS: "!=",
    Comparison.GREATER: ">",
    Comparison.GREATER_OR_EQUAL: ">=",
    Comparison.LESS: "<",
    Comparison.LESS_OR_EQUAL: "<=",
}
BY_SYMBOL: Final[Mapping[str, Comparison]] = {symbol: comparison for comparison, symbol in SYMBOLS.items()}

COMPARED: Final[Mapping[Comparison, str]] = {
    **SYMBOLS,
    Comparison.CONTAINS_ANY: "contains any of",
    Comparison.CONTAINS_ALL: "contains all of",
    **{each: each.replace("_", " ") for each in Comparison if not each.startswith("contains_") and each not in SYMBOLS},
}
"""How the text form writes a comparison. What begins like another one comes before it."""

MADE: Final[Mapping[Of, str]] = {each: each.replace("_", " ") for each in Of}
ZONES: Final[Mapping[Zone, str]] = {Zone.PROFILE: "profile time", Zone.WORKSPACE: "workspace time", Zone.UTC: "utc"}

DATE_PATTERN: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK: Final = "T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.][0-9]{1,6})?)?"
_OFFSET: Final = "(?:Z|[+-][0-9]{2}:[0-9]{2})"
INSTANT_PATTERN: Final = f"{DATE_PATTERN}{_CLOCK}{_OFFSET}"
TIME_PATTERN: Final = f"{DATE_PATTERN}(?:{_CLOCK}{_OFFSET}?)?"
_TIME: Final = re.compile(TIME_PATTERN)


def read_time(text: str) -> datetime | None:
    """A date alone is its midnight in UTC. None for what is no time at all; a time without zone comes back without."""
    if not _TIME.fullmatch(text):
        return None
    try:
        found = datetime.fromisoformat(text)
        if len(text) == len("2026-01-01"):
            return found.replace(tzinfo=UTC)
        return found.astimezone(UTC) if found.tzinfo else found
    except (ValueError, OverflowError):  # the 13th month, or an instant before the year 1
        return None


def written_time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def written_date(at: datetime) -> str:
    """Without the time of day where that is midnight in UTC."""
    return written_time(at).removesuffix("T00:00:00Z")


def written_unit(amount: int, unit: Unit | CalendarUnit) -> str:
    return unit.value.removesuffix("s") if amount == 1 else unit.value


def written_window(window: Window) -> str:
    return f"{window.amount} {written_unit(window.amount, window.unit)}"


def shown(found: object) -> str:
    """What stands in a rule, for a message: short, and whole letters only, however long or broken it is."""
    text = repr(found) if not isinstance(found, str) else found
    readable = "".join(letter if letter.isprintable() else "?" for letter in text[:61])
    return f"{readable[:60]}…" if len(readable) > 60 else readable


def json_number(number: Decimal) -> int | float:
    """Exact: the tree refuses numbers that a float would not give back."""
    return int(number) if number == number.to_integral_value() else float(number)


def json_scalar(value: Scalar) -> str | bool | int | float:
    return json_number(value) if isinstance(value, Decimal) else value


def written_scalar(value: Scalar) -> str:
    """As JSON writes it, which the text form reads too. A number never has an exponent there."""
    if isinstance(value, Decimal):
        return written_number(value)
    return json.dumps(value, ensure_ascii=False)


def written_number(number: Decimal) -> str:
    return str(int(number)) if number == number.to_integral_value() else f"{number.normalize():f}"


# -- letters --------------------------------------------------------------------------------------------------------


def _folded(letter: str) -> str:
    """The one letter that a letter is without its case, or itself where that would take two."""
    return next((form for form in (letter.casefold(), letter.lower()) if len(form) == 1), letter)


_LETTERS: Final = [chr(code) for block in ((0x41, 0x530), (0x1E00, 0x1F00)) for code in range(*block)]
_CASED: Final = [letter for letter in _LETTERS if _folded(letter) != letter]

FOLDED_FROM: Final = "".join(_CASED)
"""Letters of Latin, Greek and Cyrillic that `ignoring case` folds, each to the letter at its place in `FOLDED_TO`.

A fixed table, because no two engines agree on what lower case is. Every engine has a `translate` that takes it.
"""
FOLDED_TO: Final = "".join(map(_folded, _CASED))

_FOLDING: Final = str.maketrans(FOLDED_FROM, FOLDED_TO)


def folded(text: str) -> str:
    """What `ignoring case` compares."""
    return text.translate(_FOLDING)
