"""Keep audiences: what destinations should hold is written into the ledger, and what is due is sent."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from typing import Any, Final

from django.db import connection

from activation import erasing, ledger, queries, registry, sync
from activation.ledger import Wish
from activation.models import Audience, Destination
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import Cause
from cdp.models.secrets import encrypted
from cdp.models.tenancy import workspace_scope
from consent import gate
from consent.gate import Advertising, Permit
from segments.models import Segment

MOST_SENDERS: Final = 16
SECONDS_PER_CALL: Final = 20.0
PATIENCE_SECONDS: Final = erasing.PATIENCE_SECONDS
NOTHING: Final[Mapping[int, Cause]] = {}


def reconcile(permit: Permit[Advertising], subjects: Mapping[int, Cause], *, now: datetime) -> Mapping[int, Cause]:
    """Write into the ledger what the audiences should now hold of these profiles. Sends nothing.

    A profile that left its segments, that was merged away or that withdrew has no wishes left: its keys are removed.
    """
    formats = _formats()
    if not formats:  # there is no audience
        return NOTHING
    wishes = _wishes(permit, list(subjects), formats)
    ledger.take_turn(permit)
    ledger.make_wishes_true(permit, wishes, subjects, now=now)
    return NOTHING


def send_due(*, workspace_id: int, now: datetime, meanwhile: Callable[[], object] = lambda: None) -> int:
    """Send what is due, to all destinations at once. Returns how many members were in the requests.

    A destination that answers slowly holds up none but itself; one that fails is left alone until its rows are due
    again. A call ends after a while, though more may be due: the next wake-up goes on. Destinations that must be told
    of people who were erased are told at the same time. While all are waited for, `meanwhile` is called again and again:
    who withdraws is not kept waiting by a destination.
    """
    erasing.settle_erasures(workspace_id=workspace_id, now=now)  # what was sent by now is what was asked
    with erasing.telling(workspace_id=workspace_id, now=now, meanwhile=meanwhile):
        return _send_audiences(workspace_id, now, meanwhile)


def _send_audiences(workspace_id: int, now: datetime, meanwhile: Callable[[], object]) -> int:
    until = time.monotonic() + SECONDS_PER_CALL
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id) as permit:
        waiting = queries.due_destinations(permit, now=now)
    if not waiting:
        return 0
    sent = 0
    under_way: dict[Future[sync.Report], sync.Assignment] = {}
    with ThreadPoolExecutor(min(len(waiting), MOST_SENDERS), thread_name_prefix="sender") as senders:
        while waiting or under_way:
            for destination_id in waiting:
                if assignment := _claim(workspace_id, destination_id, now):
                    under_way[senders.submit(sync.send, assignment, now=now)] = assignment
            waiting = []
            for answered in _answered(under_way, meanwhile):
                assignment = under_way.pop(answered)
                sent += len(assignment.members)
                if _record(workspace_id, assignment, answered.result(), now) and time.monotonic() < until:
                    waiting.append(assignment.destination_id)
    return sent


def _answered(
    under_way: Collection[Future[sync.Report]], meanwhile: Callable[[], object]
) -> Collection[Future[sync.Report]]:
    """Those of which it is known by now what became of them; at least one, if any is under way."""
    while under_way:
        if done := wait(under_way, timeout=PATIENCE_SECONDS, return_when=FIRST_COMPLETED).done:
            return done
        meanwhile()
    return ()


def create_destination(
    *,
    workspace_id: int,
    slug: str,
    kind: str,
    config: Mapping[str, Any],
    secrets: Mapping[str, str],
    now: datetime,  # noqa: ARG001  # every service takes it
    recipient: str = "",
) -> Destination:
    """Connect a platform. Raises `UnknownKindError` or `DestinationConfigError` before anything is stored.

    Consents name it by `recipient`, or where that is empty by its kind. Who permits that one is sent.
    """
    erases = registry.destination(kind, config, secrets).erases
    with workspace_scope(workspace_id):
        return Destination.objects.create(
            workspace_id=workspace_id,
            slug=slug,
            kind=kind,
            recipient=recipient,
            config=dict(config),
            secrets=encrypted(secrets),
            erases=erases.value,
        )


def create_audience(
    *,
    workspace_id: int,
    destination: Destination,
    segment: Segment,
    external_id: str,
    identifier_types: Sequence[str],
    now: datetime,
) -> Audience:
    """Keep a segment in step on a destination. Its members are handed to the stage in the same transaction.

    A segment has one audience at a destination: asked for again, it is changed.
    """
    with workspace_scope(workspace_id):
        made, _ = Audience.objects.update_or_create(
            destination=destination,
            segment=segment,
            defaults={"external_id": external_id, "identifier_types": list(identifier_types)},
            create_defaults={
                "workspace_id": workspace_id, "external_id": external_id, "identifier_types": list(identifier_types)
            },
        )  # fmt: skip
        refresh_audience(workspace_id=workspace_id, audience=made, now=now)
    return made


_HAND_OVER = """
INSERT INTO outbox (workspace_id, stage, subject_id, cause)
SELECT %(workspace)s, 'ACTIVATION', profile_id, 'DEFINITION' FROM (
    SELECT profile_id FROM candidate WHERE audience_id = %(audience)s
    UNION
    SELECT profile_id FROM audience_member WHERE audience_id = %(audience)s
) AS concerned
"""


def refresh_audience(
    *,
    workspace_id: int,
    audience: Audience,
    now: datetime,  # noqa: ARG001  # every service takes it
) -> int:
    """Have everybody who is or was in an audience looked at again: after a change of what it sends."""
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id), connection.cursor() as cursor:
        cursor.execute(_HAND_OVER, {"workspace": workspace_id, "audience": audience.pk})
        return int(cursor.rowcount)


FormatKey = Callable[[str, str], str | None]


def _formats() -> Mapping[int, FormatKey]:
    """How the destination of each audience writes an identifier."""
    return {
        audience.pk: registry.destination(audience.destination.kind, audience.destination.config).format_key
        for audience in Audience.objects.select_related("destination")
    }


def _wishes(permit: Permit[Advertising], profiles: Sequence[int], formats: Mapping[int, FormatKey]) -> list[Wish]:
    """Each key once for each profile, though two of its identifiers may come to the same."""
    wishes: dict[tuple[int, int, str], Wish] = {}
    for audience_id, profile_id, identifier_type, value in queries.candidates(permit, profiles):
        if key := formats[audience_id](identifier_type, value):
            wishes.setdefault((audience_id, profile_id, key), Wish(audience_id, profile_id, identifier_type, key))
    return list(wishes.values())


def _claim(workspace_id: int, destination_id: int, now: datetime) -> sync.Assignment | None:
    """A destination that cannot even be opened is paused, and the others go on."""
    try:
        with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id) as permit:
            return sync.claim(permit, destination_id=destination_id, now=now)
    except TesseraError as error:
        with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id) as permit:
            sync.pause(permit, destination_id=destination_id, code=error.code, now=now)
        return None


def _record(workspace_id: int, assignment: sync.Assignment, report: sync.Report, now: datetime) -> bool:
    with gate.permit(Purpose.ADVERTISING, workspace_id=workspace_id) as permit:
        return sync.record(permit, assignment, report, now=now)
