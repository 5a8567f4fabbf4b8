"""`workspaces create`, `workspaces list`, `workspaces set-time-zone`, `workspaces close`."""

from argparse import ArgumentTypeError
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from django.core.validators import validate_slug
from django.utils import timezone

from cdp.management.command import TesseraCommand
from cdp.models import Workspace
from cdp.models.closing import close_workspace
from consent import services as consent
from segments.zones import change_time_zone


class Command(TesseraCommand):
    help = "Make and list workspaces, the tenants of this installation."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        create = actions.add_parser("create", help="make a workspace with the default purposes, unless it is there")
        create.add_argument("slug", type=_slug, metavar="SLUG")
        create.add_argument("--name", default="", help="default: the slug")
        actions.add_parser("list", help="all workspaces")
        zone = actions.add_parser("set-time-zone", help="what its clocks show; whom that concerns is evaluated again")
        zone.add_argument("slug", metavar="SLUG")
        zone.add_argument("zone", metavar="ZONE", help="for example Europe/Paris")
        close = actions.add_parser("close", help="delete a workspace and everything in it, ledgers included")
        close.add_argument("slug", metavar="SLUG")
        close.add_argument("--yes", action="store_true", required=True, help="it cannot be undone")

    def handle(self, *_: Any, **options: Any) -> None:
        if options["action"] == "create":
            name = options["name"] or options["slug"]
            self.emit(_shown(consent.open_workspace(slug=options["slug"], name=name, now=timezone.now())))
        elif options["action"] == "set-time-zone":
            self.emit(self._set_time_zone(options["slug"], options["zone"]))
        elif options["action"] == "close":
            self.emit({"deleted": close_workspace(slug=options["slug"], now=timezone.now())})
        else:
            self.emit({"workspaces": [_shown(workspace) for workspace in Workspace.objects.order_by("slug")]})

    def _set_time_zone(self, slug: str, zone: str) -> dict[str, Any]:
        workspace_id = self.workspace_id({"workspace": slug})
        return {"evaluated_again": change_time_zone(workspace_id=workspace_id, time_zone=zone)}


def _slug(text: str) -> str:
    try:
        validate_slug(text)
    except ValidationError:
        raise ArgumentTypeError("a slug has letters, digits, hyphens and underscores only") from None
    return text


def _shown(workspace: Workspace) -> dict[str, Any]:
    return {
        "workspace": workspace.slug,
        "name": workspace.name,
        "created_at": workspace.created_at.isoformat(),
        "closed_at": workspace.closed_at and workspace.closed_at.isoformat(),
    }
