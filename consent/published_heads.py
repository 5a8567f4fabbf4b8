"""Heads of consent ledgers as they were published: a file outside of the database, to which each day adds a line.

Whoever keeps a copy of it can prove later that nothing was changed before the newest of its heads, and nothing cut off.
Each line is {"workspace", "position", "hash", "at", "jws"}, where the JWS is of the same as `/v1/ledger/head` answers.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Final

from django.conf import settings

from cdp.kernel.errors import TesseraError
from consent import receipts
from consent.chain import Head

_LONGEST_LINE: Final = 1 << 16


class BrokenHeadsError(TesseraError):
    """The file of published heads cannot be read: a line of it was changed. Take another copy."""

    code = "broken_published_heads"


def publish_head(*, workspace_id: int, now: datetime) -> Head:
    """Write down, outside of the database, what the ledger is now. It is on disk before it is told."""
    signed = receipts.signed_head(workspace_id=workspace_id, now=now)
    line = json.dumps({"workspace": workspace_id, **signed.document, "jws": signed.jws})
    path = Path(settings.LEDGER_HEADS)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _drop_unfinished(file)
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())
    return Head(signed.document["position"], signed.document["hash"])


def published_heads(path: Path, *, workspace_id: int) -> Iterator[Head]:
    """Of this workspace, the oldest first. Raises `BrokenHeadsError`."""
    with path.open("rb") as file:
        for raw in file:
            if raw.endswith(b"\n") and (head := _head(raw, workspace_id)):
                yield head


def _head(raw: bytes, workspace_id: int) -> Head | None:
    try:
        said = json.loads(raw)
        return Head(int(said["position"]), str(said["hash"])) if said["workspace"] == workspace_id else None
    except (ValueError, KeyError, TypeError):
        raise BrokenHeadsError from None


def _drop_unfinished(file: IO[bytes]) -> None:
    """A line without its end was never told to anybody: a crash cut it off."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LONGEST_LINE))
    if cut_off := len(file.read().rpartition(b"\n")[2]):
        file.truncate(size - cut_off)
