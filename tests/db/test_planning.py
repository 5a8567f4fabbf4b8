"""How statements are planned: those of few subjects once for a connection, and by index whatever a table looks like; those of
everybody by hash.
"""

import pytest
from django.db import DataError, connection, transaction
from psycopg.pq import PipelineStatus

from cdp.models import planning

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
