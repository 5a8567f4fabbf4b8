"""What may be done with a request of a person. Every change is one transaction, and leaves its step.

What a person is told never depends on whether anything is known about them: nobody looks until they are verified.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db import IntegrityError, transaction

from cdp.kernel.errors import TesseraError
from cdp.kernel.identifiers import Identifier
from cdp.kernel.purposes import Purpose
from cdp.models import Workspace
from cdp.models.digests import identifier_digest
from cdp.models.secrets import encrypted
from cdp.models.tenancy import workspace_scope
from consent.deadlines import Deadlines, Doubt, deadlines
from consent.identities import opened_identifiers, sealed_identifiers
from consent.models import DataPackage, DataRequest, IdentityDoubt, PurposePolicy, RequestWork
from consent.request_details import Details, checked_details, details_of
from consent.request_states import OPEN, WITHOUT_VERIFICATION, RequestState, Verification, may_follow
from consent.rights import Offer, Right, offers
from consent.sealed import new_key

MOST_IDENTIFIERS: Final = 20
ANSWERED_BY_PACKAGE: Final = frozenset({Right.ACCESS, Right.PORTABILITY})
VOUCHED_FOR: Final = frozenset({Verification.LOGGED_IN.value, Verification.MANUAL.value})
UNDONE: Final = frozenset({RequestState.REFUSED, RequestState.DUPLICATE, RequestState.TAKEN_BACK})


class UnknownRequestError(TesseraError):
    """There is no such request in this workspace."""

    code = "unknown_data_request"


class RightNotOfferedError(TesseraError):
    """The legal bases on which the workspace uses data do not give this right: `details` says why."""

    code = "right_not_offered"


class RequestKeyReusedError(TesseraError):
    """A key stands for one request for ever, and this one was given to another: nothing was recorded."""

    code = "request_key_reused"


class InvalidRequestError(TesseraError):
    """A request names between 1 and 20 identifiers of the person, and was not received in the future."""

    code = "invalid_data_request"


class NotVerifiedError(TesseraError):
    """It is not known yet that the person asks themselves: verify them first."""

    code = "not_verified"


class VerifiedAlreadyError(TesseraError):
    """The person is verified already, and that is never changed."""

    code = "verified_already"


class WrongStateError(TesseraError):
    """A request in this state cannot take this step: `details` names the state."""

    code = "wrong_request_state"


class ReasonMissingError(TesseraError):
    """Say why: the reason is part of what the person is told, or of the proof."""

    code = "reason_missing"


class TooLateError(TesseraError):
    """A refusal and the notice of an extension must reach the person by the first date, which has passed: answer."""

    code = "first_date_passed"


class NoPackageError(TesseraError):
    """The package with the data of the person is not built yet: complete the request when it is."""

    code = "package_not_built"


class NotDoneError(TesseraError):
    """What the person asked for is not done yet: complete the request when its work is."""

    code = "work_not_done"


class DoneAlreadyError(TesseraError):
    """It is being carried out, or is done: the request can be completed, and no longer be refused or taken back."""

    code = "work_is_done"


class NothingByHandError(TesseraError):
    """There is no work by hand that waits for its outcome: a machine does it, it is done, or the request was not begun."""

    code = "nothing_by_hand"


# -- receive --------------------------------------------------------------------------------------------------------


def receive_request(
    *,
    workspace_id: int,
    kind: Right,
    identifiers: Sequence[Identifier],
    received_at: datetime,
    by: str,
    now: datetime,
    key: str = "",
    is_logged_in: bool = False,
    purposes: Sequence[Purpose] = (),
    corrections: Mapping[str, Any] | None = None,
    locale: str = "en",
) -> DataRequest:
    """Keep what a person asks for; the clock runs from `received_at`. With the same `key` again: the same request.

    The first identifier is the one that a code is sent to. `is_logged_in` says that the caller knows all of them to be
    the person's. `purposes` are those objected to or withdrawn, all where none is named; `corrections` the right values
    of traits. Raises `RightNotOfferedError`, `InvalidRequestError`, `InvalidDetailsError`, `RequestKeyReusedError`.
    """
    if not 1 <= len(identifiers) <= MOST_IDENTIFIERS or received_at > now:
        raise InvalidRequestError
    made = DataRequest(
        workspace_id=workspace_id,
        kind=kind,
        key=key,
        identifiers=sealed_identifiers(identifiers),
        digests=[identifier_digest(one.type, one.value) for one in identifiers],
        locale=locale,
        received_at=received_at,
        **_verified(Verification.LOGGED_IN, now) if is_logged_in else {},
    )
    with workspace_scope(workspace_id):
        _refuse_right_not_offered(workspace_id, kind)
        made.details = checked_details(
            kind, workspace_id=workspace_id, purposes=purposes, corrections=corrections or {}
        ).sealed()
        _redate(made, [], now)
        take_step(made, "request.received", by, now)
        return _kept(made)


def offered_rights(*, workspace_id: int) -> dict[Right, Offer]:
    """Called in the scope of the workspace."""
    bases = PurposePolicy.objects.filter(workspace=workspace_id).values_list("legal_basis", flat=True)
    return offers(set(bases))


def identifiers_of(request: DataRequest) -> list[Identifier]:
    """Who asks, in clear."""
    return opened_identifiers(request.identifiers)


def vouched_for(request: DataRequest) -> int:
    """How many identifiers, from the first on, were shown to be the person's. A code shows it of the first one alone:
    whoever adds somebody else's address to their own request gets nothing of it.
    """
    return len(request.digests) if request.verification in VOUCHED_FOR else 1


def _refuse_right_not_offered(workspace_id: int, kind: Right) -> None:
    offer = offered_rights(workspace_id=workspace_id)[kind]
    if not offer.is_offered:
        raise RightNotOfferedError(kind=kind.value, reason=offer.reason)


def _kept(made: DataRequest) -> DataRequest:
    """Two that come with the same key at once are told apart by the unique key."""
    try:
        with transaction.atomic():
            made.save(force_insert=True)
    except IntegrityError:
        earlier = DataRequest.objects.filter(workspace=made.workspace_id).exclude(key="").filter(key=made.key).first()
        if earlier is None:
            raise
        if _content(earlier) != _content(made):
            raise RequestKeyReusedError(key=made.key) from None
        return earlier
    return made


def _content(request: DataRequest) -> tuple[str, list[bytes], Details]:
    """What must agree between two requests with the same key."""
    return request.kind, [bytes(each) for each in request.digests], details_of(request)


# -- verify and doubt -----------------------------------------------------------------------------------------------


def verify_by_hand(*, workspace_id: int, request_id: int, how: str, by: str, now: datetime) -> DataRequest:
    """Somebody made sure who asks; `how` is kept. Never ask for more data than is held."""
    _demand_reason(how)
    with changing(workspace_id, request_id) as request:
        mark_verified(request, Verification.MANUAL, by=by, now=now, note=how)
    return request


def verify_by_login(*, workspace_id: int, request_id: int, by: str, now: datetime) -> DataRequest:
    """The caller knows the person by their login, and all identifiers of the request to be theirs."""
    with changing(workspace_id, request_id) as request:
        mark_verified(request, Verification.LOGGED_IN, by=by, now=now)
    return request


def mark_verified(request: DataRequest, level: Verification, *, by: str, now: datetime, note: str = "") -> None:
    """Within `changing`. A doubt ends with it, and the clock runs again."""
    _demand_open(request)
    if request.verification:
        raise VerifiedAlreadyError
    _end_doubt(request, now)
    for name, value in _verified(level, now).items():
        setattr(request, name, value)
    take_step(request, "request.verified", by, now, note or level.value)


def doubt_identity(*, workspace_id: int, request_id: int, reason: str, by: str, now: datetime) -> DataRequest:
    """It is reasonably doubted who asks, and the person was asked for more (Art. 12(6)): the clock stands still."""
    _demand_reason(reason)
    with changing(workspace_id, request_id) as request:
        _demand_open(request)
        if request.verification or request.doubts.filter(ended_at=None).exists():
            raise WrongStateError(state=request.state)
        IdentityDoubt.objects.create(workspace_id=workspace_id, request=request, started_at=now, reason=reason)
        take_step(request, "request.doubted", by, now, reason)
    return request


def settle_doubt(*, workspace_id: int, request_id: int, by: str, now: datetime) -> DataRequest:
    """The doubt is over: both dates move by as long as it lasted."""
    with changing(workspace_id, request_id) as request:
        _demand_open(request)
        if not _end_doubt(request, now):
            raise WrongStateError(state=request.state)
        take_step(request, "request.doubt_settled", by, now)
    return request


def _end_doubt(request: DataRequest, now: datetime) -> bool:
    ended = request.doubts.filter(ended_at=None).update(ended_at=now)
    _redate(request, _doubts_of(request), now)
    return bool(ended)


# -- work on it -----------------------------------------------------------------------------------------------------


def start_request(
    *, workspace_id: int, request_id: int, by: str, now: datetime, corrections: Mapping[str, Any] | None = None
) -> DataRequest:
    """Begin to answer: this orders the package, or the work that a worker carries out or a human does.

    `corrections` are the right values, where a rectification did not come with them. One without any is done by hand.
    """
    with changing(workspace_id, request_id) as request:
        _move(request, RequestState.IN_PROGRESS, "request.started", by, now)
        if corrections:
            kind = Right(request.kind)
            request.details = checked_details(
                kind, workspace_id=workspace_id, purposes=(), corrections=corrections
            ).sealed()
        _order(request, now)
    return request


def carry_out_again(*, workspace_id: int, request_id: int, by: str, now: datetime) -> DataRequest:
    """Order what a request in progress lacks, or try at once again what failed. What is done stays done."""
    with changing(workspace_id, request_id) as request:
        if request.state != RequestState.IN_PROGRESS:
            raise WrongStateError(state=request.state)
        if request.kind not in ANSWERED_BY_PACKAGE and not RequestWork.objects.filter(request=request).exists():
            _order(request, now)
        RequestWork.objects.filter(request=request, done_at=None, due_at__gt=now).update(due_at=now)
        DataPackage.objects.filter(request=request, built_at=None).update(failures=0)
        take_step(request, "request.tried_again", by, now)
    return request


def note_outcome(*, workspace_id: int, request_id: int, outcome: str, by: str, now: datetime) -> DataRequest:
    """What a human decided or mended: the work by hand is done. The outcome is part of the proof, and never changed."""
    _demand_reason(outcome)
    with changing(workspace_id, request_id) as request:
        works = RequestWork.objects.filter(request=request, is_by_hand=True, done_at=None)
        if request.state not in OPEN or not works.update(outcome=outcome, done_at=now):
            raise NothingByHandError
        take_step(request, "request.carried_out", by, now, outcome)
    return request


def _order(request: DataRequest, now: datetime) -> None:
    if request.kind in ANSWERED_BY_PACKAGE:
        DataPackage.objects.create(
            workspace_id=request.workspace_id, request=request, secrets=encrypted({"key": new_key()}), ordered_at=now
        )
        return
    RequestWork.objects.create(
        workspace_id=request.workspace_id,
        request=request,
        kind=request.kind,
        is_by_hand=_is_by_hand(request),
        ordered_at=now,
        due_at=now,
    )


def _is_by_hand(request: DataRequest) -> bool:
    is_uncorrected = request.kind == Right.RECTIFICATION and not details_of(request).corrections
    return request.kind == Right.HUMAN_REVIEW or is_uncorrected


def extend_request(*, workspace_id: int, request_id: int, reason: str, by: str, now: datetime) -> DataRequest:
    """Two more months, because it is complex or there are many. The person was told so, with this reason, at `now`."""
    _demand_reason(reason)
    with changing(workspace_id, request_id) as request:
        _demand_open(request)
        if request.notified_at is not None:
            raise WrongStateError(state=request.state)
        _demand_first_date(request, now)
        request.notified_at, request.extension_reason = now, reason
        _redate(request, _doubts_of(request), now)
        take_step(request, "request.extended", by, now, reason)
    return request


def refuse_request(*, workspace_id: int, request_id: int, reason: str, by: str, now: datetime) -> DataRequest:
    """The person was told why nothing is done, and that they may complain (Art. 12(4)), within the first month."""
    _demand_reason(reason)
    with changing(workspace_id, request_id) as request:
        _demand_open(request)
        _end_doubt(request, now)
        _demand_first_date(request, now)
        request.refusal_reason = reason
        _move(request, RequestState.REFUSED, "request.refused", by, now, reason)
    return request


def complete_request(*, workspace_id: int, request_id: int, by: str, now: datetime, note: str = "") -> DataRequest:
    """What was asked for is done and the person was told: a package is built, or the work is done."""
    with changing(workspace_id, request_id) as request:
        if request.state == RequestState.IN_PROGRESS:
            _demand_done(request)
        _move(request, RequestState.COMPLETED, "request.completed", by, now, note)
    return request


def mark_duplicate(*, workspace_id: int, request_id: int, of: int, by: str, now: datetime) -> DataRequest:
    """The same person asked for the same before. They are verified here as well: the other request could be theirs only
    by their word.
    """
    with changing(workspace_id, request_id) as request:
        other = DataRequest.objects.filter(workspace=workspace_id, pk=of, kind=request.kind).exclude(pk=request_id)
        request.duplicate_of = other.filter(duplicate_of=None).first()
        if request.duplicate_of is None:
            raise UnknownRequestError(request=of)
        _move(request, RequestState.DUPLICATE, "request.duplicate", by, now, f"#{of}")
    return request


def take_back(*, workspace_id: int, request_id: int, by: str, now: datetime) -> DataRequest:
    """The person no longer asks."""
    with changing(workspace_id, request_id) as request:
        _move(request, RequestState.TAKEN_BACK, "request.taken_back", by, now)
    return request


# -- the parts of a step --------------------------------------------------------------------------------------------


@contextmanager
def changing(workspace_id: int, request_id: int) -> Iterator[DataRequest]:
    """The request, locked for this transaction and saved at its end."""
    with workspace_scope(workspace_id):
        rows = DataRequest.objects.select_for_update(of=("self",)).filter(workspace=workspace_id, pk=request_id)
        request = rows.first()
        if request is None:
            raise UnknownRequestError(request=request_id)
        yield request
        request.save()


def _move(request: DataRequest, state: RequestState, step: str, by: str, now: datetime, note: str = "") -> None:
    if not may_follow(request.state, state):
        raise WrongStateError(state=request.state)
    if not request.verification and state not in WITHOUT_VERIFICATION:
        raise NotVerifiedError
    if state in UNDONE:
        _demand_undone(request, now)
    if state not in OPEN:
        _end_doubt(request, now)
        request.closed_at = now
    request.state = state.value
    take_step(request, step, by, now, note)


def take_step(request: DataRequest, step: str, by: str, now: datetime, note: str = "") -> None:
    """What the trace tells of the change that is saved next."""
    request.step, request.stepped_at, request.stepped_by, request.note = step, now, by, note


def _redate(request: DataRequest, doubts: Sequence[Doubt], now: datetime) -> None:
    dates = dates_of(request, doubts, now)
    request.first_due_at, request.due_at = dates.first_due_at, dates.due_at


def dates_of(request: DataRequest, doubts: Sequence[Doubt], now: datetime) -> Deadlines:
    zone = ZoneInfo(Workspace.objects.values_list("time_zone", flat=True).get(pk=request.workspace_id))
    is_extended = request.notified_at is not None
    return deadlines(request.received_at, is_extended=is_extended, doubts=doubts, now=now, zone=zone)


def _doubts_of(request: DataRequest) -> list[Doubt]:
    return [Doubt(row.started_at, row.ended_at) for row in request.doubts.order_by("pk")]


def _verified(level: Verification, now: datetime) -> dict[str, Any]:
    return {"verification": level.value, "verified_at": now}


def _demand_reason(reason: str) -> None:
    if not reason.strip():
        raise ReasonMissingError


def _demand_open(request: DataRequest) -> None:
    if request.state not in OPEN:
        raise WrongStateError(state=request.state)


def _demand_first_date(request: DataRequest, now: datetime) -> None:
    dates = dates_of(request, _doubts_of(request), now)
    if now > dates.first_due_at:
        raise TooLateError(first_due_at=dates.first_due_at.isoformat())
    request.first_due_at = dates.first_due_at


def _demand_done(request: DataRequest) -> None:
    """A trigger of the database demands it too."""
    if request.kind in ANSWERED_BY_PACKAGE:
        if not DataPackage.objects.filter(request=request).exclude(built_at=None).exists():
            raise NoPackageError
    elif not RequestWork.objects.filter(request=request).exclude(done_at=None).exists():
        raise NotDoneError


def _demand_undone(request: DataRequest, now: datetime) -> None:
    work = RequestWork.objects.filter(request=request).first()
    if work is not None and (work.done_at or (work.claimed_until and work.claimed_until > now)):
        raise DoneAlreadyError
