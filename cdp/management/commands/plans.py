"""`manage.py plans put|show|live|off|violations|propose SOURCE`."""

import json
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from cdp.ingestion import plan_queries, plans
from cdp.ingestion.plan_check import PlanError
from cdp.ingestion.sources import find_source
from cdp.management.command import TesseraCommand
from cdp.models import Source, TrackingPlanVersion
from cdp.models.tenancy import workspace_scope


class Command(TesseraCommand):
    help = "Tracking plans: what a source promised to send, and how often it did not keep to it."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        put = actions.add_parser("put", help="keep a plan as the next version, and let it hold")
        show = actions.add_parser("show", help="print a version")
        live = actions.add_parser("live", help="let a version hold")
        off = actions.add_parser("off", help="let no version hold")
        violations = actions.add_parser("violations", help="what was counted")
        propose = actions.add_parser("propose", help="draft a plan from the events of the last days")
        for action in (put, show, live, off, violations, propose):
            action.add_argument("source", metavar="SOURCE")
        put.add_argument("file", type=Path, metavar="FILE.json")
        put.add_argument("--draft", action="store_true", help="keep it, and let it not hold yet")
        show.add_argument("--version", type=int, dest="number", metavar="N", help="default: the live one")
        live.add_argument("number", type=int, metavar="N")
        for action, days in ((violations, 7), (propose, plans.PROPOSED_DAYS)):
            action.add_argument("--days", type=int, default=days, metavar="N", help=f"default: {days}")

    def handle(self, *args: Any, **options: Any) -> None:
        source = find_source(options["source"], workspace_id=self.workspace_id(options))
        self.emit(getattr(self, f"_{options['action']}")(source, options))

    def _put(self, source: Source, options: dict[str, Any]) -> dict[str, Any]:
        version = plans.add_version(
            source=source,
            document=_read(options["file"]),
            author=None,
            now=timezone.now(),
            is_live=not options["draft"],
        )
        return _told(source, version)

    def _show(self, source: Source, options: dict[str, Any]) -> dict[str, Any]:
        with workspace_scope(source.workspace_id):
            version = plans.version_or_live(source, options["number"])
        return {**_told(source, version), "plan": version.document}

    def _live(self, source: Source, options: dict[str, Any]) -> dict[str, Any]:
        return _told(source, plans.make_live(source=source, number=options["number"]))

    def _off(self, source: Source, options: dict[str, Any]) -> dict[str, Any]:
        plans.take_off(source=source)
        return {"source": source.name, "version": None, "live": False}

    def _violations(self, source: Source, options: dict[str, Any]) -> dict[str, Any]:
        first = timezone.now().date() - timedelta(days=options["days"] - 1)
        with workspace_scope(source.workspace_id):
            counted = plan_queries.violations_since(source, first)
        return {"source": source.name, "since": first, "violations": [asdict(one) for one in counted]}

    def _propose(self, source: Source, options: dict[str, Any]) -> dict[str, Any]:
        return plans.propose_plan(source=source, now=timezone.now(), days=options["days"])


def _told(source: Source, version: TrackingPlanVersion) -> dict[str, Any]:
    return {"source": source.name, "version": version.number, "live": source.live_plan_id == version.pk}


def _read(file: Path) -> object:
    try:
        return json.loads(file.read_text())
    except OSError as error:
        raise PlanError(f"{file} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{file} is no JSON: {error}.") from None
