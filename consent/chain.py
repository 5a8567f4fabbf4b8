"""Is the ledger whole? Every record has its link, and every link follows from the one before it and from its record."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from django.db import connection

SLICE: Final = 20_000
MOST_FINDINGS: Final = 100


class Fault(StrEnum):
    CHANGED = "changed"  # the record is not what it was when it was linked
    MISSING = "missing"  # the record is gone
    REORDERED = "reordered"  # another record, or another place
    GAP = "gap"  # links are gone
    UNLINKED = "unlinked"  # a record came past the chain
    NOTICE_CHANGED = "notice_changed"  # the text of a notice is not what its digest says; the id is the notice's
    HEAD_DIFFERS = "head_differs"  # the chain does not lead through a head that was noted


@dataclass(frozen=True, slots=True)
class Head:
    """What stands for the whole ledger of a workspace at a moment. Who notes it can prove what was there."""

    position: int
    hash: str


@dataclass(frozen=True, slots=True)
class Finding:
    fault: Fault
    record_id: int | None
    position: int | None


@dataclass(frozen=True, slots=True)
class Verification:
    """`findings` are the first hundred."""

    records: int
    head: Head
    findings: tuple[Finding, ...]

    @property
    def is_whole(self) -> bool:
        return not self.findings


@dataclass(frozen=True, slots=True)
class _Link:
    position: int
    record_id: int
    hash: bytes
    before: bytes
    follows: bool
    digest: bytes | None
    holds: bool


_HEAD = """
SELECT COALESCE(max(position), 0), encode(COALESCE(
    (array_agg(hash ORDER BY position DESC))[1], core.consent_genesis(%(workspace)s)), 'hex')
FROM (
    SELECT position, hash FROM consent_link WHERE workspace_id = %(workspace)s ORDER BY position DESC LIMIT 1
) AS last
"""


def head(workspace_id: int) -> Head:
    """In the scope of the workspace, as everything here."""
    with connection.cursor() as cursor:
        cursor.execute(_HEAD, {"workspace": workspace_id})
        return Head(*cursor.fetchone())


def verify(workspace_id: int, *noted: Head) -> Verification:
    """Recompute every link. `noted` are heads of earlier: what was cut off at the end is seen by them alone."""
    findings: list[Finding] = []
    for found in _findings(workspace_id, noted):
        findings.append(found)
        if len(findings) == MOST_FINDINGS:
            break
    return Verification(_count(workspace_id), head(workspace_id), tuple(findings))


def _findings(workspace_id: int, noted: Sequence[Head]) -> Iterator[Finding]:
    yield from _noted_differs(workspace_id, noted)
    yield from _broken_links(workspace_id)
    yield from (Finding(Fault.UNLINKED, record, None) for (record,) in _rows(_UNLINKED, workspace=workspace_id))
    yield from (Finding(Fault.NOTICE_CHANGED, notice, None) for (notice,) in _rows(_NOTICES, workspace=workspace_id))


# -- links ----------------------------------------------------------------------------------------------------------

# Each slice begins with the hash that the one before it ended with.
_LINKS = """
SELECT position, record_id, hash, before, position = place AS follows, digest,
       COALESCE(sha256(before || digest) = hash, false) AS holds
FROM (
    SELECT l.position, l.record_id, l.hash,
           lag(l.hash, 1, %(hash)s::bytea) OVER (ORDER BY l.position) AS before,
           lag(l.position, 1, %(after)s::bigint) OVER (ORDER BY l.position) + 1 AS place,
           CASE WHEN r.id IS NOT NULL THEN core.consent_digest(ROW(r.*)::core.consent_record, n.digest) END AS digest
    FROM (
        SELECT position, record_id, hash FROM consent_link
        WHERE workspace_id = %(workspace)s AND position > %(after)s ORDER BY position LIMIT %(most)s
    ) AS l
    LEFT JOIN consent_record r ON r.id = l.record_id AND r.workspace_id = %(workspace)s
    LEFT JOIN notice n ON n.id = r.notice_id
) AS link ORDER BY position
"""

_UNLINKED = """
SELECT r.id FROM consent_record r
WHERE r.workspace_id = %(workspace)s AND NOT EXISTS (SELECT 1 FROM consent_link l WHERE l.record_id = r.id)
ORDER BY r.id LIMIT 100
"""

_NOTICES = """
SELECT id FROM notice
WHERE workspace_id = %(workspace)s AND digest <> encode(sha256(convert_to(text, 'UTF8')), 'hex')
ORDER BY id LIMIT 100
"""

_COUNT = "SELECT count(*) FROM consent_record WHERE workspace_id = %(workspace)s"
_GENESIS = "SELECT core.consent_genesis(%(workspace)s)"
_ASTRAY = """
SELECT n.position FROM unnest(%(positions)s::bigint[], %(hashes)s::text[]) AS n (position, hash)
LEFT JOIN consent_link l ON l.workspace_id = %(workspace)s AND l.position = n.position
WHERE n.hash IS DISTINCT FROM encode(
    CASE WHEN n.position = 0 THEN core.consent_genesis(%(workspace)s) ELSE l.hash END, 'hex'
)
ORDER BY n.position
"""


def _broken_links(workspace_id: int) -> Iterator[Finding]:
    for links in _slices(workspace_id):
        broken = [link for link in links if not link.holds or not link.follows]
        yield from (_judged(link, broken) for link in broken)


def _slices(workspace_id: int) -> Iterator[Sequence[_Link]]:
    after, ((before,),) = 0, _rows(_GENESIS, workspace=workspace_id)
    while links := [
        _Link(*row) for row in _rows(_LINKS, workspace=workspace_id, after=after, hash=bytes(before), most=SLICE)
    ]:
        yield links
        after, before = links[-1].position, links[-1].hash


def _judged(link: _Link, broken: Iterable[_Link]) -> Finding:
    if not link.follows:
        fault = Fault.GAP
    elif link.digest is None:
        fault = Fault.MISSING
    elif any(_fits(link, other) for other in broken):
        fault = Fault.REORDERED
    else:
        fault = Fault.CHANGED
    return Finding(fault, link.record_id, link.position)


def _fits(link: _Link, other: _Link) -> bool:
    """The hash of one of them was made from the record of the other: the two changed places."""
    return other is not link and (_makes(link, other.digest) or _makes(other, link.digest))


def _makes(link: _Link, digest: bytes | None) -> bool:
    return digest is not None and hashlib.sha256(bytes(link.before) + bytes(digest)).digest() == bytes(link.hash)


def _noted_differs(workspace_id: int, noted: Sequence[Head]) -> Iterator[Finding]:
    positions, hashes = [head.position for head in noted], [head.hash for head in noted]
    astray = _rows(_ASTRAY, workspace=workspace_id, positions=positions, hashes=hashes)
    yield from (Finding(Fault.HEAD_DIFFERS, None, position) for (position,) in astray)


def _count(workspace_id: int) -> int:
    ((count,),) = _rows(_COUNT, workspace=workspace_id)
    return int(count)


def _rows(query: str, **parameters: int | bytes | list[int] | list[str]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
