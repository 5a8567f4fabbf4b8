"""What a webhook only announced is fetched by a worker, from the ledger of what is to be fetched.

Each thing is claimed before the other system is asked, and closed in the transaction that stores what it said. A
worker that is killed in between leaves it to the next one after the lease. While the other system is away or refuses
the credentials everything waits; only what it will never give is given up, into quarantine.
"""

import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.db import connection as database
from django.db.models import F

from cdp import http
from cdp.ingestion.bodies import storable_json
from cdp.ingestion.calls import accept_calls
from cdp.ingestion.deliveries import PLACE, set_aside, settings_of
from cdp.ingestion.sources import known_source
from cdp.ingestion.webhook import Call, MalformedDeliveryError, Unread
from cdp.ingestion.webhook_registry import FETCHING
from cdp.kernel.purposes import Purpose
from cdp.models import Announcement, Connection, SourceKind
from consent import gate

log = structlog.get_logger()

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
        settings = settings_of(Connection.objects.get(source_id=announcement.source_id))
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
        set_aside(source, [Unread(f"{PLACE}:{announcement.key}", error.reason, error.message, raw)], now)
        _close(announcement, error=error.reason)
    return True


def _close(announcement: Announcement, *, error: str) -> None:
    Announcement.objects.filter(pk=announcement.pk).update(due_at=None, error=error)
    Connection.objects.filter(source_id=announcement.source_id, failures__gt=0).update(failures=0, error="")
