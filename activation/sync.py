"""One request to a destination: claim a batch, send it, record what became of it.

Claiming and recording are short transactions under the purpose; the request is sent between them, outside of any.
A destination has one sender at a time (a lease), so requests about one key never overtake each other. A sender that
dies leaves its run open: when the lease is over the same request is made again, under the same idempotency key.
"""

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from django.db.models import F, Q

from activation import ledger, queries, registry, requesting
from activation.destination import (
    Answer,
    Destination,
    DestinationConfigError,
    Failure,
    MemberKey,
    Operation,
    Outcome,
    PreparedRequest,
    RowResult,
    RowStatus,
)
from activation.models import AudienceMember, MemberState, SyncRun
from activation.models import Destination as DestinationRow
from activation.queries import LedgerRow, NextBatch
from cdp import http
from cdp.models.secrets import decrypted
from consent.gate import Advertising, Permit

log = structlog.get_logger()

LEASE: Final = timedelta(minutes=5)  # longer than any request can take
PAUSE: Final = timedelta(hours=1)  # then it is tried again, in case a person has acted

_OPERATIONS: Final = {MemberState.ADDING: Operation.ADD, MemberState.REMOVING: Operation.REMOVE}
_STATES: Final = {operation: state for state, operation in _OPERATIONS.items()}
_DONE: Final = {Operation.ADD: MemberState.PRESENT, Operation.REMOVE: MemberState.REMOVED}


@dataclass(frozen=True, slots=True)
class Assignment:
    """A batch that this process alone may send, until the lease is over."""

    destination_id: int
    leased_until: datetime
    run_id: int
    idempotency_key: str
    operation: Operation
    members: Sequence[MemberKey]
    request: PreparedRequest
    destination: Destination

    @property
    def jitter(self) -> float:
        """Between a half and one, from the key: a retry is as random as it need be, and repeatable."""
        return 0.5 + int(self.idempotency_key[:4], 16) / 0x1FFFE


@dataclass(frozen=True, slots=True)
class Report:
    outcome: Outcome
    retry_after: float = 0


# -- claim ----------------------------------------------------------------------------------------------------------


def claim(permit: Permit[Advertising], *, destination_id: int, now: datetime) -> Assignment | None:
    """Take the next batch of a destination, or None where nothing is due or another sender is at it.

    What is no longer permitted is given up here, at the last moment before it is sent.
    """
    ledger.take_turn(permit)
    row = _leased(destination_id, now)
    if row is None:
        return None
    destination = registry.destination(row.kind, row.config, decrypted(row.secrets))
    ledger.close_superseded_runs(destination_id, now=now)
    while batch := queries.next_batch(destination_id, now=now):
        if assignment := _assign(permit, row, destination, batch, now):
            return assignment
    _release(destination_id, now + LEASE)
    return None


def pause(permit: Permit[Advertising], *, destination_id: int, code: str, now: datetime) -> None:
    """Leave a destination alone until a person has acted; it is tried again after a while."""
    ledger.take_turn(permit)
    _pause(destination_id, code, now)


def _pause(destination_id: int, code: str, now: datetime) -> None:
    DestinationRow.objects.filter(pk=destination_id).update(paused_until=now + PAUSE, failure=code)
    log.warning("destination.paused", destination=destination_id, code=code)


def _leased(destination_id: int, now: datetime) -> DestinationRow | None:
    free = Q(leased_until=None) | Q(leased_until__lte=now)
    awake = Q(paused_until=None) | Q(paused_until__lte=now)
    taken = DestinationRow.objects.filter(free & awake, pk=destination_id, is_enabled=True).update(
        leased_until=now + LEASE
    )
    return DestinationRow.objects.get(pk=destination_id) if taken else None


def _release(destination_id: int, leased_until: datetime) -> None:
    """Only the own lease: another sender may have taken over from one that was too slow."""
    DestinationRow.objects.filter(pk=destination_id, leased_until=leased_until).update(leased_until=None)


