"""Stored records read again, by the normalisation and the dictionary of today. Nothing raw is touched.

A record remembers version, dictionary and mapping by which it was read. Those that were read otherwise are taken batch
by batch, in the order of their ids, each batch in one transaction that also moves the position of the `Run`: whatever
is killed goes on where it stopped. Traits that changed are written in place of those that the same record gave; new
identifiers and sightings come by the way of loading. Old identifiers stay: events and consents may point to them.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from django.db import Error as DatabaseError
from django.db import connection

from cdp.ingestion import storing
from cdp.ingestion.bodies import storable_json
from cdp.ingestion.corrections import corrections_of
from cdp.ingestion.mapping import FileMapping, mapping_for_records, read_mapping
from cdp.ingestion.mapping_texts import Reading, keep_mapping, kept_mappings
from cdp.ingestion.messages import RefusedEventError
from cdp.ingestion.normalise import VERSION, Corrections
from cdp.ingestion.recording import hand_over
from cdp.ingestion.rows import RecordRow, record_row
from cdp.ingestion.sources import KnownSource, source_named
from cdp.ingestion.storing import Encounter, Observation
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Run, RunState
from consent import gate, suppression
from consent.gate import Collection, Permit

BATCH: Final = 2_000
MOST_EXAMPLES: Final = 20

Clock = Callable[[], datetime]


class RenormalisingInterruptedError(TesseraError):
    """It was cancelled, or another process reads the same records again: look at its run in the console."""

    code = "renormalising_interrupted"


@dataclass
class Counts:
    """`changed` records have traits or identifiers that read otherwise now; the last two were left as they are."""

    read: int = 0
    changed: int = 0
    traits: int = 0
    identifiers: int = 0
    refused: int = 0
    without_mapping: int = 0


@dataclass(frozen=True, slots=True)
class Example:
    """A record that changes, by its id, and the names of what does: no values."""

    record: int
    traits: tuple[str, ...]
    identifiers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Renormalised:
    counts: Counts
    examples: Sequence[Example]


@dataclass(frozen=True, slots=True)
class _Work:
    """What is done to one source. `mapping` is for records whose own is not known."""

    source: KnownSource
    corrections: Corrections
    mapping: FileMapping | None
    is_dry_run: bool

    @property
    def subject(self) -> str:
        how = "dry run" if self.is_dry_run else "for good"
        return f"{self.source.name} version {VERSION} dictionary {self.corrections.digest[:12]} {how}"


@dataclass(frozen=True, slots=True)
class _Stored:
    """A record as it lies there."""

    id: int
    identifier_id: int
    fields: Mapping[str, Any]
    loaded_at: datetime
    mapping_digest: str


@dataclass(frozen=True, slots=True)
class _Change:
    """A record as it reads now, and what is new about that."""

    stored: _Stored
    row: RecordRow
    reading: Reading
    traits: tuple[str, ...]
    identifiers: tuple[str, ...]

    @property
    def is_one(self) -> bool:
        return bool(self.traits or self.identifiers)


@dataclass
class _Outcome:
    changes: list[_Change] = field(default_factory=list)
    refused: int = 0
    without_mapping: int = 0


def renormalise(
    *, workspace_id: int, source: str, mapping: Path | None = None, is_dry_run: bool, clock: Clock,
    report: Callable[[Counts], None],
) -> Renormalised:  # fmt: skip
    """Read the records of a source again. A dry run counts what would change, and names examples by id.

    `mapping` is for records that were loaded before mappings were kept. Raises a `TesseraError` before the first record
    if source or mapping cannot be used.
    """
    known = source_named(source, workspace_id=workspace_id)
    given = _completed(mapping, known)
    work = _Work(known, corrections_of(workspace_id), given, is_dry_run)
    run = _begin(work, clock())
    counts, examples = Counts(**run.counts), []
    try:
        while (found := _advance(work, run, counts, clock())) is not None:
            examples += [Example(one.stored.id, one.traits, one.identifiers) for one in found if one.is_one]
            del examples[MOST_EXAMPLES:]
            report(counts)
    except Exception as error:
        with suppress(DatabaseError):  # which may be why we are here
            _end(run, RunState.FAILED, clock(), type(error).__name__)
        raise
    _end(run, RunState.DONE, clock(), "")
    return Renormalised(counts, examples)


def _completed(mapping: Path | None, source: KnownSource) -> FileMapping | None:
    if mapping is None:
        return None
    given = read_mapping(mapping, of_events=False)
    return mapping_for_records(given, columns=given.columns, source=source.name)


# -- the run --------------------------------------------------------------------------------------------------------


def _begin(work: _Work, now: datetime) -> Run:
    workspace_id = work.source.workspace_id
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace_id):
        same = Run.objects.filter(
            kind="normalise records", subject=work.subject, state__in=[RunState.RUNNING, RunState.FAILED]
        ).last()
        if same is None:
            return Run.objects.create(
                workspace_id=workspace_id, kind="normalise records", subject=work.subject, counts=asdict(Counts()),
                started_at=now, heartbeat_at=now,
            )  # fmt: skip
        same.state, same.error, same.heartbeat_at = RunState.RUNNING, "", now
        same.save(update_fields=["state", "error", "heartbeat_at"])
        return same


def _end(run: Run, state: RunState, now: datetime, error: str) -> None:
    """Only the class of an error is kept: its text may hold personal data."""
    with gate.permit(Purpose.COLLECTION, workspace_id=run.workspace_id):
        Run.objects.filter(pk=run.pk, state=RunState.RUNNING, position=run.position).update(
            state=state, error=error, finished_at=now, heartbeat_at=now
        )


def _advance(work: _Work, run: Run, counts: Counts, now: datetime) -> list[_Change] | None:
    """One batch, all or nothing; None when no record is left."""
    with gate.permit(Purpose.COLLECTION, workspace_id=work.source.workspace_id) as permit:
        _hold(run)
        batch = _batch(work, run.position)
        if not batch:
            return None
        outcome = _read_again(permit, work, batch)
        if not work.is_dry_run:
            _write(permit, work.source, outcome.changes)
        after = _counted(counts, batch, outcome)
        position = max(one.id for one in batch)
        Run.objects.filter(pk=run.pk).update(position=position, counts=asdict(after), heartbeat_at=now)
    run.position = position
    counts.__dict__.update(asdict(after))
    return outcome.changes


def _hold(run: Run) -> None:
    """Of two processes at the same work the second waits here, and then finds that the first moved on."""
    held = Run.objects.select_for_update().filter(pk=run.pk, position=run.position, state=RunState.RUNNING)
    if held.first() is None:
        raise RenormalisingInterruptedError


def _counted(counts: Counts, batch: Sequence[_Stored], outcome: _Outcome) -> Counts:
    return Counts(
        read=counts.read + len(batch),
        changed=counts.changed + sum(one.is_one for one in outcome.changes),
        traits=counts.traits + sum(len(one.traits) for one in outcome.changes),
        identifiers=counts.identifiers + sum(len(one.identifiers) for one in outcome.changes),
        refused=counts.refused + outcome.refused,
        without_mapping=counts.without_mapping + outcome.without_mapping,
    )


# -- reading --------------------------------------------------------------------------------------------------------

# Locked in the order of the key, as loading writes them.
_BATCH = """
WITH batch AS (
    SELECT id FROM record
    WHERE source_id = %s AND id > %s AND (normal_version, dictionary_digest) IS DISTINCT FROM (%s, %s)
    ORDER BY id LIMIT %s
)
SELECT r.id, r.identifier_id, r.fields, r.loaded_at, r.mapping_digest
FROM record r JOIN batch USING (id) ORDER BY r.key FOR UPDATE OF r
"""


def _batch(work: _Work, after: int) -> list[_Stored]:
    with connection.cursor() as cursor:
        cursor.execute(_BATCH, [work.source.id, after, VERSION, work.corrections.digest, BATCH])
        return [
            _Stored(key, identifier, json.loads(fields), *rest) for key, identifier, fields, *rest in cursor.fetchall()
        ]


def _read_again(permit: Permit[Collection], work: _Work, batch: Sequence[_Stored]) -> _Outcome:
    mappings = kept_mappings(permit, {one.mapping_digest for one in batch})
    outcome = _Outcome()
    rows: list[tuple[_Stored, RecordRow, Reading]] = []
    for stored in batch:
        mapping = mappings.get(stored.mapping_digest, work.mapping)
        if mapping is None:
            outcome.without_mapping += 1
            continue
        try:
            rows.append((stored, _row(work, stored, mapping), Reading(mapping, work.corrections)))
        except RefusedEventError:
            outcome.refused += 1
    outcome.changes = list(_compared(permit, work.source, rows))
    return outcome


def _row(work: _Work, stored: _Stored, mapping: FileMapping) -> RecordRow:
    """A row that named no time of its own was observed when it was loaded."""
    region = mapping.region or work.source.region
    return record_row(stored.fields, mapping, region=region, now=stored.loaded_at, corrections=work.corrections)


_KNOWN_TRAITS = """
SELECT identifier_id, name, value, observed_at FROM identifier_trait WHERE source_id = %s AND identifier_id = ANY(%s)
"""


def _compared(
    permit: Permit[Collection], source: KnownSource, rows: Sequence[tuple[_Stored, RecordRow, Reading]]
) -> Iterator[_Change]:
    ids = storing.found(permit, {node for _, row, _ in rows for node in row.nodes})
    traits = _known_traits(source, [ids[row.nodes[0]] for _, row, _ in rows if row.nodes[0] in ids])
    for stored, row, reading in rows:
        known = traits.get(ids.get(row.nodes[0], 0), {})
        changed = tuple(name for name, value in row.traits.items() if _is_other(known.get(name), value, row))
        yield _Change(
            stored, row, reading, changed, tuple(kind for kind, value in row.nodes if (kind, value) not in ids)
        )


def _is_other(known: tuple[object, datetime] | None, value: object, row: RecordRow) -> bool:
    """A later word of the same source stands, whatever this record says."""
    return known is None or (known[0] != value and known[1] <= row.observed_at)


def _known_traits(source: KnownSource, ids: Sequence[int]) -> dict[int, dict[str, tuple[object, datetime]]]:
    found: dict[int, dict[str, tuple[object, datetime]]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN_TRAITS, [source.id, list(ids)])
        for identifier, name, value, observed_at in cursor.fetchall():
            found.setdefault(identifier, {})[name] = (json.loads(value), observed_at)
    return found


# -- writing --------------------------------------------------------------------------------------------------------

_MARK = """
UPDATE record r SET normal_version = new.version, dictionary_digest = new.dictionary, mapping_digest = new.mapping,
    identifier_id = new.identifier
