"""Files into records and events: chunk by chunk, each one transaction, so that a killed load goes on where it stopped.

A load is known by what it loads: the same content under the same mapping into the same source is the same `Run`. While
it is unfinished a second call resumes it; afterwards it finds duplicates only. How far it got is written with each
chunk, as a place in the file: nothing that was read before is read again, but for the survey of the file.
"""

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog
from django.db import Error as DatabaseError
from django.db import OperationalError, connection, connections

from cdp.ingestion import backpressure, plans, quarantine, storing
from cdp.ingestion.bodies import storable_json
from cdp.ingestion.connector_registry import EXPORTS
from cdp.ingestion.corrections import corrections_of
from cdp.ingestion.files import START, Place, Row, Table, digest_of_file, open_table
from cdp.ingestion.guessing import SAMPLED_ROWS, Guess, Sample, guess
from cdp.ingestion.mapping import FileMapping, mapping_for_events, mapping_for_records, read_mapping
from cdp.ingestion.mapping_texts import Reading
from cdp.ingestion.messages import Fact, RefusedEventError
from cdp.ingestion.normalise import Corrections
from cdp.ingestion.quarantine import Refused
from cdp.ingestion.recording import Written, hand_over, write_records
from cdp.ingestion.rows import RecordRow, event_fact, record_row
from cdp.ingestion.sources import KnownSource, source_named
from cdp.ingestion.turns import Turns
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import Run, RunState
from consent import gate
from consent.gate import Collection, Permit

if TYPE_CHECKING:
    from cdp.ingestion.blocks import Block
    from cdp.ingestion.columnar import Layout
    from cdp.ingestion.quality.profiles import Profiler

CONNECTIONS: Final = 2  # that store a large file
LARGE_BYTES: Final = 32 * 2**20
CHUNK_ROWS: Final = 5_000
CHUNK_SIZE: Final = 16 * 2**20  # rows may be long: then a chunk has fewer
MEASURED_ROWS: Final = 100_000  # of flat events, and of loads that were interrupted, for the quality report
RECORDS: Final = "load records"
EVENTS: Final = "load events"

log = structlog.get_logger()

Clock = Callable[[], datetime]
Survey = Mapping[str, Any]
T = TypeVar("T")


class LoadInterruptedError(TesseraError):
    """Another process is loading the same file: look at its run in the console."""

    code = "load_interrupted"


class LoadCancelledError(LoadInterruptedError):
    """The load was cancelled. What it stored stays; the same command goes on where it stopped."""

    code = "load_cancelled"


