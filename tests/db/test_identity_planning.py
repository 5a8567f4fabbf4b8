"""How the statements of few subjects are planned: once for a connection, and by index whatever a table looks like."""

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


@pytest.mark.django_db
def test_few__behind_a_pooler_that_keeps_no_plans__are_planned_each_time(settings):
    settings.DATABASE_PREPARED_STATEMENTS = False

    with plans.for_few():
        mode, *_ = chosen()

    assert mode == "auto"
    assert chosen() == ORDINARY
