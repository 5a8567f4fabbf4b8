"""What a frozen model knows of pairs of relatives, who share a house, and a name more often than strangers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

RELATIVES: Final = "relatives"
"""The name under which settings keep them, and under which they weigh in the evidence of a pair."""


@dataclass(frozen=True, slots=True)
class Relatives:
    """`per_match` is how many pairs of relatives there are for one pair of one person; `alike`, of what is a person's own,
    what share of relatives agree on it all the same.
    """

    per_match: float
    alike: Mapping[str, float]


def kept(share_of_matches: float, related: float, alike: Mapping[str, float]) -> dict[str, Any]:
    """As settings keep them. Of all pairs `related` are of relatives."""
    return {"log_odds": math.log2(related / (1 - share_of_matches - related)), "alike": dict(alike)}


def relatives_of(settings: Mapping[str, Any]) -> Relatives | None:
    """None where the model has found none, or none that it could tell from one person."""
    if RELATIVES not in settings:
        return None
    odds, matches = 2.0 ** settings[RELATIVES]["log_odds"], settings["probability_two_random_records_match"]
    return Relatives(odds / (1 + odds) * (1 - matches) / matches, settings[RELATIVES]["alike"])
