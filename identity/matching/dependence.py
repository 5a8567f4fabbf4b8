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
WITH: Final = "_with_"  # between the names of two comparisons, in that of what corrects them
ENOUGH: Final = 30  # pairs of strangers that agree on both, or chance speaks


class Tie(NamedTuple):
    """Two comparisons by their places, and by how many bits their agreement together is overrated."""

    one: int
    other: int
    bits: float


class Together(NamedTuple):
    """Pairs of strangers, each of which stands for `scale` of all pairs of records; where `of` is given, the pairs that
    agree on that comparison are among them, and others may be missing.
    """

    patterns: Patterns
    scale: float
    of: int | None = None


def ties(random: Patterns, seen: Sequence[Together], alone: Floats, depths: Sequence[int]) -> list[Tie]:
    """The strongest ones that make no ring, strongest first: those from which most is learnt of the other comparison, and
    not those of the rarest coincidence. Two records agree on a comparison at one of its first `depths` levels, and strangers
    do with the probability `alone`.
    """
    both = np.minimum(agreeing(random, seen, depths), np.minimum.outer(alone, alone))  # who agrees on both does on each
    bits = excess(both, alone)
    told = _information(both, alone)
    groups = list(range(len(bits)))
    found = []
    for one, other in sorted(combinations(groups, 2), key=lambda pair: -told[pair]):
        if bits[one, other] > 0 and groups[one] != groups[other]:
            found.append(Tie(one, other, float(bits[one, other])))
            groups = [groups[one] if group == groups[other] else group for group in groups]
    return [tie for tie in found if tie.bits >= LEAST]


def agreeing(random: Patterns, seen: Sequence[Together], depths: Sequence[int]) -> Floats:
    """How likely strangers agree on two comparisons each, by the first of `seen` that has enough such pairs; 0 if none has.
    Of `random` pairs it is taken how often two comparisons can be made at all.
    """
    filled = (random.levels >= 0).astype(np.float64)
    compared = np.maximum((filled * random.counts[:, None]).T @ filled, 1) / random.pairs
    likely = np.zeros_like(compared)
    for one in seen:
        found = _pairs_agreeing(one.patterns, depths)
        is_new = (likely == 0) & (found >= ENOUGH)
        if one.of is not None:
            here = np.arange(len(found)) == one.of
            is_new &= here[:, None] | here[None, :]
        likely = np.where(is_new, found * one.scale / compared, likely)
    return likely


def excess(both: Floats, alone: Floats) -> Floats:
    """For two comparisons each, how many bits likelier it is that strangers agree on both than by chance."""
    by_chance = np.outer(alone, alone)
    bits: Floats = np.log2(np.where(both > 0, both, by_chance) / by_chance)
    return bits


def _information(both: Floats, alone: Floats) -> Floats:
    """What the agreement on one comparison tells of the agreement on the other (mutual information)."""
    one, other = alone[:, None], alone[None, :]
    told = np.zeros_like(both)
    for joint, chance in (
        (both, one * other),
        (one - both, one * (1 - other)),
        (other - both, (1 - one) * other),
        (1 - one - other + both, (1 - one) * (1 - other)),
    ):
        sure = np.maximum(joint, _SMALLEST)
        told += sure * np.log2(sure / chance)
    return told


def _pairs_agreeing(patterns: Patterns, depths: Sequence[int]) -> Floats:
    """How many pairs agree on two comparisons each."""
    first = ((patterns.levels >= 0) & (patterns.levels < np.array(depths))).astype(np.float64)
    found: Floats = (first * patterns.counts[:, None]).T @ first
    return found


_SMALLEST: Final = 1e-12


def correction(comparisons: Sequence[Mapping[str, Any]], tie: Tie, depths: Sequence[int]) -> dict[str, Any]:
    """A comparison whose one level holds where both agree, and takes away what was counted twice."""
    places = (tie.one, tie.other)
    pair = [comparisons[place] for place in places]
    together = {
        "sql_condition": " AND ".join(f"({_agreement(comparisons[place], depths[place])})" for place in places),
        "label_for_charts": "both agree",
        "m_probability": _EVEN * 2.0**-tie.bits,
        "u_probability": _EVEN,
    }
    otherwise = {
        "sql_condition": "ELSE",
        "label_for_charts": "All other comparisons",
        "m_probability": _EVEN,
        "u_probability": _EVEN,
    }
    name = WITH.join(str(comparison["output_column_name"]) for comparison in pair)
    return {"output_column_name": name, "comparison_levels": [together, otherwise]}


_EVEN: Final = 0.5  # only the ratio of the two probabilities says something


def _agreement(comparison: Mapping[str, Any], depth: int) -> str:
    """That one of its first `depth` levels holds."""
    levels = [level for level in comparison["comparison_levels"] if not level.get("is_null_level")]
    return " OR ".join(f"({level['sql_condition']})" for level in levels[:depth])
