"""Files into records and events: chunk by chunk, each one transaction, so that a killed load goes on where it stopped.

A load is known by what it loads: the same content under the same mapping into the same source is the same `Run`. While
it is unfinished a second call resumes it; afterwards it finds duplicates only.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import structlog
from django.db import Error as DatabaseError

from cdp.ingestion import backpressure, plans, quarantine, storing
from cdp.ingestion.bodies import storable_json
from cdp.ingestion.connector_registry import EXPORTS
from cdp.ingestion.corrections import corrections_of
from cdp.ingestion.files import Row, Table, digest_of_file, open_table
from cdp.ingestion.mapping import FileMapping, mapping_for_events, mapping_for_records, read_mapping
from cdp.ingestion.mapping_texts import Reading
from cdp.ingestion.messages import Fact, RefusedEventError
from cdp.ingestion.normalise import Corrections
from cdp.ingestion.quarantine import Refused
from cdp.ingestion.recording import Written, hand_over, write_records
from cdp.ingestion.rows import RecordRow, event_fact, record_row
from cdp.ingestion.sources import KnownSource, source_named
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
class Load:
    """One file on its way into one source: `read` makes a row storable, `write` stores what became of a chunk."""

    kind: str
    name: str
    subject: str
    table: Table
    source: KnownSource
    read: Callable[[Row, datetime], Any]
    write: Callable[[Permit[Collection], KnownSource, Sequence[Any], datetime], Written]
    reading: Mapping[str, Any]  # kept with what is refused, so that it can be read again
    key: str = ""  # the column that tells rows apart
    check: plans.PlanCheck | None = None  # of events


Report = Callable[[Counts], None]


def load_records(
    *, workspace_id: int, source: str, path: Path, mapping: Path | None = None, clock: Clock, report: Report
) -> Counts:
    """Load rows of a source system. `report` is told after each chunk.

    Raises a `TesseraError` before the first row if the file, the mapping or the source cannot be used.
    """
    known, table, given = _opened(workspace_id, source, path, mapping, of_events=False)
    complete = mapping_for_records(given, columns=table.columns, source=source, is_uniform=table.is_uniform)
    region = complete.region or known.region
    corrections = corrections_of(workspace_id)
    read = partial(_read_record, complete, region, corrections)
    write = partial(write_records, read_by=Reading(complete, corrections))
    reading = _reading("records", complete, region, table)
    subject = _subject(known, path, mapping)
    load = Load("load records", path.name, subject, table, known, read, write, reading, key=complete.key)
    return _run(load, clock, report)


def load_events(
    *,
    workspace_id: int,
    source: str,
    path: Path,
    mapping: Path | None = None,
    export: str = "",
    clock: Clock,
    report: Report,
) -> Counts:
    """Load events: flat rows, or JSON lines as SDKs send them. Otherwise as `load_records`.

    `export` names the system whose export the file is: then its rows mean what they mean there.
    """
    if export:
        return _load_export(workspace_id, source, path, export, clock, report)
    known, table, given = _opened(workspace_id, source, path, mapping, of_events=True)
    complete = _event_mapping(given, table)
    region = (complete.region if complete else "") or known.region
    check = plans.open_check(known)
    read = partial(_read_event, complete, known, region, table, corrections_of(workspace_id), check)
    reading = _reading("events", complete, region, table)
    subject = _subject(known, path, mapping)
    key = complete.key if complete else "messageId"
    key = key if key in table.columns else ""
    load = Load("load events", path.name, subject, table, known, read, _write_events, reading, key=key, check=check)
    return _run(load, clock, report)


def _load_export(workspace_id: int, source: str, path: Path, export: str, clock: Clock, report: Report) -> Counts:
    known, table, _ = _opened(workspace_id, source, path, None, of_events=True)
    check = plans.open_check(known)
    read = partial(_read_exported, EXPORTS[export], known, corrections_of(workspace_id), check)
    reading = _reading("events", None, known.region, table)
    subject = _subject(known, path, None, export)
    load = Load("load events", path.name, subject, table, known, read, _write_events, reading, check=check)
    return _run(load, clock, report)


def _opened(
    workspace_id: int, source: str, path: Path, mapping: Path | None, *, of_events: bool
) -> tuple[KnownSource, Table, FileMapping | None]:
    known = source_named(source, workspace_id=workspace_id)
    given = read_mapping(mapping, of_events=of_events) if mapping else None
    return known, open_table(path), given


def _reading(kind: str, mapping: FileMapping | None, region: str, table: Table) -> Mapping[str, Any]:
    return quarantine.reading_of_row(
        kind,
        mapping=asdict(mapping) if mapping else None,
        region=region,
        columns=table.columns,
        has_types=table.has_types,
    )


def _event_mapping(given: FileMapping | None, table: Table) -> FileMapping | None:
    is_as_sdks_send = table.has_types and not {"userId", "anonymousId", "previousId"}.isdisjoint(table.columns)
    if given is None and (is_as_sdks_send or not table.columns):
        return None
    return mapping_for_events(given, columns=table.columns, is_uniform=table.is_uniform)


# -- one load -------------------------------------------------------------------------------------------------------


def _run(load: Load, clock: Clock, report: Report) -> Counts:
    from cdp.ingestion import quality_measuring  # noqa: PLC0415  # loads numpy, which web and workers need not

    run = _begin(load, clock())
    counts = Counts(**run.counts)
    profiler = quality_measuring.profiler_of_load(run.pk, key=load.key)
    try:
        every = load.table.rows()
        for rows in _chunks(islice(every, run.position)):  # loaded before it was stopped, and measured once more
            profiler.see(_fields(rows))
        for rows in _chunks(every):
            backpressure.wait_while_pressed(clock, lambda why: log.warning("load.paused", run=run.pk, why=why))
            _load_chunk(load, run, rows, counts, clock())
            profiler.see(_fields(rows))
            report(counts)
        quality_measuring.keep_load(source=load.source, run=run, profiler=profiler, now=clock())
    except Exception as error:
        with suppress(DatabaseError):  # which may be why we are here
            _end(run, RunState.FAILED, clock(), type(error).__name__)
        raise
    _end(run, RunState.DONE, clock(), "")
    return counts


def _subject(source: KnownSource, path: Path, mapping: Path | None, export: str = "") -> str:
    content = digest_of_file(path) + (digest_of_file(mapping) if mapping else "") + export
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


def _fields(rows: Sequence[Row]) -> list[Mapping[str, Any]]:
    return [row.fields for row in rows if not row.code]


def _load_chunk(load: Load, run: Run, rows: Sequence[Row], counts: Counts, now: datetime) -> None:
    """Rows, position and the work for the next stage, all or nothing."""
    with gate.permit(Purpose.COLLECTION, workspace_id=load.source.workspace_id) as permit:
        _hold(run)
        good, refused = _readable(load, rows, now)
        written = load.write(permit, load.source, good, now)
        quarantine.add(refused, source_id=load.source.id, workspace_id=permit.workspace_id, now=now)
        if load.check:
            load.check.count(now=now)
        hand_over(permit, written.touched)
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
            refused.append(Refused(place, row.code, row.message, row.raw.encode(errors="replace"), load.reading))
            continue
        try:
            good.append(load.read(row, now))
        except RefusedEventError as error:
            raw = storable_json(row.fields).encode()
            refused.append(Refused(place, error.reason, error.message, raw, load.reading))
    return good, refused


# -- events ---------------------------------------------------------------------------------------------------------


def _read_event(
    mapping: FileMapping | None,
    source: KnownSource,
    region: str,
    table: Table,
    corrections: Corrections,
    check: plans.PlanCheck,
    row: Row,
    now: datetime,
) -> Fact:
    return event_fact(
        row.fields, mapping, source_id=source.id, region=region, has_types=table.has_types, now=now,
        corrections=corrections,
        applied=check.applied if check.plan else None,
    )  # fmt: skip


def _read_exported(
    call_of: Callable[[Mapping[str, Any]], dict[str, Any]],
    source: KnownSource,
    corrections: Corrections,
    check: plans.PlanCheck,
    row: Row,
    now: datetime,
) -> Fact:
    return event_fact(
        call_of(row.fields), None, source_id=source.id, region=source.region, has_types=True, now=now,
        corrections=corrections, applied=check.applied if check.plan else None,
    )  # fmt: skip


def _write_events(permit: Permit[Collection], source: KnownSource, facts: Sequence[Fact], now: datetime) -> Written:  # noqa: ARG001  # as write_records
    stored = storing.write_facts(permit, facts)
    return Written(stored.events, stored.touched)


# -- records --------------------------------------------------------------------------------------------------------


def _read_record(mapping: FileMapping, region: str, corrections: Corrections, row: Row, now: datetime) -> RecordRow:
    return record_row(row.fields, mapping, region=region, now=now, corrections=corrections)
