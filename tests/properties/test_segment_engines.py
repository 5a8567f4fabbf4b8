"""Every engine says what the reference says: of any rules and any people, over the columnar copy.

Engines are slow to begin, so many rules are asked of them at once. Part of the events is in the copy, part is not yet,
and part went stale in it: whoever asks sees no difference.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.kernel.purposes import Purpose
from cdp.models import Workspace
from consent import gate
from segments.columnar import copying, engines
from segments.columnar.engines import DuckDB, Engine, Spark, members_of
from segments.facts import zone_of
from segments.language import Node, to_text
from segments.language.tree import (
    Aggregate,
    Comparison,
    Condition,
    Count,
    Event,
    Learned,
    Measured,
    Of,
    Property,
    Sample,
    Step,
    Trait,
    Unit,
    Window,
)  # fmt: skip
from segments.language.tree import Sequence as Steps
from tests.factories import SourceFactory
from tests.factories.engines import ClickHouse
from tests.factories.populations import Person, Population, is_there
from tests.factories.rules import leaves, leaves_about, offsets_from, persons_about, starts, trees
from tests.factories.segments import happen, know, people

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
@examples(10)
def test_duckdb__of_any_rules__says_what_the_reference_says(workspace, world):
    check(workspace, world, DuckDB())


@given(world=worlds(rules=8))
@examples(4)
def test_clickhouse__of_any_rules__says_what_the_reference_says(workspace, world):
    check(workspace, world, ClickHouse())


# For a handful of rows: what makes large queries fast makes these slow.
SMALL = {
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
}


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    from segments.columnar.engines import _start

    session = _start()()
    for name, value in SMALL.items():
        session.conf.set(name, value)
    yield session
    session.stop()
    _let_go()


def _let_go() -> None:
    """Ends Java, which the library leaves running."""
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    SparkContext._gateway = SparkContext._jvm = None
    gateway.shutdown()
    gateway.proc.stdin.close()  # which Java takes for the end
    gateway.proc.wait(timeout=30)


@given(world=worlds(rules=12))
@examples(2)
def test_spark__of_any_rules__says_what_the_reference_says(workspace, world, spark):
    check(workspace, world, Spark(spark))


def test_command__with_spark__prints_the_members_and_digest_of_the_reference(
    workspace, now, tmp_path, spark, monkeypatch
):
    """On the session of the other tests: the command would begin one of its own, and end it."""
    monkeypatch.setattr(engines, "Spark", lambda: Spark(spark))
    source, [ada, grace, _] = SourceFactory(workspace=workspace), people(3, workspace)
    know(grace, source, country="FR", timezone="America/New_York")
    happen(ada, source, "Order", now, {"products": [{"sku": "a", "price": 12}, {"sku": "b", "price": 3}]})
    rule = tmp_path / "rule.txt"
    rule.write_text(
        'done "Order" where "products" has ("sku" = "a" and "price" > 10) today or trait "country" = "FR"', "utf-8"
    )

    told = {engine: StringIO() for engine in ("spark", "reference")}
    for engine, output in told.items():
        call_command(
            "segments", "evaluate", str(rule), "--workspace", workspace.slug, "--engine", engine, "--members",
            "--at", now.isoformat(), "--json", stdout=output,
        )  # fmt: skip
    by_spark, by_reference = ({**json.loads(each.getvalue()), "seconds": 0} for each in told.values())

    assert by_spark["members"] == [ada.pk, grace.pk]
    assert by_spark == by_reference


# -- texts that would do harm, if they were ever more than values ---------------------------------------------------

nasty = st.one_of(
    st.sampled_from(
        [
            "'); DROP TABLE event; --", "' OR '1'='1", '" OR ""="', "\\", "\\'", "`x`", "$v0", ":v0", "{v0:String}", "${v0}",
            "%(now)s", "%", "_", "/*", "--", ";", "a/b~c", "~0", "~1", "/", "*", "$", "$.x", "[0]", "0", "-", "é\u2028", "\u202e",
            "\x01", "\n", "\t", "\x7f", "😀", "'||'", "\\N", "NULL", "'\\", "\\\\'",
        ]
    ),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=8),
).filter(lambda text: text.strip() != "")  # fmt: skip


def hostile(text: str) -> list[Node]:
    """The text as the name of everything, and as what everything is compared with."""
    condition = Condition(text, Comparison.EQUALS, text)
    comparisons = (Comparison.CONTAINS, Comparison.STARTS_WITH, Comparison.ENDS_WITH, Comparison.GREATER_OR_EQUAL)
    first = Event(Measured(text, Aggregate(Of.FIRST, Property(text))), Comparison.EQUALS, text)
    often = Event(Measured(text, Aggregate(Of.MOST_FREQUENT, Property(text))), Comparison.EQUALS, text)
    return [
        Trait(condition),
        Trait(Condition("object", Comparison.EQUALS, text, (text,))),
        Trait(Condition("list", Comparison.CONTAINS, text)),
        Trait(Condition("objects", Comparison.HAS, has=(condition,))),
        *(Trait(Condition(text, comparison, text)) for comparison in comparisons),
        Trait(Condition(text, Comparison.MATCHES, text.replace("*", "?"))),
        Trait(Condition(text, Comparison.IN, (text, "else"), ignores_case=True)),
        Event(Measured(text, Count(), (condition,))),
        first, often,
        Event(Measured(text, Aggregate(Of.DISTINCT, Property(text))), Comparison.EQUALS, Decimal(1)),
        Steps((Step(text, (condition,)),), Window(1, Unit.DAYS), (), Step("else", (condition,))),
        Learned(text, text),
        Sample(text, Decimal(0), Decimal(100)),
    ]  # fmt: skip


def check_hostile(workspace: Workspace, texts: Sequence[str], engine: Engine) -> None:
    """Who has the text everywhere is found by each of the rules; who has another one by the sample alone."""
    start = datetime(2026, 3, 28, 12, tzinfo=UTC)
    rules = [rule for text in texts for rule in hostile(text)]
    body = {text: text for text in texts}
    person = {"traits": {**body, "object": body, "list": list(texts), "objects": [body]}, "groups": body, "scores": {}, "lists": {},
              "memberships": {}, "permitted": (), "events": ()}  # fmt: skip
    nobody = {**person, "traits": {}, "groups": {}}
    with transaction.atomic():
        population = Population(workspace, start, [person, nobody])
        for place, text in enumerate(texts):
            population.happen(population.identifiers[0], (text, -timedelta(days=2), body, (0, f"m{place}")))
        now = start
        copying.copy_events(workspace_id=workspace.pk, clock=lambda: now, seconds=30)
        with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
            found = members_of(permit, rules, engine=engine, now=now)
        everybody = [identifier.pk for identifier in population.identifiers]
        transaction.set_rollback(True)
    wrong = [
        rule for rule, members in zip(rules, found, strict=True)
        if members != (everybody if isinstance(rule, Sample) else everybody[:1])
    ]  # fmt: skip
    assert not wrong


nasty_texts = st.lists(nasty, min_size=3, max_size=3, unique_by=str.casefold)


@given(texts=nasty_texts)
@examples(8)
def test_duckdb__with_hostile_texts_everywhere__finds_exactly_those(workspace, texts):
    check_hostile(workspace, texts, DuckDB())


@given(texts=nasty_texts)
@examples(3)
def test_clickhouse__with_hostile_texts_everywhere__finds_exactly_those(workspace, texts):
    check_hostile(workspace, texts, ClickHouse())


@given(texts=nasty.map(lambda text: [text]))
@examples(1)
def test_spark__with_hostile_texts_everywhere__finds_exactly_those(workspace, spark, texts):
    check_hostile(workspace, texts, Spark(spark))
