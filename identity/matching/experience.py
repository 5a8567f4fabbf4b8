"""What is known of comparisons before any record is seen: how often the records of one person agree, and strangers do.

It counts as so many pairs seen elsewhere. Where the data are few it keeps the weights sane; among many it is not heard.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from identity.matching.learning import Floats, Levels

MATCHES: Final = 30.0  # pairs of one person that everybody has seen
STRANGERS: Final = 1_000.0  # and of two


class Usual(NamedTuple):
    """Shares of pairs that agree exactly, and of those that do not agree at all; what is between lies between."""

    same: float
    different: float
    same_of_strangers: float
    different_of_strangers: float


USUAL: Final[Mapping[str, Usual]] = {
    "given_name": Usual(0.7, 0.05, 0.005, 0.95),
    "middle_name": Usual(0.6, 0.1, 0.01, 0.9),
    "surname": Usual(0.75, 0.05, 0.002, 0.97),
    "generation": Usual(0.95, 0.05, 0.5, 0.5),
    "gender": Usual(0.97, 0.03, 0.5, 0.5),
    "date_of_birth": Usual(0.85, 0.02, 0.0002, 0.97),
    "age": Usual(0.7, 0.05, 0.013, 0.9),
    "national_id": Usual(0.9, 0.05, 0.00001, 0.999),
    "other_id": Usual(0.9, 0.05, 0.00001, 0.999),
    "passport": Usual(0.85, 0.1, 0.00001, 0.999),
    "driving_licence": Usual(0.85, 0.1, 0.00001, 0.999),
    "email": Usual(0.6, 0.25, 0.0002, 0.97),
    "phone": Usual(0.6, 0.3, 0.0002, 0.99),
    "street": Usual(0.6, 0.2, 0.001, 0.98),
    "postcode": Usual(0.6, 0.15, 0.005, 0.9),
    "city": Usual(0.7, 0.15, 0.02, 0.93),
    "birth_place": Usual(0.8, 0.1, 0.02, 0.93),
    "organisation": Usual(0.5, 0.05, 0.001, 0.97),
    "employer": Usual(0.6, 0.2, 0.005, 0.97),
    "website": Usual(0.8, 0.2, 0.001, 0.999),
    "category": Usual(0.8, 0.2, 0.2, 0.8),
}
# What the people of one household, or the companies of one family, do not have in common; and how many of them have it
# in common all the same: twins, father and son of one name, a family with one mailbox.
OWN: Final[Mapping[str, float]] = {
    **dict.fromkeys((
        "given_name", "middle_name", "generation", "gender", "date_of_birth", "age", "national_id", "other_id", "passport",
        "driving_licence",
    ), 0.02),
    "email": 0.3,
}  # fmt: skip


def own(comparisons: Sequence[str]) -> dict[int, float]:
    """The places of comparisons that tell the people of one household apart, and how many have it in common."""
    return {place: OWN[name] for place, name in enumerate(comparisons) if name in OWN}


_ANY: Final = Usual(0.7, 0.1, 0.01, 0.95)
_FALLING: Final = 0.6  # of the levels between, each is so much rarer among matches than the one before


def of_matches(comparisons: Iterable[tuple[str, int]]) -> Levels:
    """For each comparison, by its name and how many levels it has, pairs of one person at each level."""
    usual = ((USUAL.get(name, _ANY), size) for name, size in comparisons)
    return [MATCHES * _shares(one.same, one.different, _FALLING, size) for one, size in usual]


def of_strangers(comparisons: Iterable[tuple[str, int]]) -> Levels:
    usual = ((USUAL.get(name, _ANY), size) for name, size in comparisons)
    return [STRANGERS * _shares(one.same_of_strangers, one.different_of_strangers, 1.0, size) for one, size in usual]


def _shares(first: float, last: float, falling: float, size: int) -> Floats:
    between = falling ** np.arange(max(size - 2, 0), dtype=np.float64)
    middle = between * (1 - first - last) / between.sum() if between.size else between
    shares: Floats = np.concatenate([[first], middle, [last]])
    normal: Floats = shares / shares.sum()
    return normal
