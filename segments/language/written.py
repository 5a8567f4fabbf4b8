"""The words that both written forms share: how comparisons and values are written."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from segments.language.tree import Comparison, Scalar

SYMBOLS: Final[Mapping[Comparison, str]] = {
    Comparison.EQUALS: "=",
    Comparison.NOT_EQUALS: "!=",
    Comparison.GREATER: ">",
    Comparison.GREATER_OR_EQUAL: ">=",
    Comparison.LESS: "<",
    Comparison.LESS_OR_EQUAL: "<=",
}
BY_SYMBOL: Final[Mapping[str, Comparison]] = {symbol: comparison for comparison, symbol in SYMBOLS.items()}


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
