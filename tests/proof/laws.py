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
from segments.language.reference import evaluate
from tests.factories.populations import Person, Population
from tests.factories.rules import Strategy, leaves, offsets_from, persons_about, starts, trees

END_OF_TIME: Final = datetime(9900, 1, 1, tzinfo=UTC)
"""What changes after it may be told or not: nobody waits for it."""

Answers = Mapping[tuple[int, int], tuple[bool, datetime | None]]
"""By place of the rule, and profile: is it in, and when could that change."""


@dataclass(frozen=True)
class World:
    """People, the rules that are asked about them, and as of when: offsets from the start, one for each person."""

    start: datetime
    persons: Sequence[Person]
    rules: Sequence[Node]
    offsets: Sequence[timedelta]


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
        offsets = st.lists(offsets_from(start), min_size=3, max_size=3)
        return st.builds(World, st.just(start), persons, rules, offsets)

    return starts.flatmap(about)


def sql_says_what_the_reference_says(workspace: Workspace, world: World) -> None:
    """Asked about everybody, about some, and about each at its own instant."""
    now = world.start + world.offsets[0]
    with taken_back(workspace):
        population = Population(workspace, world.start, world.persons)
        frozen = population.freeze(world.rules, now)
        profiles = list(population.facts)
        instants = {profile: world.start + offset for profile, offset in zip(profiles, world.offsets, strict=False)}
        with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk):
            given = queries.of_profiles(profiles)
            everybody = _asked(world.rules, Asked.EVERYBODY, {"now": now}, frozen)
            some = _asked(world.rules, Asked.SOME, {**given, "now": now}, frozen)
            at_instants = {**given, "instants": list(instants.values())}
            each = _asked(world.rules, Asked.EACH_AT_ITS_INSTANT, at_instants, frozen)
        agree(population, world.rules, everybody, dict.fromkeys(profiles, now))
        agree(population, world.rules, some, dict.fromkeys(profiles, now))
        agree(population, world.rules, each, instants)


def _asked(rules: Sequence[Node], asked: Asked, given: Mapping[str, Any], frozen: Mapping[str, Any]) -> Answers:
    query = compile_rules(dict(enumerate(rules)), asked, frozen)
    with connection.cursor() as cursor:
        cursor.execute(query.sql, {**query.parameters, **given})
        return {(rule, profile): (answer, change) for rule, profile, answer, change, _ in cursor.fetchall()}


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
