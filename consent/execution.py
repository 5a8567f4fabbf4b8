"""Requests are carried out: what a person asked for is done from the request itself, by the login `rights`.

The work lies in `request_work`. It is claimed, so that nobody refuses meanwhile what is being done; then it is done, and
that it is done is written down. Each kind may run twice: an erasure has the key of its request, a restriction is there
already, a withdrawal has its key in the ledger, a corrected value replaces itself. So a worker may be killed anywhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import structlog
from django.db import Error as DatabaseError
from django.db.models import F, Q, QuerySet

from cdp.kernel.errors import TesseraError
from cdp.kernel.identifiers import DEVICE_TYPES, Identifier
from cdp.kernel.logins import RIGHTS
from cdp.kernel.purposes import Purpose
from cdp.models.digests import Digested, identifier_digest
from cdp.models.tenancy import workspace_scope
from consent import erasure, rectification, restriction, services, suppression
from consent.models import ConsentState, DataRequest, RequestWork, SuppressionReason
from consent.request_details import by_device, details_of, purposes_reached
from consent.request_states import RequestState
from consent.requests import identifiers_of, take_step, vouched_for
from consent.rights import Right

log = structlog.get_logger()

LEASE: Final = timedelta(hours=1)  # as long as a task may last
SOONEST_AGAIN: Final = timedelta(seconds=10)
LATEST_AGAIN: Final = timedelta(hours=1)


class NoWorkError(TesseraError):
    """There is no work on this request: it was not begun, or a package answers it."""

    code = "no_work"


class WorkState(StrEnum):
    WAITING = "WAITING"
    UNDER_WAY = "UNDER_WAY"
    FAILED = "FAILED"  # and is tried again
    BY_HAND = "BY_HAND"  # waits for what a human decides
    DONE = "DONE"


@dataclass(frozen=True, slots=True)
class Work:
    """How far it is. `certificate` is that of an erasure."""

    state: WorkState
    done: Mapping[str, int]
    outcome: str
    failures: int
    error: str
    done_at: datetime | None
    certificate: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Done:
    """What was done how often, for the history; nothing in it says about whom."""

    counts: Mapping[str, int]
    erasure_id: int | None = None


def carry_out_next(*, workspace_id: int, now: datetime) -> int | None:
    """Carry out one request that waits. Returns its number, or None when none waits. A failure is kept, and tried again
    for as long as it takes: a workspace that is busy is not so for ever.
    """
    request = _claim(workspace_id, now)
    if request is None:
        return None
    try:
        done = _DOING[Right(request.kind)](request, now)
        _finish(request, done, now)
    except (OSError, TesseraError, ValueError, DatabaseError) as error:
        log.warning("request.failed", workspace=workspace_id, request=request.pk, error=type(error).__name__)
        _keep_failure(request, error, now)
    return request.pk


def work_of(*, workspace_id: int, request_id: int, now: datetime) -> Work:
    """Raises `NoWorkError`."""
    with workspace_scope(workspace_id):
        rows = RequestWork.objects.filter(workspace=workspace_id, request=request_id).select_related("erasure")
        if (work := rows.first()) is None:
            raise NoWorkError
        certificate = erasure.certificate(work.erasure) if work.erasure else None
    state = _state_of(work, now)
    return Work(state, work.counts, work.outcome, work.failures, work.error, work.done_at, certificate)


def _state_of(work: RequestWork, now: datetime) -> WorkState:
    if work.done_at:
        return WorkState.DONE
    if work.is_by_hand:
        return WorkState.BY_HAND
    if work.claimed_until and work.claimed_until > now:
        return WorkState.UNDER_WAY
    return WorkState.FAILED if work.failures else WorkState.WAITING


def waiting_works(workspace_id: int) -> QuerySet[RequestWork]:
    """What a machine has to do, the longest waiting first. In the scope of the workspace."""
    rows = RequestWork.objects.filter(workspace=workspace_id, done_at=None, is_by_hand=False)
    return rows.filter(request__state=RequestState.IN_PROGRESS).order_by("due_at", "pk")


def erasure_key(request_id: int) -> str:
    """The erasure of a request is done once, whoever begins it how often."""
    return f"request-{request_id}"


# -- whose turn it is -----------------------------------------------------------------------------------------------


def _claim(workspace_id: int, now: datetime) -> DataRequest | None:
    """Both rows are locked for this moment: a refusal of the same moment comes before, or finds it claimed."""
    free = Q(claimed_until=None) | Q(claimed_until__lte=now)
    with workspace_scope(workspace_id):
        works = waiting_works(workspace_id).filter(free, due_at__lte=now).select_related("request")
        work = works.select_for_update(skip_locked=True, of=("self", "request")).first()
        if work is None:
            return None
        RequestWork.objects.filter(pk=work.pk).update(claimed_until=now + LEASE)
    return work.request


def _finish(request: DataRequest, done: Done, now: datetime) -> None:
    """Of two that did the same the second writes nothing."""
    with workspace_scope(request.workspace_id):
        works = RequestWork.objects.filter(request=request, done_at=None)
        if works.update(done_at=now, claimed_until=None, error="", counts=done.counts, erasure=done.erasure_id):
            note = ", ".join(f"{what}: {number}" for what, number in done.counts.items())
            take_step(request, "request.carried_out", RIGHTS, now, note)
            request.save(update_fields=["step", "stepped_at", "stepped_by", "note"])
    log.info("request.carried_out", workspace=request.workspace_id, request=request.pk, kind=request.kind)


def _keep_failure(request: DataRequest, error: Exception, now: datetime) -> None:
    with workspace_scope(request.workspace_id):
        work = RequestWork.objects.get(request=request)
        pause = min(SOONEST_AGAIN * 2 ** min(work.failures, 10), LATEST_AGAIN)
        RequestWork.objects.filter(pk=work.pk, done_at=None).update(
            failures=F("failures") + 1, error=type(error).__name__, claimed_until=None, due_at=now + pause
        )


# -- what is done ---------------------------------------------------------------------------------------------------


def _erase(request: DataRequest, now: datetime) -> Done:
    first, *others = _theirs(request)
    erased = erasure.erase_person(
        workspace_id=request.workspace_id, identifier=first, others=others, key=erasure_key(request.pk), now=now
    )
    with workspace_scope(request.workspace_id):
        counts = {"rows": sum(erased.rows.values()), "destinations": erased.orders.count()}
    return Done(counts, erasure_id=erased.pk)


def _restrict(request: DataRequest, now: datetime) -> Done:
    return Done({"identifiers": _deny(request, None, now)})


def _object(request: DataRequest, now: datetime) -> Done:
    """What was named; else whatever may be objected to, but that data are stored at all: that alone must be named."""
    with workspace_scope(request.workspace_id):
        purposes = set(details_of(request).purposes) or (_reached(request) - {Purpose.COLLECTION})
        for purpose in sorted(purposes - {Purpose.COLLECTION}):
            _deny(request, purpose, now)
        if Purpose.COLLECTION in purposes:
            _store_no_more(request, now)
    return Done({"identifiers": vouched_for(request), "purposes": len(purposes)})


def _withdraw(request: DataRequest, now: datetime) -> Done:
    """At the time when the person said it: what they permitted since then stands."""
    with workspace_scope(request.workspace_id):
        purposes = set(details_of(request).purposes) or _reached(request)
        said = [
            _withdrawal(request, one, purpose)
            for purpose in sorted(purposes)
            for one in _those_who_say_it(request, purpose)
        ]
        services.record_consents(workspace_id=request.workspace_id, statements=said, now=now)
    return Done({"identifiers": vouched_for(request), "purposes": len(purposes)})


def _rectify(request: DataRequest, now: datetime) -> Done:
    corrections = details_of(request).corrections
    with workspace_scope(request.workspace_id):
        written = rectification.correct_values(
            workspace_id=request.workspace_id, digests=_digests(request), corrections=corrections, now=now
        )
    return Done({"values": len(corrections), "written": written})


_DOING: Final[Mapping[Right, Callable[[DataRequest, datetime], Done]]] = {
    Right.ERASURE: _erase,
    Right.RESTRICTION: _restrict,
    Right.OBJECTION: _object,
    Right.WITHDRAWAL: _withdraw,
    Right.RECTIFICATION: _rectify,
}


def _theirs(request: DataRequest) -> list[Identifier]:
    return identifiers_of(request)[: vouched_for(request)]


def _digests(request: DataRequest) -> list[Digested]:
    return [(one.type, identifier_digest(one.type, one.value)) for one in _theirs(request)]


def _those_who_say_it(request: DataRequest, purpose: Purpose) -> list[Digested]:
    """Where each device is judged by itself, those of the person say it too: nothing else would reach them."""
    named = _digests(request)
    if purpose not in by_device(request.workspace_id):
        return named
    people = (erasure.person_behind(request.workspace_id, one)[1] for one in named)
    devices = {digest for theirs in people for digest in theirs if digest[0] in DEVICE_TYPES}
    return [*named, *sorted(devices - set(named))]


def _reached(request: DataRequest) -> frozenset[Purpose]:
    return purposes_reached(Right(request.kind), workspace_id=request.workspace_id)


def _deny(request: DataRequest, purpose: Purpose | None, now: datetime) -> int:
    named = _theirs(request)
    for one in named:
        restriction.deny(workspace_id=request.workspace_id, identifier=one, purpose=purpose, now=now)
    return len(named)


def _store_no_more(request: DataRequest, now: datetime) -> None:
    """Nothing of the person arrives any more, by whichever of their identifiers. What is stored stays."""
    people = (erasure.person_behind(request.workspace_id, named)[1] for named in _digests(request))
    digests = sorted({digest for theirs in people for digest in theirs})
    suppression.put_on_list(request.workspace_id, digests, reason=SuppressionReason.REQUEST, now=now)


def _withdrawal(request: DataRequest, one: Digested, purpose: Purpose) -> services.ConsentStatement:
    kind, digest = one
    key = f"request-{request.pk}:{purpose}:{digest.hex()[:32]}"
    return services.ConsentStatement(
        Identifier(kind, ""), purpose, ConsentState.WITHDRAWN, request.received_at, key=key, known_digest=digest
    )
