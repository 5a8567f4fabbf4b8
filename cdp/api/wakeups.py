"""Workers hear of new work when it is committed. A broker that is away fails no request: the sweep finds the work."""

from django.db import transaction

from cdp import tasks
from cdp.models import Stage


def wake_on_commit(stage: Stage, *, workspace_id: int) -> None:
    transaction.on_commit(lambda: tasks.wake(stage, workspace_id=workspace_id), robust=True)


def wake_quarantine_on_commit(*, workspace_id: int) -> None:
    transaction.on_commit(lambda: tasks.wake_quarantine(workspace_id=workspace_id), robust=True)
