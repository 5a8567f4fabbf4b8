"""From scored pairs to the prior that they imply, and to the weights above which to link or to ask."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.float64]

PRECISION_OVER_RECALL: Final = 0.5  # the beta of F-beta: a wrong merge costs more than a missed one
WORTH_ASKING: Final = 0.1  # the probability from which a steward is asked
_STEPS: Final = 50
_ROUNDING: Final = 1e-6  # far more than sums of weights in another order differ by


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From `upper` a pair is linked; from `lower` a steward is asked. Weights are log2 of the odds."""

    lower: float
    upper: float


def log_odds(probability: float) -> float:
    return math.log2(probability / (1 - probability))


def probabilities(weights: Weights) -> Weights:
    return 1 / (1 + np.exp2(-weights))


def implied_prior(weights: Weights, prior: float, pairs: float) -> float:
    """The share of matches among all `pairs` that explains the `weights` best; those were made with `prior`.

    A guess of the recall of certain rules stands behind the first prior; here the scores themselves speak.
    """
    evidence = weights - log_odds(prior)
    for _ in range(_STEPS):
        prior = max(float(probabilities(evidence + log_odds(prior)).sum()) / pairs, 0.5 / pairs)
    return prior


def choose(weights: Weights) -> Thresholds:
    """Where the expected F-beta is best, if the probabilities are right. No label is needed.

    The last pair to link is linked however its weight is summed. Of the gap below it the sample says nothing: a pair that
    comes to lie there is for a steward.
    """
    worth_asking = log_odds(WORTH_ASKING)
    if not weights.size:
        return Thresholds(lower=worth_asking, upper=-worth_asking)
    ordered = np.sort(weights)[::-1]
    matches = probabilities(ordered)
    found = np.cumsum(matches)
    beta = PRECISION_OVER_RECALL**2
    score = (1 + beta) * found / (np.arange(1, ordered.size + 1) + beta * found[-1])
    upper = float(ordered[int(np.argmax(score))]) - _ROUNDING
    return Thresholds(lower=min(worth_asking, upper), upper=upper)


def calibrated(weights: Weights, labels: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """(slope, shift) that turn weights into log-odds which agree with what stewards judged: slope * weight + shift.

    Logistic regression on the weight alone, held towards "the model is right" by a few imagined pairs, so that a handful
    of judgements moves little and a one-sided set does not run away.
    """
    given = np.clip(np.asarray(weights, dtype=np.float64), -_FARTHEST, _FARTHEST)
    believed = np.array([-_IMAGINED_WEIGHT, 0.0, _IMAGINED_WEIGHT])
    x = np.concatenate([given, believed, believed])
    y = np.concatenate([np.asarray(labels, dtype=np.float64), probabilities(believed), probabilities(believed)])
    design = np.column_stack([x, np.ones_like(x)])
    found = np.array([1.0, 0.0])
    for _ in range(_STEPS):
        likely = probabilities(design @ found)
        slope_of = (design * (likely * (1 - likely))[:, None]).T @ design * math.log(2) + np.eye(2) * _RIDGE
        step = np.linalg.solve(slope_of, design.T @ (y - likely) - _RIDGE * (found - [1.0, 0.0]))
        found = found + np.clip(step, -1.0, 1.0)
    return float(found[0]), float(found[1])


def moved(thresholds: Thresholds, slope: float, shift: float) -> Thresholds:
    """The weights at which the log-odds that stewards see are those at which the model meant to link and to ask."""
    lower, upper = ((meant - shift) / slope for meant in (log_odds(WORTH_ASKING), thresholds.upper))
    return Thresholds(lower=min(lower, upper), upper=upper)


_FARTHEST: Final = 30.0  # beyond it a weight is sure, and its size says nothing more
_IMAGINED_WEIGHT: Final = 3.0
_RIDGE: Final = 0.05
