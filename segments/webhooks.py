"""Entries and exits pushed to an address: signed, in order, until they are taken or a day has passed.

A webhook needs no queue of its own: it has a position in the feed. One claim at a time; what is on its way is written down
before it is sent, so another try sends the same under the same id. Who takes nothing for a day is disabled, with the
reason, and may be enabled again where it stopped.

Signed as Standard Webhooks have it: HMAC-SHA256 over `id.timestamp.body`, in the header `webhook-signature`.
"""

import base64
import hashlib
import hmac
import json
import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from django.db import connection

from cdp import http
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models.secrets import decrypted, encrypted
from cdp.models.tenancy import workspace_scope
from consent import gate
from segments.changes import CursorExpiredError, Position, Reading, changes_after, end_of_feed, refuse_expired, told
from segments.models import Segment, SegmentWebhook

log = structlog.get_logger()

MOST_CHANGES: Final = 500
"""Of one request."""
FIRST_DELAY: Final = timedelta(seconds=5)
LONGEST_DELAY: Final = timedelta(hours=1)
PATIENCE: Final = timedelta(days=1)
LEASE: Final = timedelta(minutes=2)
BOTH_SECRETS: Final = timedelta(days=1)
"""So long after a rotation both secrets sign."""
TIMEOUT: Final = http.Timeout(connect=3, read=5, total=10)
GONE: Final = 410
SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # what each secret begins with
SECRET_BYTES: Final = 24

Clock = Callable[[], datetime]


class WebhookAddressError(TesseraError):
    """The address must be https://host/… without a password in it."""

    code = "webhook_address"


class UnknownWebhookError(TesseraError):
    """There is no such webhook in this workspace."""

    code = "unknown_webhook"


@dataclass(frozen=True, slots=True)
class Made:
    """The secret is shown this once; only its encrypted form is kept."""

    webhook: SegmentWebhook
    secret: str


# -- subscribing ------------------------------------------------------------------------------------------------------


def subscribe(*, workspace_id: int, purpose: Purpose, url: str, segments: Sequence[str], now: datetime) -> Made:
    """A webhook that hears of what comes from now on, of these segments or of all."""
    _refuse_address(url)
    secret = _new_secret()
    with gate.permit(purpose, workspace_id=workspace_id) as permit:
        position = end_of_feed(permit, now=now)
    with workspace_scope(workspace_id):
        webhook = SegmentWebhook.objects.create(
            workspace_id=workspace_id, url=url, purpose=purpose, segments=list(segments),
            secret=encrypted({"secret": secret}), position=position.id, position_at=position.at, due_at=now, created_at=now,
        )  # fmt: skip
    return Made(webhook, secret)


def rotate_secret(*, workspace_id: int, webhook_id: int, now: datetime) -> Made:
    """A new secret. The one before signs too for a day, so that the receiver can change over."""
    with workspace_scope(workspace_id):
        webhook = _locked(workspace_id, webhook_id)
        secret, before = _new_secret(), decrypted(webhook.secret)["secret"]
        until = (now + BOTH_SECRETS).isoformat()
        webhook.secret = encrypted({"secret": secret, "before": before, "before_until": until})
        webhook.save(update_fields=["secret"])
    return Made(webhook, secret)


def enable(*, workspace_id: int, webhook_id: int, now: datetime) -> SegmentWebhook:
    """Goes on where it stopped; where that is not kept any more, from now on."""
    with workspace_scope(workspace_id):
        webhook = _locked(workspace_id, webhook_id)
    position = _kept_position(webhook, now)
    with workspace_scope(workspace_id):
        _locked(workspace_id, webhook_id)
        again = {"disabled_at": None, "failing_since": None, "attempts": 0, "error": "", "due_at": now}
        if position.id != webhook.position:
            again |= {"sending_to": None}
        SegmentWebhook.objects.filter(pk=webhook_id).update(position=position.id, position_at=position.at, **again)
        return SegmentWebhook.objects.get(pk=webhook_id)


def unsubscribe(*, workspace_id: int, webhook_id: int) -> None:
    with workspace_scope(workspace_id):
        deleted, _ = SegmentWebhook.objects.filter(workspace_id=workspace_id, pk=webhook_id).delete()
    if not deleted:
        raise UnknownWebhookError


def _kept_position(webhook: SegmentWebhook, now: datetime) -> Position:
    position = Position(webhook.position, webhook.position_at)
    try:
        refuse_expired(workspace_id=webhook.workspace_id, position=position)
    except CursorExpiredError:
        with gate.permit(Purpose(webhook.purpose), workspace_id=webhook.workspace_id) as permit:
            return end_of_feed(permit, now=now)
    return position


def _locked(workspace_id: int, webhook_id: int) -> SegmentWebhook:
    found = SegmentWebhook.objects.select_for_update().filter(workspace_id=workspace_id, pk=webhook_id).first()
    if found is None:
        raise UnknownWebhookError
    return found


def _new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def _refuse_address(url: str) -> None:
    """Whether it leads into the house is asked when it is called: names lead elsewhere tomorrow."""
    try:
        parts = urlsplit(url)
        is_well_made = parts.scheme in {"https", "http"} and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        is_well_made = False
    if not is_well_made:
        raise WebhookAddressError


# -- delivering -------------------------------------------------------------------------------------------------------

