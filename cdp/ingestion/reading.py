"""Reading of connections: page by page, each one transaction with its place, so that a killed reader loses nothing.

A connection is read by one process at a time, under a lease that every page renews. A reading is a `Run`; it goes on
from the stored place until the system has no more, in slices, so that others get their turn. The next reading begins a
little before that place: what became visible late is read too, and what comes again is recognised.
"""

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import structlog
from django.db.models import Q

from cdp.ingestion import connector_registry as registry
from cdp.ingestion import mapping_texts, quarantine, recording, storing
from cdp.ingestion.bodies import storable_json
from cdp.ingestion.connecting import Plan, connector_of, plans_of
from cdp.ingestion.connector import (
    Connector,
    ConnectorError,
    Page,
    Position,
    Shape,
    TransientConnectorError,
    UnreadableStreamError,
    rewound,
)
from cdp.ingestion.corrections import corrections_of
from cdp.ingestion.messages import RefusedEventError
from cdp.ingestion.quarantine import Refused
from cdp.ingestion.recording import Written
from cdp.ingestion.rows import event_fact, record_row
from cdp.ingestion.sources import KnownSource, known_source
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import Connection, Run, RunState
from cdp.models.tenancy import workspace_scope
from consent import gate
from consent.gate import Collection, Permit

log = structlog.get_logger()

LEASE: Final = timedelta(minutes=5)  # longer than a page may take
SLICE_SECONDS: Final = 5.0
FIRST_DELAY: Final = timedelta(seconds=15)
LONGEST_DELAY: Final = timedelta(hours=1)
KIND: Final = "read connection"

Clock = Callable[[], datetime]


class Ending(StrEnum):
    """How a slice ended."""

    COMPLETE = "COMPLETE"  # the system has no more
    TO_BE_CONTINUED = "TO_BE_CONTINUED"
    POSTPONED = "POSTPONED"  # it failed, or asked to come later
    PAUSED = "PAUSED"  # a person must act
    STOPPED = "STOPPED"  # cancelled, or another process took over


class LeaseLostError(TesseraError):
    """Another process reads this connection now, or the reading was cancelled."""

    code = "lease_lost"


class BeingReadError(TesseraError):
    """The connection is being read by another process: wait, or look at its run in the console."""

    code = "being_read"


class ReadingFailedError(TesseraError):
    """The connection could not be read to the end."""

    code = "reading_failed"


@dataclass
class Counts:
    """What became of the rows of a reading; `read` is the sum of the next three, `deleted` records are beside them."""

    read: int = 0
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    deleted: int = 0


@dataclass(slots=True)
class Reading:
    """A connection that this process alone may read, until the lease is over."""

    connection: Connection
    source: KnownSource
    run: Run
    leased_until: datetime
    cursor: dict[str, dict[str, Any]]
    counts: Counts = field(default_factory=Counts)
    refusals: dict[str, str] = field(default_factory=dict)  # streams that the system refuses, and its reason

    def position(self, stream: str) -> Position:
        return _position(self.cursor.get(stream, {}))

    def has_read(self, stream: str) -> bool:
        """Whether its last page was stored in this reading."""
        return bool(self.cursor.get(stream, {}).get("is_read"))


def read_due(*, workspace_id: int, clock: Clock, seconds: float = SLICE_SECONDS) -> int:
    """Read what is due, each connection for a slice. Returns how many there were."""
    until = time.monotonic() + seconds
    done = 0
    while reading := claim(workspace_id=workspace_id, now=clock()):
        read_slice(reading, clock=clock, seconds=max(until - time.monotonic(), 0))
        done += 1
        if time.monotonic() >= until:
            break
    return done


