"""The ledger of erasures, a file outside of the database: a restored backup does not know whom it must forget again.

Each line is one erasure: {"number", "workspace", "identifiers": [[type, digest in hex], ...], "at"}. Lines are added and
never changed, on disk before the erasure is told to anybody. The database keeps the number of the last line that it has
followed; where the ledger has more, the database is older than it should be, and nothing starts.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Final

from django.conf import settings
from django.db import connection

from cdp.kernel.errors import TesseraError
from cdp.models.digests import Digested

_TAIL_BYTES: Final = 1 << 20


class RestoredDatabaseError(TesseraError):
    """The database was restored and still has people who were erased since: run `manage.py reapply_erasures` first."""

    code = "restored_database"


class BrokenLedgerError(TesseraError):
    """The ledger of erasures cannot be read. Nothing starts until it is whole again: see docs/erasure.md."""

    code = "broken_erasure_ledger"


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    workspace_id: int
    digests: Sequence[Digested]
    at: str


@contextmanager
def writing() -> Iterator[IO[bytes]]:
    """The ledger, for one writer at a time, which has it until its transaction is over: lines are followed in order."""
    path = Path(settings.ERASURE_LEDGER)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as ledger:
        path.chmod(0o600)
        fcntl.flock(ledger, fcntl.LOCK_EX)
        yield ledger


def append(ledger: IO[bytes], *, workspace_id: int, digests: Iterable[Digested], now: datetime) -> int:
    """Returns the number of the line, which is on disk by then. One that was cut off by a crash is ended first."""
    ends_cleanly = _mend(ledger)
    number = _last_number(ledger) + 1
    identifiers = [[kind, digest.hex()] for kind, digest in digests]
    line = json.dumps({"number": number, "workspace": workspace_id, "identifiers": identifiers, "at": now.isoformat()})
    ledger.seek(0, os.SEEK_END)
    ledger.write((line + "\n").encode())
    ledger.flush()
    os.fsync(ledger.fileno())
    if not ends_cleanly or number == 1:
        _sync_directory(Path(settings.ERASURE_LEDGER).parent)
    return number


def lines(*, after: int = 0) -> Iterator[Line]:
    """Those with a greater number, in order."""
    path = Path(settings.ERASURE_LEDGER)
    if not path.exists():
        return
    with path.open("rb") as ledger:
        for raw in ledger:
            if raw.endswith(b"\n") and (line := _read(raw)).number > after:
                yield line


def last_number() -> int:
    """Of the ledger; 0 where nobody was ever erased."""
    path = Path(settings.ERASURE_LEDGER)
    if not path.exists():
        return 0
    with path.open("rb") as ledger:
        return _last_number(ledger)


def followed() -> int:
    """How far this database is."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT number FROM erasure_mark")
        row = cursor.fetchone()
    return int(row[0]) if row else 0


_FOLLOW: Final = """
INSERT INTO erasure_mark AS mark (id, number) VALUES (1, %s)
ON CONFLICT (id) DO UPDATE SET number = greatest(mark.number, EXCLUDED.number)
"""


def follow(number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_FOLLOW, [number])


def refuse_if_behind() -> None:
    """Raises `RestoredDatabaseError` where the ledger is ahead of the database. Called before anything serves or works."""
    recorded = last_number()
    if recorded and recorded > (at := followed()):
        raise RestoredDatabaseError(ledger=recorded, database=at)


# -- the file -------------------------------------------------------------------------------------------------------


def _read(raw: bytes) -> Line:
    try:
        said = json.loads(raw)
        digests = [(kind, bytes.fromhex(digest)) for kind, digest in said["identifiers"]]
        return Line(said["number"], said["workspace"], digests, said["at"])
    except (ValueError, KeyError, TypeError):
        raise BrokenLedgerError from None


def _last_number(ledger: IO[bytes]) -> int:
    size = ledger.seek(0, os.SEEK_END)
    ledger.seek(max(0, size - _TAIL_BYTES))
    whole = ledger.read().rpartition(b"\n")[0]
    last = whole.rpartition(b"\n")[2]
    return _read(last).number if last else 0


def _mend(ledger: IO[bytes]) -> bool:
    """A line without its end was never told to anybody: its erasure was not committed."""
    size = ledger.seek(0, os.SEEK_END)
    ledger.seek(max(0, size - _TAIL_BYTES))
    cut_off = len(ledger.read().rpartition(b"\n")[2])
    if cut_off:
        ledger.truncate(size - cut_off)
    return not cut_off


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
