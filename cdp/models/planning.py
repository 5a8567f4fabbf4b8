"""How Postgres is to go about a statement, where what it knows of the tables is older than what was just loaded.

Between a big load and the next ANALYZE a table looks nearly empty, and the planner reads it from end to end for each
row of another one. Work on a few thousand named people goes by index; work on everybody goes by hash joins.
Neither depends on statistics, so the first load is as fast as the hundredth.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Final

from django.conf import settings
from django.db import connection
from django.db.backends.postgresql.base import ServerBindingCursor  # type: ignore[attr-defined]  # the stubs do not know it

# Analysed while it was empty, filled since: Postgres takes such a table for one of no rows, whatever lies in it.
# To merge with what was found by key, everybody would be read in the order of an index.
_BY_KEY = """
SELECT setting, set_config(setting, 'off', true) FROM (
    SELECT CASE WHEN EXISTS (
        SELECT 1 FROM pg_class WHERE reltuples = 0 AND relpages > 0
        AND oid IN ('core.identifier'::regclass, 'core.identifier_trait'::regclass, 'core.judgement'::regclass,
                    'core.sighting'::regclass, 'core.profile'::regclass, 'core.trait'::regclass)
    ) THEN ARRAY['enable_nestloop'] ELSE ARRAY['enable_seqscan', 'enable_mergejoin'] END AS settings
) AS chosen, unnest(settings) AS setting
"""
# Through the views of a purpose the planner knows nothing of the values, fears that all fall into one bucket of a hash
# table, and sorts everybody instead.
_IN_BULK = """
SELECT setting, set_config(setting, 'off', true)
FROM (VALUES ('enable_nestloop'), ('enable_mergejoin')) AS chosen (setting)
"""
_AGAIN = "SELECT set_config(setting, 'on', true) FROM unnest(%s::text[]) AS chosen (setting)"

# A plan that is made once serves every size of a table, so it must not follow from what the table looked like that day.
_ONCE = """
SELECT set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true)
"""
_EACH_TIME = "SELECT set_config('plan_cache_mode', 'auto', true), set_config('enable_seqscan', 'on', true)"

# An array of ids whose length the planner does not see, and takes for ten. Told that they are thousands, it makes a list of
# everybody who permits the purpose before it looks at the first row. Where everybody is asked for, it is to know.
UNCOUNTED: Final = "ARRAY(SELECT unnest({ids}::bigint[]))"

_chosen: ContextVar[str | None] = ContextVar("chosen", default=None)


def by_key() -> AbstractContextManager[None]:
    return _planning(_BY_KEY)


def in_bulk() -> AbstractContextManager[None]:
    return _planning(_IN_BULK)


@contextmanager
def _planning(statement: str) -> Iterator[None]:
    """For the rest of the transaction or until the block ends, whichever is first; a rollback restores it by itself.

    Within a block of the same kind there is nothing to do.
    """
    if _chosen.get() == statement:
        yield
        return
    around = _chosen.set(statement)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            switched_off = [setting for setting, _ in cursor.fetchall()]
            yield
            cursor.execute(_AGAIN, [switched_off])
    finally:
        _chosen.reset(around)


@contextmanager
def for_few() -> Iterator[None]:
    """As `by_key`, and statements are planned once for a connection: for one record to plan them takes several times as
    long as to carry them out. Not for many: a plan that serves any parameters takes them for few.

    Nor is any statement waited for whose answer nobody reads: an error of one is raised by the next answer that is read,
    or where the block ends. So how many rows it changed is not known.
    """
    raw = connection.connection
    if not settings.DATABASE_PREPARED_STATEMENTS or raw.prepare_threshold is not None:
        with by_key():
            yield
        return
    around, factory = _chosen.set(_BY_KEY), raw.cursor_factory
    raw.cursor_factory, raw.prepare_threshold = ServerBindingCursor, 0
    try:
        with connection.wrap_database_errors, raw.pipeline(), connection.cursor() as cursor:
            cursor.execute(_ONCE)
            yield
            cursor.execute(_EACH_TIME)
    finally:
        raw.cursor_factory, raw.prepare_threshold = factory, None
        _chosen.reset(around)
