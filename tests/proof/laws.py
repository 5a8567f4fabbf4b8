"""What must be so, of any rules and any people. Each law raises `AssertionError` where it is broken.

A law works in a transaction of its own, which it takes back.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from django.db import connection, transaction
from hypothesis import strategies as st

from cdp.kernel.purposes import Purpose
from cdp.models import Workspace
from consent import gate
from segments import queries
from segments.language import Node
from segments.language.compile import Asked, compile_rules
from segments.language.compile.members import compile_members
from segments.language.ranks import Threshold
from segments.language.reference import evaluate, instants_of
from tests.factories.populations import Person, Population
from tests.factories.rules import Strategy, besides, leaves, offsets_from, persons_about, starts, trees

NEAR: Final = timedelta(days=366)
END_OF_TIME: Final = datetime(9900, 1, 1, tzinfo=UTC)
"""What changes after it may be told or not: nobody waits for it."""

Answers = Mapping[tuple[int, int], tuple[bool, datetime | None]]
"""By place of the rule, and profile: is it in, and when could that change."""


@dataclass(frozen=True)
class World:
    """People, and the rules that are asked about them at some moments: those from the start, and those at which an answer
    could change, chosen by number, or one microsecond beside.
    """

    start: datetime
    persons: Sequence[Person]
    rules: Sequence[Node]
    offsets: Sequence[timedelta]
    choices: Sequence[tuple[int, timedelta]]

    def moments(self, population: Population) -> list[datetime]:
        near = (self.start - NEAR, self.start + NEAR)
        every = {
            at for rule in self.rules for facts in population.facts.values()
            for at in instants_of(rule, facts, self.start) if near[0] < at < near[1]
        }  # fmt: skip
        deadlines = sorted(every) or [self.start]
        chosen = [deadlines[number % len(deadlines)] + beside for number, beside in self.choices]
        return [*chosen, *(self.start + offset for offset in self.offsets)]


@contextmanager
def taken_back(workspace: Workspace) -> Iterator[None]:
    """A transaction of this workspace that leaves nothing behind."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('tessera.workspace', %s, true)", [str(workspace.pk)])
        yield
        transaction.set_rollback(True)


@cache
def worlds(*kinds: str) -> Strategy:
    """With leaves of these kinds, or of all."""

    def about(start: datetime) -> Strategy:
        persons = st.lists(persons_about(start), min_size=1, max_size=3)
        rules = st.lists(trees(leaves(*kinds, start=start)), min_size=1, max_size=4)
        offsets = st.lists(offsets_from(start), min_size=1, max_size=1)
        choices = st.lists(st.tuples(st.integers(0, 1_000), besides), min_size=4, max_size=4)
        return st.builds(World, st.just(start), persons, rules, offsets, choices)

    return starts.flatmap(about)


def sql_says_what_the_reference_says(workspace: Workspace, world: World) -> None:
    """Asked about everybody, about some, and about each at its own instant; and for members alone."""
    with taken_back(workspace):
        population = Population(workspace, world.start, world.persons)
        moments = world.moments(population)
        frozen = population.freeze(world.rules, moments[0])
        profiles = list(population.facts)
        with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk):
            some = _Question(world.rules, Asked.SOME, frozen, queries.of_profiles(profiles))
            everybody = _Question(world.rules, Asked.EVERYBODY, frozen, {})
            each = _Question(world.rules, Asked.EACH_AT_ITS_INSTANT, frozen, queries.of_profiles(profiles))
            for now in moments:
                instants = dict.fromkeys(profiles, now)
                agree(population, world.rules, some.answers(now=now), instants)
            agree(population, world.rules, everybody.answers(now=moments[0]), dict.fromkeys(profiles, moments[0]))
            instants = dict(zip(profiles, moments, strict=False))
            agree(population, world.rules, each.answers(instants=list(instants.values())), instants)
            for rule in world.rules:
                assert members(rule, frozen, moments[0]) == population.members(rule, moments[0]), f"members: {rule}"


class _Question:
    def __init__(
        self, rules: Sequence[Node], asked: Asked, frozen: Mapping[str, Threshold], given: Mapping[str, Any]
    ) -> None:
        query = compile_rules(dict(enumerate(rules)), asked, frozen)
        self.sql, self.given = query.sql, {**query.parameters, **given}

    def answers(self, **when: Any) -> Answers:
        with connection.cursor() as cursor:
            cursor.execute(self.sql, {**self.given, **when})
            return {(rule, profile): (answer, change) for rule, profile, answer, change, _ in cursor.fetchall()}


def members(rule: Node, frozen: Mapping[str, Threshold], now: datetime) -> list[int]:
    """By the query that asks for nothing else."""
    query = compile_members(rule, frozen)
    with connection.cursor() as cursor:
        cursor.execute(query.sql, {**query.parameters, "now": now})
        return sorted(profile for (profile,) in cursor.fetchall())


def agree(population: Population, rules: Sequence[Node], answers: Answers, instants: Mapping[int, datetime]) -> None:
    """The same answers, and no change that is told too late. One that is told too early is looked at again."""
    assert len(answers) == len(rules) * len(population.facts)
    for place, rule in enumerate(rules):
        for profile, facts in population.facts.items():
            is_member, change = evaluate(rule, facts, instants[profile])
            found, deadline = answers[place, profile]
            assert found is is_member, f"in or not: {rule}"
            assert deadline is None or deadline > instants[profile], f"no later than now: {rule}"
            if change is not None and change < END_OF_TIME:
                assert deadline is not None, f"never: {rule}"
                assert deadline <= change, f"too late: {rule}"
