"""What destinations are told about people who were erased, and what they answered.

By the ledger of audiences every key that a destination ever got is removed there like that of anybody who left. Then a
destination that erases is told whom to erase. Each try is written down before it is made, and the notice is sent outside
of any transaction: a sender that dies leaves its lease, and the same notice goes out again under the same reference.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from django.db import connection

from activation import registry, requesting
from activation.destination import Answer, Destination, ErasureNotice, ErasureOutcome, ErasureReply, PreparedRequest
from activation.models import Destination as DestinationRow
from activation.models import ErasureAttempt
from cdp import http
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models.secrets import decrypted
from consent import gate
from consent.gate import Advertising, Permit
from consent.identities import opened_identifiers
from consent.models import ErasureAnswer, ErasureOrder, ErasureSubject

log = structlog.get_logger()

LEASE: Final = timedelta(minutes=5)  # longer than any notice can take
SOONEST_AGAIN: Final = timedelta(minutes=1)
LATEST_AGAIN: Final = timedelta(hours=6)
MOST_TRIES: Final = 15  # a day and a half, then it counts as refused
MOST_AT_ONCE: Final = 16
PATIENCE_SECONDS: Final = 0.5  # then something else may be done
PROMISES_LAST: Final = timedelta(days=45)
COMES_AGAIN: Final = frozenset({408, 425, 429})

_ANSWERS: Final = {
    ErasureReply.ACKNOWLEDGED: ErasureAnswer.ACKNOWLEDGED,
    ErasureReply.REFUSED: ErasureAnswer.REFUSED,
    ErasureReply.UNSUPPORTED: ErasureAnswer.UNSUPPORTED,
}


# -- settle ---------------------------------------------------------------------------------------------------------

# Nothing of the person is left to be removed from audiences, and nobody has to be told.
_TO_SETTLE: Final = """
SELECT o.id, bool_or(m.state = 'REJECTED' AND m.run_id IS NOT NULL)
FROM erasure_order o
LEFT JOIN destination d ON d.id = o.destination_id
LEFT JOIN audience a ON a.destination_id = o.destination_id
LEFT JOIN audience_member m ON m.audience_id = a.id AND m.profile_id = o.profile_id
WHERE o.workspace_id = %s AND o.answer = 'PENDING'
  AND (d.id IS NULL OR NOT EXISTS (SELECT FROM erasure_subject s WHERE s.order_id = o.id))
GROUP BY o.id
HAVING NOT COALESCE(bool_or(m.state IN ('ADDING', 'PRESENT', 'REMOVING')), false)
"""
_BROKEN_PROMISES: Final = """
SELECT id FROM erasure_order WHERE workspace_id = %s AND answer = 'PENDING' AND promised_at < %s
"""
_ANSWER: Final = """
UPDATE erasure_order SET answer = %s, answered_at = %s, code = %s WHERE id = %s AND answer = 'PENDING'
"""
_FORGET: Final = """
DELETE FROM audience_member m USING erasure_order o, audience a
WHERE o.id = %s AND a.destination_id = o.destination_id AND m.audience_id = a.id AND m.profile_id = o.profile_id
"""
_COMPLETE: Final = """
UPDATE erasure e SET completed_at = %s WHERE workspace_id = %s AND completed_at IS NULL
AND NOT EXISTS (SELECT FROM erasure_order o WHERE o.erasure_id = e.id AND o.answer = 'PENDING')
"""


def settle_erasures(*, workspace_id: int, now: datetime) -> Mapping[str, int]:
    """Note what follows without asking anybody: the audiences are clean and the destination erases nobody beyond them, it
    is gone, or it broke its promise. Returns answers by kind.
    """
    answers: dict[str, int] = {}
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id) as permit, connection.cursor() as cursor:
        cursor.execute(_TO_SETTLE, [workspace_id])
        settled = [
            (order, ErasureAnswer.REFUSED if is_refused else ErasureAnswer.UNSUPPORTED, "")
            for order, is_refused in cursor.fetchall()
        ]
        cursor.execute(_BROKEN_PROMISES, [workspace_id, now - PROMISES_LAST])
        settled += [(order, ErasureAnswer.REFUSED, "promise_not_kept") for (order,) in cursor.fetchall()]
        for order, answer, code in settled:
            _answer(permit, order, answer, code, now)
            answers[answer.value] = answers.get(answer.value, 0) + 1
        cursor.execute(_COMPLETE, [now, workspace_id])
    return answers


def _answer(permit: Permit[Advertising], order_id: int, answer: ErasureAnswer, code: str, now: datetime) -> bool:
    """What was needed until now is forgotten: hashes, and who it was."""
    with connection.cursor() as cursor:
        cursor.execute(_ANSWER, [answer.value, now, code, order_id])
        if not cursor.rowcount:
            return False
        cursor.execute(_FORGET, [order_id])
        ErasureSubject.objects.filter(order=order_id).delete()
        cursor.execute(_COMPLETE, [now, permit.workspace_id])
    log.info("erasure.answered", workspace=permit.workspace_id, order=order_id, answer=answer.value, code=code)
    return True


# -- tell -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Notification:
    """A notice that this process alone may send, until the lease is over."""

    attempt: ErasureAttempt
    notice: ErasureNotice
    destination: Destination


@contextmanager
def telling(*, workspace_id: int, now: datetime, meanwhile: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Tell destinations of those who were erased while something else is done, and then `meanwhile` again and again. A
    slow one holds up no other.
    """
    due = list(_claimed(workspace_id, now))
    if not due:
        yield
        return
    with ThreadPoolExecutor(len(due), thread_name_prefix="eraser") as senders:
        under_way: list[tuple[Notification, Future[ErasureOutcome | str]]] = [
            (one, senders.submit(_tell, one, now)) for one in due
        ]
        yield
        while wait([answered for _, answered in under_way], timeout=PATIENCE_SECONDS).not_done:
            meanwhile()
        for one, answered in under_way:
            _record(workspace_id, one, answered.result(), now)


