"""What a stream of any length leaves behind in bounded memory: how many were different, and a fair sample. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

MOST_EXACT: Final = 100_000
KEPT_MINIMA: Final = 16_384  # the estimate is right to 1/√16384 = 0.8 %
_RANGE: Final = 2.0**64


class Distinct:
    """How many different texts there were: exact up to `MOST_EXACT`, then by the smallest of their hashes.

    The answer depends on the set of texts alone, never on their order. Python's own hash is ten times faster than any
    other here; it differs from process to process, and so do estimates, within their error.
    """

    def __init__(self) -> None:
        self.seen: set[int] | None = set()
        self.minima = np.empty(0, dtype=np.uint64)

    def see(self, texts: Iterable[str]) -> None:
        if self.seen is None:
            self._keep_smallest(map(hash, texts))
            return
        self.seen.update(map(hash, texts))
        if len(self.seen) > MOST_EXACT:
            self._keep_smallest(self.seen)
            self.seen = None

    def _keep_smallest(self, hashes: Iterable[int]) -> None:
        fresh = np.fromiter(hashes, dtype=np.int64).view(np.uint64)
        if len(self.minima) == KEPT_MINIMA:
            fresh = fresh[fresh < self.minima[-1]]
        self.minima = np.unique(np.concatenate([self.minima, fresh]))[:KEPT_MINIMA]

    @property
    def is_exact(self) -> bool:
        return self.seen is not None

    @property
    def count(self) -> int:
        if self.seen is not None:
            return len(self.seen)
        if len(self.minima) < KEPT_MINIMA:
            return len(self.minima)
        return round((KEPT_MINIMA - 1) / (float(self.minima[-1]) / _RANGE))


class Reservoir:
    """Which rows of a stream belong to a sample in which each has the same chance: all of them while there is room."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seen = 0
        self._random = np.random.default_rng(seed)

    def places(self, count: int) -> Iterator[tuple[int, int]]:
        """Of the next `count` rows: (number among them, place in the sample that it takes). The last at a place stays."""
        filling = min(count, max(self.size - self.seen, 0))
        yield from ((number, self.seen + number) for number in range(filling))
        ranks = np.arange(self.seen + filling, self.seen + count) + 1
        drawn = self._random.integers(0, ranks) if len(ranks) else ranks
        self.seen += count
        taken = {int(drawn[number]): int(number) + filling for number in np.flatnonzero(drawn < self.size)}
        yield from ((number, place) for place, number in taken.items())