def read_now(connection: Connection, *, clock: Clock) -> Counts:
    """Read one connection to the end, whether it is due or not.

    Raises `BeingReadError` where somebody is at it, and `ReadingFailedError`, which says why.
    """
    claimed = claim(workspace_id=connection.workspace_id, now=clock(), connection_id=connection.pk)
    if claimed is None:
        raise BeingReadError
    ending = read_slice(claimed, clock=clock, seconds=math.inf)
    if ending is not Ending.COMPLETE:
        with workspace_scope(connection.workspace_id):
            reason = Connection.objects.values_list("error", flat=True).get(pk=connection.pk)
        raise ReadingFailedError(f"The reading is {ending.lower()}: {reason or 'see its run'}.")
    return claimed.counts


# -- claim ----------------------------------------------------------------------------------------------------------


def claim(*, workspace_id: int, now: datetime, connection_id: int | None = None) -> Reading | None:
    """Take the connection that has been due longest, or the one that is asked for if nobody is reading it."""
    which = Q(pk=connection_id) if connection_id else Q(due_at__lte=now, paused_at=None, is_enabled=True)
    free = Q(leased_until=None) | Q(leased_until__lte=now)
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace_id):
        rows = Connection.objects.filter(which & free, workspace=workspace_id, source__kind__in=registry.KINDS)
        rows = rows.select_related("source__workspace").order_by("due_at")
        taken = rows.select_for_update(skip_locked=True, of=("self",), no_key=True).first()
        if taken is None:
            return None
        return _begun(taken, now)


def _begun(taken: Connection, now: datetime) -> Reading:
    """Go on with the reading that was not finished, or begin one, a little before the place that was reached."""
    run = _unfinished(taken.run_id, now)
    cursor = taken.cursor
    if run is None:
        run = Run.objects.create(
            workspace_id=taken.workspace_id, kind=KIND, subject=taken.source.name, counts=asdict(Counts()),
            started_at=now, heartbeat_at=now,
        )  # fmt: skip
        overlap = registry.described(taken.source.kind).overlap
        cursor = {stream: asdict(rewound(_position(place), overlap)) for stream, place in cursor.items()}
    Connection.objects.filter(pk=taken.pk).update(run=run, cursor=cursor, leased_until=now + LEASE)
    return Reading(taken, known_source(taken.source), run, now + LEASE, cursor, Counts(**run.counts))


def _unfinished(run_id: int | None, now: datetime) -> Run | None:
    going_on = Run.objects.filter(pk=run_id or 0, state__in=[RunState.RUNNING, RunState.FAILED])
    going_on.update(state=RunState.RUNNING, heartbeat_at=now, finished_at=None)
    return Run.objects.filter(pk=run_id or 0, state=RunState.RUNNING).first()


# -- read -----------------------------------------------------------------------------------------------------------


def read_slice(reading: Reading, *, clock: Clock, seconds: float = SLICE_SECONDS) -> Ending:
    """Read pages until there are no more, or `seconds` have passed. No exception: whatever happens is recorded."""
    try:
        is_complete = _read_pages(reading, clock, until=time.monotonic() + seconds)
    except KeyboardInterrupt:
        _release(reading, {"due_at": clock()})
        raise
    except LeaseLostError:
        return _stopped(reading, clock())
    except TransientConnectorError as error:
        return _postponed(reading, error.reason, error.retry_after, clock())
    except ConnectorError as error:
        return _paused(reading, f"{error.reason}: {error.message}", clock())
    except Exception as error:  # a defect, or the database: the place is as it was, it is tried again
        log.exception("connection.failed", connection=reading.connection.pk, run=reading.run.pk)
        return _postponed(reading, type(error).__name__, None, clock())
    return _ended(reading, clock(), is_complete=is_complete)


def _read_pages(reading: Reading, clock: Clock, until: float) -> bool:
    connector = connectors.of(reading.connection)
    waiting = (plan for plan in plans_of(reading.connection) if not reading.has_read(plan.stream.name))
    return all(_read_stream(reading, connector, plan, clock, until) for plan in waiting)


def _read_stream(reading: Reading, connector: Connector, plan: Plan, clock: Clock, until: float) -> bool:
    """False when time was up before the stream was."""
    try:
        for page in connector.pages(plan.stream, plan.columns, reading.position(plan.stream.name)):
            _store_page(reading, plan, page, clock())
            if time.monotonic() > until and not page.is_last:
                return False
    except UnreadableStreamError as error:
        reading.refusals[plan.stream.name] = error.reason
    return True