# Once nothing of the person is left in an audience. A destination that is disabled is told when it is enabled again.
_DUE: Final = """
SELECT o.id FROM erasure_order o JOIN destination d ON d.id = o.destination_id
WHERE o.workspace_id = %s AND o.answer = 'PENDING' AND o.promised_at IS NULL AND d.is_enabled
  AND (o.due_at IS NULL OR o.due_at <= %s)
  AND EXISTS (SELECT FROM erasure_subject s WHERE s.order_id = o.id)
  AND NOT EXISTS (
    SELECT FROM audience a JOIN audience_member m ON m.audience_id = a.id
    WHERE a.destination_id = d.id AND m.profile_id = o.profile_id AND m.state IN ('ADDING', 'PRESENT', 'REMOVING')
  )
ORDER BY o.due_at NULLS FIRST, o.id LIMIT %s FOR UPDATE OF o SKIP LOCKED
"""


def _claimed(workspace_id: int, now: datetime) -> Iterator[Notification]:
    """Each try has its row before it is made. A destination that cannot even be opened has failed that try."""
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id), connection.cursor() as cursor:
        cursor.execute(_DUE, [workspace_id, now, MOST_AT_ONCE])
        orders = ErasureOrder.objects.select_related("erasure", "subject").in_bulk([pk for (pk,) in cursor.fetchall()])
        rows = DestinationRow.objects.in_bulk({order.destination_id for order in orders.values()})
        attempts = [_begin(order, now) for order in orders.values()]
    for attempt in attempts:
        try:
            yield _notification(attempt, rows[attempt.order.destination_id])
        except TesseraError as error:
            with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id) as permit:
                _put_off(permit, attempt, error.code, now)


def _begin(order: ErasureOrder, now: datetime) -> ErasureAttempt:
    order.tries += 1
    ErasureOrder.objects.filter(pk=order.pk).update(tries=order.tries, due_at=now + LEASE)
    return ErasureAttempt.objects.create(workspace_id=order.workspace_id, order=order, number=order.tries, tried_at=now)


def _notification(attempt: ErasureAttempt, row: DestinationRow) -> Notification:
    order = attempt.order
    identifiers = opened_identifiers(order.subject.identifiers)
    notice = ErasureNotice(order.reference, identifiers, erased_at=order.erasure.erased_at)
    return Notification(attempt, notice, registry.destination(row.kind, row.config, decrypted(row.secrets)))


