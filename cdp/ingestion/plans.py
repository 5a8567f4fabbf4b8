"""Tracking plans: versions of a source's plan, and the check that every arriving event passes.

Whoever takes in events opens a check for the batch, asks it about each event, and lets it count in the transaction that
keeps the batch:

    check = plans.open_check(source)
    event = check.applied(event)             # raises RefusedEventError: the plan refuses it
    check.count(now=received_at)

A source without a plan gets a check that does nothing.
"""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import structlog
from django.db import connection
from django.db.models import Max, QuerySet

from cdp.ingestion.messages import FAR_FUTURE, RefusedEventError
from cdp.ingestion.plan_check import Plan, Violation, compile_plan
from cdp.ingestion.plan_proposal import propose
from cdp.ingestion.sources import KnownSource
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import Source, TrackingPlanVersion, User
from cdp.models.tenancy import workspace_scope
from consent import gate

log = structlog.get_logger()

_MOST_COMPILED: Final = 256
SLOTS: Final = 32
PROPOSED_DAYS: Final = 30
MOST_SEEN: Final = 20_000


class UnknownPlanVersionError(TesseraError):
    """The tracking plan of this source has no such version."""

    code = "unknown_plan_version"


class NothingSeenError(TesseraError):
    """There are no events to propose a plan from."""

    code = "nothing_seen"


# -- checking -------------------------------------------------------------------------------------------------------


class PlanCheck:
    """One batch against the live plan of its source; `found` is what `count` has not written yet."""

    def __init__(self, plan: Plan | None, source: KnownSource) -> None:
        self.plan = plan
        self.source = source
        self.found: Counter[Violation] = Counter()

    def applied(self, event: dict[str, Any]) -> dict[str, Any]:
        """The event as the plan lets it pass. Raises `RefusedEventError` when it does not."""
        if self.plan is None:
            return event
        verdict = self.plan.apply(event)
        self.found.update(verdict.violations)
        if verdict.event is None:
            raise RefusedEventError(verdict.code, verdict.reason)
        return verdict.event

    def count(self, *, now: datetime) -> None:
        """Within the caller's transaction, which has a workspace."""
        if self.found:
            _count(self.source, self.found, now)
            self.found = Counter()


def open_check(source: KnownSource) -> PlanCheck:
    plan = _compiled(source.workspace_id, source.plan_id) if source.plan_id else None
    return PlanCheck(plan, source)


@lru_cache(maxsize=_MOST_COMPILED)
def _compiled(workspace_id: int, version_id: int) -> Plan:
    """Versions never change, so one that is compiled stays so."""
    with workspace_scope(workspace_id):
        return compile_plan(TrackingPlanVersion.objects.get(pk=version_id).document)


# In the order of the key, and each connection in a slot of its own: two writers meet rarely and never deadlock.
_COUNT = """
INSERT INTO plan_violation AS known (workspace_id, version_id, day, event, path, keyword, action, slot, events)
SELECT %s, %s, %s, event, path, keyword, action, pg_backend_pid() %% %s, events
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[]) AS new (event, path, keyword, action, events)
ORDER BY event, path, keyword, action
ON CONFLICT (version_id, day, event, path, keyword, action, slot)
DO UPDATE SET events = known.events + EXCLUDED.events
"""


def _count(source: KnownSource, found: Mapping[Violation, int], now: datetime) -> None:
    rows = [(one.event, one.path, one.keyword, one.action.value, events) for one, events in found.items()]
    with connection.cursor() as cursor:
        cursor.execute(
            _COUNT, [source.workspace_id, source.plan_id, now.date(), SLOTS, *map(list, zip(*rows, strict=True))]
        )


# -- proposing ------------------------------------------------------------------------------------------------------

_SEEN = """
SELECT kind, name, properties FROM event
WHERE workspace_id = %s AND source_id = %s AND occurred_at >= %s AND occurred_at < %s LIMIT %s
"""


def propose_plan(
    *, source: Source, now: datetime, days: int = PROPOSED_DAYS, most_events: int = MOST_SEEN
) -> dict[str, Any]:
    """A draft from the events of the last days: nothing is kept. Raises `NothingSeenError`."""
    with gate.permit(Purpose.COLLECTION, workspace_id=source.workspace_id), connection.cursor() as cursor:
        cursor.execute(
            _SEEN, [source.workspace_id, source.pk, now - timedelta(days=days), now + FAR_FUTURE, most_events]
        )
        proposed = propose((kind, name, json.loads(values)) for kind, name, values in cursor)
    if not proposed["rules"]:
        raise NothingSeenError(f"{source.name} has no events of the last {days} days.")
    return proposed


# -- versions -------------------------------------------------------------------------------------------------------


def add_version(
    *, source: Source, document: object, author: User | None, now: datetime, is_live: bool = True
) -> TrackingPlanVersion:
    """Keep a plan as the next version, and let it hold from now on. Raises `PlanError`, and then nothing changed."""
    compile_plan(document)
    with workspace_scope(source.workspace_id):
        held = Source.objects.select_for_update(no_key=True).get(pk=source.pk)  # two at once get two numbers
        newest = versions_of(source).aggregate(newest=Max("number"))["newest"] or 0
        made = TrackingPlanVersion.objects.create(
            workspace_id=source.workspace_id, source=held, number=newest + 1, document=document, author=author,
            created_at=now,
        )  # fmt: skip
        log.info("plan.added", workspace=source.workspace_id, source=source.pk, version=made.number)
        if is_live:
            _let_hold(source, made)
    return made


def make_live(*, source: Source, number: int) -> TrackingPlanVersion:
    """Within `CACHED_SECONDS` every process checks by it. Raises `UnknownPlanVersionError`."""
    with workspace_scope(source.workspace_id):
        version = version_of(source, number)
        _let_hold(source, version)
    return version


def take_off(*, source: Source) -> None:
    """No plan holds any more; its versions and counts stay."""
    with workspace_scope(source.workspace_id):
        _let_hold(source, None)


def _let_hold(source: Source, version: TrackingPlanVersion | None) -> None:
    Source.objects.filter(pk=source.pk).update(live_plan=version)
    source.live_plan = version
    log.info("plan.held", workspace=source.workspace_id, source=source.pk, version=version.number if version else None)


def versions_of(source: Source) -> QuerySet[TrackingPlanVersion]:
    return TrackingPlanVersion.objects.filter(workspace_id=source.workspace_id, source=source)


def version_of(source: Source, number: int) -> TrackingPlanVersion:
    found = versions_of(source).filter(number=number).first()
    if found is None:
        raise UnknownPlanVersionError(f"The tracking plan of {source.name} has no version {number}.")
    return found


def version_or_live(source: Source, number: int | None) -> TrackingPlanVersion:
    """That version, or without a number the one that holds. Raises `UnknownPlanVersionError`."""
    if number is not None:
        return version_of(source, number)
    if source.live_plan is None:
        raise UnknownPlanVersionError(f"{source.name} has no tracking plan that holds.")
    return source.live_plan