_DUE: Final = """
SELECT w.id FROM segment_webhook w WHERE w.workspace_id = %s AND w.disabled_at IS NULL AND w.due_at <= %s
AND EXISTS (SELECT FROM membership_change c WHERE c.workspace_id = w.workspace_id AND c.id > w.position) ORDER BY w.due_at
"""
_CLAIM: Final = """
UPDATE segment_webhook SET attempts = attempts + 1, due_at = %s
WHERE id = %s AND disabled_at IS NULL AND due_at <= %s RETURNING id
"""


def due(*, workspace_id: int, now: datetime) -> list[int]:
    """The webhooks for which something may have happened."""
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        cursor.execute(_DUE, [workspace_id, now])
        return [webhook for (webhook,) in cursor.fetchall()]


def deliver(*, workspace_id: int, webhook_id: int, clock: Clock) -> bool:
    """One request to one webhook, if it is due and nobody else is at it. True when there may be more to send at once."""
    webhook = _claim(workspace_id, webhook_id, clock())
    if webhook is None:
        return False
    try:
        reading = _reading(webhook, clock())
        if reading.changes:
            _send(webhook, reading, clock())
    except TesseraError as error:
        _keep_failure(webhook, error, clock())
        return False
    _settle(webhook, reading, clock())
    return not reading.is_end


def _claim(workspace_id: int, webhook_id: int, now: datetime) -> SegmentWebhook | None:
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        cursor.execute(_CLAIM, [now + LEASE, webhook_id, now])
        return SegmentWebhook.objects.get(pk=webhook_id) if cursor.fetchone() else None


def _reading(webhook: SegmentWebhook, now: datetime) -> Reading:
    """What comes next; where a try was begun, up to where that one ended. Written down before it is sent."""
    workspace_id, position = webhook.workspace_id, Position(webhook.position, webhook.position_at)
    refuse_expired(workspace_id=workspace_id, position=position)
    with gate.permit(Purpose(webhook.purpose), workspace_id=workspace_id) as permit:
        ids = _segments_of(webhook)
        up_to = webhook.sending_to
        reading = changes_after(permit, position, most=MOST_CHANGES, now=now, segments=ids, up_to=up_to)
    if up_to is not None:
        return Reading(reading.changes, Position(up_to, position.at), is_end=False)
    webhook.sending_to = reading.position.id
    if reading.changes:
        with workspace_scope(workspace_id):
            SegmentWebhook.objects.filter(pk=webhook.pk).update(sending_to=webhook.sending_to)
    return reading


def _segments_of(webhook: SegmentWebhook) -> list[int] | None:
    if not webhook.segments:
        return None
    found = Segment.objects.filter(workspace_id=webhook.workspace_id, slug__in=webhook.segments)
    return list(found.values_list("pk", flat=True))


def _send(webhook: SegmentWebhook, reading: Reading, now: datetime) -> None:
    body = json.dumps(
        {"type": "segments.changed", "data": {"changes": [told(one) for one in reading.changes]}}
    ).encode()
    headers = signed_headers(webhook, f"{webhook.pk}-{webhook.position}-{reading.position.id}", body, now)
    http.request("POST", webhook.url, body=body, headers=headers, timeout=TIMEOUT, retry=http.ONCE)


def signed_headers(webhook: SegmentWebhook, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    timestamp = str(int(now.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(secret, signed) for secret in _secrets_of(webhook, now)),
    }


def _secrets_of(webhook: SegmentWebhook, now: datetime) -> list[str]:
    kept = decrypted(webhook.secret)
    if "before" in kept and now < datetime.fromisoformat(kept["before_until"]):
        return [kept["secret"], kept["before"]]
    return [kept["secret"]]


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


# -- what came of it ----------------------------------------------------------------------------------------------------


def _settle(webhook: SegmentWebhook, reading: Reading, now: datetime) -> None:
    """Where another one has been at it since, the position is that one's."""
    fields: dict[str, Any] = {
        "position": reading.position.id, "position_at": reading.position.at, "sending_to": None, "due_at": now,
        "attempts": 0, "failing_since": None, "error": "",
    }  # fmt: skip
    if reading.changes:
        fields["delivered_at"] = now
    with workspace_scope(webhook.workspace_id):
        SegmentWebhook.objects.filter(pk=webhook.pk, position=webhook.position).update(**fields)


def _keep_failure(webhook: SegmentWebhook, error: TesseraError, now: datetime) -> None:
    since = webhook.failing_since or now
    fields: dict[str, Any] = {
        "error": _code_of(error),
        "failing_since": since,
        "due_at": now + _delay(webhook.attempts),
    }
    if now - since >= PATIENCE or _is_over(error):
        fields["disabled_at"] = now
        log.warning("webhook.disabled", workspace=webhook.workspace_id, webhook=webhook.pk, code=fields["error"])
    with workspace_scope(webhook.workspace_id):
        SegmentWebhook.objects.filter(pk=webhook.pk, position=webhook.position).update(**fields)


def _delay(attempts: int) -> timedelta:
    longest: timedelta = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(attempts - 1, 20))
    return longest * random.uniform(0.5, 1)  # noqa: S311  # jitter keeps receivers apart, it hides nothing


def _is_over(error: TesseraError) -> bool:
    """It says itself that it wants no more; or what comes next is not kept any more, so that nothing can be sent."""
    return isinstance(error, CursorExpiredError) or (
        isinstance(error, http.HttpError) and error.response is not None and error.response.status == GONE
    )


def _code_of(error: TesseraError) -> str:
    """With the status that the receiver answered, or why there was no answer."""
    more = error.details.get("status") or error.details.get("reason")
    return f"{error.code}: {more}" if more else error.code
