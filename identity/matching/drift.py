"""How far two trained models are apart: level by level, in bits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

# A level that weighs three bits more or less makes an agreement eight times as telling, or as empty, as it was.
ALARMING_BITS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Shift:
    """`older` or `newer` is None where that model has no such level."""

    comparison: str
    level: str
    older: float | None
    newer: float | None

    @property
    def is_alarming(self) -> bool:
        """A level that came or went weighs nothing on one side: what it weighs on the other is how far it moved."""
        return abs((self.newer or 0.0) - (self.older or 0.0)) > ALARMING_BITS


def drift(older: Mapping[str, Any], newer: Mapping[str, Any]) -> list[Shift]:
    """Of every level of both models, the farthest moved first. Both are models as Splink saves them."""
    before, after = weights_of(older), weights_of(newer)
    shifts = [Shift(*level, before.get(level), after.get(level)) for level in before | after]
    return sorted(shifts, key=lambda shift: (-_distance(shift), shift.comparison, shift.level))


def weights_of(settings: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """(comparison, level) → log2 of how much likelier the level is among matches than among strangers."""
    return {
        (comparison["output_column_name"], level["label_for_charts"]): _weight(level)
        for comparison in settings.get("comparisons", ())
        for level in comparison["comparison_levels"]
        if level.get("m_probability") and level.get("u_probability")
    }


def _weight(level: Mapping[str, Any]) -> float:
    return math.log2(level["m_probability"] / level["u_probability"])


def _distance(shift: Shift) -> float:
    return abs((shift.newer or 0.0) - (shift.older or 0.0))