@dataclass
class Counts:
    """What became of the rows so far; `read` is the sum of the others."""

    read: int = 0
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """`offset` of `total` is read; where only reading would tell the total, it is 0."""

    counts: Counts
    offset: int
    total: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that were read and understood: `good` is what `write` takes, `end` is where the next chunk begins."""

    good: Any
    size: int  # of `good`
    refused: Sequence[Refused]
    end: Place
    now: datetime
    check: plans.PlanCheck | None = None  # what the tracking plan found in these rows

    @property
    def rows(self) -> int:
        return self.size + len(self.refused)


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
    limit: int | None = None
    layout: "Layout | None" = None  # of events that are read as columns


Report = Callable[[Progress], None]


def load_records(
    *,
    workspace_id: int,
    source: str,
    path: Path,
    mapping: Path | None = None,
    limit: int | None = None,
    clock: Clock,
    report: Report,
) -> Counts:
    """Load rows of a source system, or the first `limit` of them. `report` is told after each chunk.

    Raises a `TesseraError` before the first row if the file, the mapping or the source cannot be used.
    """
    given = read_mapping(mapping, of_events=False) if mapping else None
    known = source_named(source, workspace_id=workspace_id)
    load = records_load(known, path, given, known_by=_known_by(mapping, limit))
    return run_load(replace(load, limit=limit), begin(load, clock()), clock, report)


def load_events(
    *,
    workspace_id: int,
    source: str,
    path: Path,
    mapping: Path | None = None,
    export: str = "",
    limit: int | None = None,
    clock: Clock,
    report: Report,
) -> Counts:
    """Load events: flat rows, or JSON lines as SDKs send them. Otherwise as `load_records`.

    `export` names the system whose export the file is: then its rows mean what they mean there.
    """
    given = read_mapping(mapping, of_events=True) if mapping else None
    known = source_named(source, workspace_id=workspace_id)
    known_by = _known_by(mapping, limit)
    if export:
        load = _export_load(known, path, export, known_by=known_by)
    else:
        load = events_load(known, path, given, known_by=known_by)
    return run_load(replace(load, limit=limit), begin(load, clock()), clock, report)


def guess_mapping(*, workspace_id: int, source: str, path: Path, of_events: bool) -> Guess:
    """What the columns of the file seem to mean. Nothing is loaded. Raises `FileError`."""
    known = source_named(source, workspace_id=workspace_id)
    return guess_of(open_table(path), region=known.region, name=path.name, of_events=of_events)


def guess_of(table: Table, *, region: str, name: str, of_events: bool) -> Guess:
    rows = [row.fields for row in islice(table.rows(), SAMPLED_ROWS) if not row.code]
    dialect = None if table.has_types else table.dialect
    return guess(Sample(table.columns, rows, region, name, dialect, table.encoding), of_events=of_events)


def _known_by(mapping: Path | None, limit: int | None) -> str:
    """What beside the content of the file makes it another load."""
    return (digest_of_file(mapping) if mapping else "") + (f" first {limit}" if limit is not None else "")


def records_load(
    known: KnownSource,
    path: Path,
    given: FileMapping | None,
    *,
    known_by: str = "",
    name: str = "",
    survey: Survey | None = None,
) -> Load:
    """`survey` is what is known of the file since it was read through. Raises a `TesseraError` if it cannot be used."""
    table = open_table(path, dialect=given.dialect if given else None, survey=survey)
    complete = mapping_for_records(given, columns=table.columns, source=known.name, is_uniform=table.is_uniform)
    region = complete.region or known.region
    corrections = corrections_of(known.workspace_id)
    return Load(
        RECORDS, name or path.name, _subject(known, table, path, known_by), table, known,
        partial(_read_record, complete, region, corrections),
        partial(write_records, read_by=Reading(complete, corrections)),
        _reading("records", complete, region, table), key=complete.key,
    )  # fmt: skip


def events_load(
    known: KnownSource,
    path: Path,
    given: FileMapping | None,
    *,
    known_by: str = "",
    name: str = "",
    survey: Survey | None = None,
) -> Load:
    """As `records_load`."""
    table = open_table(path, dialect=given.dialect if given else None, survey=survey)
    complete = _event_mapping(given, table)
    region = (complete.region if complete else "") or known.region
    corrections = corrections_of(known.workspace_id)
    check = plans.open_check(known)
    key = complete.key if complete else "messageId"
    return Load(
        EVENTS, name or path.name, _subject(known, table, path, known_by), table, known,
        partial(_read_event, complete, known, region, table, corrections, check), _write_events,
        _reading("events", complete, region, table),
        key=key if key in table.columns else "", check=check,
        layout=None if check.plan else _layout(table, complete, region, corrections),
    )  # fmt: skip


def _export_load(known: KnownSource, path: Path, export: str, *, known_by: str) -> Load:
    table = open_table(path)
    check = plans.open_check(known)
    read = partial(_read_exported, EXPORTS[export], known, corrections_of(known.workspace_id), check)
    subject = _subject(known, table, path, known_by + export)
    reading = _reading("events", None, known.region, table)
    return Load(EVENTS, path.name, subject, table, known, read, _write_events, reading, check=check)


def _reading(kind: str, mapping: FileMapping | None, region: str, table: Table) -> Mapping[str, Any]:
    return quarantine.reading_of_row(
        kind,
        mapping=asdict(mapping) if mapping else None,
        region=region,
        columns=table.columns,
        has_types=table.has_types,
        dialect=None if table.has_types else table.dialect.of_rows(),
    )


def _layout(table: Table, mapping: FileMapping | None, region: str, corrections: Corrections) -> "Layout | None":
    if mapping is None or not table.is_uniform:
        return None
    from cdp.ingestion import columnar  # noqa: PLC0415  # Arrow takes a third of a second that others need not spend

    return columnar.layout_of(table, mapping, region=region, corrections=corrections)


def is_as_sdks_send(table: Table) -> bool:
    return table.has_types and not {"userId", "anonymousId", "previousId"}.isdisjoint(table.columns)


def _event_mapping(given: FileMapping | None, table: Table) -> FileMapping | None:
    if given is None and (is_as_sdks_send(table) or not table.columns):
        return None
    return mapping_for_events(given, columns=table.columns, is_uniform=table.is_uniform)


def _subject(source: KnownSource, table: Table, path: Path, known_by: str) -> str:
    return f"{source.name} {hashlib.sha256((table.digest + known_by).encode()).hexdigest()} {path.name}"


# -- one load -------------------------------------------------------------------------------------------------------


def begin(load: Load, now: datetime) -> Run:
    """The run of this load: a new one, or the one that was not finished, or was cancelled."""
    with gate.permit(Purpose.COLLECTION, workspace_id=load.source.workspace_id):
        same = load.subject.rsplit(" ", 1)[0] + " "  # whatever the file is called by now
        unfinished = Run.objects.filter(kind=load.kind, subject__startswith=same).exclude(state=RunState.DONE).last()
        if unfinished is None:
            return Run.objects.create(
                workspace_id=load.source.workspace_id, kind=load.kind, subject=load.subject, counts=asdict(Counts()),
                started_at=now, heartbeat_at=now,
            )  # fmt: skip
        unfinished.state, unfinished.error, unfinished.heartbeat_at = RunState.RUNNING, "", now
        unfinished.finished_at = None
        unfinished.save(update_fields=["state", "error", "heartbeat_at", "finished_at"])
        return unfinished


def never() -> bool:
    return False


def run_load(load: Load, run: Run, clock: Clock, report: Report, *, is_over: Callable[[], bool] = never) -> Counts:
    """Load what is left, or until `is_over` says that others want their turn: then the run goes on another time.

    Raises `LoadInterruptedError` when the run was cancelled or another process goes on with it.
    """
    from cdp.ingestion import quality_measuring  # noqa: PLC0415  # loads numpy, which web and workers need not

    counts = Counts(**run.counts)
    profiler = None if run.position else _profiler(load, run)
    try:
        chunks = _in_good_time(_ahead(_chunks(load, run, clock, profiler)), run, clock)
        store = _store_abreast if _is_large(load) else _store_all
        for end in store(load, run, chunks, counts):
            report(Progress(counts, end.offset, load.table.total))
            if is_over():
                return counts
        profiler = profiler or _measured_anew(load, run)
        quality_measuring.keep_load(source=load.source, run=run, profiler=profiler, now=clock())
    except OperationalError:  # the database went away, or a deadlock: what is stored is stored, and the run can go on
        raise
    except Exception as error:
        with suppress(DatabaseError):  # which may be why we are here
            _end(run, RunState.FAILED, clock(), type(error).__name__)
        raise
    _end(run, RunState.DONE, clock(), "")
    return counts


def _measured_anew(load: Load, run: Run) -> "Profiler":
    """By its first rows, when all is loaded: what was seen before a load was interrupted, or gave way, is not kept."""
    profiler = _profiler(load, run)
    for rows in _cut(islice(load.table.rows(), min(run.position, MEASURED_ROWS))):
        profiler.see([row.fields for row in rows if not row.code])
    return profiler


def _profiler(load: Load, run: Run) -> "Profiler":
    from cdp.ingestion import quality_measuring  # noqa: PLC0415  # as in `run_load`

    return quality_measuring.profiler_of_load(run.pk, key=load.key, decimal=load.table.dialect.decimal)


def _end(run: Run, state: RunState, now: datetime, error: str) -> None:
    """Only the class of an error is kept: its text may hold personal data."""
    with gate.permit(Purpose.COLLECTION, workspace_id=run.workspace_id):
        Run.objects.filter(pk=run.pk, state=RunState.RUNNING, position=run.position).update(
            state=state, error=error, finished_at=now, heartbeat_at=now
        )


def _ahead(chunks: Iterator[T]) -> Iterator[T]:
    """While Postgres stores one chunk, another thread reads and understands the next."""
    with ThreadPoolExecutor(1, thread_name_prefix="reading") as reader:
        waiting = reader.submit(next, chunks, None)
        while (chunk := waiting.result()) is not None:
            waiting = reader.submit(next, chunks, None)
            yield chunk


def _chunks(load: Load, run: Run, clock: Clock, profiler: "Profiler | None") -> Iterator[Chunk]:
    """What is left of the file."""
    place = Place(**run.bookmark) if run.bookmark else START
    left = None if load.limit is None else max(load.limit - run.position, 0)
    if load.layout is not None and (run.bookmark or not run.position):
        return _column_chunks(load, load.layout, place, left, clock, profiler)
    rows = load.table.rows(place)
    if place == START:
        rows = islice(rows, run.position, None)  # of a load that began before places were written
    return _row_chunks(load, islice(rows, left), clock, profiler)


def _row_chunks(load: Load, rows: Iterator[Row], clock: Clock, profiler: "Profiler | None") -> Iterator[Chunk]:
    for cut in _cut(rows):
        now = clock()
        good, refused = _readable(load, cut, now)
        if profiler:
            profiler.see([row.fields for row in cut if not row.code])
        yield Chunk(good, len(good), refused, cut[-1].end, now, _found_by_plan(load))


def _column_chunks(
    load: Load, layout: "Layout", place: Place, left: int | None, clock: Clock, profiler: "Profiler | None"
) -> Iterator[Chunk]:
    """Blocks of columns; one in which a row says more than that an event happened is read row by row."""
    from cdp.ingestion import blocks, columnar  # noqa: PLC0415  # as in `_layout`

    share = 0.0
    for block in blocks.blocks(load.table, place, limit=left):
        share = share or _measured_share(load.table, block, place)
        now = clock()
        read = partial(read_row, load, now=now)
        found, refused = columnar.arrived(block, layout, source_id=load.source.id, now=now, read_row=read)
        good: Any = found
        if not found.is_simple:
            good, refused = _readable(load, block.rows(), now)
        if profiler:
            _measure(block, profiler, share)
        yield Chunk(good, found.size, refused, block.end, now)
        del block, found, good  # before the next is read
    layout.known.forget()  # there is a report to be made, which needs the room


def _measured_share(table: Table, first: "Block", place: Place) -> float:
    """Of each block: so that what is measured of a large file comes from all of it, and holds nobody up at its begin."""
    read = first.end.offset - place.offset
    rows = len(first.numbers) * table.total / max(read, 1)
    return min(MEASURED_ROWS / rows, 1.0) if rows else 1.0


def _measure(block: "Block", profiler: "Profiler", share: float) -> None:
    """In pieces, for as values of Python a block is several times as large."""
    size = min(math.ceil(len(block.numbers) * share), MEASURED_ROWS - profiler.rows)
    for first in range(0, size, CHUNK_ROWS):
        rows = min(CHUNK_ROWS, size - first)
        piece = {name: column.slice(first, rows).to_pylist() for name, column in block.columns.items()}
        profiler.see_columns(piece, rows)


def _found_by_plan(load: Load) -> plans.PlanCheck | None:
    """What the tracking plan found in the rows that were just read: it is counted with their chunk and no other."""
    if load.check is None:
        return None
    taken = plans.PlanCheck(load.check.plan, load.check.source)
    taken.found, load.check.found = load.check.found, taken.found
    return taken


def _cut(rows: Iterator[Row]) -> Iterator[list[Row]]:
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


def _in_good_time(chunks: Iterator[Chunk], run: Run, clock: Clock) -> Iterator[Chunk]:
    """Each when the pipeline can take it."""
    for chunk in chunks:
        backpressure.wait_while_pressed(clock, lambda why: log.warning("load.paused", run=run.pk, why=why))
        yield chunk


def _store_all(load: Load, run: Run, chunks: Iterable[Chunk], counts: Counts) -> Iterator[Place]:
    """Where each chunk ended: that one is stored, and nobody holds it any longer."""
    for chunk in chunks:
        _store(load, run, chunk, counts)
        yield chunk.end


def _store(load: Load, run: Run, chunk: Chunk, counts: Counts) -> None:
    """Rows, place and the work for the next stage, all or nothing."""
    with _storing(load) as permit:
        _hold(run)
        written = load.write(permit, load.source, chunk.good, chunk.now)
        after = _keep(permit, load, run, chunk, counts, written)
    _move_on(run, chunk, counts, after)


@contextmanager
def _storing(load: Load) -> Iterator[Permit[Collection]]:
    """A transaction that need not wait for the disk. Should Postgres crash, the newest chunks are gone with the place in
    the file, and are loaded again. The end of a run waits for the disk, and with it for all that came before.
    """
    with gate.permit(Purpose.COLLECTION, workspace_id=load.source.workspace_id) as permit:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")
        yield permit


def _keep(permit: Permit[Collection], load: Load, run: Run, chunk: Chunk, counts: Counts, written: Written) -> Counts:
    """What belongs to a chunk whose rows are written. Returns the counts after it."""
    quarantine.add(chunk.refused, source_id=load.source.id, workspace_id=permit.workspace_id, now=chunk.now)
    if chunk.check:
        chunk.check.count(now=chunk.now)
    hand_over(permit, written.touched)
    after = Counts(
        read=counts.read + chunk.rows,
        accepted=counts.accepted + written.accepted,
        duplicates=counts.duplicates + chunk.size - written.accepted,
        quarantined=counts.quarantined + len(chunk.refused),
    )
    Run.objects.filter(pk=run.pk).update(
        position=run.position + chunk.rows, bookmark=asdict(chunk.end), counts=asdict(after), heartbeat_at=chunk.now
    )
    return after


def _move_on(run: Run, chunk: Chunk, counts: Counts, after: Counts) -> None:
    run.position += chunk.rows
    counts.__dict__.update(asdict(after))


# -- two chunks at once ---------------------------------------------------------------------------------------------


def _is_large(load: Load) -> bool:
    """Whether it is worth a second connection. Rows that are read one by one cannot keep even one busy."""
    return load.layout is not None and load.table.path.stat().st_size >= LARGE_BYTES


def _store_abreast(load: Load, run: Run, chunks: Iterable[Chunk], counts: Counts) -> Iterator[Place]:
    """As `_store_all`, by several connections, each of which works on a chunk of its own."""
    turns = Turns("meet", "claim", "commit")
    under_way: deque[tuple[Place, Future[None]]] = deque()
    with ExitStack() as stack:
        threads = [stack.enter_context(_thread_with_connection()) for _ in range(CONNECTIONS)]
        for number, chunk in enumerate(chunks):
            thread = threads[number % CONNECTIONS]
            under_way.append((chunk.end, thread.submit(_store_in_turn, load, run, chunk, counts, number, turns)))
            if len(under_way) == CONNECTIONS:
                yield _stored(*under_way.popleft())
        while under_way:
            yield _stored(*under_way.popleft())


@contextmanager
def _thread_with_connection() -> Iterator[ThreadPoolExecutor]:
    """Django opens a connection for each thread that asks for one; nobody else would close it."""
    with ThreadPoolExecutor(1, thread_name_prefix="storing") as thread:
        try:
            yield thread
        finally:
            thread.submit(connections.close_all).result()


def _stored(end: Place, storing: "Future[None]") -> Place:
    storing.result()
    return end


def _store_in_turn(load: Load, run: Run, chunk: Chunk, counts: Counts, number: int, turns: Turns) -> None:
    """Whatever two chunks could both want is asked for in the order of the file, so none waits for a later one."""
    with turns.or_none():
        if isinstance(chunk.good, list):
            with turns.take("meet", number), turns.take("claim", number), turns.take("commit", number):
                _store(load, run, chunk, counts)
        else:
            _store_columns(load, run, chunk, counts, partial(turns.take, number=number))


def _store_columns(
    load: Load, run: Run, chunk: Chunk, counts: Counts, turn: Callable[[str], AbstractContextManager[None]]
) -> None:
    """Whom the chunk names is committed at once, so that the next can go on; its events wait for those before them."""
    with turn("meet"), _storing(load) as permit:
        hand_over(permit, chunk.good.meet(permit))
    with ExitStack() as transaction:
        permit = transaction.enter_context(_storing(load))
        stored = chunk.good.store(permit, turn("claim"))
        with turn("commit"):
            _hold(run)
            after = _keep(permit, load, run, chunk, counts, Written(stored.events, stored.touched))
            transaction.close()
            _move_on(run, chunk, counts, after)


def _hold(run: Run) -> None:
    """Of two processes that load the same file the second waits here, and then finds that the first moved on."""
    held = Run.objects.select_for_update().filter(pk=run.pk).first()
    if held is not None and held.state == RunState.CANCELLED:
        raise LoadCancelledError
    if held is None or held.state != RunState.RUNNING or held.position != run.position:
        raise LoadInterruptedError


def _readable(load: Load, rows: Iterable[Row], now: datetime) -> tuple[list[Any], list[Refused]]:
    good: list[Any] = []
    refused: list[Refused] = []
    for row in rows:
        read = read_row(load, row, now)
        if isinstance(read, Refused):
            refused.append(read)
        else:
            good.append(read)
    return good, refused


def read_row(load: Load, row: Row, now: datetime) -> Any:  # noqa: ANN401  # what `load.write` takes
    """The row as it is stored, or why it is refused."""
    place = f"{load.name}:{row.number}"
    if row.code:
        return Refused(place, row.code, row.message, row.raw.encode(errors="replace"), load.reading)
    try:
        return load.read(row, now)
    except RefusedEventError as error:
        raw = storable_json(row.fields).encode()
        return Refused(place, error.reason, error.message, raw, load.reading)


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
        row.fields,
        mapping,
        source_id=source.id,
        region=region,
        has_types=table.has_types,
        now=now,
        decimal=table.dialect.decimal,
        corrections=corrections,
        applied=check.applied if check.plan else None,
    )


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


def _write_events(permit: Permit[Collection], source: KnownSource, good: Any, now: datetime) -> Written:  # noqa: ANN401, ARG001  # facts or columns; as _write_records
    if isinstance(good, list):
        stored = storing.write_facts(permit, good)
        return Written(stored.events, stored.touched)
    met = good.meet(permit)
    stored = good.store(permit)
    return Written(stored.events, {**stored.touched, **met})


# -- records --------------------------------------------------------------------------------------------------------


def _read_record(mapping: FileMapping, region: str, corrections: Corrections, row: Row, now: datetime) -> RecordRow:
    return record_row(row.fields, mapping, region=region, now=now, corrections=corrections)
