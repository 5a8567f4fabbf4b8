"""`manage.py quality report|measure SOURCE`."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from cdp.ingestion import quality_measuring, quality_reports
from cdp.ingestion.sources import find_source
from cdp.management.command import TesseraCommand
from cdp.models import Source
from cdp.models.tenancy import workspace_scope


class Command(TesseraCommand):
    help = "How good the data of a source is: missing values, outliers, what moved, duplicates."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        report = actions.add_parser("report", help="the newest report, or that of a file, which is not loaded")
        report.add_argument("source", metavar="SOURCE")
        report.add_argument(
            "--file", type=Path, metavar="FILE", help="measure it beside the last load, and keep nothing"
        )
        report.add_argument("--key", default="", metavar="COLUMN", help="of the file: what tells its rows apart")
        measure = actions.add_parser("measure", help="measure what the source sent on a day, and keep the report")
        measure.add_argument("source", metavar="SOURCE")
        measure.add_argument("--day", type=date.fromisoformat, metavar="YYYY-MM-DD", help="UTC; default: yesterday")

    def handle(self, *args: Any, **options: Any) -> None:
        source = find_source(options["source"], workspace_id=self.workspace_id(options))
        told = {"report": self._report, "measure": self._measure}[options["action"]](source, options)
        self.emit({"source": source.name, **told})

    def _report(self, source: Source, options: dict[str, Any]) -> dict[str, Any]:
        if options["file"]:
            return quality_measuring.measure_file(source=source, path=options["file"], key=options["key"])
        with workspace_scope(source.workspace_id):
            return quality_reports.as_json(quality_reports.newest_report(source))

    def _measure(self, source: Source, options: dict[str, Any]) -> dict[str, Any]:
        now = timezone.now()
        day = options["day"] or now.date() - timedelta(days=1)
        return quality_reports.as_json(quality_measuring.measure_day(source=source, day=day, now=now))
