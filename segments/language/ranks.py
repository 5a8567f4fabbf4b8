"""Ranks: what is frozen of a ranking between two refreshes, and who lies inside of it.

Nobody can be ranked alone. So the value of the last one inside is found over everybody, kept, and every profile is
compared with it until the next refresh.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Final

DECIMALS: Final = 9


@dataclass(frozen=True, slots=True)
class Threshold:
    """The last one inside. No value: nobody had any, so nobody is inside.

    `profile_id` is given where ties are broken by it (`top 100`), and is None where they are included (`top 10%`).
    """

    value: Decimal | None
    profile_id: int | None
    computed_at: datetime


def rounded(value: Fraction) -> Decimal:
    """To `DECIMALS` places, halves away from zero: else no engine could find again who has exactly a third."""
    units = floor(abs(value) * 10**DECIMALS + Fraction(1, 2))
    return Decimal(f"{'' if value >= 0 else '-'}{units}e-{DECIMALS}")


def is_inside(value: Decimal, profile_id: int, threshold: Threshold, *, is_lowest: bool) -> bool:
    """Beyond the last one inside, or with the same value before it."""
    if threshold.value is None:
        return False
    if value != threshold.value:
        return (value < threshold.value) is is_lowest
    return threshold.profile_id is None or profile_id <= threshold.profile_id
