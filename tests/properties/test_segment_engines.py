"""Every engine says what the reference says: of any rules and any people, over the columnar copy.

Engines are slow to begin, so many rules are asked of them at once. Part of the events is in the copy, part is not yet,
and part went stale in it: whoever asks sees no difference.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.kernel.purposes import Purpose
from cdp.models import Workspace
from consent import gate
from segments.columnar import copying
from segments.columnar.engines import DuckDB, Engine, Spark, members_of
from segments.facts import zone_of
from segments.language import Node, to_text
from tests.factories.engines import ClickHouse
from tests.factories.populations import Person, Population, is_there
from tests.factories.rules import leaves, leaves_about, offsets_from, persons_about, starts, trees

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def directory_of_its_own(settings, tmp_path):
    settings.COLUMNAR_DIR = tmp_path / "columnar"


@dataclass(frozen=True)
class World:
    start: datetime
    persons: Sequence[Person]
    later: Sequence[Any]
    rules: Sequence[Node]
    offset: timedelta


def worlds(rules: int, kinds: Sequence[str] = ()) -> st.SearchStrategy[World]:
    @cache
    def about(start: datetime) -> st.SearchStrategy[World]:
        chosen = kinds or [
            kind for kind in leaves_about(start) if kind != "listed" or is_there("segment_list_entry", "added_at")
        ]
        return st.builds(
            World,
            st.just(start),
            st.lists(persons_about(start), min_size=1, max_size=5),
            st.lists(persons_about(start).map(lambda person: person["events"][0]), max_size=3),
            st.lists(trees(leaves(*chosen, start=start)), min_size=rules, max_size=rules),
            offsets_from(start),
        )

    return st.deferred(lambda: starts.flatmap(about))


def check(workspace: Workspace, world: World, engine: Engine) -> None:
    """The members of every rule, with the events of the world in all the places where they can be."""
    now = world.start + world.offset
    with transaction.atomic():
        population = Population(workspace, world.start, world.persons)
        copying.copy_events(workspace_id=workspace.pk, clock=lambda: now, seconds=30)
        for happening in world.later:
            population.happen(population.identifiers[0], happening)
        frozen = population.freeze(world.rules, now)
        with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
            zone = zone_of(workspace.pk)
            found = members_of(permit, world.rules, engine=engine, now=now, zone=zone, frozen=frozen)
        expected = [population.members(rule, now) for rule in world.rules]
        transaction.set_rollback(True)
    wrong = {
        to_text(rule): (mine, theirs)
        for rule, mine, theirs in zip(world.rules, found, expected, strict=True)
        if mine != theirs
    }
    assert not wrong


def examples(number: int) -> settings:
    return settings(
        max_examples=number,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
        ],
    )


@given(world=worlds(rules=8))
@examples(15)
def test_duckdb__of_any_rules__says_what_the_reference_says(workspace, world):
    check(workspace, world, DuckDB())


@given(world=worlds(rules=8))
@examples(6)
def test_clickhouse__of_any_rules__says_what_the_reference_says(workspace, world):
    check(workspace, world, ClickHouse())


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    from segments.columnar.engines import _start

    session = _start()()
    yield session
    session.stop()


@given(world=worlds(rules=12))
@examples(3)
def test_spark__of_any_rules__says_what_the_reference_says(workspace, world, spark):
    check(workspace, world, Spark(spark))
