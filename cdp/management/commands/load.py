"""`manage.py load records|events FILE --source NAME`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from cdp.ingestion import services as ingestion
from cdp.ingestion.connector_registry import EXPORTS
from cdp.ingestion.loading import Counts
from cdp.management.command import TesseraCommand


class Command(TesseraCommand):
    help = "Load a CSV, JSON lines or Parquet file. A load that was stopped goes on where it was."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        for name, of_what in (("records", "rows of a source system"), ("events", "events")):
            action = actions.add_parser(name, help=f"load {of_what}")
            action.add_argument("file", type=Path)
            action.add_argument("--source", required=True, metavar="NAME")
            meaning = action.add_mutually_exclusive_group()
            meaning.add_argument("--mapping", type=Path, metavar="FILE.yaml", help="what the columns mean")
            if name == "events":
                meaning.add_argument("--format", choices=sorted(EXPORTS), help="the export of a system")

    def handle(self, *args: Any, **options: Any) -> None:
        load = {"records": ingestion.load_records, "events": ingestion.load_events}[options["action"]]
        counts = load(
            workspace_id=self.workspace_id(options),
            source=options["source"],
            path=options["file"],
            mapping=options["mapping"],
            **({"export": options["format"]} if options.get("format") else {}),
            clock=timezone.now,
            report=self._report,
        )
        self.emit(asdict(counts))

    def _report(self, counts: Counts) -> None:
        self.say(f"{counts.read:,} rows read, {counts.accepted:,} accepted, {counts.quarantined:,} in quarantine")