def _position(place: Mapping[str, Any]) -> Position:
    return Position(place.get("at", ""), place.get("key", ""), place.get("hint", ""))


def _store_page(reading: Reading, plan: Plan, page: Page, now: datetime) -> None:
    """Rows, place and the work for the next stage, all or nothing."""
    with gate.permit(Purpose.COLLECTION, workspace_id=reading.source.workspace_id) as permit:
        _hold(reading)
        good, refused = _readable(reading.source, plan, page.rows, now)
        written = _written(permit, plan, reading.source, good, now)
        gone = recording.withdraw_records(permit, reading.source, page.deleted, now)
        quarantine.add(refused, source_id=reading.source.id, workspace_id=permit.workspace_id, now=now)
        recording.hand_over(permit, {**written.touched, **gone.touched})
        counts = _added(reading.counts, page, written, len(good), len(refused), gone.accepted)
        cursor = {**reading.cursor, plan.stream.name: {**asdict(page.position), "is_read": page.is_last}}
        _move(reading, cursor, counts, now)
    reading.cursor, reading.counts, reading.leased_until = cursor, counts, now + LEASE


def _hold(reading: Reading) -> None:
    """Of two readers the one whose lease was taken over stops here, before it writes."""
    ours = Connection.objects.filter(pk=reading.connection.pk, leased_until=reading.leased_until)
    running = Run.objects.filter(pk=reading.run.pk, state=RunState.RUNNING)
    if not ours.select_for_update(no_key=True).exists() or not running.exists():
        raise LeaseLostError


def _move(reading: Reading, cursor: Mapping[str, Any], counts: Counts, now: datetime) -> None:
    Connection.objects.filter(pk=reading.connection.pk).update(cursor=cursor, leased_until=now + LEASE)
    Run.objects.filter(pk=reading.run.pk).update(position=counts.read, counts=asdict(counts), heartbeat_at=now)


def _readable(
    source: KnownSource, plan: Plan, rows: Sequence[object], now: datetime
) -> tuple[list[Any], list[Refused]]:
    good: list[Any] = []
    refused: list[Refused] = []
    read_as = quarantine.reading_of_row(
        "records" if plan.stream.shape is Shape.RECORDS else "events",
        mapping=asdict(plan.mapping), region=plan.mapping.region or source.region, columns=(), has_types=True,
    )  # fmt: skip
    for row in rows:
        try:
            good.append(_understood(source, plan, row, now))
        except RefusedEventError as error:
            place = f"{plan.stream.name} {row.get(plan.mapping.key) if isinstance(row, dict) else ''}".strip()
            refused.append(Refused(place, error.reason, error.message, storable_json(row).encode(), read_as))
    return good, refused


def _understood(source: KnownSource, plan: Plan, row: object, now: datetime) -> Any:  # noqa: ANN401  # a record or an event
    if not isinstance(row, dict):
        raise RefusedEventError("not_an_object", "A row must be a JSON object.")
    region = plan.mapping.region or source.region
    corrections = corrections_of(source.workspace_id)
    if plan.stream.shape is Shape.EVENTS:
        return event_fact(
            row, plan.mapping, source_id=source.id, region=region, has_types=True, now=now, corrections=corrections
        )
    return record_row(row, plan.mapping, region=region, now=now, corrections=corrections)


def _written(
    permit: Permit[Collection], plan: Plan, source: KnownSource, good: Sequence[Any], now: datetime
) -> Written:
    if plan.stream.shape is Shape.RECORDS:
        read_by = mapping_texts.Reading(plan.mapping, corrections_of(source.workspace_id))
        written = recording.write_records(permit, source, good, now, read_by=read_by)
        recording.withdraw_empty(permit, source, good, plan.traits)
        return written
    stored = storing.write_facts(permit, good)
    return Written(stored.events, stored.touched)


