"""`manage.py opendsr create|list|revoke`: the controllers that may send requests by OpenDSR."""

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from cdp.management.command import TesseraCommand
from cdp.models.tenancy import workspace_scope
from consent.models import DsrController
from consent.opendsr import controllers


class Command(TesseraCommand):
    help = "Who may send requests of people by OpenDSR."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        create = actions.add_parser("create", help="a controller; its token is printed once")
        create.add_argument("name", metavar="NAME", help="the controller_id of OpenDSR")
        create.add_argument("--host", action="append", default=[], help="that it may have called back; repeatable")
        create.add_argument("--email", default="", help="told of refusals")
        create.add_argument("--lenient", action="store_true", help="requests may lack the regulation")
        actions.add_parser("list", help="all controllers")
        revoke = actions.add_parser("revoke", help="its token opens nothing any more")
        revoke.add_argument("name", metavar="NAME")

    def handle(self, *_: Any, **options: Any) -> None:
        {"create": self._create, "list": self._list, "revoke": self._revoke}[options["action"]](
            self.workspace_id(options), options
        )

    def _create(self, workspace_id: int, options: dict[str, Any]) -> None:
        made, token = controllers.register_controller(
            workspace_id=workspace_id,
            slug=options["name"],
            hosts=options["host"],
            email=options["email"],
            is_lenient=options["lenient"],
            now=timezone.now(),
        )
        self.emit({"controller": made.slug, "token": token})

    def _list(self, workspace_id: int, _: dict[str, Any]) -> None:
        with workspace_scope(workspace_id):
            rows = list(DsrController.objects.filter(workspace=workspace_id).order_by("slug"))
        self.emit({"controllers": [_described(row) for row in rows]})

    def _revoke(self, workspace_id: int, options: dict[str, Any]) -> None:
        revoked = controllers.revoke_controller(workspace_id=workspace_id, slug=options["name"], now=timezone.now())
        self.emit(_described(revoked))


def _described(row: DsrController) -> dict[str, Any]:
    return {
        "controller": row.slug,
        "hosts": row.callback_hosts,
        "email": row.email,
        "is_lenient": row.is_lenient,
        "revoked_at": row.revoked_at,
    }