FROM unnest(%s::bigint[], %s::int[], %s::text[], %s::text[], %s::bigint[])
    AS new (id, version, dictionary, mapping, identifier)
WHERE r.id = new.id
"""
# What the record said at the same time is replaced: the same word, read better. A later one stands.
_REPLACE_TRAITS = """
UPDATE identifier_trait t SET value = new.value, observed_at = new.observed_at
FROM unnest(%s::bigint[], %s::text[], %s::jsonb[], %s::timestamptz[]) AS new (identifier, name, value, observed_at)
WHERE t.identifier_id = new.identifier AND t.source_id = %s AND t.name = new.name AND t.observed_at <= new.observed_at
"""


def _write(permit: Permit[Collection], source: KnownSource, changes: Sequence[_Change]) -> None:
    suppressed = suppression.suppressed_among(permit, {node for one in changes for node in one.row.nodes})
    changes = [one for one in changes if suppressed.isdisjoint(one.row.nodes)]
    ids = storing.resolve(permit, {node for one in changes for node in one.row.nodes}).known
    for reading in {one.reading.marks: one.reading for one in changes}.values():
        keep_mapping(permit, reading)
    changed = [one for one in changes if one.is_one]
    observations = [
        Observation(one.row.nodes[0], source.id, name, one.row.traits[name], one.row.observed_at)
        for one in changed
        for name in one.traits
    ]
    _replace_traits(source, observations, ids)
    storing.observe(permit, observations, ids)
    storing.sight(permit, [Encounter(one.row.nodes, source.id, one.row.observed_at) for one in changed], ids)
    _mark(changes, ids)
    touched = {ids[node] for one in changed for node in one.row.nodes}
    hand_over(permit, dict.fromkeys(sorted(touched), Cause.LEARNT))


def _replace_traits(source: KnownSource, observations: Sequence[Observation], ids: storing.Ids) -> None:
    rows = [(ids[one.node], one.name, storable_json(one.value), one.observed_at) for one in observations]
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(_REPLACE_TRAITS, [*map(list, zip(*rows, strict=True)), source.id])


def _mark(changes: Sequence[_Change], ids: storing.Ids) -> None:
    rows = [(one.stored.id, *one.reading.marks, ids[one.row.nodes[0]]) for one in changes]
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(_MARK, [list(column) for column in zip(*rows, strict=True)])
