"""Arrays say what the evaluator says: of any rules and people, each at an instant of its own, and where nothing fits."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.kernel.purposes import Purpose
from consent import gate
from segments.arrays import answers, plan
from segments.arrays.streams import NEVER, Batch, UncountableError, micros, moment
from segments.language import parse_text
from tests.factories import SourceFactory
from tests.factories.populations import Population
from tests.factories.segments import happen, people
from tests.proof import laws

on_a_database = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def told(rules, frozen, instants, *, counts_events=True):
    """By place of the rule, and profile: is it in, and when could that change."""
    profiles = np.array(sorted(instants), np.int64)
    batch = Batch(profiles, np.array([micros(instants[profile]) for profile in profiles.tolist()], np.int64))
    found = answers.answers_of(plan.plan_of(dict(enumerate(rules)), frozen, counts_events=counts_events), batch)
    assert found.seen.all()
    return {
        (rule, profile): (bool(is_in), None if change == NEVER else moment(change))
        for rule, answer in enumerate(found.rules)
        for profile, is_in, change in zip(
            profiles.tolist(), answer.is_true.tolist(), answer.change.tolist(), strict=True
        )
    }


@pytest.mark.slow
@given(st.one_of(laws.worlds(), laws.worlds("event", "sequence")))
@on_a_database
def test_arrays__of_any_rules__say_what_the_evaluator_says(workspace, world):
    with laws.taken_back(workspace):
        population = Population(workspace, world.start, world.persons)
        moments = world.moments(population)
        frozen = population.freeze(world.rules, moments[0])
        instants = dict(zip(population.facts, moments, strict=False))
        with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk):
            left_to_database = told(world.rules, frozen, instants, counts_events=False)
            try:
                counted = told(world.rules, frozen, instants)
            except UncountableError:
                counted = left_to_database
        laws.agree(population, world.rules, counted, instants)
        laws.agree(population, world.rules, left_to_database, instants)


@pytest.mark.parametrize(
    ("at", "amount"),
    [
        (datetime(2200, 1, 1, tzinfo=UTC), 1),
        (datetime(1820, 1, 1, tzinfo=UTC), 1),
        (datetime(2026, 1, 1, tzinfo=UTC), Decimal("0.0000001")),
        (datetime(2026, 1, 1, tzinfo=UTC), Decimal("1e12")),
    ],
)
def test_event__that_does_not_fit__is_left_to_the_database(workspace, now, at, amount):
    source = SourceFactory(workspace=workspace)
    [ada] = people(1, workspace)
    happen(ada, source, "Order", at, {"amount": amount})
    rules, instants = [parse_text('sum of "amount" of "Order" > 0')], {ada.profile_id: now}

    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk):
        with pytest.raises(UncountableError):
            told(rules, {}, instants)
        left_to_database = told(rules, {}, instants, counts_events=False)

    assert left_to_database[0, ada.profile_id][0] is (at <= now)


def test_more_kinds_of_events__than_bits_in_a_number__are_told_apart(workspace, now):
    source = SourceFactory(workspace=workspace)
    [ada] = people(1, workspace)
    for number in (0, 61, 62, 99):
        happen(ada, source, f"E{number}", now)
    rules = [parse_text(f'done "E{number}" in last 1 day') for number in range(100)]

    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk):
        found = told(rules, {}, {ada.profile_id: now})

    assert [rule for (rule, _), (is_in, _) in found.items() if is_in] == [0, 61, 62, 99]
    assert {change for _, change in found.values()} == {None, now + timedelta(days=1)}
