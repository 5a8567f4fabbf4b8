"""`manage.py retention [--dry-run]`."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from cdp.management.command import TesseraCommand
from consent import retention


class Command(TesseraCommand):
    help = "Delete what is past its period, with evidence; or tell what would go. The scheduler does it each night."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--dry-run", action="store_true", help="count what is due, and delete nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        act = retention.due if options["dry_run"] else retention.apply_schedules
        told = act(workspace_id=self.workspace_id(options), now=timezone.now())
        self.emit({"dry_run": options["dry_run"], "schedules": [asdict(each) for each in told]})
