"""Promise 3: the SQL says what the evaluator says, and membership kept step by step is membership computed anew.

A short form of what `python -m tests.proof` tries for hours.
"""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.proof import laws, stories

on_a_database = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.slow
@given(laws.worlds())
@on_a_database
def test_sql__of_any_rules__says_what_the_evaluator_says(workspace, world):
    laws.sql_says_what_the_reference_says(workspace, world)


@pytest.mark.slow
@given(stories.stories())
@on_a_database
def test_membership__kept_by_arrivals_and_deadlines__is_what_the_evaluator_saw(workspace, story):
    stories.membership_is_what_the_reference_saw(workspace, story)
