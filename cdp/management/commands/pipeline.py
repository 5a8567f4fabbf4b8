"""`pipeline drain`: work in this process, whatever the workers do, until nothing is left; then say what there is."""

import time
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from cdp import pipeline
from cdp.management.command import TesseraCommand


class Command(TesseraCommand):
    help = "Run every stage until nothing waits."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        drain = self.add_actions(parser).add_parser("drain", help="work until nothing is left")
        drain.add_argument("--timeout", type=float, default=3600, metavar="S", help="seconds, default: 3600")

    def handle(self, *_: Any, **options: Any) -> None:
        workspace_id = self.workspace_id(options)
        began = time.monotonic()
        done = pipeline.drain(workspace_id=workspace_id, now=timezone.now, timeout=options["timeout"])
        self.emit({**pipeline.totals(workspace_id), "seconds": round(time.monotonic() - began, 3)})
        if not done:
            left = ", ".join(f"{number} for {stage}" for stage, number in pipeline.waiting(workspace_id).items())
            message = f"Subjects still wait after {options['timeout']:g} s ({left}): run it again to go on."
            raise CommandError(message)
