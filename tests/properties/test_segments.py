"""Promise 3: the SQL says what the evaluator says, and membership kept step by step is membership computed anew."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier, Source
from consent import gate
from segments import membership, queries, services
from segments.language import (
    Aggregate,
    And,
    Comparison,
    Condition,
    Count,
    Event,
    Learned,
    Measured,
    Node,
    Not,
    Of,
    Or,
    Property,
    Trait,
    Unit,
    Window,
    parse_json,
    parse_text,
    to_json,
    to_text,
)  # fmt: skip
from segments.language.compile import Asked, compile_rules
from segments.language.reference import Fact, Facts, evaluate, is_in, next_change
from segments.models import Deadline, Membership, Segment
from tests.factories import SourceFactory
from tests.factories.segments import happen, know, people, put_in_group

START = datetime(2026, 3, 28, 12, tzinfo=UTC)  # the clocks of Europe go forward in the night that follows
NAMES = ("Order", "Order", "Order", "View")
COMPARISONS = (
    Comparison.EQUALS, Comparison.NOT_EQUALS, Comparison.IN, Comparison.GREATER, Comparison.GREATER_OR_EQUAL,
    Comparison.LESS, Comparison.LESS_OR_EQUAL, Comparison.CONTAINS, Comparison.STARTS_WITH, Comparison.EXISTS,
)  # fmt: skip
HARD_TEXTS = ("", "FR", "fr", "é", "'); DROP TABLE core.event; --", '"', "\\", "%s %(now)s", "F")
numbers = st.sampled_from([Decimal(-2), Decimal(0), Decimal(1), Decimal("1.5"), Decimal(2), Decimal(30)])
scalars = st.one_of(st.sampled_from(HARD_TEXTS), numbers, st.booleans())
stored = st.one_of(scalars, st.none(), st.lists(scalars, max_size=2), st.just({"FR": 1}))


@st.composite
def conditions(draw: Any, names: tuple[str, ...]) -> Condition:
    comparison = draw(st.sampled_from(COMPARISONS))
    values: dict[Comparison, st.SearchStrategy[Any]] = {
        Comparison.EXISTS: st.none(),
        Comparison.IN: st.lists(scalars, min_size=1, max_size=3).map(tuple),
        Comparison.STARTS_WITH: st.sampled_from(HARD_TEXTS),
        Comparison.CONTAINS: scalars,
        Comparison.EQUALS: scalars,
        Comparison.NOT_EQUALS: scalars,
    }
    value = draw(values.get(comparison, st.one_of(st.sampled_from(HARD_TEXTS), numbers)))
    return Condition(draw(st.sampled_from(names)), comparison, value)


units = st.sampled_from([Unit.DAYS, Unit.DAYS, Unit.HOURS, Unit.SECONDS])
windows = st.builds(Window, st.integers(1, 3), units)
comparisons = st.sampled_from(
    [Comparison.GREATER_OR_EQUAL, Comparison.GREATER, Comparison.EQUALS, Comparison.NOT_EQUALS, Comparison.LESS,
     Comparison.LESS_OR_EQUAL]
)  # fmt: skip
events = st.builds(
    lambda event, where, measure, period, comparison, value: Event(
        Measured(event, measure, where, period), comparison, value
    ),
    event=st.sampled_from(NAMES),
    where=st.one_of(st.just(()), st.just(()), conditions(names=("amount", "colour")).map(lambda one: (one,))),
    measure=st.sampled_from([Count(), Count(), Aggregate(Of.SUM, Property("amount"))]),
    comparison=comparisons,
    value=st.one_of(st.sampled_from([Decimal(1), Decimal(2)]), numbers),
    period=st.one_of(st.none(), windows, windows),
)
leaves = st.one_of(
    events, events, st.builds(Trait, conditions(names=("country", "age"))),
    st.builds(Learned, st.just("groups"), st.sampled_from(["loyal", "lost"])),
)  # fmt: skip
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=5,
)

# Offsets that meet the windows exactly: instants on a deadline are drawn often, and one microsecond beside it.
offsets = st.builds(
    lambda unit, amount, beside: timedelta(seconds=unit.seconds * amount, microseconds=beside),
    units, st.integers(-3, 3), st.sampled_from([-1, 0, 0, 0, 1]),
)  # fmt: skip
happenings = st.tuples(
    st.sampled_from(NAMES),
    offsets,
    st.fixed_dictionaries({"amount": st.one_of(numbers, stored)}, optional={"colour": stored}),
)
persons = st.fixed_dictionaries(
    {
        "traits": st.fixed_dictionaries({}, optional={"country": stored, "age": stored}),
        "events": st.lists(happenings, min_size=1, max_size=5),
        "groups": st.fixed_dictionaries({}, optional={"groups": st.sampled_from(["loyal", "lost"])}),
    }
)

on_a_database = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@given(trees)
@settings(max_examples=300)
def test_forms__of_any_tree__read_back_what_they_wrote(tree):
    assert to_json(parse_json(to_json(tree))) == to_json(tree)
    assert to_json(parse_text(to_text(tree))) == to_json(tree)
    assert parse_text(to_text(tree)) == tree


Change = tuple[int, datetime, bool]


class Population:
    """People in the database, and the same facts for the reference evaluator."""

    def __init__(self, workspace: Any, source: Source, count: int) -> None:
        self.source = source
        self.identifiers = people(count, workspace)
        self.facts = {identifier.pk: Facts({}, [], {}) for identifier in self.identifiers}

    def live(self, identifier: Identifier, person: dict[str, Any]) -> None:
        know(identifier, self.source, **person["traits"])
        for model, group in person["groups"].items():
            put_in_group(identifier, model, group)
        self.facts[identifier.pk] = Facts(person["traits"], [], person["groups"])
        for name, offset, properties in person["events"]:
            self.happen(identifier, name, START + offset, properties)

    def happen(self, identifier: Identifier, name: str, at: datetime, properties: dict[str, Any]) -> None:
        message_id = happen(identifier, self.source, name, at, properties)
        fact = Fact(name, at, properties, self.source.pk, message_id)
        self.facts[identifier.pk].events.append(fact)

    def members(self, tree: Node, now: datetime) -> list[int]:
        return [profile for profile, facts in sorted(self.facts.items()) if is_in(tree, facts, now)]


@pytest.mark.slow
@given(st.lists(trees, min_size=1, max_size=4), st.lists(persons, min_size=1, max_size=3), offsets)
@on_a_database
def test_sql__of_any_rules__says_what_the_evaluator_says(workspace, rules, persons, offset):
    now = START + offset
    with transaction.atomic():
        population = Population(workspace, SourceFactory(workspace=workspace), len(persons))
        for identifier, person in zip(population.identifiers, persons, strict=True):
            population.live(identifier, person)

        with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk):
            whole = _answers(rules, Asked.EVERYBODY, {"now": now})
            profiles = [identifier.pk for identifier in population.identifiers]
            some = _answers(rules, Asked.SOME, {**queries.of_profiles(profiles), "now": now})
            instants = [now] * len(profiles)
            each = _answers(rules, Asked.EACH_AT_ITS_INSTANT, {**queries.of_profiles(profiles), "instants": instants})

        assert whole == some == each
        for place, rule in enumerate(rules):
            for profile, facts in population.facts.items():
                is_member, change = evaluate(rule, facts, now)
                found, deadline = whole[place, profile]
                assert found is is_member
                assert deadline is None or deadline > now
                if change is not None:
                    assert deadline is not None
                    assert deadline <= change
        transaction.set_rollback(True)


def _answers(
    rules: list[Node], asked: Asked, given: dict[str, Any]
) -> dict[tuple[int, int], tuple[bool, datetime | None]]:
    query = compile_rules(dict(enumerate(rules)), asked)
    with connection.cursor() as cursor:
        cursor.execute(query.sql, {**query.parameters, **given})
        return {(rule, profile): (answer, change) for rule, profile, answer, change, _ in cursor.fetchall()}


steps = st.one_of(
    st.tuples(st.just("happen"), st.integers(0, 1), happenings),
    st.tuples(st.just("wait"), offsets.map(abs)),
    st.tuples(st.just("wait until a deadline")),
)


@pytest.mark.slow
@given(
    st.lists(trees, min_size=1, max_size=3), st.lists(persons, min_size=2, max_size=2),
    st.lists(steps, min_size=1, max_size=6),
)  # fmt: skip
@on_a_database
def test_membership__kept_by_arrivals_and_deadlines__is_what_a_full_computation_finds(workspace, rules, persons, steps):
    with transaction.atomic():
        population = Population(workspace, SourceFactory(workspace=workspace), len(persons))
        for identifier, person in zip(population.identifiers, persons, strict=True):
            population.live(identifier, person)
        segments = [
            services.create_segment(
                workspace_id=workspace.pk, slug=f"s{place}", name="", definition=to_json(rule), author=None, now=START
            )
            for place, rule in enumerate(rules)
        ]
        now = START
        for kind, *rest in steps:
            before = now
            touched: dict[int, Cause] = {}
            if kind == "happen":
                place, (name, offset, properties) = rest
                identifier = population.identifiers[place]
                population.happen(identifier, name, START + offset, properties)
                touched = {identifier.profile_id: Cause.EVENT}
            else:
                now = _later(now, *rest)
            with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
                waiting = membership.due(permit, now=now, most=100)
                membership.evaluate(permit, {**waiting, **touched}, now=now)
                assert not membership.due(permit, now=now, most=100)

            for segment, rule in zip(segments, rules, strict=True):
                members = population.members(rule, now)
                assert queries.members_of(segment) == members
                with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
                    assert queries.matching(permit, rule, now=now).members == members
                assert _changes_written(segment, before, now) == _changes_in_time(rule, population, before, now)
        transaction.set_rollback(True)


def _later(now: datetime, *wait: timedelta) -> datetime:
    """To the very instant of the next deadline, or by the time that was drawn."""
    if wait:
        return now + wait[0]
    following = Deadline.objects.filter(due_at__gt=now).order_by("due_at").values_list("due_at", flat=True).first()
    return following or now


def _changes_in_time(rule: Node, population: Population, after: datetime, until: datetime) -> list[Change]:
    """What a watcher of the evaluator sees while nothing happens."""
    seen = []
    for profile, facts in population.facts.items():
        at = next_change(rule, facts, after)
        while at is not None and at <= until:
            seen.append((profile, at, is_in(rule, facts, at)))
            at = next_change(rule, facts, at)
    return sorted(seen)


def _changes_written(segment: Segment, after: datetime, until: datetime) -> list[Change]:
    rows = list(Membership.objects.filter(segment=segment))
    entered = [(row.profile_id, row.entered_at, True) for row in rows if row.entered_cause == Cause.DEADLINE]
    left = [(row.profile_id, row.left_at, False) for row in rows if row.left_at and row.left_cause == Cause.DEADLINE]
    return sorted(change for change in [*entered, *left] if after < change[1] <= until)