def _assign(
    permit: Permit[Advertising], row: DestinationRow, destination: Destination, batch: NextBatch, now: datetime
) -> Assignment | None:
    """None where rows were struck out or a run was given up: what is left must be looked at again."""
    operation = _OPERATIONS[batch.state]
    run = queries.open_run(batch, operation, now=now)
    if run:
        rows = queries.rows_of_run(run.id, batch.state)
    else:
        rows = queries.due_rows(batch, most=destination.limits.rows, now=now)
    if _weed(permit, destination, batch, rows, now):
        return None
    members = sorted({MemberKey(found.identifier_type, found.key) for found in rows})
    request = destination.build_requests(operation, batch.external_id, members)[0]
    sent = [members[place] for place in request.rows]
    if run and run.key != _idempotency_key(run.id, batch, operation, sent):
        _close(run.id, now, error="superseded")
        return None
    run_id = run.id if run else _new_run(permit, batch, operation, len(sent), now)
    key = run.key if run else _idempotency_key(run_id, batch, operation, sent)
    SyncRun.objects.filter(pk=run_id).update(key=key, error="")
    in_it = set(sent)
    carried = [found.id for found in rows if MemberKey(found.identifier_type, found.key) in in_it]
    AudienceMember.objects.filter(pk__in=carried).update(run=run_id, attempts=F("attempts") + 1, due_at=now + LEASE)
    return Assignment(row.pk, now + LEASE, run_id, key, operation, sent, request, destination)


def _weed(
    permit: Permit[Advertising], destination: Destination, batch: NextBatch, rows: Sequence[LedgerRow], now: datetime
) -> int:
    """Settle without a request what needs none. Returns how many rows that were."""
    ids = [found.id for found in rows]
    if batch.state is MemberState.REMOVING:
        return ledger.strike_out(ids, now=now)
    wanted = {
        (profile_id, destination.format_key(identifier_type, value))
        for _, profile_id, identifier_type, value in queries.candidates(
            permit, {found.profile_id for found in rows}, audience_id=batch.audience_id
        )
    }
    lost = [found.id for found in rows if (found.profile_id, found.key) not in wanted]
    return ledger.give_up_additions(lost, now=now) + ledger.adopt(ids, now=now)


def _new_run(permit: Permit[Advertising], batch: NextBatch, operation: Operation, members: int, now: datetime) -> int:
    made = SyncRun.objects.create(
        workspace_id=permit.workspace_id,
        audience_id=batch.audience_id,
        operation=operation,
        key=uuid.uuid4().hex,  # until its own number is known, from which the key is made
        members=members,
        started_at=now,
    )
    return made.pk


