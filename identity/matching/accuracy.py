"""How good clusters are against the truth: over all true pairs, so that what blocking missed counts too."""

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Record = TypeVar("Record", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Accuracy:
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        together = self.precision + self.recall
        return 2 * self.precision * self.recall / together if together else 0.0

    def as_dict(self) -> dict[str, float]:
        return {name: round(getattr(self, name), 6) for name in ("precision", "recall", "f1")}


def pairwise(clusters: Mapping[Record, Hashable], truth: Mapping[Record, Hashable]) -> Accuracy:
    """Of the pairs put together, how many belong together; of those that belong together, how many were put so."""
    right = _pairs(Counter((clusters[one], entity) for one, entity in truth.items()))
    return Accuracy(
        precision=_share(right, _pairs(Counter(clusters[one] for one in truth))),
        recall=_share(right, _pairs(Counter(truth.values()))),
    )


def b_cubed(clusters: Mapping[Record, Hashable], truth: Mapping[Record, Hashable]) -> Accuracy:
    """The same from the view of each record: what share of its cluster is right, what share of its entity is there."""
    both = Counter((clusters[one], entity) for one, entity in truth.items())
    of_cluster = Counter(clusters[one] for one in truth)
    of_entity = Counter(truth.values())
    return Accuracy(
        precision=_share(sum(n * n / of_cluster[cluster] for (cluster, _), n in both.items()), len(truth)),
        recall=_share(sum(n * n / of_entity[entity] for (_, entity), n in both.items()), len(truth)),
    )


def _pairs(sizes: Counter[Hashable]) -> int:
    return sum(size * (size - 1) // 2 for size in sizes.values())


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 1.0
