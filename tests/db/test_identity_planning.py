"""How statements are planned: those of few subjects once for a connection, and by index whatever a table looks like; those of
everybody by hash.
"""

import pytest
from django.db import connection

from identity import plans

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
    with plans.for_few():
        within = chosen()
        with plans.by_key():
            further_within = chosen()

    assert within == further_within == ("force_generic_plan", "off", "on")
    assert chosen() == ORDINARY


def joins():
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('enable_nestloop'), current_setting('enable_mergejoin')")
        return cursor.fetchone()


@pytest.mark.django_db
def test_everybody__is_joined_by_hash__and_nobody_after_that():
    with plans.in_bulk():
        within = joins()
        with plans.in_bulk():
            further_within = joins()
        after_the_inner = joins()

    assert within == further_within == after_the_inner == ("off", "off")
    assert joins() == ("on", "on")


@pytest.mark.django_db
def test_few__behind_a_pooler_that_keeps_no_plans__are_planned_each_time(settings):
    settings.DATABASE_PREPARED_STATEMENTS = False

    with plans.for_few():
        mode, *_ = chosen()

    assert mode == "auto"
    assert chosen() == ORDINARY
