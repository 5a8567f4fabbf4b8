"""Webhooks: take a delivery in.

`receive` acknowledges: when it returns, what the delivery says is on disk, or what it announces is in the ledger of
what is to be fetched (see `fetching`). What comes twice has the same message ids and the same key: it is kept once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from django.db.models import F

from cdp.ingestion import quarantine
from cdp.ingestion.calls import accept_calls
from cdp.ingestion.quarantine import Refused
from cdp.ingestion.sources import KnownSource, known_source
from cdp.ingestion.webhook import (
    Delivery,
    MalformedDeliveryError,
    Reading,
    RefusedDeliveryError,
    Settings,
    Unread,
    Webhook,
)  # fmt: skip
from cdp.ingestion.webhook_registry import WEBHOOKS
from cdp.kernel.errors import TesseraError
from cdp.models import Announcement, Connection, Source, SourceKind
from cdp.models.secrets import decrypted
from cdp.models.tenancy import workspace_scope

log = structlog.get_logger()

PLACE: Final = "webhook"


class UnknownWebhookError(TesseraError):
    """No connection has this address."""

    code = "unknown_webhook"


class DisabledConnectionError(TesseraError):
    """The connection is switched off."""

    code = "connection_disabled"


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection, ready to use."""

    source: KnownSource
    kind: SourceKind
    settings: Settings
    has_failed: bool

    @property
    def webhook(self) -> Webhook:
        return WEBHOOKS[self.kind]


@dataclass(frozen=True, slots=True)
class Received:
    """`malformed` says that nothing of the delivery could be read; it lies in quarantine as it came."""

    workspace_id: int
    accepted: int = 0
    quarantined: int = 0
    announced: int = 0
    malformed: MalformedDeliveryError | None = None
    status: int = 200


def receive(*, source_id: int, delivery: Delivery, now: datetime) -> Received:
    """Take a delivery for the connection of this source.

    Raises `UnknownWebhookError`, `DisabledConnectionError`, or `RefusedDeliveryError` for a signature that is not
    right: then nothing of it is kept, but the connection counts it.
    """
    connected = _connected(source_id)
    try:
        connected.webhook.verify(delivery, connected.settings, now=now)
    except RefusedDeliveryError as error:
        _count_refusal(connected.source, error)
        raise
    try:
        reading = connected.webhook.read(delivery, connected.settings)
    except MalformedDeliveryError as error:
        return _keep_unread(connected, delivery, error, now)
    return _keep(connected, reading, now)


def _connected(source_id: int) -> Connected:
    source = Source.objects.select_related("workspace").filter(pk=source_id, workspace__closed_at=None).first()
    if source is None or source.kind not in WEBHOOKS:
        raise UnknownWebhookError
    with workspace_scope(source.workspace_id):
        row = Connection.objects.filter(source=source).first()
    if row is None:
        raise UnknownWebhookError
    if not (row.is_enabled and source.is_enabled):
        raise DisabledConnectionError
    return Connected(known_source(source), SourceKind(source.kind), settings_of(row), row.failures > 0)


def settings_of(row: Connection) -> Settings:
    return Settings(row.config, decrypted(row.secrets) if row.secrets else {})


def _count_refusal(source: KnownSource, error: RefusedDeliveryError) -> None:
    """Seen on the connection and in /metrics until the next genuine delivery."""
    log.warning("webhook.refused", source=source.id, code=error.code)
    with workspace_scope(source.workspace_id):
        Connection.objects.filter(source_id=source.id).update(failures=F("failures") + 1, error=error.code)


def _keep_unread(connected: Connected, delivery: Delivery, error: MalformedDeliveryError, now: datetime) -> Received:
    source = connected.source
    log.warning("webhook.malformed", source=source.id, code=error.reason)
    with workspace_scope(source.workspace_id):
        set_aside(source, [Unread(PLACE, error.reason, error.message, delivery.body)], now)
    return Received(source.workspace_id, quarantined=1, malformed=error, status=connected.webhook.malformed_status)


def _keep(connected: Connected, reading: Reading, now: datetime) -> Received:
    """One transaction for all that the delivery says."""
    source = connected.source
    with workspace_scope(source.workspace_id):
        _announce(source, reading, now)
        set_aside(source, reading.unread, now)
        accepted = accept_calls(source=source, calls=reading.calls, received_at=now)
        if connected.has_failed:
            Connection.objects.filter(source_id=source.id).update(failures=0, error="")
    refused = len(reading.unread) + len(reading.calls) - accepted
    return Received(source.workspace_id, accepted, refused, len(reading.announced))


def _announce(source: KnownSource, reading: Reading, now: datetime) -> None:
    common = {"workspace_id": source.workspace_id, "source_id": source.id, "received_at": now, "due_at": now}
    rows = [Announcement(key=one.key, body=one.body, **common) for one in reading.announced]
    Announcement.objects.bulk_create(rows, ignore_conflicts=True)


def set_aside(source: KnownSource, unread: Sequence[Unread], now: datetime) -> None:
    """Within the caller's transaction, which has a workspace."""
    refused = [Refused(one.place, one.code, one.message, one.raw) for one in unread]
    quarantine.add(refused, source_id=source.id, workspace_id=source.workspace_id, now=now)