class _ComeAgain(Exception):  # noqa: N818  # no error: the way out of a notice that another try may mend
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def _tell(one: Notification, now: datetime) -> ErasureOutcome | str:
    """No database, no exception: what the destination says, or why it must be told again."""
    try:
        return one.destination.erase(one.notice, lambda request: _sent(one, request, now))
    except _ComeAgain as again:
        return again.code
    except TesseraError as error:
        return error.code
    except Exception as error:
        log.exception("erasure.defect", order=one.attempt.order_id)
        return f"defect_{type(error).__name__}"[:64]


def _sent(one: Notification, request: PreparedRequest, now: datetime) -> Answer:
    answer = _answered(one, request, now)
    if answer.status == 401 and one.destination.refresh():
        answer = _answered(one, request, now)
    if answer.status in COMES_AGAIN:
        raise _ComeAgain(f"http_{answer.status}")
    return answer


def _answered(one: Notification, request: PreparedRequest, now: datetime) -> Answer:
    try:
        response = requesting.ask(one.destination, request, idempotency_key=str(one.notice.reference), now=now)
    except http.PermanentHttpError as error:
        if error.response is None:
            raise _ComeAgain(error.details.get("reason", error.code)) from None
        response = error.response
    except http.TransientHttpError as error:
        status = error.response and f"http_{error.response.status}"
        raise _ComeAgain(status or error.details.get("reason", error.code)) from None
    return Answer(response.status, response.headers, response.body)


# -- record ---------------------------------------------------------------------------------------------------------


def _record(workspace_id: int, one: Notification, said: ErasureOutcome | str, now: datetime) -> None:
    attempt = one.attempt
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id) as permit:
        if isinstance(said, str):
            _put_off(permit, attempt, said, now)
            return
        ErasureAttempt.objects.filter(pk=attempt.pk).update(reply=said.reply, code=said.code[:64])
        if said.reply is ErasureReply.PROMISED:
            waiting = ErasureOrder.objects.filter(pk=attempt.order_id, answer=ErasureAnswer.PENDING)
            waiting.update(promised_at=now, code=said.code[:64])
        else:
            _answer_as(permit, attempt.order_id, said, now)


def _answer_as(permit: Permit[Advertising], order_id: int, said: ErasureOutcome, now: datetime) -> bool:
    """One that erases nobody after all has still removed the person from its audiences, or would not."""
    answer = _ANSWERS[said.reply]
    if answer is ErasureAnswer.UNSUPPORTED and _would_not_remove(order_id):
        answer = ErasureAnswer.REFUSED
    return _answer(permit, order_id, answer, said.code[:64], now)


_REFUSED_REMOVAL: Final = """
SELECT EXISTS (
    SELECT FROM erasure_order o JOIN audience a ON a.destination_id = o.destination_id
    JOIN audience_member m ON m.audience_id = a.id AND m.profile_id = o.profile_id
    WHERE o.id = %s AND m.state = 'REJECTED' AND m.run_id IS NOT NULL
)
"""


def _would_not_remove(order_id: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_REFUSED_REMOVAL, [order_id])
        return bool(cursor.fetchone()[0])


def _put_off(permit: Permit[Advertising], attempt: ErasureAttempt, code: str, now: datetime) -> None:
    """Later each time, and not for ever."""
    ErasureAttempt.objects.filter(pk=attempt.pk).update(code=code[:64])
    if attempt.number >= MOST_TRIES:
        _answer(permit, attempt.order_id, ErasureAnswer.REFUSED, "gave_up", now)
        return
    pause = min(SOONEST_AGAIN * 2 ** (attempt.number - 1), LATEST_AGAIN)
    ErasureOrder.objects.filter(pk=attempt.order_id).update(due_at=now + pause, code=code[:64])


# -- hear -----------------------------------------------------------------------------------------------------------


def hear_answer(
    *, workspace_id: int, destination_id: int, reference: UUID, outcome: ErasureOutcome, now: datetime
) -> bool:
    """What a destination that promised to erase says later. False where nothing of that reference waits for it."""
    if outcome.reply is ErasureReply.PROMISED:
        return False
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id) as permit:
        waiting = ErasureOrder.objects.filter(
            destination_id=destination_id, reference=reference, answer=ErasureAnswer.PENDING, promised_at__isnull=False
        )
        order = waiting.select_for_update().first()
        return order is not None and _answer_as(permit, order.pk, outcome, now)
