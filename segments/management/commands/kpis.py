"""`manage.py kpis`: figures of segments, computed now."""

import time
from collections.abc import Mapping
from datetime import date
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from cdp.management.command import TesseraCommand
from segments.kpis import computing, editing, watching


class Command(TesseraCommand):
    help = "Compute the figures of segments, and see which of them strayed."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        compute = actions.add_parser("compute", help="what is due, as the schedule does each minute")
        compute.add_argument(
            "--from",
            dest="again_from",
            type=date.fromisoformat,
            metavar="YYYY-MM-DD",
            help="all periods that begin on this day or later, settled or not",
        )
        actions.add_parser("ensure", help="the ready-made figures, if the workspace never had one")

    def handle(self, *args: Any, **options: Any) -> None:
        do = {"compute": self._compute, "ensure": self._ensure}
        self.emit(do[options["action"]](options))

    def _compute(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        workspace_id, began = self.workspace_id(options), time.perf_counter()
        told = computing.compute(workspace_id=workspace_id, now=timezone.now(), again_from=options["again_from"])
        alerts = watching.watch(workspace_id=workspace_id, now=timezone.now())
        return {**told, "alerts": alerts, "seconds": round(time.perf_counter() - began, 3)}

    def _ensure(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        made = editing.ensure_ready_made(workspace_id=self.workspace_id(options))
        return {"made": [kpi.slug for kpi in made]}
