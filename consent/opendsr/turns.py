"""What the worker of rights does for requests that came by OpenDSR: begin them, end them, and note who is to hear of it.

Each part finds its work in the tables and may run twice: killed in between, the next turn goes on.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import structlog
from django.db import connection
from django.db.models import QuerySet

from cdp.kernel.errors import TesseraError
from cdp.kernel.logins import RIGHTS
from cdp.models.tenancy import workspace_scope
from consent import requests
from consent.models import DsrCallback, DsrRequest
from consent.opendsr.words import MAIL, STATUS_BY_STATE
from consent.request_states import OPEN, RequestState

log = structlog.get_logger()

AT_ONCE: Final = 500


def take_turn(*, workspace_id: int, now: datetime) -> int:
    """Returns how many callbacks were noted: they are due at once."""
    for request_id in _found(workspace_id, _RECEIVED):
        _step(requests.start_request, workspace_id, request_id, now)
    for request_id in _found(workspace_id, _MAY_BE_DONE):
        _step(requests.complete_request, workspace_id, request_id, now)
    with workspace_scope(workspace_id):
        return sum(_note(cover, now) for cover in _unsettled(workspace_id))


# -- begin and end --------------------------------------------------------------------------------------------------

_RECEIVED: Final = """
SELECT r.id FROM dsr_request c JOIN data_request r ON r.id = c.request_id
WHERE c.workspace_id = %s AND NOT c.is_settled AND r.state = 'RECEIVED' ORDER BY r.id LIMIT %s
"""
# What no package answers is completed only if it is done: `complete_request` knows, and else refuses.
_MAY_BE_DONE: Final = """
SELECT r.id FROM dsr_request c JOIN data_request r ON r.id = c.request_id
WHERE c.workspace_id = %s AND NOT c.is_settled AND r.state = 'IN_PROGRESS'
  AND (r.kind NOT IN ('ACCESS', 'PORTABILITY')
       OR EXISTS (SELECT FROM data_package p WHERE p.request_id = r.id AND p.built_at IS NOT NULL))
ORDER BY r.id LIMIT %s
"""


def _found(workspace_id: int, query: str) -> list[int]:
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        cursor.execute(query, [workspace_id, AT_ONCE])
        return [request_id for (request_id,) in cursor.fetchall()]


def _step(service: Callable[..., Any], workspace_id: int, request_id: int, now: datetime) -> None:
    """It is not done yet, or an officer, the controller or another worker was quicker: then there is nothing to do."""
    try:
        service(workspace_id=workspace_id, request_id=request_id, by=RIGHTS, now=now)
    except TesseraError as error:
        log.debug("opendsr.step_not_taken", workspace=workspace_id, request=request_id, code=error.code)


# -- who is to hear of it -------------------------------------------------------------------------------------------

_CHANGES: Final = """
SELECT id, to_state FROM data_request_step
WHERE request_id = %s AND id > %s AND from_state NOT IN ('', to_state) ORDER BY id
"""


def _unsettled(workspace_id: int) -> QuerySet[DsrRequest]:
    """Locked: another worker has others, and what it notes is noted once."""
    rows = DsrRequest.objects.select_for_update(skip_locked=True, of=("self",)).select_related("controller")
    return rows.filter(workspace=workspace_id, is_settled=False).order_by("pk")[:AT_ONCE]


def _note(cover: DsrRequest, now: datetime) -> int:
    """Every change of state is a callback for every address, in the order in which they happened."""
    with connection.cursor() as cursor:
        cursor.execute(_CHANGES, [cover.request_id, cover.noted_step])
        changes = cursor.fetchall()
    if not changes:
        return 0
    due = [
        DsrCallback(
            workspace_id=cover.workspace_id, cover=cover, step=step, url=url, status=STATUS_BY_STATE[state], due_at=now
        )
        for step, state in changes
        for url in _addresses(cover, state)
    ]
    DsrCallback.objects.bulk_create(due, ignore_conflicts=True)
    cover.noted_step, cover.is_settled = changes[-1][0], changes[-1][1] not in OPEN
    cover.save(update_fields=["noted_step", "is_settled"])
    return len(due)


def _addresses(cover: DsrRequest, state: str) -> list[str]:
    """OpenDSR has no word for a refusal, so the controller gets a letter besides."""
    email = cover.controller.email
    return [*cover.callback_urls, *([MAIL + email] if email and state == RequestState.REFUSED else [])]
