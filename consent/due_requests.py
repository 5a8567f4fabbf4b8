"""Which requests of people must be answered soon."""

from datetime import datetime, timedelta
from typing import Final

from django.db.models import QuerySet

from cdp.models.tenancy import workspace_scope
from consent.models import DataRequest, IdentityDoubt

SOON: Final = timedelta(days=7)


def requests_due(workspace_id: int, *, now: datetime) -> QuerySet[DataRequest]:
    """Open ones that are due within a week or late, the most urgent first. In the scope of the workspace.

    Where it is doubted who asks the clock stands still, and nothing is due.
    """
    rows = DataRequest.objects.filter(workspace=workspace_id, closed_at=None, due_at__lt=now + SOON)
    return rows.exclude(doubts__in=IdentityDoubt.objects.filter(ended_at=None)).order_by("due_at", "pk")


def due_soon(*, workspace_id: int, now: datetime) -> list[int]:
    with workspace_scope(workspace_id):
        return list(requests_due(workspace_id, now=now).values_list("pk", flat=True)[:1_000])
