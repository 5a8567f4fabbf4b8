"""Whom a load has met before: the ids of identifiers, and pairs that are written down, so that none is looked up twice.

Bounded: who did not come for long is forgotten, and looked up again. After an erasure everybody is.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, Generic, TypeVar

GENERATION: Final = 25_000  # of each type: two generations of one are some 7 MiB

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The newest, at least a generation of them and hardly more than two. Whatever is asked for is new again."""

    def __init__(self) -> None:
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def find(self, keys: Sequence[K]) -> list[V | None]:
        """None for what is not known."""
        found = [self._young.get(key) for key in keys]
        if self._old and None in found:
            missing = [(place, key) for place, key in enumerate(keys) if found[place] is None]
            older = {place: self._old[key] for place, key in missing if key in self._old}
            for place, value in older.items():
                found[place] = value
            self.put((keys[place], value) for place, value in older.items())
        return found

    def put(self, known: Iterable[tuple[K, V]]) -> None:
        if len(self._young) >= GENERATION:
            self._old, self._young = self._young, {}
        self._young.update(known)


class Acquaintances:
    """Of one load. Only what is committed may be put here."""

    def __init__(self) -> None:
        self._last_erasure = 0
        self.forget()

    def forget(self) -> None:
        self.ids: defaultdict[str, Recent[str, int]] = defaultdict(Recent)
        """of each type of identifiers the ids by their values"""
        self.pairs: Recent[int, bool] = Recent()

    def forget_if_after(self, last_erasure: int) -> None:
        """Their ids may be gone."""
        if last_erasure != self._last_erasure:
            self.forget()
        self._last_erasure = last_erasure


def number_of_pair(left: int, right: int) -> int:
    """One number for two: a tuple takes thrice the memory."""
    return left << 63 | right
