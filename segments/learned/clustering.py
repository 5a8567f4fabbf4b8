"""K-means for several k, and the choice among them. Pure: points in, groups out.

The best silhouette alone is a bad adviser: on skewed data it is a split into nearly everybody and a handful. So a k is
refused first when its groups would not come again on other samples of the same people, or when a group is too small to
be of use; only among what is left the silhouette decides.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, silhouette_score
from threadpoolctl import threadpool_limits

from cdp.kernel.errors import TesseraError

Points = NDArray[np.float64]
Labels = NDArray[np.int64]

MOST_ROWS_TO_FIT = 10_000  # more would make the search slower and the centres hardly better
ROWS_FOR_SILHOUETTE = 4_000  # its cost grows with the square
STARTS = 10
STARTS_ON_RESAMPLES = 3
DISSOLVED = 0.5  # a group of which on average less than half comes again is no group


class NoGroupsError(TesseraError):
    """No number of groups is both stable and made of groups that are large enough.

    `refused` says why for each. More customers, a smaller `minimum_share` or fewer groups may help.
    """

    code = "no_stable_groups"


@dataclass(frozen=True, slots=True)
class Demands:
    """What a clustering must keep to be accepted."""

    smallest_group: int
    stability: float
    resamples: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """One k, with all that speaks for or against it. `refusal` is empty when nothing speaks against it.

    `stability` is the mean adjusted Rand index between fits on resamples, `jaccard` for each group how much of it comes
    again on average.
    """

    k: int
    centres: Points
    silhouette: float
    stability: float
    jaccard: tuple[float, ...]
    sizes: tuple[int, ...]
    refusal: str

    @property
    def smallest_share(self) -> float:
        return min(self.sizes) / sum(self.sizes)


@dataclass(frozen=True, slots=True)
class Clustering:
    chosen: Candidate
    labels: Labels
    candidates: Sequence[Candidate]


def cluster(points: Points, *, ks: Sequence[int], seed: int, demands: Demands) -> Clustering:
    """Try every k and choose. The groups are numbered by their last coordinate, the highest first.

    Raises `NoGroupsError` when every k is refused.
    """
    rows = _rows_to_fit(points, seed)
    # With several threads sums are added up in any order, and the last digits of the centres would differ each time.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than groups: shows in the sizes
        candidates = [_candidate(points, rows, k, seed, demands) for k in ks if k < len(rows)]
    accepted = [candidate for candidate in candidates if not candidate.refusal]
    if not accepted:
        raise _no_groups(candidates, len(points))
    chosen = max(accepted, key=lambda candidate: (candidate.silhouette, -candidate.k))
    return Clustering(chosen, nearest(points, chosen.centres), candidates)


def _no_groups(candidates: Sequence[Candidate], rows: int) -> NoGroupsError:
    refused = {candidate.k: candidate.refusal for candidate in candidates}
    reasons = "; ".join(f"k = {k}: {reason}" for k, reason in refused.items()) or "There are fewer of them than groups"
    return NoGroupsError(f"No number of groups will do for {rows} customers. {reasons}.", refused=refused, rows=rows)


def nearest(points: Points, centres: Points) -> Labels:
    """The group of each point. Of two centres equally near the first: no point depends on its neighbours in a batch."""
    distances = np.stack([np.square(points - centre).sum(axis=1) for centre in centres], axis=1)
    labels: Labels = distances.argmin(axis=1)
    return labels


def _rows_to_fit(points: Points, seed: int) -> Points:
    if len(points) <= MOST_ROWS_TO_FIT:
        return points
    drawn = np.random.default_rng(seed).choice(len(points), MOST_ROWS_TO_FIT, replace=False)
    sample: Points = points[np.sort(drawn)]
    return sample


def _candidate(points: Points, rows: Points, k: int, seed: int, demands: Demands) -> Candidate:
    centres = _fit(rows, k, seed, STARTS)
    labels = nearest(rows, centres)
    fits = _labels_of_resamples(rows, k, seed, demands.resamples)
    jaccard = tuple(np.mean([_jaccard(labels, fit, k) for fit in fits], axis=0).tolist())
    stability = float(np.mean([adjusted_rand_score(one, other) for one, other in pairwise([*fits, fits[0]])]))
    sizes = tuple(np.bincount(nearest(points, centres), minlength=k).tolist())
    return Candidate(
        k=k,
        centres=centres,
        silhouette=_silhouette(rows, labels, seed),
        stability=stability,
        jaccard=jaccard,
        sizes=sizes,
        refusal=_refusal(stability, min(jaccard), min(sizes), demands),
    )


def _fit(rows: Points, k: int, seed: int, starts: int) -> Points:
    """Centres, ordered by the last coordinate, the highest first; ties by the ones before it."""
    centres = KMeans(n_clusters=k, n_init=starts, random_state=seed).fit(rows).cluster_centers_
    ordered: Points = centres[np.lexsort(-centres.T)]
    return ordered


def _labels_of_resamples(rows: Points, k: int, seed: int, resamples: int) -> list[Labels]:
    """Each fit knows only a bootstrap sample, and is asked about all rows."""
    drawn = np.random.default_rng(seed).integers(len(rows), size=(resamples, len(rows)))
    return [
        nearest(rows, _fit(rows[draw], k, seed + number, STARTS_ON_RESAMPLES))
        for number, draw in enumerate(drawn, start=1)
    ]


def _jaccard(labels: Labels, other: Labels, k: int) -> NDArray[np.float64]:
    """For each group, how much it has in common with the most similar group of another fit."""
    both = np.bincount(labels * k + other, minlength=k * k).reshape(k, k)
    either = both.sum(axis=1, keepdims=True) + both.sum(axis=0, keepdims=True) - both
    overlap: NDArray[np.float64] = (both / np.maximum(either, 1)).max(axis=1)
    return overlap


def _silhouette(rows: Points, labels: Labels, seed: int) -> float:
    if len(set(labels.tolist())) < 2:
        return 0.0
    return float(silhouette_score(rows, labels, sample_size=min(len(rows), ROWS_FOR_SILHOUETTE), random_state=seed))


def _refusal(stability: float, weakest: float, smallest: int, demands: Demands) -> str:
    reasons = []
    if stability < demands.stability:
        reasons.append(f"not stable: {stability:.2f} on resamples, at least {demands.stability:.2f} is asked")
    if weakest < DISSOLVED:
        reasons.append(f"a group dissolves: {weakest:.0%} of it comes again on resamples, at least half is asked")
    if smallest < demands.smallest_group:
        reasons.append(f"the smallest group has {smallest} members, at least {demands.smallest_group} are asked")
    return "; ".join(reasons)
