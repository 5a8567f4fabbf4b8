"""Files into records and events: chunk by chunk, each one transaction, so that a killed load goes on where it stopped.

A load is known by what it loads: the same content under the same mapping into the same source is the same `Run`. While
it is unfinished a second call resumes it; afterwards it finds duplicates only.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import structlog
from django.db import Error as DatabaseError
from django.db import connection

from cdp.ingestion import backpressure, quarantine, storing
from cdp.ingestion.bodies import storable_json
from cdp.ingestion.files import Row, Table, digest_of_file, open_table
from cdp.ingestion.mapping import FileMapping, mapping_for_events, mapping_for_records, read_mapping
from cdp.ingestion.messages import Fact, RefusedEventError
from cdp.ingestion.quarantine import Refused
from cdp.ingestion.rows import RecordRow, event_fact, record_row
from cdp.ingestion.sources import KnownSource, source_named
from cdp.ingestion.storing import Encounter, Observation
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import Run, RunState
from consent import gate
from consent.gate import Collection, Permit

CHUNK_ROWS: Final = 5_000
CHUNK_SIZE: Final = 16 * 2**20  # rows may be long: then a chunk has fewer

log = structlog.get_logger()

Clock = Callable[[], datetime]


class LoadInterruptedError(TesseraError):
    """The load was cancelled, or another process is loading the same file: look at its run in the console."""

    code = "load_interrupted"


@dataclass
class Counts:
    """What became of the rows so far; `read` is the sum of the others."""

    read: int = 0
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    accepted: int
    touched: frozenset[int]


@dataclass(frozen=True, slots=True)
class Load:
    """One file on its way into one source: `read` makes a row storable, `write` stores what became of a chunk."""

    kind: str
    name: str
    subject: str
    table: Table
    source: KnownSource
    read: Callable[[Row, datetime], Any]
    write: Callable[[Permit[Collection], KnownSource, Sequence[Any], datetime], Written]


Report = Callable[[Counts], None]


def load_records(
    *, workspace_id: int, source: str, path: Path, mapping: Path | None = None, clock: Clock, report: Report
) -> Counts:
    """Load rows of a source system. `report` is told after each chunk.

    Raises a `TesseraError` before the first row if the file, the mapping or the source cannot be used.
    """
    known, table, given = _opened(workspace_id, source, path, mapping, of_events=False)
    complete = mapping_for_records(given, columns=table.columns, source=source, is_uniform=table.is_uniform)
    read = partial(_read_record, complete, complete.region or known.region)
    subject = _subject(known, path, mapping)
    return _run(Load("load records", path.name, subject, table, known, read, _write_records), clock, report)


def load_events(
    *, workspace_id: int, source: str, path: Path, mapping: Path | None = None, clock: Clock, report: Report
) -> Counts:
    """Load events: flat rows, or JSON lines as SDKs send them. Otherwise as `load_records`."""
    known, table, given = _opened(workspace_id, source, path, mapping, of_events=True)
    complete = _event_mapping(given, table)
    region = (complete.region if complete else "") or known.region
    read = partial(_read_event, complete, known, region, table)
    subject = _subject(known, path, mapping)
    return _run(Load("load events", path.name, subject, table, known, read, _write_events), clock, report)


def _opened(
    workspace_id: int, source: str, path: Path, mapping: Path | None, *, of_events: bool
) -> tuple[KnownSource, Table, FileMapping | None]:
    known = source_named(source, workspace_id=workspace_id)
    given = read_mapping(mapping, of_events=of_events) if mapping else None
    return known, open_table(path), given


def _event_mapping(given: FileMapping | None, table: Table) -> FileMapping | None:
    is_as_sdks_send = table.has_types and not {"userId", "anonymousId", "previousId"}.isdisjoint(table.columns)
    if given is None and (is_as_sdks_send or not table.columns):
        return None
    return mapping_for_events(given, columns=table.columns, is_uniform=table.is_uniform)


# -- one load -------------------------------------------------------------------------------------------------------


def _run(load: Load, clock: Clock, report: Report) -> Counts:
    run = _begin(load, clock())
    counts = Counts(**run.counts)
    try:
        for rows in _chunks(islice(load.table.rows(), run.position, None)):
            backpressure.wait_while_pressed(clock, lambda why: log.warning("load.paused", run=run.pk, why=why))
            _load_chunk(load, run, rows, counts, clock())
            report(counts)
    except Exception as error:
        with suppress(DatabaseError):  # which may be why we are here
            _end(run, RunState.FAILED, clock(), type(error).__name__)
        raise
    _end(run, RunState.DONE, clock(), "")
    return counts


def _subject(source: KnownSource, path: Path, mapping: Path | None) -> str:
    content = digest_of_file(path) + (digest_of_file(mapping) if mapping else "")
    return f"{source.name} {hashlib.sha256(content.encode()).hexdigest()} {path.name}"


def _begin(load: Load, now: datetime) -> Run:
    with gate.permit(Purpose.COLLECTION, workspace_id=load.source.workspace_id):
        same = load.subject.removesuffix(load.name)  # whatever the file is called by now
        unfinished = Run.objects.filter(
            kind=load.kind, subject__startswith=same, state__in=[RunState.RUNNING, RunState.FAILED]
        ).last()
        if unfinished is None:
            return Run.objects.create(
                workspace_id=load.source.workspace_id, kind=load.kind, subject=load.subject, counts=asdict(Counts()),
                started_at=now, heartbeat_at=now,
            )  # fmt: skip
        unfinished.state, unfinished.error, unfinished.heartbeat_at = RunState.RUNNING, "", now
        unfinished.save(update_fields=["state", "error", "heartbeat_at"])
        return unfinished


def _end(run: Run, state: RunState, now: datetime, error: str) -> None:
    """Only the class of an error is kept: its text may hold personal data."""
    with gate.permit(Purpose.COLLECTION, workspace_id=run.workspace_id):
        Run.objects.filter(pk=run.pk, state=RunState.RUNNING, position=run.position).update(
            state=state, error=error, finished_at=now, heartbeat_at=now
        )


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += row.size
        if len(chunk) == CHUNK_ROWS or size >= CHUNK_SIZE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _load_chunk(load: Load, run: Run, rows: Sequence[Row], counts: Counts, now: datetime) -> None:
    """Rows, position and the work for the next stage, all or nothing."""
    with gate.permit(Purpose.COLLECTION, workspace_id=load.source.workspace_id) as permit:
        _hold(run)
        good, refused = _readable(load, rows, now)
        written = load.write(permit, load.source, good, now)
        quarantine.add(refused, source_id=load.source.id, workspace_id=permit.workspace_id, now=now)
        _hand_over(permit, written.touched)
        after = Counts(
            read=counts.read + len(rows),
            accepted=counts.accepted + written.accepted,
            duplicates=counts.duplicates + len(good) - written.accepted,
            quarantined=counts.quarantined + len(refused),
        )
        Run.objects.filter(pk=run.pk).update(position=run.position + len(rows), counts=asdict(after), heartbeat_at=now)
    run.position += len(rows)
    counts.__dict__.update(asdict(after))


def _hold(run: Run) -> None:
    """Of two processes that load the same file the second waits here, and then finds that the first moved on."""
    held = Run.objects.select_for_update().filter(pk=run.pk, position=run.position, state=RunState.RUNNING)
    if held.first() is None:
        raise LoadInterruptedError


def _readable(load: Load, rows: Sequence[Row], now: datetime) -> tuple[list[Any], list[Refused]]:
    good: list[Any] = []
    refused: list[Refused] = []
    for row in rows:
        place = f"{load.name}:{row.number}"
        if row.code:
            refused.append(Refused(place, row.code, row.message, row.raw.encode(errors="replace")))
            continue
        try:
            good.append(load.read(row, now))
        except RefusedEventError as error:
            refused.append(Refused(place, error.reason, error.message, storable_json(row.fields).encode()))
    return good, refused


_HAND_OVER = """
INSERT INTO outbox (workspace_id, stage, subject_id, cause)
SELECT %s, 'IDENTITY', subject, 'EVENT' FROM unnest(%s::bigint[]) AS touched (subject)
"""


def _hand_over(permit: Permit[Collection], touched: frozenset[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_HAND_OVER, [permit.workspace_id, sorted(touched)])


# -- events ---------------------------------------------------------------------------------------------------------


def _read_event(
    mapping: FileMapping | None,
    source: KnownSource,
    region: str,
    table: Table,
    row: Row,
    now: datetime,
) -> Fact:
    return event_fact(row.fields, mapping, source_id=source.id, region=region, has_types=table.has_types, now=now)


def _write_events(permit: Permit[Collection], source: KnownSource, facts: Sequence[Fact], now: datetime) -> Written:  # noqa: ARG001  # as _write_records
    stored = storing.write_facts(permit, facts)
    return Written(stored.events, stored.touched)


# -- records --------------------------------------------------------------------------------------------------------


def _read_record(mapping: FileMapping, region: str, row: Row, now: datetime) -> RecordRow:
    return record_row(row.fields, mapping, region=region, now=now)


_KNOWN_DIGESTS = "SELECT key, digest FROM record WHERE source_id = %s AND key = ANY(%s)"


def _write_records(
    permit: Permit[Collection], source: KnownSource, records: Sequence[RecordRow], now: datetime
) -> Written:
    changed, accepted = _changed(source, records)
    if not changed:
        return Written(accepted, frozenset())
    ids = storing.resolve(permit, {node for record in changed for node in record.nodes})
    _upsert_records(permit, source, changed, ids, now)
    observations = (
        Observation(record.nodes[0], source.id, name, value, record.observed_at)
        for record in changed
        for name, value in record.traits.items()
    )
    storing.observe(permit, observations, ids)
    storing.sight(permit, [Encounter(record.nodes, source.id, record.observed_at) for record in changed], ids)
    return Written(accepted, frozenset(ids.values()))


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
_UPSERT_RECORDS = """
INSERT INTO record (workspace_id, source_id, key, identifier_id, fields, digest, loaded_at)
SELECT %s, %s, key, identifier_id, fields, digest, %s FROM pg_temp.arriving_record ORDER BY key
ON CONFLICT (source_id, key) DO UPDATE SET
    identifier_id = EXCLUDED.identifier_id, fields = EXCLUDED.fields, digest = EXCLUDED.digest,
    loaded_at = EXCLUDED.loaded_at
"""


def _upsert_records(
    permit: Permit[Collection], source: KnownSource, records: Sequence[RecordRow], ids: storing.Ids, now: datetime
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_ARRIVING_RECORDS)
        with cursor.copy("COPY pg_temp.arriving_record FROM STDIN") as copy:
            for record in records:
                copy.write_row((record.key, ids[record.nodes[0]], record.fields, record.digest))
        cursor.execute(_UPSERT_RECORDS, [permit.workspace_id, source.id, now])
        cursor.execute("DROP TABLE pg_temp.arriving_record")
