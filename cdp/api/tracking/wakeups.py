"""Tell the worker that something came. What was accepted lies in the outbox, so all this may fail."""

import time
from typing import Final

import structlog

from cdp.models import Stage
from cdp.tasks import wake

log = structlog.get_logger()

SILENT_SECONDS: Final = 5.0  # after a broker did not answer: the sweep finds the work, and requests do not wait for it

_silent_until = 0.0


def wake_ingestion(workspace_id: int) -> None:
    """A broker that is away costs the sender nothing."""
    global _silent_until  # noqa: PLW0603  # one breaker for the process
    if time.monotonic() < _silent_until:
        return
    try:
        wake(Stage.INGESTION, workspace_id=workspace_id)
    except Exception as error:  # noqa: BLE001  # each broker has its own errors, and none may reach the sender
        _silent_until = time.monotonic() + SILENT_SECONDS
        log.warning("broker.unreachable", error=type(error).__name__)
