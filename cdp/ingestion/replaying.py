"""Quarantined items once more: first what would become of them, then in earnest, batch by batch.

`preview` writes nothing. `order_replay` and `order_discard` write down what is to be done, as a `Run` with its
`QuarantineOrder`; `work` does it. Each batch is one transaction, which stores what its items say, marks them and moves
the run on: a killed worker leaves everything as it was, and of two that replay the same item the second finds it done.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from django.db import Error as DatabaseError
from django.db import OperationalError, connection
from django.db.models import Func, IntegerField, Max, QuerySet

from cdp.ingestion import message_ledger, quarantine, recording, storing
from cdp.ingestion.mending import MISSING, Difference, differences, parse_mend
from cdp.ingestion.messages import Fact
from cdp.ingestion.quarantine import Chosen, waiting_in
from cdp.ingestion.rereading import Correction, Reread, check_mapping, circumstances_of, read_again
from cdp.ingestion.rows import RecordRow
from cdp.ingestion.sources import KnownSource, known_source
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import OrderKind, QuarantinedItem, QuarantineOrder, Run, RunState, User
from cdp.models.tenancy import workspace_scope
from consent import gate
from consent.gate import Collection, Permit

BATCH_ITEMS: Final = 1_000
BATCH_BYTES: Final = 8 * 2**20  # rows of files may be long: then a batch has fewer
MOST_PREVIEWED: Final = 500_000  # past it the memory of what would be there already grows too large
MOST_SHOWN: Final = 20
PREVIEW_COUNTS: Final = ("chosen", "read", "changed", "accepted", "duplicates", "refused")
RUN_KINDS: Final[Mapping[str, str]] = {
    OrderKind.REPLAY: "quarantine.replay",
    OrderKind.DISCARD: "quarantine.discard",
}

Clock = Callable[[], datetime]
Report = Callable[[Run], None]


class NothingChosenError(TesseraError):
    """No item that waits in quarantine is meant by this."""

    code = "nothing_chosen"


class UnknownOrderError(TesseraError):
    """There is no such run of the quarantine, or it is over."""

    code = "unknown_run"


@dataclass(frozen=True, slots=True)
class Shown:
    """An item of a preview. `outcome` is `accepted`, `duplicate`, or the code with which it would be refused."""

    id: int
    place: str
    code: str
    outcome: str
    message: str
    differences: Sequence[Difference]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "differences": [_sides(one) for one in self.differences]}


@dataclass
class Preview:
    """What would become of the chosen ones. `read` says of how many that is known; `changed` are those mended."""

    chosen: int
    read: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    changed: int = 0
    refused_by_code: Counter[str] = field(default_factory=Counter)
    shown: list[Shown] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in PREVIEW_COUNTS}
        items = [one.as_json() for one in self.shown]
        return {**counts, "refused_by_code": dict(self.refused_by_code), "items": items}


def _sides(one: Difference) -> dict[str, Any]:
    """A side on which there is nothing is left out: null would be a value."""
    sides = {"before": one.before, "after": one.after}
    return {"path": one.path, **{side: value for side, value in sides.items() if value is not MISSING}}


# -- what would be --------------------------------------------------------------------------------------------------


def preview(
    *, workspace_id: int, chosen: Chosen, correction: Correction, most: int = MOST_PREVIEWED, shown: int = MOST_SHOWN
) -> Preview:
    """Within a transaction that may read the quarantine, messages and records. Writes nothing."""
    _check(correction)
    seen = Preview(chosen=waiting_in(chosen, workspace_id=workspace_id).count())
    store = _Foreseen()
    for ids in _batches(waiting_in(chosen, workspace_id=workspace_id), most=most):
        for one, outcome in store.outcomes(_read(ids, correction)):
            _count(seen, one, outcome)
            if len(seen.shown) < shown:
                seen.shown.append(_shown(one, outcome))
    return seen


def _count(seen: Preview, one: Reread, outcome: str) -> None:
    seen.read += 1
    seen.changed += one.before is not one.after
    seen.accepted += outcome == "accepted"
    seen.duplicates += outcome == "duplicate"
    if not one.says:
        seen.refused += 1
        seen.refused_by_code[outcome] += 1


def _shown(one: Reread, outcome: str) -> Shown:
    changed = list(differences(one.before, one.after))
    return Shown(one.item.pk, one.item.place, one.item.code, outcome, one.message, changed)


_KNOWN_RECORDS = """
SELECT r.source_id, r.key, r.digest, r.loaded_at FROM unnest(%s::bigint[], %s::text[]) AS asked (source, key)
JOIN record r ON r.source_id = asked.source AND r.key = asked.key
"""


class _Foreseen:
    """What would be stored by then: decides as the store does, but keeps what it would write to itself."""

    def __init__(self) -> None:
        self.messages: set[int] = set()
        self.records: dict[int, tuple[bytes, datetime]] = {}

    def outcomes(self, batch: Sequence[Reread]) -> Iterator[tuple[Reread, str]]:
        self._look_up(batch)
        for one in batch:
            yield one, self._outcome(one)

    def _outcome(self, one: Reread) -> str:
        """Of an item that says several things: accepted if one of them is new."""
        if not one.says:
            return one.code
        found = [self._event(said) if isinstance(said, Fact) else self._record(one, said) for said in one.says]
        return "accepted" if "accepted" in found else "duplicate"

    def _event(self, fact: Fact) -> str:
        key = hash((fact.source_id, fact.message_id))
        if key in self.messages:
            return "duplicate"
        self.messages.add(key)
        return "accepted"

    def _record(self, one: Reread, record: RecordRow) -> str:
        key, came = hash((one.item.source_id, record.key)), one.item.received_at
        known, loaded_at = self.records.get(key, (b"", came))
        if known == record.digest:
            return "duplicate"
        if came >= loaded_at:
            self.records[key] = (record.digest, came)
        return "accepted"

    def _look_up(self, batch: Sequence[Reread]) -> None:
        said = [(one, says) for one in batch for says in one.says]
        events = [(says.source_id, says.message_id) for _, says in said if isinstance(says, Fact)]
        self.messages.update(hash(key) for key in message_ledger.known(events))
        records = [(one.item.source_id, says.key) for one, says in said if isinstance(says, RecordRow)]
        for source, key, digest, loaded_at in _known_records(records):
            self.records.setdefault(hash((source, key)), (bytes(digest), loaded_at))


def _known_records(keys: Sequence[tuple[int, str]]) -> list[tuple[Any, ...]]:
    if not keys:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN_RECORDS, list(map(list, zip(*keys, strict=True))))
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


# -- what shall be --------------------------------------------------------------------------------------------------


def order_replay(
    *, workspace_id: int, chosen: Chosen, correction: Correction, asked_by: User | None, now: datetime
) -> Run:
    """Raises `NothingChosenError`, `MendError` or `MappingError`. The work begins with `work`, in whatever process."""
    _check(correction)
    more = {"mend": list(correction.mend.written), "mapping": correction.mapping}
    return _order(OrderKind.REPLAY, workspace_id, chosen, asked_by, now, more)


def order_discard(*, workspace_id: int, chosen: Chosen, reason: str, asked_by: User | None, now: datetime) -> Run:
    """The reason is kept with the run; of the items all stays but their text."""
    return _order(OrderKind.DISCARD, workspace_id, chosen, asked_by, now, {"reason": reason})


def cancel(*, workspace_id: int, run_id: int, now: datetime) -> None:
    """What was done stays done. Raises `UnknownOrderError`."""
    _move(workspace_id, run_id, [RunState.RUNNING], RunState.CANCELLED, now, finished_at=now)


def resume(*, workspace_id: int, run_id: int, now: datetime) -> None:
    """A run that failed or was cancelled goes on where it was."""
    _move(
        workspace_id, run_id, [RunState.FAILED, RunState.CANCELLED], RunState.RUNNING, now, finished_at=None, error=""
    )


def unfinished(*, workspace_id: int) -> list[int]:
    """The runs that somebody should work on."""
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace_id):
        waiting = QuarantineOrder.objects.filter(workspace=workspace_id, run__state=RunState.RUNNING)
        return list(waiting.order_by("pk").values_list("pk", flat=True))


def _check(correction: Correction) -> None:
    if correction.mapping is not None:
        check_mapping(correction.mapping)


def _order(
    kind: OrderKind, workspace_id: int, chosen: Chosen, asked_by: User | None, now: datetime, more: Mapping[str, Any]
) -> Run:
    with workspace_scope(workspace_id):
        items = waiting_in(chosen, workspace_id=workspace_id)
        last = items.aggregate(last=Max("pk"))["last"]
        if last is None:
            raise NothingChosenError
        run = Run.objects.create(
            workspace_id=workspace_id, kind=RUN_KINDS[kind], subject=str(chosen), counts={"chosen": items.count()},
            asked_by=asked_by, started_at=now, heartbeat_at=now,
        )  # fmt: skip
        QuarantineOrder.objects.create(
            run=run, workspace_id=workspace_id, kind=kind, chosen=chosen.as_json(), last_item=last, **more
        )
    return run


def _move(
    workspace_id: int, run_id: int, before: list[RunState], after: RunState, now: datetime, **more: object
) -> None:
    with workspace_scope(workspace_id):
        runs = Run.objects.filter(pk=run_id, workspace=workspace_id, kind__in=RUN_KINDS.values(), state__in=before)
        if not runs.update(state=after, heartbeat_at=now, **more):
            raise UnknownOrderError


# -- the work -------------------------------------------------------------------------------------------------------


def work(*, workspace_id: int, run_id: int, clock: Clock, seconds: float, report: Report | None = None) -> Run:
    """Do what was ordered until it is done, `seconds` have passed, or it was cancelled. Returns the run as it is then.

    Several processes may work on one run: they take turns.
    """
    until = time.monotonic() + seconds
    try:
        while _advance(workspace_id, run_id, clock()):
            if report:
                report(_run(workspace_id, run_id))
            if time.monotonic() > until:
                break
    except OperationalError:  # the database went away, or a deadlock: everything is as it was, come again
        raise
    except Exception as error:
        with suppress(DatabaseError):  # which may be why we are here
            _end(workspace_id, run_id, RunState.FAILED, clock(), type(error).__name__)
        raise
    return _run(workspace_id, run_id)


def _run(workspace_id: int, run_id: int) -> Run:
    with workspace_scope(workspace_id):
        return Run.objects.get(pk=run_id)


def _advance(workspace_id: int, run_id: int, now: datetime) -> bool:
    """One batch. False when there is nothing left to do."""
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace_id) as permit:
        run = Run.objects.select_for_update().filter(pk=run_id, state=RunState.RUNNING).first()
        if run is None:
            return False
        order = QuarantineOrder.objects.get(pk=run_id)
        ids = _next_ids(order, run.position)
        if ids:
            _settle(permit, order, run, ids, now)
            return True
    if order.kind == OrderKind.DISCARD:
        _clean_up(workspace_id)
    _end(workspace_id, run_id, RunState.DONE, now, "")
    return False


def _settle(permit: Permit[Collection], order: QuarantineOrder, run: Run, ids: Sequence[int], now: datetime) -> None:
    """These items, marks and progress: all or nothing."""
    counted = _REMEDIES[order.kind](permit, order, ids, now)
    counts = {**run.counts, **{name: run.counts.get(name, 0) + number for name, number in counted.items()}}
    Run.objects.filter(pk=run.pk).update(position=ids[-1], counts=counts, heartbeat_at=now)


def _end(workspace_id: int, run_id: int, state: RunState, now: datetime, error: str) -> None:
    """Only the class of an error is kept: its text may hold personal data."""
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace_id):
        Run.objects.filter(pk=run_id, state=RunState.RUNNING).update(
            state=state, error=error, finished_at=now, heartbeat_at=now
        )


def _clean_up(workspace_id: int) -> None:
    """Before the run is done, so that one that is killed here comes here again."""
    dropped = 1
    while dropped:
        with gate.permit(Purpose.COLLECTION, workspace_id=workspace_id):
            dropped = quarantine.drop_unused_readings(workspace_id=workspace_id)


def _next_ids(order: QuarantineOrder, position: int) -> Sequence[int]:
    meant = waiting_in(Chosen.of_json(order.chosen), workspace_id=order.workspace_id).filter(pk__lte=order.last_item)
    return _first(meant, after=position, most=BATCH_ITEMS)


def _replay(permit: Permit[Collection], order: QuarantineOrder, ids: Sequence[int], now: datetime) -> dict[str, int]:
    batch = _read(ids, Correction(parse_mend(order.mend), order.mapping), for_update=True)
    good = [one for one in batch if one.says]
    outcomes = Counter(outcome for _, outcome in _Foreseen().outcomes(good))
    stored = storing.write_facts(permit, [said for one in good for said in one.says if isinstance(said, Fact)])
    touched = dict(stored.touched)
    for source, came, records in _in_loads(good):
        touched |= recording.write_records(permit, source, records, came).touched
    recording.hand_over(permit, touched)
    quarantine.mark_replayed([one.item.pk for one in good], run_id=order.pk, now=now)
    quarantine.note_refused({one.item.pk: one.code for one in batch if not one.says}, now=now)
    return {
        "read": len(batch),
        "accepted": outcomes["accepted"],
        "duplicates": outcomes["duplicate"],
        "refused": len(batch) - len(good),
    }


def _discard(_: Permit[Collection], order: QuarantineOrder, ids: Sequence[int], now: datetime) -> dict[str, int]:
    held = list(_held(ids).values_list("pk", flat=True))
    quarantine.discard(held, run_id=order.pk, now=now)
    return {"read": len(held), "discarded": len(held)}


_REMEDIES: Final[
    Mapping[str, Callable[[Permit[Collection], QuarantineOrder, Sequence[int], datetime], dict[str, int]]]
] = {OrderKind.REPLAY: _replay, OrderKind.DISCARD: _discard}


def _in_loads(rereads: Sequence[Reread]) -> Iterator[tuple[KnownSource, datetime, list[RecordRow]]]:
    """As they were loaded: together what came from one source at one time, but each key once, lest one hide another."""
    for (_, came), together in groupby(rereads, key=lambda one: (one.item.source_id, one.item.received_at)):
        load: dict[str, RecordRow] = {}
        for item, record in [(one.item, said) for one in together for said in one.says if isinstance(said, RecordRow)]:
            source = known_source(item.source)
            if record.key in load:
                yield source, came, list(load.values())
                load = {}
            load[record.key] = record
        if load:
            yield source, came, list(load.values())


# -- batches --------------------------------------------------------------------------------------------------------


def _batches(items: QuerySet[QuarantinedItem], *, most: int) -> Iterator[Sequence[int]]:
    position = 0
    while most > 0 and (ids := _first(items, after=position, most=min(BATCH_ITEMS, most))):
        yield ids
        position, most = ids[-1], most - len(ids)


def _first(items: QuerySet[QuarantinedItem], *, after: int, most: int) -> Sequence[int]:
    """The next ones in the order in which they came, as many as memory may hold at once."""
    size = Func("raw", function="octet_length", output_field=IntegerField())
    ids: list[int] = []
    total = 0
    for key, length in items.filter(pk__gt=after).order_by("pk").values_list("pk", size)[:most]:
        total += length
        if ids and total > BATCH_BYTES:
            break
        ids.append(key)
    return ids


def _held(ids: Sequence[int]) -> QuerySet[QuarantinedItem]:
    """Those that still wait, kept from others until the end of the transaction.

    Where another run is at one of them this waits and then finds it settled: skipped, it would be left over if the
    other one failed.
    """
    waiting = QuarantinedItem.objects.filter(pk__in=ids, replayed_at=None, discarded_at=None)
    return waiting.select_for_update().order_by("pk")


def _read(ids: Sequence[int], correction: Correction, *, for_update: bool = False) -> list[Reread]:
    held = _held(ids) if for_update else QuarantinedItem.objects.filter(pk__in=ids).order_by("pk")
    items = list(held.prefetch_related("source__workspace", "reading"))  # of which there are few for many items
    now = {source.pk: circumstances_of(source) for source in {item.source for item in items}}
    return [read_again(item, correction, now[item.source_id]) for item in items]
