"""Rounds of trials, and what they found."""

import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import hypothesis
import structlog
from django.db import connection
from hypothesis import HealthCheck, Phase

from cdp.models import Workspace
from segments.language import Node, leaves_of, to_text
from segments.language.tree import Dated, Event, Sequence
from tests.factories import WorkspaceFactory
from tests.factories.rules import START as START_OF_ALL
from tests.factories.rules import Strategy, kind_of, leaves_about
from tests.proof.engines import ENGINE_LAWS
from tests.proof.laws import World, sql_says_what_the_reference_says, worlds
from tests.proof.stories import Story, membership_is_what_the_reference_saw, stories

Law = Callable[[Workspace, Any], None]
LAWS: Final[Mapping[str, tuple[Law, Callable[..., Strategy]]]] = {
    "sql": (sql_says_what_the_reference_says, worlds),
    "stories": (membership_is_what_the_reference_saw, stories),
    **{name: (law, worlds) for name, law in ENGINE_LAWS.items()},
}
SELDOM: Final = {"spark": 20, "clickhouse": 10}
"""Engines that take long to begin have their turn once in so many rounds."""
MOST_SHRINKING_SECONDS: Final = 30


class SmallEnough(BaseException):  # no error, and nothing that hypothesis should keep
    """It has been made smaller for long enough."""


class Trials:
    """`found` are counterexamples: the seed of the round, the law, the error, and the example as small as it got."""

    def __init__(self, database: str, laws: set[str], kinds: list[str]) -> None:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        connection.close()
        connection.settings_dict["NAME"] = database
        self.workspace = WorkspaceFactory()
        self.laws = {name: law for name, law in LAWS.items() if name in (laws or LAWS)}
        self.are_chosen = bool(laws)
        self.kinds = kinds or list(leaves_about(START_OF_ALL))
        self.tried: Counter[str] = Counter()
        self.found: list[dict[str, Any]] = []
        self.rounds = 0
        self.began = time.monotonic()

    def round(self, seed: int, *, examples: int) -> None:
        """Where laws were chosen, each of them; else those whose turn it is."""
        self.rounds += 1
        for name, (law, strategy) in self.laws.items():
            if self.are_chosen or self.rounds % SELDOM.get(name, 1) == 0:
                self._try(name, law, strategy(*self.kinds), seed, examples)

    def summary(self) -> dict[str, Any]:
        return {
            "minutes": round((time.monotonic() - self.began) / 60, 1),
            "rounds": self.rounds,
            "counterexamples": len(self.found),
            "tried": dict(sorted(self.tried.items())),
            "found": self.found,
        }

    def _try(self, name: str, law: Law, strategy: Strategy, seed: int, examples: int) -> None:
        failing: list[tuple[Any, Exception]] = []
        give_up_at: list[float] = []

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink], report_multiple_bugs=False,
        )  # fmt: skip
        @hypothesis.given(strategy)
        def trial(example: Any) -> None:
            if give_up_at and time.monotonic() > give_up_at[0]:
                raise SmallEnough
            if not failing:
                self._count(name, example)
            try:
                law(self.workspace, example)
            except Exception as error:
                failing.append((example, error))
                give_up_at.append(time.monotonic() + MOST_SHRINKING_SECONDS)
                raise

        try:
            trial()
        except (SmallEnough, Exception):
            if not failing:
                raise
            self._record(name, seed, *failing[-1])

    def _record(self, name: str, seed: int, smallest: World | Story, error: Exception) -> None:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.name}, line {place.lineno}"
        one = {
            "law": name, "seed": seed, "error": f"{type(error).__name__}: {error}"[:2_000], "where": where,
            "rules": [_written(rule) for rule in smallest.rules], "example": repr(smallest),
        }  # fmt: skip
        self.found.append(one)
        print("\n".join(f"{key}: {value}" for key, value in one.items()), flush=True)  # noqa: T201  # to whoever waits

    def _count(self, name: str, example: World | Story) -> None:
        self.tried[f"{name}: examples"] += 1
        self.tried[f"{name}: rules"] += len(example.rules)
        self.tried[f"{name}: answers"] += len(example.rules) * len(example.persons)
        self.tried.update(_kinds(example.rules))
        if isinstance(example, Story):
            self.tried.update(f"step: {step[0]}" for step in example.steps)


def _kinds(rules: Iterable[Node]) -> Iterable[str]:
    for leaf in (leaf for rule in rules for leaf in leaves_of(rule)):
        yield f"condition: {kind_of(leaf)}"
        period = leaf.measured.period if isinstance(leaf, Event) else getattr(leaf, "period", None)
        if isinstance(leaf, Event | Sequence | Dated):
            yield f"period: {'ever' if period is None else type(period).__name__.lower()}"


def _written(rule: Node) -> str:
    try:
        return to_text(rule)
    except Exception as error:  # noqa: BLE001  # the text is a comfort: the example is there as well
        return f"{type(error).__name__}: {rule!r}"
