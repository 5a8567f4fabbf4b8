"""`activation preview`: what would be sent to a destination for the members of a file, without sending it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from activation import registry
from activation.destination import Operation
from activation.preview import preview
from cdp.ingestion import files
from cdp.management.command import TesseraCommand
from cdp.models import Workspace


class Command(TesseraCommand):
    help = "Look at what activation would send."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        action = self.add_actions(parser).add_parser("preview", help="the requests for the members of a file")
        action.add_argument("--kind", required=True, choices=registry.KINDS)
        action.add_argument("--members", required=True, type=Path, metavar="FILE", help="one member a row or line")
        action.add_argument("--operation", required=True, choices=["add", "remove"])
        action.add_argument("--config", type=Path, metavar="FILE", help="the destination's configuration, JSON")

    def handle(self, *_: Any, **options: Any) -> None:
        seen = preview(
            kind=options["kind"],
            config=_read_config(options["config"]),
            operation=Operation(options["operation"].upper()),
            members=files.open_table(options["members"]).rows(),
            region=_region_of(options["workspace"]),
        )
        self.emit(asdict(seen))


def _read_config(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} is no JSON file.", returncode=2) from error
    if not isinstance(config, dict):
        raise CommandError(f"{path} must hold a JSON object.", returncode=2)
    return config


def _region_of(slug: str) -> str:
    """A preview needs no workspace, but where there is one its phone numbers are read as it would read them."""
    found = Workspace.objects.filter(slug=slug).values_list("default_region", flat=True).first()
    return found or "FR"
