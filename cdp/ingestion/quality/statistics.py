"""The statistics of a report, over whole columns of numbers or texts. Pure; every one is that of numpy or scipy."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

IQR_FENCE: Final = 1.5
FAR_Z: Final = 3.0
BINS: Final = 20
LEAST_PAIRS: Final = 30
MOST_CATEGORIES: Final = 20

Numbers: TypeAlias = npt.NDArray[np.float64]


@dataclass(slots=True)
class Moments:
    """Count, extremes, mean and spread of a stream, exact but for rounding; chunks are merged as Chan et al. do."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0  # of the distances from the mean
    least: float = math.inf
    greatest: float = -math.inf

    def see(self, numbers: Numbers) -> None:
        if not len(numbers):
            return
        mean, count = float(numbers.mean()), len(numbers)
        total, apart = self.count + count, mean - self.mean
        self.squares += float(((numbers - mean) ** 2).sum()) + apart * apart * self.count * count / total
        self.mean += apart * count / total
        self.count = total
        self.least, self.greatest = min(self.least, float(numbers.min())), max(self.greatest, float(numbers.max()))

    @property
    def deviation(self) -> float:
        """Of the sample: divided by n - 1."""
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else 0.0


def quartiles(numbers: Numbers) -> tuple[float, float, float]:
    first, median, third = np.quantile(numbers, [0.25, 0.5, 0.75])
    return float(first), float(median), float(third)


def outliers_by_iqr(numbers: Numbers) -> dict[str, Any]:
    """Further than 1.5 times the middle half from that half."""
    first, _, third = quartiles(numbers)
    low, high = first - IQR_FENCE * (third - first), third + IQR_FENCE * (third - first)
    count = int(((numbers < low) | (numbers > high)).sum())
    return {"count": count, "share": count / len(numbers), "low": low, "high": high}


def outliers_by_z(numbers: Numbers) -> dict[str, Any]:
    """Further than three standard deviations from the mean."""
    deviation = float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0
    count = int((np.abs(numbers - numbers.mean()) > FAR_Z * deviation).sum()) if deviation else 0
    return {"count": count, "share": count / len(numbers)}


def histogram(numbers: Numbers) -> dict[str, Any]:
    try:
        counts, edges = np.histogram(numbers, bins=BINS)
    except ValueError:  # they lie so close together that twenty bins between them have no width
        return {"from": float(numbers.min()), "to": float(numbers.max()), "counts": [len(numbers)]}
    return {"from": float(edges[0]), "to": float(edges[-1]), "counts": [int(count) for count in counts]}


def kolmogorov_smirnov(now: Sequence[float], before: Sequence[float]) -> dict[str, float]:
    """How far two distributions are apart at most, and how likely that is if there is but one.

    The chance is that of Kolmogorov's limiting distribution: the exact one now and then takes seconds, and says hardly
    anything else.
    """
    from scipy import special  # noqa: PLC0415  # 20 MiB, which the web server need not hold

    ours, theirs = np.sort(now), np.sort(before)
    places = np.concatenate([ours, theirs])
    apart = np.searchsorted(ours, places, "right") / len(ours) - np.searchsorted(theirs, places, "right") / len(theirs)
    statistic = float(np.abs(apart).max())
    return {
        "statistic": statistic,
        "p": float(special.kolmogorov(statistic * math.sqrt(len(ours) * len(theirs) / len(places)))),
    }


def total_variation(now: Mapping[str, int], before: Mapping[str, int]) -> float:
    """The share of rows that would have to change to make one distribution the other: 0 the same, 1 nothing shared."""
    ours, theirs = sum(now.values()), sum(before.values())
    if not ours or not theirs:
        return 0.0 if ours == theirs else 1.0
    names = now.keys() | before.keys()
    return sum(abs(now.get(name, 0) / ours - before.get(name, 0) / theirs) for name in names) / 2


def correlation(left: Numbers, right: Numbers) -> tuple[float, float] | None:
    """Pearson and Spearman where both are known; None where they are too few, or one of them never changes."""
    both = ~(np.isnan(left) | np.isnan(right))
    left, right = left[both], right[both]
    if len(left) < LEAST_PAIRS or left.min() == left.max() or right.min() == right.max():
        return None
    return _pearson(left, right), _pearson(_ranks(left), _ranks(right))


def _pearson(left: Numbers, right: Numbers) -> float:
    return float(np.corrcoef(left, right)[0, 1])


def _ranks(numbers: Numbers) -> Numbers:
    """Those that are the same share the mean of their places."""
    _, which, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]


def association(left: Sequence[str | None], right: Sequence[str | None]) -> float | None:
    """Cramér's V of two columns of categories where both are known: 0 nothing, 1 the one tells the other."""
    pairs = [pair for pair in zip(left, right, strict=True) if None not in pair]
    if len(pairs) < LEAST_PAIRS:
        return None
    rows, columns = (
        {value: place for place, value in enumerate(sorted(set(side)))} for side in zip(*pairs, strict=True)
    )
    if not 1 < len(rows) <= MOST_CATEGORIES or not 1 < len(columns) <= MOST_CATEGORIES:
        return None
    table = np.zeros((len(rows), len(columns)), dtype=int)
    for one, other in pairs:
        table[rows[one], columns[other]] += 1
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / len(pairs)
    chi_square = ((table - expected) ** 2 / expected).sum()
    return math.sqrt(chi_square / len(pairs) / (min(table.shape) - 1))
