"""Webhooks: take a delivery in, and fetch what it only announced.

`receive` acknowledges: when it returns, what the delivery says is on disk, or what it announces is in the ledger of
what is to be fetched. Whatever comes twice has the same message ids and the same key, so it is kept once.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.db import connection as database
from django.db.models import F

from cdp import http
from cdp.ingestion import quarantine
from cdp.ingestion.bodies import storable_json
from cdp.ingestion.calls import accept_calls
from cdp.ingestion.quarantine import Refused
from cdp.ingestion.sources import KnownSource, known_source
from cdp.ingestion.webhook import (
    Call,
    Delivery,
    MalformedDeliveryError,
    Reading,
    RefusedDeliveryError,
    Settings,
    Unread,
    Webhook,
)  # fmt: skip
from cdp.ingestion.webhook_registry import FETCHING, WEBHOOKS
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import Announcement, Connection, Source, SourceKind
from cdp.models.secrets import decrypted
from cdp.models.tenancy import workspace_scope
from consent import gate

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
        return _set_aside(connected, delivery, error, now)
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
    return Connected(known_source(source), SourceKind(source.kind), _settings(row), row.failures > 0)


def _settings(row: Connection) -> Settings:
    return Settings(row.config, decrypted(row.secrets) if row.secrets else {})


def _count_refusal(source: KnownSource, error: RefusedDeliveryError) -> None:
    """Seen on the connection and in /metrics until the next genuine delivery."""
    log.warning("webhook.refused", source=source.id, code=error.code)
    with workspace_scope(source.workspace_id):
        Connection.objects.filter(source_id=source.id).update(failures=F("failures") + 1, error=error.code)


def _set_aside(connected: Connected, delivery: Delivery, error: MalformedDeliveryError, now: datetime) -> Received:
    source = connected.source
    log.warning("webhook.malformed", source=source.id, code=error.reason)
    with workspace_scope(source.workspace_id):
        _quarantine(source, [Unread(PLACE, error.reason, error.message, delivery.body)], now)
    return Received(source.workspace_id, quarantined=1, malformed=error, status=connected.webhook.malformed_status)


def _keep(connected: Connected, reading: Reading, now: datetime) -> Received:
    """One transaction for all that the delivery says."""
    source = connected.source
    with workspace_scope(source.workspace_id):
        _announce(source, reading, now)
        _quarantine(source, reading.unread, now)
        accepted = accept_calls(source=source, calls=reading.calls, received_at=now)
        if connected.has_failed:
            Connection.objects.filter(source_id=source.id).update(failures=0, error="")
    refused = len(reading.unread) + len(reading.calls) - accepted
    return Received(source.workspace_id, accepted, refused, len(reading.announced))


def _announce(source: KnownSource, reading: Reading, now: datetime) -> None:
    common = {"workspace_id": source.workspace_id, "source_id": source.id, "received_at": now, "due_at": now}
    rows = [Announcement(key=one.key, body=one.body, **common) for one in reading.announced]
    Announcement.objects.bulk_create(rows, ignore_conflicts=True)


def _quarantine(source: KnownSource, unread: Sequence[Unread], now: datetime) -> None:
    refused = [Refused(one.place, one.code, one.message, one.raw) for one in unread]
    quarantine.add(refused, source_id=source.id, workspace_id=source.workspace_id, now=now)


# -- what was announced ---------------------------------------------------------------------------------------------

MOST_AT_ONCE: Final = 20
LONGEST_SECONDS: Final = 3.0  # others want their turn
LEASE: Final = timedelta(minutes=5)  # of a worker that is killed meanwhile
FIRST_DELAY: Final = timedelta(seconds=30)
LONGEST_DELAY: Final = timedelta(hours=1)
TIMEOUT: Final = http.Timeout(connect=2, read=5, total=5)
REFUSED: Final = MalformedDeliveryError("fetch_refused", "The other system refuses to give it.")
REFUSALS: Final = dict.fromkeys((404, 410), MalformedDeliveryError("gone", "It was deleted before it was fetched."))
LOCKED_OUT: Final = frozenset({401, 403})  # a person must look at the access token; the answers wait

Known = dict[tuple[int, str], Any]  # what was asked for in this run, by source and address

# Whoever claims moves the due time on: should it be killed, the next one comes after the lease.
_CLAIM: Final = """
UPDATE announcement SET due_at = %s, attempts = attempts + 1 WHERE id = (
    SELECT announcement.id FROM announcement JOIN connection USING (source_id)
    WHERE announcement.due_at <= %s AND connection.is_enabled
    ORDER BY announcement.due_at LIMIT 1 FOR UPDATE OF announcement SKIP LOCKED
) RETURNING id
"""


def fetch_due(*, workspace_id: int, clock: Callable[[], datetime], most: int = MOST_AT_ONCE) -> int:
    """Fetch what is due, one thing after the other, until something fails. Returns how many are done with.

    May run anywhere and twice at once: each thing is claimed first, and what a killed worker had fetched already is
    recognised by its message ids.
    """
    until = time.monotonic() + LONGEST_SECONDS
    done, known = 0, Known()
    while done < most and time.monotonic() < until:
        announcement = _claimed(workspace_id, clock())
        if announcement is None or not _fetch(announcement, known, clock):
            break
        done += 1
    return done


def _claimed(workspace_id: int, now: datetime) -> Announcement | None:
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace_id), database.cursor() as cursor:
        cursor.execute(_CLAIM, [now + LEASE, now])
        found = cursor.fetchone()
        if not found:
            return None
        return Announcement.objects.select_related("source__workspace").get(pk=found[0])


def _fetch(announcement: Announcement, known: Known, clock: Callable[[], datetime]) -> bool:
    """No transaction is open while the other system is asked."""
    source = known_source(announcement.source)
    try:
        calls = _asked(announcement, known)
    except http.TransientHttpError as error:
        return _postpone(announcement, error.code, clock(), error.retry_after)
    except http.PermanentHttpError as error:
        status = error.response.status if error.response else None
        if status is None or status in LOCKED_OUT:
            return _postpone(announcement, "access_denied" if status else error.code, clock())
        return _give_up(announcement, REFUSALS.get(status, REFUSED), clock())
    except MalformedDeliveryError as error:
        return _give_up(announcement, error, clock())
    with gate.permit(Purpose.COLLECTION, workspace_id=source.workspace_id):
        accept_calls(source=source, calls=calls, received_at=announcement.received_at)
        _close(announcement, error="")
    return True


def _asked(announcement: Announcement, known: Known) -> Sequence[Call]:
    """What was announced, from the other system. What many announcements share is asked for once in a run."""
    with gate.permit(Purpose.COLLECTION, workspace_id=announcement.workspace_id):
        settings = _settings(Connection.objects.get(source_id=announcement.source_id))
    fetching = FETCHING[SourceKind(announcement.source.kind)]
    headers = fetching.headers(settings)

    def get(address: str) -> Any:  # noqa: ANN401  # whatever the other system says
        place = (announcement.source_id, address)
        if place not in known:
            known[place] = http.request(
                "GET", address, headers=headers, timeout=TIMEOUT, retry=http.ONCE,
                per_minute=fetching.requests_per_minute,
            ).json()  # fmt: skip
        return known[place]

    return fetching.fetch(announcement.body, settings, get)


def _postpone(announcement: Announcement, code: str, now: datetime, seconds: float | None = None) -> bool:
    """Doubling to an hour, apart from each other; longer where the other system asks for it. Nothing is given up."""
    delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(announcement.attempts - 1, 10))
    delay *= random.uniform(0.5, 1)  # noqa: S311  # jitter keeps retries apart, it hides nothing
    due_at = now + max(delay, timedelta(seconds=seconds or 0))
    log.warning("announcement.postponed", source=announcement.source_id, announcement=announcement.pk, code=code)
    with gate.permit(Purpose.COLLECTION, workspace_id=announcement.workspace_id):
        Announcement.objects.filter(pk=announcement.pk).update(due_at=due_at, error=code)
        Connection.objects.filter(source_id=announcement.source_id).update(failures=F("failures") + 1, error=code)
    return False


def _give_up(announcement: Announcement, error: MalformedDeliveryError, now: datetime) -> bool:
    log.warning("announcement.refused", source=announcement.source_id, announcement=announcement.pk, code=error.reason)
    source = known_source(announcement.source)
    raw = storable_json(announcement.body).encode()
    with gate.permit(Purpose.COLLECTION, workspace_id=source.workspace_id):
        _quarantine(source, [Unread(f"{PLACE}:{announcement.key}", error.reason, error.message, raw)], now)
        _close(announcement, error=error.reason)
    return True


def _close(announcement: Announcement, *, error: str) -> None:
    Announcement.objects.filter(pk=announcement.pk).update(due_at=None, error=error)
    Connection.objects.filter(source_id=announcement.source_id, failures__gt=0).update(failures=0, error="")