def _added(before: Counts, page: Page, written: Written, good: int, refused: int, deleted: int) -> Counts:
    return Counts(
        read=before.read + len(page.rows),
        accepted=before.accepted + written.accepted,
        duplicates=before.duplicates + good - written.accepted,
        quarantined=before.quarantined + refused,
        deleted=before.deleted + deleted,
    )


# -- record ---------------------------------------------------------------------------------------------------------


def _ended(reading: Reading, now: datetime, *, is_complete: bool) -> Ending:
    if not is_complete:
        _release(reading, {"due_at": now, "failures": 0})
        return Ending.TO_BE_CONTINUED
    refusals = "; ".join(f"{stream}: {reason}" for stream, reason in reading.refusals.items())
    if len(reading.refusals) == len(plans_of(reading.connection)):
        return _paused(reading, refusals, now)
    following = now + timedelta(seconds=reading.connection.every_seconds)
    run = {"state": RunState.DONE, "error": refusals, "finished_at": now, "heartbeat_at": now}
    _release(reading, {"due_at": following, "failures": 0, "error": refusals}, run)
    log.info("connection.read", connection=reading.connection.pk, run=reading.run.pk, **asdict(reading.counts))
    return Ending.COMPLETE


def _postponed(reading: Reading, reason: str, retry_after: float | None, now: datetime) -> Ending:
    """The reading stays open. To be asked to wait is no failure; each failure doubles the pause."""
    failures = reading.connection.failures + (retry_after is None)
    delay = _delay(failures) if retry_after is None else timedelta(seconds=retry_after)
    log.warning("connection.postponed", connection=reading.connection.pk, run=reading.run.pk, reason=reason)
    waiting = {"due_at": now + delay, "failures": failures, "error": reason}
    _release(reading, waiting, {"error": reason, "heartbeat_at": now})
    return Ending.POSTPONED


def _paused(reading: Reading, error: str, now: datetime) -> Ending:
    log.warning("connection.paused", connection=reading.connection.pk, run=reading.run.pk)
    run = {"state": RunState.FAILED, "error": error, "finished_at": now, "heartbeat_at": now}
    _release(reading, {"paused_at": now, "error": error}, run)
    return Ending.PAUSED


def _stopped(reading: Reading, now: datetime) -> Ending:
    """Cancelled: the next reading goes on from here at its time. Where another process took over, nothing is ours."""
    _release(reading, {"due_at": now + timedelta(seconds=reading.connection.every_seconds)})
    return Ending.STOPPED


def _delay(failures: int) -> timedelta:
    longest: timedelta = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures - 1, 16))
    return longest * random.uniform(0.5, 1)  # noqa: S311  # jitter keeps connections apart, it hides nothing


def _release(reading: Reading, connection: Mapping[str, Any], run: Mapping[str, Any] | None = None) -> None:
    """Give up the lease, if it is still ours, and say what became of the connection and its reading."""
    with gate.permit(Purpose.COLLECTION, workspace_id=reading.source.workspace_id):
        ours = Connection.objects.filter(pk=reading.connection.pk, leased_until=reading.leased_until)
        if ours.update(leased_until=None, **connection) and run:
            Run.objects.filter(pk=reading.run.pk, state=RunState.RUNNING).update(**run)


# -- connectors in use ----------------------------------------------------------------------------------------------


@dataclass
class _Connectors:
    """Of this process: a connector keeps its session and its pace from one slice to the next."""

    _known: dict[int, tuple[str, Connector]] = field(default_factory=dict)

    def of(self, connection: Connection) -> Connector:
        settings = json.dumps(connection.config, sort_keys=True).encode() + bytes(connection.secrets)
        print_of_settings = hashlib.sha256(settings).hexdigest()
        found = self._known.get(connection.pk)
        if found is None or found[0] != print_of_settings:
            found = self._known[connection.pk] = (print_of_settings, connector_of(connection))
        return found[1]

    def forget(self) -> None:
        self._known.clear()


connectors = _Connectors()
