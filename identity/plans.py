"""How Postgres is to go about a statement, where what it knows of the tables is older than what was just loaded.

Between a big load and the next ANALYZE a table looks nearly empty, and the planner reads it from end to end for each
row of another one. Work on a few thousand named people goes by index; work on everybody goes by hash or merge joins.
Neither depends on statistics, so the first load is as fast as the hundredth.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

# Analysed while it was empty, filled since: Postgres takes such a table for one of no rows, whatever lies in it.
_LOOKS_EMPTY = """
SELECT EXISTS (
    SELECT 1 FROM pg_class WHERE reltuples = 0 AND relpages > 0
    AND oid IN ('core.identifier'::regclass, 'core.identifier_trait'::regclass, 'core.judgement'::regclass,
                'core.sighting'::regclass, 'core.profile'::regclass, 'core.trait'::regclass)
)
"""


@contextmanager
def by_key() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(_LOOKS_EMPTY)
        looks_empty = cursor.fetchone()[0]
    with _without("enable_nestloop" if looks_empty else "enable_seqscan"):
        yield


@contextmanager
def in_bulk() -> Iterator[None]:
    with _without("enable_nestloop"):
        yield


@contextmanager
def _without(setting: str) -> Iterator[None]:
    """For the rest of the transaction or until the block ends, whichever is first; a rollback restores it by itself."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, 'off', true)", [setting])
        yield
        cursor.execute("SELECT set_config(%s, 'on', true)", [setting])
