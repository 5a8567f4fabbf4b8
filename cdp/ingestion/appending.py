"""The append to the inbox: what was acknowledged is on disk. Requests that come while Postgres writes go together.

Of the threads of a process one writes at a time, for all that wait, in one transaction; then the first that came
meanwhile writes the next. A request alone is written at once, and the more there are, the less each costs: so whoever
comes while another writes waits a moment for company, for that is how it will go on.
"""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from struct import pack
from typing import Final

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format

MOST_BYTES: Final = 16 * 2**20  # of one statement; a single body may have more
COMPANY: Final = 8  # rows: so many need not wait for more
LARGE_BYTES: Final = 8 * 2**10  # nor need a body that takes longer itself than a transaction
LONGEST_WAIT_SECONDS: Final = 0.01
QUIET_SECONDS: Final = 0.002  # in which nobody came: nobody is to be expected
_BYTEA: Final = 17  # Postgres's number of the type
_APPEND: Final = b"SELECT core.append_to_inbox($1::bigint[], $2::bigint[], $3::timestamptz[], $4::bytea[])"
_FORMATS: Final = (Format.TEXT, Format.TEXT, Format.TEXT, Format.BINARY)


@dataclass(eq=False, slots=True)
class Row:
    """A body on its way. `is_written` or `error` is set when its turn has passed; else its thread writes next."""

    workspace_id: int
    source_id: int
    received_at: datetime
    body: bytes
    is_written: bool = False
    error: Exception | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)


_lock = threading.Lock()
_waiting: list[Row] = []
_is_writing = False


def append(*, workspace_id: int, source_id: int, received_at: datetime, body: bytes) -> None:
    """Durable when this returns; within a transaction of the caller, when that one is. Raises Django's database errors.

    A connection that died meanwhile is made anew once. If the first try was stored after all, the message ids tell.
    """
    row = Row(workspace_id, source_id, received_at, body)
    connection = connections[DEFAULT_DB_ALIAS]  # looked up once: it takes longer than all that follows
    if connection.in_atomic_block:
        _execute([row], connection)
    elif _begins(row):
        _write_all(connection)
    elif _is_next(row):
        if len(row.body) < LARGE_BYTES:
            _await_company()
        _write_all(connection)
    if row.error:
        raise OperationalError("The append failed.") from row.error


def _begins(row: Row) -> bool:
    """Whether nobody writes, so that this thread does; else its row waits for somebody's."""
    global _is_writing  # noqa: PLW0603  # one for the process
    with _lock:
        _waiting.append(row)
        if not _is_writing:
            _is_writing = True
            return True
        row.turn.acquire()  # free: nobody else has it yet
    return False


def _is_next(row: Row) -> bool:
    """Wait until the row is written, or its thread must write."""
    row.turn.acquire()
    return not row.is_written and row.error is None


def _await_company() -> None:
    """Until a crowd waits, or nobody comes any more."""
    until = time.monotonic() + LONGEST_WAIT_SECONDS
    there = 0
    while there < len(_waiting) < COMPANY and time.monotonic() < until:
        there = len(_waiting)
        time.sleep(QUIET_SECONDS)


def _write_all(connection: BaseDatabaseWrapper) -> None:
    """Write what waits, then let the first of those that came meanwhile write on."""
    rows = _taken()
    try:
        _execute_again(rows, connection)
    except Exception as error:  # noqa: BLE001  # each of them hears of it, and their senders come again
        for row in rows:
            row.error = error
    else:
        for row in rows:
            row.is_written = True
    _pass_on(rows)


def _taken() -> list[Row]:
    with _lock:
        size = 0
        for number, row in enumerate(_waiting):
            size += len(row.body)
            if number and size > MOST_BYTES:
                break
        else:
            number = len(_waiting)
        rows, _waiting[:] = _waiting[:number], _waiting[number:]
    return rows


def _pass_on(rows: Sequence[Row]) -> None:
    global _is_writing  # noqa: PLW0603  # as above
    with _lock:
        following = _waiting[0] if _waiting else None
        _is_writing = following is not None
    for row in (*rows, *([following] if following else [])):
        if row.turn.locked():
            row.turn.release()


def _execute_again(rows: Sequence[Row], connection: BaseDatabaseWrapper) -> None:
    try:
        _execute(rows, connection)
    except (OperationalError, InterfaceError):
        connection.close()
        _execute(rows, connection)


def _execute(rows: Sequence[Row], connection: BaseDatabaseWrapper) -> None:
    """By one call of libpq, which costs a tenth of a cursor, and with bodies as the bytes that they are: written out as
    text they have twice the length.
    """
    connection.ensure_connection()
    parameters = (
        _array(str(row.workspace_id) for row in rows),
        _array(str(row.source_id) for row in rows),
        _array(f'"{row.received_at}"' for row in rows),
        _bytea_array([row.body for row in rows]),
    )
    with connection.wrap_database_errors:
        result = connection.connection.pgconn.exec_params(_APPEND, parameters, param_formats=_FORMATS)
        if result.status != ExecStatus.TUPLES_OK:
            raise error_from_result(result)


def _array(values: Iterable[str]) -> bytes:
    return f"{{{','.join(values)}}}".encode()


def _bytea_array(bodies: Sequence[bytes]) -> bytes:
    """In Postgres's binary format: one dimension, no nulls, the type, length and first index; then each with its length."""
    head = pack("!iiiii", 1, 0, _BYTEA, len(bodies), 1)
    return b"".join((head, *chain.from_iterable((pack("!i", len(body)), body) for body in bodies)))
