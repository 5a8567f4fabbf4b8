"""What could not be understood: kept whole, with the reason, so that it can be mended and replayed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection


@dataclass(frozen=True, slots=True)
class Refused:
    """One event or row, as it came, and why it was refused. `place` is for people: `batch[3]`, `people.csv:17`."""

    place: str
    code: str
    message: str
    raw: bytes


# The same refused thing again, from a retry or a second load, is the one that lies there already.
_ADD = """
INSERT INTO quarantine (workspace_id, source_id, received_at, place, code, message, raw, digest)
SELECT %s, %s, %s, place, code, message, raw, digest
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[]) AS new (place, code, message, raw, digest)
ON CONFLICT DO NOTHING
"""


def add(refused: Sequence[Refused], *, source_id: int, workspace_id: int, now: datetime) -> None:
    """Within the caller's transaction, which has a workspace."""
    if not refused:
        return
    columns = zip(
        *((one.place, one.code, one.message, _storable(one.raw), hashlib.sha256(one.raw).digest()) for one in refused),
        strict=True,
    )
    with connection.cursor() as cursor:
        cursor.execute(_ADD, [workspace_id, source_id, now, *map(list, columns)])


def _storable(raw: bytes) -> str:
    return raw.decode(errors="replace").replace("\x00", "\ufffd")
