"""Controllers that we are processor for: who they are, and the token that shows it.

A token begins with the number of its workspace, so it is looked up behind the wall between workspaces.
"""

import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cdp.kernel.errors import TesseraError
from cdp.models.keys import digest_of
from cdp.models.tenancy import workspace_scope
from consent.models import DsrController

_TOKEN: Final = re.compile(r"dsr_(\d{1,18})\.[\w-]{20,100}")
_HOST: Final = re.compile(r"(?=.{1,253}(:|$))[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?")
HINT: Final = 12


class UnknownControllerError(TesseraError):
    """Send the token of a controller as `Authorization: Bearer TOKEN`."""

    code = "unknown_controller"


class ControllerExistsError(TesseraError):
    """There is a controller of this name: take another one."""

    code = "controller_exists"


class BadHostError(TesseraError):
    """A host to call back is written example.com or example.com:8443, in lower case."""

    code = "bad_host"


def register_controller(
    *, workspace_id: int, slug: str, hosts: Sequence[str], email: str = "", is_lenient: bool = False, now: datetime
) -> tuple[DsrController, str]:
    """The controller and its token, which is stored nowhere."""
    if not are_hosts(hosts):
        raise BadHostError
    token = new_token(workspace_id)
    with workspace_scope(workspace_id):
        made, is_new = DsrController.objects.get_or_create(
            workspace_id=workspace_id,
            slug=slug,
            defaults={
                "digest": digest_of(token),
                "hint": token[:HINT],
                "callback_hosts": list(hosts),
                "email": email,
                "is_lenient": is_lenient,
                "created_at": now,
            },
        )
    if not is_new:
        raise ControllerExistsError
    return made, token


def are_hosts(texts: Sequence[str]) -> bool:
    return all(_HOST.fullmatch(text) for text in texts)


def revoke_controller(*, workspace_id: int, slug: str, now: datetime) -> DsrController:
    """Its token opens nothing any more, and it is called back no more. What it asked for goes on."""
    with workspace_scope(workspace_id):
        found = DsrController.objects.filter(workspace=workspace_id, slug=slug).first()
        if found is None:
            raise UnknownControllerError
        found.revoked_at = found.revoked_at or now
        found.save(update_fields=["revoked_at"])
    return found


def new_token(workspace_id: int) -> str:
    return f"dsr_{workspace_id}.{secrets.token_urlsafe(32)}"


def controller_of(token: str) -> DsrController:
    """Raises `UnknownControllerError`."""
    if not (read := _TOKEN.fullmatch(token)):
        raise UnknownControllerError
    workspace_id = int(read[1])
    with workspace_scope(workspace_id):
        rows = DsrController.objects.filter(workspace=workspace_id, digest=digest_of(token), revoked_at=None)
        found = rows.filter(workspace__closed_at=None).first()
    if found is None:
        raise UnknownControllerError
    return found