def _idempotency_key(run_id: int, batch: NextBatch, operation: Operation, members: Sequence[MemberKey]) -> str:
    """The same for the same rows of the same run, so it also tells whether a run can be repeated as it was."""
    lines = [str(run_id), batch.external_id, operation, *(f"{one.identifier_type} {one.key}" for one in members)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _close(run_id: int, now: datetime, *, error: str = "", rejected: int = 0) -> None:
    SyncRun.objects.filter(pk=run_id).update(finished_at=now, error=error, rejected=rejected)


# -- send -----------------------------------------------------------------------------------------------------------


def send(assignment: Assignment, *, now: datetime) -> Report:
    """Make the request. No database, no exception: whatever happens is reported."""
    try:
        report = _attempt(assignment, now)
        if report.outcome.failure is Failure.REFRESH and assignment.destination.refresh():
            report = _attempt(assignment, now)
    except Exception as error:
        log.exception("destination.defect", destination=assignment.destination_id, run=assignment.run_id)
        return Report(Outcome(Failure.RETRY, f"defect_{type(error).__name__}"[:64]))
    if report.outcome.failure is Failure.REFRESH:
        return Report(Outcome(Failure.ABORT_DESTINATION, report.outcome.code))
    return report


def _attempt(assignment: Assignment, now: datetime) -> Report:
    try:
        response = requesting.ask(
            assignment.destination, assignment.request, idempotency_key=assignment.idempotency_key, now=now
        )
    except DestinationConfigError as error:
        return Report(Outcome(Failure.ABORT_DESTINATION, error.code))
    except http.TransientHttpError as error:
        if error.response is None:
            return Report(Outcome(Failure.RETRY, error.details.get("reason", error.code)), error.retry_after or 0)
        return Report(_parsed(assignment, error.response), error.retry_after or 0)
    except http.PermanentHttpError as error:
        if error.response is None:
            return Report(Outcome(Failure.ABORT_DESTINATION, error.details.get("reason", error.code)))
        return Report(_parsed(assignment, error.response))
    return Report(_parsed(assignment, response))


def _parsed(assignment: Assignment, response: http.Response) -> Outcome:
    return assignment.destination.parse(assignment.request, Answer(response.status, response.headers, response.body))


# -- record ---------------------------------------------------------------------------------------------------------


def record(permit: Permit[Advertising], assignment: Assignment, report: Report, *, now: datetime) -> bool:
    """Write what became of the rows. Returns whether the destination may be sent the next batch at once."""
    ledger.take_turn(permit)
    _release(assignment.destination_id, assignment.leased_until)
    outcome = report.outcome
    _RECORDERS[outcome.failure](assignment, report, now)
    log.info(
        "audience.sent",
        destination=assignment.destination_id,
        run=assignment.run_id,
        operation=assignment.operation,
        members=len(assignment.members),
        failure=outcome.failure,
        code=outcome.code,
    )
    return outcome.failure in {None, Failure.ABORT_BATCH}


def _record_rows(assignment: Assignment, report: Report, now: datetime) -> None:
    _write(assignment, report.outcome.rows, error="", now=now)
    settled = DestinationRow.objects.filter(pk=assignment.destination_id).exclude(failure="", paused_until=None)
    settled.update(failure="", paused_until=None)


def _record_refusal(assignment: Assignment, report: Report, now: datetime) -> None:
    """All rows bear what none can be blamed for: additions are rejected, removals come again."""
    code = report.outcome.code
    _write(assignment, [RowResult(RowStatus.REJECTED, code)] * len(assignment.members), error=code, now=now)
    DestinationRow.objects.filter(pk=assignment.destination_id).update(failure=code)


def _record_retry(assignment: Assignment, report: Report, now: datetime) -> None:
    """The run stays open: the same rows are sent again under the same key."""
    code = report.outcome.code
    _postpone(assignment, report, now)
    SyncRun.objects.filter(pk=assignment.run_id).update(error=code)
    rest = now + timedelta(seconds=report.retry_after) if report.retry_after else None
    DestinationRow.objects.filter(pk=assignment.destination_id).update(failure=code, paused_until=rest)


def _record_pause(assignment: Assignment, report: Report, now: datetime) -> None:
    _postpone(assignment, report, now)
    _close(assignment.run_id, now, error=report.outcome.code)
    _pause(assignment.destination_id, report.outcome.code, now)


_RECORDERS: Final[Mapping[Failure | None, Callable[[Assignment, Report, datetime], None]]] = {
    None: _record_rows,
    Failure.ABORT_BATCH: _record_refusal,
    Failure.RETRY: _record_retry,
    Failure.REFRESH: _record_pause,
    Failure.ABORT_DESTINATION: _record_pause,
}


def _write(assignment: Assignment, results: Sequence[RowResult], *, error: str, now: datetime) -> None:
    verdicts = [
        ledger.Verdict(member.identifier_type, member.key, result.status, result.code)
        for member, result in zip(assignment.members, results, strict=True)
    ]
    ledger.record(
        assignment.run_id,
        _STATES[assignment.operation],
        verdicts,
        done=_DONE[assignment.operation],
        jitter=assignment.jitter,
        now=now,
    )
    rejected = sum(result.status is RowStatus.REJECTED for result in results)
    _close(assignment.run_id, now, error=error, rejected=rejected)


def _postpone(assignment: Assignment, report: Report, now: datetime) -> None:
    ledger.postpone(
        assignment.run_id,
        _STATES[assignment.operation],
        reason=report.outcome.code,
        at_least=report.retry_after,
        jitter=assignment.jitter,
        now=now,
    )
