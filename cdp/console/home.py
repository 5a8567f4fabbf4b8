"""The home page: how much there is, what waits, and what is held back. None of its queries walks the event log."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact
from django.http import HttpRequest
from django.utils import timezone

from activation.admin import states_of
from activation.models import Audience
from cdp.admin import workspace_of
from cdp.kernel.purposes import Purpose
from cdp.models import Event, OutboxRow, Profile, QuarantinedItem, Run, Stage
from consent.due_requests import requests_due
from consent.models import PurposePolicy
from identity.models import ReviewPair
from segments.models import Segment
from segments.queries import sizes_of

COUNTED_EXACTLY = 10_000
FRESH_SECONDS = 10  # a page that is reloaded all the time is computed no more often
MOST_ROWS = 12


@dataclass(frozen=True)
class Amount:
    """A count: exact as long as counting is cheap, and the planner's estimate beyond."""

    number: int
    is_exact: bool = True


@dataclass(frozen=True)
class Held:
    """People whom a purpose does not have, because they did not permit it."""

    policy: PurposePolicy
    number: int
    percent: int


def fill_home(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    workspace = workspace_of(request)
    if workspace is None:
        return context
    key = f"console-home-{workspace.pk}"
    numbers = cache.get(key)
    if numbers is None:
        numbers = numbers_of(workspace.pk)
        cache.set(key, numbers, FRESH_SECONDS)
    return {**context, **numbers}


def numbers_of(workspace_id: int) -> dict[str, Any]:
    people = people_in(workspace_id)
    return {
        "events": amount_of(Event.objects.filter(workspace=workspace_id)),
        "people": people["live"],
        "merged": people["merged"],
        "held": held_back(workspace_id, people),
        "quarantined": amount_of(
            QuarantinedItem.objects.filter(workspace=workspace_id, replayed_at=None, discarded_at=None)
        ),
        "pairs": amount_of(ReviewPair.objects.filter(workspace=workspace_id, judgement=None)),
        "due": amount_of(requests_due(workspace_id, now=timezone.now())),
        "set_aside": amount_of(OutboxRow.objects.filter(workspace=workspace_id).exclude(failed_at=None)),
        "waiting": waiting_by_stage(workspace_id),
        "segments": segments_with_sizes(workspace_id),
        "audiences": audiences_with_states(workspace_id),
        "runs": list(Run.objects.filter(workspace=workspace_id).order_by("-pk")[:5]),
    }


def amount_of(rows: QuerySet[Any]) -> Amount:
    counted = rows.order_by()[: COUNTED_EXACTLY + 1].count()
    if counted <= COUNTED_EXACTLY:
        return Amount(counted)
    return Amount(max(planned_rows(rows), counted), is_exact=False)


def planned_rows(rows: QuerySet[Any]) -> int:
    """How many rows the planner expects: as good as the last ANALYZE, and free."""
    plan = json.loads(rows.order_by().values("pk").explain(format="json"))
    return int(plan[0]["Plan"]["Plan Rows"])


def people_in(workspace_id: int) -> Mapping[str, int]:
    """One walk over the profiles: how many, how many merged away, and how many each purpose may use."""
    live = Q(merged_into=None)
    permitting = {
        purpose.value: Count("pk", filter=live & Q(Exact(F("permitted").bitand(purpose.bit), purpose.bit)))
        for purpose in Purpose
        if purpose.is_gated
    }
    rows = Profile.objects.filter(workspace=workspace_id)
    return rows.aggregate(live=Count("pk", filter=live), merged=Count("pk", filter=~live), **permitting)


def held_back(workspace_id: int, people: Mapping[str, int]) -> list[Held]:
    held = []
    for policy in PurposePolicy.objects.filter(workspace=workspace_id).order_by("bit"):
        if policy.purpose in people:
            without = people["live"] - people[policy.purpose]
            held.append(Held(policy, without, round(100 * without / max(people["live"], 1))))
    return held


def waiting_by_stage(workspace_id: int) -> list[tuple[Any, Amount]]:
    rows = OutboxRow.objects.filter(workspace=workspace_id, failed_at=None)
    return [(stage.label, subjects_of(rows.filter(stage=stage))) for stage in Stage]


def subjects_of(rows: QuerySet[OutboxRow]) -> Amount:
    """A row may name a whole pack of them. Of too many rows the first say how large packs are."""
    looked_at = rows.order_by()[: COUNTED_EXACTLY + 1].aggregate(
        rows=Count("pk"), subjects=Coalesce(Sum(Coalesce("subjects__len", 1)), 0)
    )
    if looked_at["rows"] <= COUNTED_EXACTLY:
        return Amount(looked_at["subjects"])
    in_all = max(planned_rows(rows), looked_at["rows"])
    return Amount(in_all * looked_at["subjects"] // looked_at["rows"], is_exact=False)


def segments_with_sizes(workspace_id: int) -> list[Segment]:
    rows = Segment.objects.filter(workspace=workspace_id, archived_at=None).select_related("live_version")
    newest = list(rows.order_by("-pk")[:MOST_ROWS])
    sizes = sizes_of([segment.pk for segment in newest])
    for segment in newest:
        segment.size = sizes.get(segment.pk, 0)  # type: ignore[attr-defined]  # for the page alone
    return newest


def audiences_with_states(workspace_id: int) -> list[Audience]:
    rows = Audience.objects.filter(workspace=workspace_id).select_related("destination", "segment")
    newest = list(rows.order_by("-pk")[:MOST_ROWS])
    counts = states_of([audience.pk for audience in newest])
    for audience in newest:
        audience.states = counts.get(audience.pk, {})  # type: ignore[attr-defined]  # for the page alone
    return newest
