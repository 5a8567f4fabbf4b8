"""How statements are planned: those of few subjects once for a connection, and by index whatever a table looks like; those of
everybody by hash.
"""

import itertools
from functools import partial

import pytest
from django.db import DataError, connection, transaction
from psycopg.pq import PipelineStatus

from cdp.kernel.purposes import Purpose
from cdp.models import planning
from consent import gate
from identity import golden, households
from tests.factories import LONG_AGO

ORDINARY = ("auto", "on", "on")


def chosen():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('plan_cache_mode'), current_setting('enable_seqscan'),"
            " current_setting('enable_nestloop')"
        )
        return cursor.fetchone()


@pytest.mark.django_db
def test_few__are_planned_once_and_by_index__and_nobody_after_them():
    with planning.for_few():
        within = chosen()
        with planning.by_key():
            further_within = chosen()

    assert within == further_within == ("force_generic_plan", "off", "on")
    assert chosen() == ORDINARY


def joins():
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('enable_nestloop'), current_setting('enable_mergejoin')")
        return cursor.fetchone()


@pytest.mark.django_db
def test_everybody__is_joined_by_hash__and_nobody_after_that():
    with planning.in_bulk():
        within = joins()
        with planning.in_bulk():
            further_within = joins()
        after_the_inner = joins()

    assert within == further_within == after_the_inner == ("off", "off")
    assert joins() == ("on", "on")


@pytest.mark.django_db
def test_few__behind_a_pooler_that_keeps_no_plans__are_planned_each_time(settings):
    settings.DATABASE_PREPARED_STATEMENTS = False

    with planning.for_few():
        mode, *_ = chosen()

    assert mode == "auto"
    assert chosen() == ORDINARY


def fail():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")


def fail_and_ask():
    fail()
    chosen()
    pytest.fail("the error came no sooner")


@pytest.mark.django_db
@pytest.mark.parametrize("work", [fail, fail_and_ask])
def test_few__where_a_statement_fails_that_nobody_waits_for__fails_as_ever_and_leaves_nothing(work):
    with pytest.raises(DataError, match="division by zero"), transaction.atomic(), planning.for_few():
        work()

    assert chosen() == ORDINARY
    assert connection.connection.pgconn.pipeline_status == PipelineStatus.OFF
    assert connection.connection.prepare_threshold is None


@pytest.mark.django_db
def test_few__what_nobody_waits_for__is_written_in_the_order_in_which_it_was_said():
    with planning.for_few(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE said (word text) ON COMMIT DROP")
        for word in ("one", "two", "three"):
            cursor.execute("INSERT INTO said SELECT %s || count(*) FROM said", [word])

    with connection.cursor() as cursor:
        cursor.execute("SELECT word FROM said ORDER BY ctid")
        assert cursor.fetchall() == [("one0",), ("two1",), ("three2",)]


LOOKED_UP = ("identifier", "identifier_trait", "judgement", "sighting", "profile", "trait")


@pytest.fixture
def looking_empty(workspace):
    """Tables as they are for Postgres when they were analysed empty and filled since."""
    with connection.cursor() as cursor:
        names = [f"core.{name}" for name in LOOKED_UP]
        cursor.execute("UPDATE pg_class SET reltuples = 0, relpages = 1 WHERE oid = ANY(%s::regclass[])", [names])
    return workspace


def plans_of(work):
    """A line for each node of the plans of its queries that begin with a table of keys or of steps."""
    lines = []

    def explain(execute, statement, given, many, context):
        if statement.lstrip().startswith(("SELECT t.", "WITH")):
            execute(f"EXPLAIN {statement}", given, many, context)
            lines.extend(line for (line,) in context["cursor"].fetchall())
        return execute(statement, given, many, context)

    with connection.execute_wrapper(explain):
        work()
    return lines


@pytest.mark.parametrize(
    "tell", [golden.refresh_traits, partial(households.relate, now=LONG_AGO)], ids=["golden", "households"]
)
def test_by_key__where_tables_look_empty__still_reads_none_of_them_for_each_person(looking_empty, tell):
    with gate.permit(Purpose.IDENTITY, workspace_id=looking_empty.pk) as permit:
        lines = plans_of(lambda: tell(permit, range(1, 5_000)))

    read_whole = [
        before.strip()
        for before, line in itertools.pairwise(lines)
        if any(f"Seq Scan on {name} " in line for name in LOOKED_UP)
    ]
    assert lines
    assert all(f"(hashed {once})" in " ".join(lines).replace(".col1", "") for once in read_whole)
