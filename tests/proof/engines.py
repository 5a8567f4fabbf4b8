"""Every engine finds the members that the reference finds, wherever the events lie: in the columnar copy, or not yet."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial

from segments.columnar import copying
from segments.columnar.engines import DuckDB, Engine, Spark, members_of

from cdp.kernel.purposes import Purpose
from cdp.models import Workspace
from consent import gate
from consent.gate import Permit, Segmentation
from segments import evaluation
from tests.factories.engines import ClickHouse
from tests.factories.populations import Population
from tests.proof.laws import World, taken_back

Members = Sequence[Sequence[int]]


def engines_find_what_the_reference_finds(workspace: Workspace, world: World, *, engine: Engine) -> None:
    with _half_copied(workspace, world) as (population, permit):
        now = world.moments(population)[0]
        frozen = population.freeze(world.rules, now)
        found = members_of(permit, world.rules, engine=engine, now=now, zone=population.zone, frozen=frozen)
        _agree(population, world, found, now)


def commands_find_what_the_reference_finds(workspace: Workspace, world: World) -> None:
    """As `manage.py segments evaluate` asks: all is read from the tables, and rankings end where they do now."""
    with _half_copied(workspace, world) as (population, permit):
        now = world.moments(population)[0]
        population.freeze(world.rules, now)
        for name in ("postgres", "reference", "duckdb"):
            engine = evaluation.ENGINES[name]
            _agree(population, world, [engine(permit, rule, now=now).members for rule in world.rules], now)


ENGINE_LAWS = {
    "commands": commands_find_what_the_reference_finds,
    "duckdb": partial(engines_find_what_the_reference_finds, engine=DuckDB()),
    "clickhouse": partial(engines_find_what_the_reference_finds, engine=ClickHouse()),
    "spark": partial(engines_find_what_the_reference_finds, engine=Spark()),
}


@contextmanager
def _half_copied(workspace: Workspace, world: World) -> Iterator[tuple[Population, Permit[Segmentation]]]:
    """The first event of each is in the copy, and those after it are not."""
    with taken_back(workspace):
        early = [{**person, "events": person["events"][:1]} for person in world.persons]
        population = Population(workspace, world.start, early)
        copying.copy_events(workspace_id=workspace.pk, clock=lambda: world.start, seconds=30)
        for identifier, person in zip(population.identifiers, world.persons, strict=True):
            for happening in person["events"][1:]:
                population.happen(identifier, happening)
        with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
            yield population, permit


def _agree(population: Population, world: World, found: Members, now: datetime) -> None:
    for rule, members in zip(world.rules, found, strict=True):
        assert list(members) == population.members(rule, now), f"members of {rule}"
