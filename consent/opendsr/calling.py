"""Callbacks: each change is told to each address until it is taken or given up, in order, one claim at a time.

An address is called only while the controller may have it called, over https, without redirects, and never inside the
house (`cdp.http`). What is sent is signed; the answer is not read beyond its status.
"""

import smtplib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import connection

from cdp import http
from cdp.kernel.errors import TesseraError
from cdp.models.tenancy import workspace_scope
from consent.models import DsrCallback
from consent.opendsr import answers, messages, signing
from consent.opendsr.processor import Processor, ProcessorConfigError, ProcessorOffError, processor
from consent.opendsr.words import DOMAIN_HEADER, MAIL, SIGNATURE_HEADER, Version

log = structlog.get_logger()

MOST_ATTEMPTS: Final = 10
FIRST_DELAY: Final = timedelta(minutes=1)
LONGEST_DELAY: Final = timedelta(hours=12)
LEASE: Final = timedelta(minutes=5)
TIMEOUT: Final = http.Timeout(connect=3, read=5, total=10)
AT_ONCE: Final = 20


class ForbiddenCallbackError(TesseraError):
    """The controller was revoked, or may no longer have this address called."""

    code = "forbidden_callback"


class MailError(TesseraError):
    """The mail was not taken: see EMAIL_HOST."""

    code = "mail_not_sent"


def call_back(*, workspace_id: int, clock: Callable[[], datetime]) -> int:
    """Send what is due, at most some of it: others want their turn. Returns how many were taken."""
    try:
        us = processor()
    except ProcessorOffError:
        return 0
    except ProcessorConfigError:
        log.warning("opendsr.cannot_sign")
        return 0
    taken = 0
    for _ in range(AT_ONCE):
        one = _claim(workspace_id, clock())
        if one is None:
            break
        taken += _call(us, one, clock)
    return taken


def signed_headers(us: Processor, version: Version, body: bytes) -> dict[str, str]:
    return {DOMAIN_HEADER[version]: us.domain, SIGNATURE_HEADER[version]: signing.sign(us.key, body)}


# -- one of them ----------------------------------------------------------------------------------------------------

# The one before, to the same address, comes first: nobody hears that it is completed before that it has begun.
_CLAIM: Final = """
UPDATE dsr_callback SET attempts = attempts + 1, due_at = %(until)s WHERE id = (
    SELECT c.id FROM dsr_callback c WHERE c.workspace_id = %(workspace)s AND c.over_at IS NULL AND c.due_at <= %(now)s
      AND NOT EXISTS (
        SELECT FROM dsr_callback e WHERE e.cover_id = c.cover_id AND e.url = c.url AND e.step < c.step AND e.over_at IS NULL
      )
    ORDER BY c.due_at, c.id LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING id
"""


def _claim(workspace_id: int, now: datetime) -> DsrCallback | None:
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"workspace": workspace_id, "now": now, "until": now + LEASE})
        claimed = cursor.fetchone()
        if claimed is None:
            return None
        rows = DsrCallback.objects.select_related("cover__controller", "cover__request")
        return rows.get(pk=claimed[0])


def _call(us: Processor, one: DsrCallback, clock: Callable[[], datetime]) -> bool:
    """Outside of any transaction: the other side may take its time."""
    try:
        _send(us, one, clock())
    except TesseraError as error:
        _keep_failure(one, error.code, clock(), is_over=isinstance(error, ForbiddenCallbackError))
        return False
    _settle(one, clock(), {"delivered_at": clock(), "error": ""})
    return True


def _send(us: Processor, one: DsrCallback, now: datetime) -> None:
    if one.cover.controller.revoked_at is not None:
        raise ForbiddenCallbackError
    if one.url.startswith(MAIL):
        _send_mail(us, one)
        return
    if not messages.is_allowed(one.url, one.cover.controller.callback_hosts):
        raise ForbiddenCallbackError
    body = msgspec.json.encode(answers.callback(us, one, now=now))
    headers = signed_headers(us, Version(one.cover.version), body)
    http.request(
        "POST",
        one.url,
        body=body,
        headers={"Content-Type": "application/json", **headers},
        timeout=TIMEOUT,
        retry=http.ONCE,
    )


def _send_mail(us: Processor, one: DsrCallback) -> None:
    if not settings.EMAIL_HOST:
        raise MailError("No mail is sent: EMAIL_HOST is not set.")
    text = LETTER.format(id=one.cover.subject_request_id, domain=us.domain, controller=one.cover.controller.slug)
    letter = EmailMessage(f"OpenDSR request {one.cover.subject_request_id}", text, to=[one.url.removeprefix(MAIL)])
    try:
        letter.send()
    except (OSError, smtplib.SMTPException):
        raise MailError from None


LETTER: Final = """\
The request {id} of {controller} was refused by {domain}.

OpenDSR has no word for that, so its status reads "completed", with no results and the outcome "refused". The reason
is with those who answer requests there: it is not for an open letter.
"""


def _keep_failure(one: DsrCallback, code: str, now: datetime, *, is_over: bool) -> None:
    delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (one.attempts - 1))
    if is_over or one.attempts >= MOST_ATTEMPTS:
        log.warning("opendsr.callback_given_up", workspace=one.workspace_id, callback=one.pk, code=code)
        _settle(one, now, {"error": code})
        return
    with workspace_scope(one.workspace_id):
        DsrCallback.objects.filter(pk=one.pk, over_at=None).update(error=code, due_at=now + delay)


def _settle(one: DsrCallback, now: datetime, fields: Mapping[str, object]) -> None:
    with workspace_scope(one.workspace_id):
        DsrCallback.objects.filter(pk=one.pk, over_at=None).update(over_at=now, **fields)
