"""What a stream of any length leaves behind in bounded memory: how many were different, and a fair sample. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

MOST_EXACT: Final = 100_000
MERGED_AT_ONCE: Final = 8_192
KEPT_MINIMA: Final = 16_384  # the estimate is right to 1/√16384 = 0.8 %
_RANGE: Final = 2.0**64


class Distinct:
    """How many different texts there were: exact up to `MOST_EXACT`, then by the smallest of their hashes.

    The answer depends on the set of texts alone, never on their order. Python's own hash is ten times faster than any
    other here; it differs from process to process, and so do estimates, within their error.
    """

    def __init__(self) -> None:
        self._is_exact = True
        self._hashes = np.empty(0, dtype=np.uint64)  # each once, in order; all of them, or the smallest
        self._waiting: list[int] = []

    def see(self, texts: Iterable[str]) -> None:
        self._waiting.extend(map(hash, texts))
        if len(self._waiting) >= MERGED_AT_ONCE:
            self._merge()

    def _merge(self) -> None:
        if not self._waiting:
            return
        fresh = np.array(self._waiting, dtype=np.int64).view(np.uint64)
        self._waiting = []
        if not self._is_exact and len(self._hashes) == KEPT_MINIMA:
            fresh = fresh[fresh < self._hashes[-1]]
        self._hashes = np.union1d(self._hashes, fresh)
        self._is_exact = self._is_exact and len(self._hashes) <= MOST_EXACT
        if not self._is_exact:
            self._hashes = self._hashes[:KEPT_MINIMA].copy()

    @property
    def is_exact(self) -> bool:
        self._merge()
        return self._is_exact

    @property
    def count(self) -> int:
        self._merge()
        if self._is_exact or len(self._hashes) < KEPT_MINIMA:
            return len(self._hashes)
        return round((KEPT_MINIMA - 1) / (float(self._hashes[-1]) / _RANGE))


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
