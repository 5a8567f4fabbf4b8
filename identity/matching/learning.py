"""What agreement says, learnt without labels: expectation–maximisation over counted patterns of agreement.

A pattern is the level at which each comparison found two records (-1: nothing to compare). Pairs are counted by pattern
first, so learning costs by the number of patterns and not of pairs: many starts and many rounds are cheap.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Levels = list[Floats]
"""For each comparison the probability of each of its levels"""

ROUNDS: Final = 500
SETTLED: Final = 1e-8  # of the log-likelihood for each pair: less gain than this is none
_SMALLEST: Final = 1e-9
_SHARES: Final = (0.5, 0.05, 0.002)  # of matches, to start from


@dataclass(frozen=True, slots=True)
class Patterns:
    """`levels` has a row for each pattern and a column for each comparison; `counts` says how many pairs had it."""

    levels: npt.NDArray[np.int64]
    counts: Floats
    sizes: tuple[int, ...]  # how many levels each comparison has

    @property
    def pairs(self) -> float:
        return float(self.counts.sum())


@dataclass(frozen=True, slots=True)
class Learnt:
    """What one start of one session came to. `found` counts the matches at each level, not their shares."""

    share: float
    found: Levels
    likelihood: float
    has_converged: bool


def shares_of(patterns: Patterns, weights: Floats | None = None, known: Levels | None = None) -> Levels:
    """How often each level occurs among the pairs at which there was something to compare, and those `known` besides."""
    found = counted(patterns, weights)
    return [_normal(one) for one in (added(found, known) if known else found)]


def added(found: Levels, known: Levels) -> Levels:
    return [one + more for one, more in zip(found, known, strict=True)]


def learn(patterns: Patterns, strangers: Levels, active: Sequence[int], known: Levels | None = None) -> Learnt:
    """The best of several starts, by likelihood. What `strangers` share is known and stays; `known` are matches seen
    elsewhere, by level, which count as if they were seen here too.

    A start can end with the classes in each other's place or with nothing found; the likelihood tells them apart.
    """
    counted = known or [np.zeros_like(one) for one in strangers]
    return max((_climb(patterns, strangers, active, counted, *start) for start in _starts(strangers)), key=_quality)


def chances(patterns: Patterns, matches: Levels, strangers: Levels, share: float) -> Floats:
    """How likely pairs of each pattern are matches, by all comparisons, if `share` of the pairs are."""
    everything = range(len(patterns.sizes))
    alike = _evidence(patterns, matches, everything) + np.log(share)
    unlike = _evidence(patterns, strangers, everything) + np.log1p(-share)
    likely: Floats = np.exp(alike - np.logaddexp(alike, unlike))
    return likely


def _quality(learnt: Learnt) -> float:
    return learnt.likelihood


def _starts(strangers: Levels) -> Iterator[tuple[float, Levels]]:
    """Matches agree at the first level mostly; or as strangers do, but for the rare levels, which are likelier."""
    falling = [_normal(0.3 ** np.arange(one.size, dtype=np.float64)) for one in strangers]
    rarer = [
        _normal(np.sqrt(np.maximum(one, _SMALLEST)) ** 0.5 * fall) for one, fall in zip(strangers, falling, strict=True)
    ]
    for share in _SHARES:
        yield share, falling
        yield share, rarer


def _normal(values: Floats) -> Floats:
    shares: Floats = values / max(values.sum(), _SMALLEST)
    return shares


def _agreement(matches: Levels, known: Levels, active: Sequence[int]) -> float:
    """What the matches seen elsewhere say of these shares."""
    return sum(float(known[place] @ np.log(np.maximum(matches[place], _SMALLEST))) for place in active)


def _climb(
    patterns: Patterns, strangers: Levels, active: Sequence[int], known: Levels, share: float, matches: Levels
) -> Learnt:
    """Until the likelihood of all pairs gains nothing more, or the rounds are used up: then it has not converged."""
    unlike = _evidence(patterns, strangers, active)
    before, has_converged = -np.inf, False
    for _ in range(ROUNDS):
        alike = _evidence(patterns, matches, active) + np.log(share)
        both = np.logaddexp(alike, unlike + np.log1p(-share))
        likely = np.exp(alike - both)
        likelihood = float(patterns.counts @ both) + _agreement(matches, known, active)
        matches = shares_of(patterns, likely, known)
        share = float(np.clip(patterns.counts @ likely / patterns.pairs, _SMALLEST, 1 - _SMALLEST))
        has_converged = likelihood - before < SETTLED * patterns.pairs
        if has_converged:
            break
        before = likelihood
    return Learnt(share, counted(patterns, likely), likelihood, has_converged)


def _evidence(patterns: Patterns, levels: Levels, active: Sequence[int]) -> Floats:
    total = np.zeros(patterns.counts.size)
    for place in active:
        padded = np.append(np.log(np.maximum(levels[place], _SMALLEST)), 0.0)  # -1, nothing to compare, takes the last
        total += padded[patterns.levels[:, place]]
    return total


def counted(patterns: Patterns, weights: Floats | None) -> Levels:
    weighted: Floats = patterns.counts if weights is None else patterns.counts * weights
    return [
        np.bincount(patterns.levels[:, place] + 1, weights=weighted, minlength=size + 1)[1:].astype(np.float64)
        for place, size in enumerate(patterns.sizes)
    ]
