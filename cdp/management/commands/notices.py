"""`manage.py notices due|told`."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from cdp.ingestion.sources import find_source
from cdp.management.command import TesseraCommand
from enrichment import notices


def _time(text: str) -> datetime:
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


class Command(TesseraCommand):
    help = "Who must be told that their data was got from a provider (GDPR Art. 14)."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        due = actions.add_parser("due", help="who must still be told, the most urgent first; ids alone")
        due.add_argument("--most", type=int, default=1000, metavar="N")
        told = actions.add_parser("told", help="keep that those of whom a provider found something were told")
        told.add_argument("source", metavar="SOURCE")
        told.add_argument("--until", type=_time, metavar="TIME", help="found until then, ISO 8601; default: now")

    def handle(self, *args: Any, **options: Any) -> None:
        workspace_id = self.workspace_id(options)
        if options["action"] == "due":
            found = notices.due_notices(workspace_id=workspace_id, most=options["most"])
            self.emit({"due": [asdict(each) for each in found]})
            return
        source, now = find_source(options["source"], workspace_id=workspace_id), timezone.now()
        self.emit({"told": notices.keep_told(source=source, until=options["until"] or now, now=now)})
