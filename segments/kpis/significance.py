"""Is this value another one than chance explains? Two tests, each stated, and a correction for asking often.

*Shares* are compared with the pooled share of the periods before, by the two-proportion z-test, two-sided.

*Counts, money, days and means* are compared with control limits: how many times the median absolute deviation of the
periods before does the value lie from their median? How often chance alone goes that far is read from simulated series
of the same length (independent, normally distributed), because for a dozen periods no table of the normal distribution
is true. Trends and seasons are not known to the test: where there are some, the deviation is wide and alerts are rare.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

FEWEST_PERIODS: Final = 4  # before which nothing is known of what is usual
FEWEST_EXPECTED: Final = 5  # of either outcome on either side: below, the normal distribution is no approximation
SIMULATED: Final = 100_000
SEED: Final = 20_260_101
TO_DEVIATION: Final = 1.4826  # of a normal distribution: what makes the median absolute deviation the standard one
LEAST_SCALE: Final = 0.01  # of the median: money that never moved at all may move by this without a word


@dataclass(frozen=True, slots=True)
class Comparison:
    """`p` is the probability that chance alone strays as far from what was `expected`."""

    expected: float
    p: float


def compare_shares(numerator: float, denominator: float, past: Sequence[tuple[float, float]]) -> Comparison | None:
    """By the two-proportion z-test. None where there is too little to tell."""
    before, of = sum(one for one, _ in past), sum(one for _, one in past)
    if len(past) < FEWEST_PERIODS or not denominator or not of:
        return None
    pooled = (numerator + before) / (denominator + of)
    if min(denominator, of) * min(pooled, 1 - pooled) < FEWEST_EXPECTED:
        return None
    error = math.sqrt(pooled * (1 - pooled) * (1 / denominator + 1 / of))
    z = (numerator / denominator - before / of) / error
    return Comparison(before / of, math.erfc(abs(z) / math.sqrt(2)))


def compare_values(value: float, past: Sequence[float], *, is_count: bool) -> Comparison | None:
    """By control limits around the median. None where there is too little to tell.

    A count is never thought steadier than chance lets it be: its deviation is at least the root of the median.
    """
    if len(past) < FEWEST_PERIODS:
        return None
    series = np.asarray(past, float)
    median = float(np.median(series))
    least = math.sqrt(max(median, 1)) if is_count else max(abs(median) * LEAST_SCALE, 1e-9)
    scale = max(TO_DEVIATION * float(np.median(np.abs(series - median))), least)
    return Comparison(median, _how_often(abs(value - median) / scale, len(past)))


def adjusted(probabilities: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg: alerts with an adjusted p of at most q are false in a share of at most q of all alerts."""
    count = len(probabilities)
    order = sorted(range(count), key=probabilities.__getitem__, reverse=True)
    least, result = 1.0, [1.0] * count
    for behind, place in enumerate(order):
        least = min(least, probabilities[place] * (count / (count - behind)))
        result[place] = least
    return result


def _how_often(distance: float, periods: int) -> float:
    quiet = _quiet_distances(periods)
    as_far = SIMULATED - int(np.searchsorted(quiet, distance, side="left"))
    return (as_far + 1) / (SIMULATED + 1)


@lru_cache(maxsize=64)
def _quiet_distances(periods: int) -> NDArray[np.float64]:
    """How far the next value of a quiet series lies from the median of those before, sorted."""
    drawn = np.random.default_rng(SEED).standard_normal((SIMULATED, periods + 1))
    past = drawn[:, :-1]
    median = np.median(past, axis=1)
    scale = TO_DEVIATION * np.median(np.abs(past - median[:, None]), axis=1)
    return np.sort(np.abs(drawn[:, -1] - median) / scale)
