"""How statements are planned: those of few subjects once for a connection, and by index whatever a table looks like; those of
everybody by hash.
"""

import pytest
from django.db import DataError, connection, transaction
from psycopg.pq import PipelineStatus

from cdp.kernel.purposes import Purpose
from cdp.models import planning
from consent import gate
from identity import golden, households, records
from identity.matching import engine
from identity.queries import Rules
from tests.factories import LONG_AGO, SourceFactory

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


# -- tables that Postgres does not know yet ---------------------------------------------------------------------------

CROWD = 2_000
VALUES = ("surname", "street", "postcode")
STORED = """
INSERT INTO core.identifier (workspace_id, type, value, digest)
SELECT %(workspace)s, 'crm:id', n, sha256(convert_to(n::text, 'UTF8')) FROM generate_series(1, %(crowd)s) AS n
RETURNING id
"""
TOLD = """
INSERT INTO core.identifier_trait (workspace_id, identifier_id, source_id, name, value, observed_at, confidence)
SELECT workspace_id, id, %(source)s, name, to_jsonb('number ' || id %% 900), %(now)s, 1
FROM core.identifier, unnest(%(values)s::varchar[]) AS name WHERE workspace_id = %(workspace)s
"""
LOOKED_UP = ("identifier", "identifier_trait", "profile", "trait")
LOOKS = {
    "never analysed": "SELECT pg_clear_relation_stats('core', %s)",
    "analysed empty": "SELECT pg_restore_relation_stats('schemaname', 'core', 'relname', %s::text,"
    " 'relpages', 1, 'reltuples', 0::real)",
    "analysed nearly empty": "SELECT pg_restore_relation_stats('schemaname', 'core', 'relname', %s::text,"
    " 'relpages', 1, 'reltuples', 3::real)",
}


@pytest.fixture
def crowd(workspace):
    source = SourceFactory.create(workspace=workspace)
    given = {"workspace": workspace.pk, "source": source.pk, "crowd": CROWD, "values": list(VALUES), "now": LONG_AGO}
    with connection.cursor() as cursor:
        cursor.execute(STORED, given)
        people = [one for (one,) in cursor.fetchall()]
        cursor.execute(TOLD, given)
    return workspace.pk, people


def rows_read():
    """By this transaction, of the tables that are looked up."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(seq_tup_read + COALESCE(idx_tup_fetch, 0)) FROM pg_stat_xact_all_tables"
            " WHERE schemaname = 'core' AND relname = ANY(%s)",
            [list(LOOKED_UP)],
        )
        return int(cursor.fetchone()[0])


@pytest.mark.django_db
@pytest.mark.parametrize("looks", LOOKS.values(), ids=LOOKS)
def test_by_key__whatever_tables_look_like__reads_none_of_them_for_each_person(crowd, looks):
    workspace, people = crowd
    with connection.cursor() as cursor:
        cursor.executemany(looks, [[table] for table in LOOKED_UP])

    with gate.permit(Purpose.IDENTITY, workspace_id=workspace) as permit:
        before = rows_read()
        golden.refresh_traits(permit, people)
        golden.refresh_traits(permit, people)  # as they are already
        households.relate(permit, people, now=LONG_AGO)
        with engine.connect(memory_limit="100MB", threads=1) as duck:
            loaded = records.load_some(duck, Rules({}, frozenset()), people, workspace_id=workspace, is_day_first=True)
        read = rows_read() - before

    assert loaded == CROWD
    assert read < 60 * CROWD  # each of the four goes through the values and those whose they are once or twice
