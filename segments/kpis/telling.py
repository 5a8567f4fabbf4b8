"""Alerts are told by e-mail and by webhook until they are taken or given up, one claim at a time.

    POST {"kpi": "conversion", "segment": "loyal", "period_start": "2026-03-01T00:00:00Z", "value": 0.02, "expected": 0.05,
          "p": 0.0004, "test": "PROPORTIONS", "alert": 7}

    Tessera-Timestamp:  seconds since 1970; refuse what is older than five minutes
    Tessera-Signature:  v1=<hex of HMAC-SHA256, keyed with the signing key, over "timestamp.body">; only with a key

What is told is counts and shares, of nobody in particular. The webhook is called as every outbound request is: https,
no private addresses, no redirects.
"""

import hashlib
import hmac
import smtplib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import connection
from django.utils.translation import gettext, override

from cdp import http
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models.secrets import decrypted
from consent import gate
from segments.models import KpiAlert

log = structlog.get_logger()

MOST_ATTEMPTS: Final = 10
FIRST_DELAY: Final = timedelta(minutes=1)
LONGEST_DELAY: Final = timedelta(hours=12)
LEASE: Final = timedelta(minutes=5)
AT_ONCE: Final = 20
TIMEOUT: Final = http.Timeout(connect=3, read=5, total=10)


class AlertMailError(TesseraError):
    """The mail was not taken: see EMAIL_HOST."""

    code = "mail_not_sent"


def tell(*, workspace_id: int, clock: Callable[[], datetime]) -> int:
    """Tell what is due, at most some of it: others want their turn. Returns how many were taken."""
    taken = 0
    for _ in range(AT_ONCE):
        alert = _claim(workspace_id, clock())
        if alert is None:
            break
        taken += _tell(alert, clock)
    return taken


_CLAIM: Final = """
UPDATE kpi_alert SET attempts = attempts + 1, due_at = %(until)s WHERE id = (
    SELECT id FROM kpi_alert WHERE workspace_id = %(workspace)s AND due_at <= %(now)s
    ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING id
"""


def _claim(workspace_id: int, now: datetime) -> KpiAlert | None:
    with gate.permit(Purpose.ANALYTICS, workspace_id=workspace_id), connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"workspace": workspace_id, "now": now, "until": now + LEASE})
        claimed = cursor.fetchone()
        rows = KpiAlert.objects.select_related("watch__kpi", "segment", "workspace")
        return rows.get(pk=claimed[0]) if claimed else None


def _tell(alert: KpiAlert, clock: Callable[[], datetime]) -> bool:
    """Outside of any transaction: the other side may take its time."""
    try:
        _send(alert, clock())
    except TesseraError as error:
        _keep_failure(alert, error.code, clock())
        return False
    _change(alert, due_at=None, told_at=clock(), error="")
    return True


def _send(alert: KpiAlert, now: datetime) -> None:
    """A webhook that was taken may be told again when the mail was not: the id of the alert tells them apart."""
    if alert.watch.url:
        _post(alert, now)
    if alert.watch.email:
        _send_mail(alert)


def _post(alert: KpiAlert, now: datetime) -> None:
    body = msgspec.json.encode(
        {
            "alert": alert.pk,
            "kpi": alert.watch.kpi.slug,
            "segment": alert.segment.slug,
            "period_start": alert.period_start.astimezone(UTC),
            "value": alert.value,
            "expected": alert.expected,
            "p": alert.p,
            "test": alert.test,
        }
    )
    headers = {"Content-Type": "application/json", **_signature(alert, body, now)}
    http.request("POST", alert.watch.url, body=body, headers=headers, timeout=TIMEOUT, retry=http.ONCE)


def _signature(alert: KpiAlert, body: bytes, now: datetime) -> dict[str, str]:
    key = decrypted(alert.watch.secrets)["signing_key"] if alert.watch.secrets else ""
    if not key:
        return {}
    timestamp = str(int(now.timestamp()))
    signed = hmac.new(key.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Tessera-Timestamp": timestamp, "Tessera-Signature": f"v1={signed}"}


def _send_mail(alert: KpiAlert) -> None:
    if not settings.EMAIL_HOST:
        raise AlertMailError("No mail is sent: EMAIL_HOST is not set.")
    with override("en"):
        subject, text = _letter(alert)
    try:
        EmailMessage(subject, text, to=[alert.watch.email]).send()
    except (OSError, smtplib.SMTPException):
        raise AlertMailError from None


def _letter(alert: KpiAlert) -> tuple[str, str]:
    kpi, segment = alert.watch.kpi.name, alert.segment.name
    text = gettext(
        "%(kpi)s of %(segment)s, in the period from %(start)s on, is %(value)s; %(expected)s was expected"
        " (%(test)s, adjusted p = %(p)s)."
    ) % {
        "kpi": kpi, "segment": segment, "start": f"{alert.period_start:%Y-%m-%d}", "value": f"{alert.value:.4g}",
        "expected": f"{alert.expected:.4g}", "test": alert.get_test_display(), "p": f"{alert.p:.2g}",
    }  # fmt: skip
    return f"{kpi}: {segment}", text + "\n"


def _keep_failure(alert: KpiAlert, code: str, now: datetime) -> None:
    if alert.attempts >= MOST_ATTEMPTS:
        log.warning("kpi.alert_given_up", workspace=alert.workspace_id, alert=alert.pk, code=code)
        _change(alert, due_at=None, error=code)
        return
    delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (alert.attempts - 1))
    _change(alert, due_at=now + delay, error=code)


def _change(alert: KpiAlert, **fields: object) -> None:
    with gate.permit(Purpose.ANALYTICS, workspace_id=alert.workspace_id):
        KpiAlert.objects.filter(pk=alert.pk).update(**fields)
