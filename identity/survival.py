"""Why one value of a trait was chosen, and what each of the others lacked. Pure: the choice itself is made in SQL."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

STEWARD: Final = "steward"


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A value that a source gave for one of the identifiers of a person."""

    value: Any
    source_id: int
    source: str
    trust: int
    is_said: bool  # by a steward
    identifier_id: int
    observed_at: datetime
    confidence: float


@dataclass(frozen=True, slots=True)
class Order:
    """The candidates of one trait, and the rule among them: as `Choice`, in small letters."""

    rule: str
    sources: Sequence[str]
    frequencies: Counter[str]

    @classmethod
    def among(cls, candidates: Sequence[Candidate], rule: str, sources: Sequence[str] = ()) -> "Order":
        return cls(rule, sources, Counter(_text(one) for one in candidates))

    def sorted(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The chosen one first."""
        return sorted(candidates, key=lambda one: tuple(measure(one) for _, measure in self._measures()))

    def lost_by(self, loser: Candidate, winner: Candidate) -> str:
        """The first thing that the winner has more of: the word for it, or empty for the winner itself."""
        for word, measure in self._measures():
            if measure(loser) != measure(winner):
                return word
        return ""

    def _measures(self) -> list[tuple[str, Callable[[Candidate], Any]]]:
        """The less, the better."""
        return [
            (STEWARD, lambda one: not one.is_said),
            *self._of_rule(),
            ("most_recent", lambda one: -one.observed_at.timestamp()),
            ("trust", lambda one: -one.trust),
            ("confidence", lambda one: -one.confidence),
            ("identifier", lambda one: one.identifier_id),
            ("source", lambda one: one.source_id),
        ]

    def _of_rule(self) -> list[tuple[str, Callable[[Candidate], Any]]]:
        if self.rule == "trusted_source":
            return [("trusted_source", self._rank), ("trusted_source", lambda one: -one.trust)]
        if self.rule == "most_frequent":
            return [("most_frequent", lambda one: -self.frequencies[_text(one)])]
        if self.rule == "longest":
            return [("longest", lambda one: -_length(one.value))]
        return []

    def _rank(self, one: Candidate) -> int:
        return self.sources.index(one.source) if one.source in self.sources else len(self.sources)


def _text(one: Candidate) -> str:
    return json.dumps(one.value, sort_keys=True)


def _length(value: Any) -> int:  # noqa: ANN401  # any JSON
    """Of a text its own, without quotes; of anything else as Postgres writes it."""
    return len(value) if isinstance(value, str) else len(json.dumps(value, ensure_ascii=False))
