"""Rows of a source system, written as its records: what changed is stored, what is as it was is a duplicate.

For files and connectors alike. All run within a permit of the purpose COLLECTION, and all may run twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from cdp.ingestion import storing
from cdp.ingestion.mapping_texts import Reading, keep_mapping
from cdp.ingestion.normalise import VERSION
from cdp.ingestion.rows import RecordRow
from cdp.ingestion.sources import KnownSource
from cdp.ingestion.storing import Encounter, Observation
from cdp.models import Cause, Stage, outbox
from consent.gate import Collection, Permit


@dataclass(frozen=True, slots=True)
class Written:
    """`accepted` rows said something new; `touched` are the identifiers that they are about."""

    accepted: int
    touched: Mapping[int, Cause]


_KNOWN_DIGESTS = "SELECT key, digest FROM record WHERE source_id = %s AND key = ANY(%s)"


def write_records(
    permit: Permit[Collection],
    source: KnownSource,
    records: Sequence[RecordRow],
    now: datetime,
    *,
    read_by: Reading | None = None,
) -> Written:
    """`read_by` is remembered with each record, so that its raw values can be normalised again."""
    changed, accepted = _changed(source, storing.unsuppressed(permit, records))
    if not changed:
        return Written(accepted, {})
    ids = storing.resolve(permit, {node for record in changed for node in record.nodes}).known
    if read_by:
        keep_mapping(permit, read_by)
    marks = read_by.marks if read_by else (VERSION, "", "")
    _upsert_records(permit, source, changed, ids, (now, *marks))
    observations = (
        Observation(record.nodes[0], source.id, name, value, record.observed_at)
        for record in changed
        for name, value in record.traits.items()
    )
    storing.observe(permit, observations, ids)
    storing.sight(permit, [Encounter(record.nodes, source.id, record.observed_at) for record in changed], ids)
    return Written(accepted, dict.fromkeys(sorted(ids.values()), Cause.LEARNT))


def _changed(source: KnownSource, records: Sequence[RecordRow]) -> tuple[list[RecordRow], int]:
    """The last row of each key that says something new, and how many rows did: a row as it was is a duplicate."""
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN_DIGESTS, [source.id, [record.key for record in records]])
        known = {key: bytes(digest) for key, digest in cursor.fetchall()}
    latest: dict[str, RecordRow] = {}
    accepted = 0
    for record in records:
        if known.get(record.key) != record.digest:
            known[record.key] = record.digest
            latest[record.key] = record
            accepted += 1
    return list(latest.values()), accepted


_ARRIVING_RECORDS = """
CREATE TEMPORARY TABLE arriving_record (key text, identifier_id bigint, fields jsonb, digest bytea)
"""
# What was replayed from quarantine is older than what came since: that stays.
_UPSERT_RECORDS = """
INSERT INTO record AS known (
    workspace_id, source_id, key, identifier_id, fields, digest, loaded_at, normal_version, dictionary_digest,
    mapping_digest
)
SELECT %s, %s, key, identifier_id, fields, digest, %s, %s, %s, %s FROM pg_temp.arriving_record ORDER BY key
ON CONFLICT (source_id, key) DO UPDATE SET
    identifier_id = EXCLUDED.identifier_id, fields = EXCLUDED.fields, digest = EXCLUDED.digest,
    loaded_at = EXCLUDED.loaded_at, normal_version = EXCLUDED.normal_version,
    dictionary_digest = EXCLUDED.dictionary_digest, mapping_digest = EXCLUDED.mapping_digest, deleted_at = NULL
WHERE EXCLUDED.loaded_at >= known.loaded_at
"""


def _upsert_records(
    permit: Permit[Collection],
    source: KnownSource,
    records: Sequence[RecordRow],
    ids: storing.Ids,
    when_and_by_what: tuple[datetime, int, str, str],
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_ARRIVING_RECORDS)
        with cursor.copy("COPY pg_temp.arriving_record FROM STDIN") as copy:
            for record in records:
                copy.write_row((record.key, ids[record.nodes[0]], record.fields, record.digest))
        cursor.execute(_UPSERT_RECORDS, [permit.workspace_id, source.id, *when_and_by_what])
        cursor.execute("DROP TABLE pg_temp.arriving_record")


# -- records that are gone ------------------------------------------------------------------------------------------

# Without a digest the same row is new again: what is restored there comes back here.
_MARK_DELETED = """
UPDATE record SET deleted_at = %s, digest = '' WHERE source_id = %s AND key = ANY(%s) AND deleted_at IS NULL
RETURNING identifier_id
"""
_WITHDRAW_TRAITS = "DELETE FROM identifier_trait WHERE source_id = %s AND identifier_id = ANY(%s)"


def withdraw_records(permit: Permit[Collection], source: KnownSource, keys: Sequence[str], now: datetime) -> Written:
    """The source has these records no more: their rows say so, and their values no longer count for anybody.

    The identifier stays, with its events and judgements: that somebody had this key remains true.
    """
    del permit  # the proof is the type; the transaction does the rest
    if not keys:
        return Written(0, {})
    with connection.cursor() as cursor:
        cursor.execute(_MARK_DELETED, [now, source.id, sorted(set(keys))])
        touched = [identifier_id for (identifier_id,) in cursor.fetchall()]
        cursor.execute(_WITHDRAW_TRAITS, [source.id, touched])
    return Written(len(touched), dict.fromkeys(sorted(touched), Cause.LEARNT))


# Each by keys alone and not as a join: while a first load goes on, the planner believes that these tables are empty.
_IDENTIFIERS = "SELECT identifier_id, key FROM record WHERE source_id = %s AND key = ANY(%s)"
_SAID = """
SELECT id, identifier_id, name FROM identifier_trait WHERE source_id = %s AND identifier_id = ANY(%s) AND name = ANY(%s)
"""
_WITHDRAW = "DELETE FROM identifier_trait WHERE id = ANY(%s)"


def withdraw_empty(
    permit: Permit[Collection], source: KnownSource, records: Sequence[RecordRow], names: Iterable[str]
) -> None:
    """Of rows that are whole: a trait among `names` that a row does not have was emptied there, and counts no longer."""
    del permit  # likewise
    newest = {record.key: record.traits for record in records}
    with connection.cursor() as cursor:
        cursor.execute(_IDENTIFIERS, [source.id, list(newest)])
        keys = dict(cursor.fetchall())
        cursor.execute(_SAID, [source.id, list(keys), list(names)])
        empty = [pk for pk, identifier_id, name in cursor.fetchall() if name not in newest[keys[identifier_id]]]
        if empty:
            cursor.execute(_WITHDRAW, [empty])


# -- and then -------------------------------------------------------------------------------------------------------


def hand_over(permit: Permit[Collection], touched: Mapping[int, Cause]) -> None:
    """These identifiers are the next work of identity."""
    outbox.hand_over(touched, stage=Stage.IDENTITY, workspace_id=permit.workspace_id)
