"""`manage.py normalise value VALUE --kind KIND`, and `manage.py normalise records --source NAME`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from cdp.ingestion.corrections import corrections_of
from cdp.ingestion.normalise import NORMALISERS
from cdp.ingestion.renormalising import Counts, renormalise
from cdp.ingestion.sources import default_region_of
from cdp.management.command import TesseraCommand


class Command(TesseraCommand):
    help = "Show what becomes of a value, or read stored records again by the normalisation of today."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        value = actions.add_parser("value", help="the normal form of a value, and how sure it is")
        value.add_argument("value")
        value.add_argument("--kind", required=True, choices=sorted(NORMALISERS))
        value.add_argument("--region", help="ISO 3166 code; default: that of the workspace")
        records = actions.add_parser("records", help="read the records of a source again; what was stopped goes on")
        records.add_argument("--source", required=True, metavar="NAME")
        records.add_argument("--mapping", type=Path, metavar="FILE.yaml", help="for records whose mapping was not kept")
        records.add_argument("--dry-run", action="store_true", help="count what would change, and name examples")

    def handle(self, *args: Any, **options: Any) -> None:
        (self._show if options["action"] == "value" else self._renormalise)(options)

    def _show(self, options: dict[str, Any]) -> None:
        workspace_id = self.workspace_id(options)
        region = options["region"] or default_region_of(workspace_id)
        normaliser = NORMALISERS[options["kind"]]
        found = normaliser(options["value"], region=region, corrections=corrections_of(workspace_id))
        self.emit({"kind": options["kind"], "region": region, **(asdict(found) if found else {"value": None})})

    def _renormalise(self, options: dict[str, Any]) -> None:
        done = renormalise(
            workspace_id=self.workspace_id(options),
            source=options["source"],
            mapping=options["mapping"],
            is_dry_run=options["dry_run"],
            clock=timezone.now,
            report=self._report,
        )
        self.emit({**asdict(done.counts), "examples": [asdict(one) for one in done.examples]})

    def _report(self, counts: Counts) -> None:
        self.say(f"{counts.read:,} records read again, {counts.changed:,} changed")
