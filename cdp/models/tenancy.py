"""Which workspace the statements of a transaction belong to. Row-level security shows no rows without one."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

_ENTER = "SELECT current_setting('tessera.workspace', true), set_config('tessera.workspace', %s, true)"
_LEAVE = "SELECT set_config('tessera.workspace', %s, true)"


@contextmanager
def workspace_scope(workspace_id: int) -> Iterator[None]:
    """Open a transaction whose statements see and write the rows of this workspace alone."""
    is_within = connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_ENTER, [str(workspace_id)])
        previous = cursor.fetchone()[0] or ""
        yield
        if is_within:  # a savepoint does not reset it; a rollback does, and so does the end of the transaction
            cursor.execute(_LEAVE, [previous])
