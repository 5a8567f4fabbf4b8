"""Evidence that comes together among strangers counts once: who shares a street shares its postcode.

Of two comparisons it is measured how much likelier strangers agree on both than if neither knew of the other. The
strongest of these ties, as a tree (Chow and Liu), correct the sum of evidence: in a tree nothing is corrected twice.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Final, NamedTuple

import numpy as np

from identity.matching.learning import Floats, Patterns

LEAST: Final = 3.0  # bits from which two comparisons are taken to tell of one fact
ENOUGH: Final = 30  # pairs of strangers that agree on both, or chance speaks


class Tie(NamedTuple):
    """Two comparisons by their places, and by how many bits their agreement together is overrated."""

    one: int
    other: int
    bits: float


def ties(strangers: Patterns) -> list[Tie]:
    """The strongest ones that make no ring, strongest first."""
    bits = excess(strangers)
    groups = list(range(len(bits)))
    found = []
    for one, other in sorted(combinations(groups, 2), key=lambda pair: -bits[pair]):
        if bits[one, other] >= LEAST and groups[one] != groups[other]:
            found.append(Tie(one, other, float(bits[one, other])))
            groups = [groups[one] if group == groups[other] else group for group in groups]
    return found


def excess(strangers: Patterns) -> Floats:
    """For two comparisons each, how many bits likelier it is that strangers agree on both than by chance."""
    first = (strangers.levels == 0).astype(np.float64)
    filled = (strangers.levels >= 0).astype(np.float64)
    weighed = first * strangers.counts[:, None]
    together = weighed.T @ first
    compared = np.maximum((filled * strangers.counts[:, None]).T @ filled, 1)
    alone = (weighed.T @ filled) / compared
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = np.log2(together / compared / (alone * alone.T))
    return np.where(together >= ENOUGH, bits, 0.0)


def correction(comparisons: Sequence[Mapping[str, Any]], tie: Tie) -> dict[str, Any]:
    """A comparison whose one level holds where both agree, and takes away what was counted twice."""
    pair = [comparisons[place] for place in (tie.one, tie.other)]
    together = {
        "sql_condition": " AND ".join(f"({_agreement(comparison)})" for comparison in pair),
        "label_for_charts": "both the same",
        "m_probability": _EVEN * 2.0**-tie.bits,
        "u_probability": _EVEN,
    }
    otherwise = {
        "sql_condition": "ELSE",
        "label_for_charts": "All other comparisons",
        "m_probability": _EVEN,
        "u_probability": _EVEN,
    }
    name = "_with_".join(str(comparison["output_column_name"]) for comparison in pair)
    return {"output_column_name": name, "comparison_levels": [together, otherwise]}


_EVEN: Final = 0.5  # only the ratio of the two probabilities says something


def _agreement(comparison: Mapping[str, Any]) -> str:
    """The condition of its first level."""
    levels = comparison["comparison_levels"]
    return next(str(level["sql_condition"]) for level in levels if not level.get("is_null_level"))
