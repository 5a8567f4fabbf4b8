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
