"""Which workspace the statements of a transaction belong to. Row-level security shows no rows without one."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

_SET_WORKSPACE = "SELECT set_config('tessera.workspace', %s, true)"


@contextmanager
def workspace_scope(workspace_id: int) -> Iterator[None]:
    """Open a transaction whose statements see and write the rows of this workspace alone."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('tessera.workspace', true)")
        previous = cursor.fetchone()[0] or ""
        cursor.execute(_SET_WORKSPACE, [str(workspace_id)])
        yield
        cursor.execute(_SET_WORKSPACE, [previous])  # a savepoint does not reset it; a rollback does
