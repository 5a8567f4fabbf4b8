"""Codes by which people show that an identifier is theirs: short-lived, few tries, stored as keyed digests.

The answers are the same for a person who is known and for one who is not, because nobody looks.
"""

import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import F

from cdp.kernel.errors import TesseraError
from cdp.kernel.identifiers import Identifier
from cdp.models import Identifier as KnownIdentifier
from cdp.models.digests import identifier_digest
from consent.models import DataRequest, VerificationCode
from consent.request_states import OPEN, Verification
from consent.requests import VerifiedAlreadyError, WrongStateError, changing, mark_verified, take_step

DIGITS: Final = 8
VALID: Final = timedelta(minutes=15)
MOST_TRIES: Final = 5
MOST_CODES: Final = 5


class WrongCodeError(TesseraError):
    """The code is wrong or too old, or the second identifier does not belong to it: ask for a new code."""

    code = "wrong_code"


class CodeLockedError(TesseraError):
    """There were too many tries: send a new code, or verify the person by hand where five were sent."""

    code = "code_locked"


def issue_code(*, workspace_id: int, request_id: int, by: str, now: datetime) -> str:
    """A new code, to be sent to the first identifier of the request and shown nowhere else. The one before is void."""
    code = "".join(secrets.choice("0123456789") for _ in range(DIGITS))
    with changing(workspace_id, request_id) as request:
        _demand_unverified(request)
        sent = VerificationCode.objects.filter(request=request).values_list("codes_sent", flat=True).first() or 0
        if sent >= MOST_CODES:
            raise CodeLockedError(codes_sent=sent)
        fields = {"digest": _digest(request_id, code), "expires_at": now + VALID, "tries": 0, "codes_sent": sent + 1}
        VerificationCode.objects.update_or_create(request=request, defaults={"workspace_id": workspace_id, **fields})
        take_step(request, "request.code_sent", by, now)
    return code


def verify_by_code(
    *, workspace_id: int, request_id: int, code: str, by: str, now: datetime, second: Identifier | None = None
) -> DataRequest:
    """The person has the code, and perhaps knows a second identifier of theirs. Raises `WrongCodeError` or
    `CodeLockedError`; a wrong try is counted even then.
    """
    with changing(workspace_id, request_id) as request:
        _demand_unverified(request)
        sent = VerificationCode.objects.filter(request=request).first()
        if sent is not None and sent.tries >= MOST_TRIES:
            raise CodeLockedError(tries=sent.tries)
        is_right = _is_right(sent, request, code, now) & (second is None or _belong_together(request, second))
        if is_right:
            level = Verification.CODE if second is None else Verification.CODE_AND_IDENTIFIER
            mark_verified(request, level, by=by, now=now)
        else:
            VerificationCode.objects.filter(request=request).update(tries=F("tries") + 1)
            take_step(request, "request.code_wrong", by, now)
    if not is_right:
        raise WrongCodeError
    return request


def _demand_unverified(request: DataRequest) -> None:
    if request.state not in OPEN:
        raise WrongStateError(state=request.state)
    if request.verification:
        raise VerifiedAlreadyError


def _is_right(sent: VerificationCode | None, request: DataRequest, code: str, now: datetime) -> bool:
    """The comparison takes as long for every code."""
    expected = bytes(sent.digest) if sent is not None else b""
    is_same = hmac.compare_digest(expected, _digest(request.pk, code))
    return is_same and sent is not None and now < sent.expires_at


def _belong_together(request: DataRequest, second: Identifier) -> bool:
    """Both are known, differ, and are one person's."""
    first, other = bytes(request.digests[0]), identifier_digest(second.type, second.value)
    profiles = [_profiles_with(request.workspace_id, [digest]) for digest in (first, other)]
    return first != other and bool(profiles[0] & profiles[1])


def _profiles_with(workspace_id: int, digests: Sequence[bytes]) -> set[int]:
    rows = KnownIdentifier.objects.filter(workspace=workspace_id, digest__in=digests)
    return set(rows.values_list("profile_id", flat=True))


def _digest(request_id: int, code: str) -> bytes:
    return hmac.digest(settings.SECRET_KEY.encode(), f"data-request:{request_id}:{code}".encode(), "sha256")
