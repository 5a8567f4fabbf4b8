"""The log of breaches: every one is written down, the authority is told within 72 hours, evidence says who was affected."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection
from django.db.models import QuerySet

from cdp.kernel.errors import TesseraError
from cdp.models.tenancy import workspace_scope
from consent.models import Breach, BreachEvidence, BreachNature
from consent.register_models import TIME_TO_NOTIFY

WARN_BEFORE: Final = timedelta(hours=24)


class NoticedInTheFutureError(TesseraError):
    """A breach cannot be noticed later than now: give the time when you learned of it."""

    code = "noticed_in_the_future"


class LateWithoutReasonError(TesseraError):
    """The 72 hours are over: say why the authority is told late (GDPR Art. 33(1))."""

    code = "late_without_reason"


@dataclass(frozen=True, slots=True)
class Affected:
    """Whose data a source brought in a period; without a source, whose data came from anywhere. Half open."""

    since: datetime
    until: datetime
    source_id: int | None = None

    def as_json(self) -> dict[str, object]:
        return {"since": self.since.isoformat(), "until": self.until.isoformat(), "source_id": self.source_id}


def record_breach(
    *, workspace_id: int, noticed_at: datetime, facts: str, nature: str, now: datetime, **more: Any
) -> Breach:
    """Write it down, also if nobody need be told. The clock runs from `noticed_at`."""
    if noticed_at > now:
        raise NoticedInTheFutureError
    with workspace_scope(workspace_id):
        return Breach.objects.create(
            workspace_id=workspace_id, noticed_at=noticed_at, facts=facts, nature=BreachNature(nature), recorded_at=now,
            **more,
        )  # fmt: skip


def tell_authority(*, workspace_id: int, breach_id: int, at: datetime, reason: str = "") -> Breach:
    """The authority was told. Past the 72 hours a reason is required."""
    with workspace_scope(workspace_id):
        breach = Breach.objects.select_for_update().get(workspace_id=workspace_id, pk=breach_id)
        if at > breach.due_at and not (reason or breach.untold_reason):
            raise LateWithoutReasonError(due_at=breach.due_at.isoformat())
        breach.authority_told_at = breach.authority_told_at or at
        breach.untold_reason = reason or breach.untold_reason
        breach.save(update_fields=["authority_told_at", "untold_reason"])
    return breach


def open_clocks(*, now: datetime, within: timedelta = WARN_BEFORE) -> QuerySet[Breach]:
    """Breaches whose 72 hours end within this time or are over: not told, and no reason why not. In a workspace's scope."""
    soon = now + within - TIME_TO_NOTIFY
    waiting = Breach.objects.filter(authority_told_at=None, untold_reason="", noticed_at__lte=soon)
    return waiting.order_by("noticed_at")


def clocks_ending(*, workspace_id: int, now: datetime) -> list[int]:
    """As `open_clocks`, ids alone, in a scope of its own."""
    with workspace_scope(workspace_id):
        return list(open_clocks(now=now).values_list("pk", flat=True)[:1_000])


# -- who was affected -------------------------------------------------------------------------------------------------

_AFFECTED = """
INSERT INTO breach_evidence (workspace_id, breach_id, query, people, profile_ids, taken_at)
SELECT %(workspace)s, %(breach)s, %(query)s::jsonb, count(*), COALESCE(array_agg(profile_id ORDER BY profile_id), '{}'), %(now)s
FROM (
    SELECT i.profile_id FROM identifier i JOIN event e ON e.identifier_id = i.id
    WHERE e.workspace_id = %(workspace)s AND e.received_at >= %(since)s AND e.received_at < %(until)s
    AND (%(source)s::bigint IS NULL OR e.source_id = %(source)s)
    UNION
    SELECT i.profile_id FROM identifier i JOIN record r ON r.identifier_id = i.id
    WHERE r.workspace_id = %(workspace)s AND r.loaded_at >= %(since)s AND r.loaded_at < %(until)s
    AND (%(source)s::bigint IS NULL OR r.source_id = %(source)s)
) AS affected
RETURNING id
"""


def keep_evidence(*, workspace_id: int, breach_id: int, affected: Affected, now: datetime) -> BreachEvidence:
    """Ask who was affected, and keep the question with its answer: ids alone, which erasure makes nobody's."""
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        breach = Breach.objects.get(workspace_id=workspace_id, pk=breach_id)
        asked: Mapping[str, Any] = {
            "workspace": workspace_id, "breach": breach.pk, "query": json.dumps(affected.as_json()), "now": now,
            "since": affected.since, "until": affected.until, "source": affected.source_id,
        }  # fmt: skip
        cursor.execute(_AFFECTED, asked)
        return BreachEvidence.objects.get(pk=cursor.fetchone()[0])
