"""`manage.py identity train|resolve|evaluate|columns`."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from cdp.management.command import TesseraCommand
from identity import evaluation, linkage
from identity.matching.training import SEED


class Command(TesseraCommand):
    help = "Train the model of record linkage, link records with it, and measure how well that goes."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        train = actions.add_parser("train", help="learn from the records of the workspace, and freeze the model")
        train.add_argument("--seed", type=int, default=SEED)
        actions.add_parser("resolve", help="score all records with the latest model, judge, and cluster")
        evaluate = actions.add_parser("evaluate", help="run the same path on a labelled file, without a workspace")
        evaluate.add_argument("file", type=Path)
        evaluate.add_argument("--id", required=True, metavar="COLUMN", dest="key")
        evaluate.add_argument("--truth", required=True, metavar="COLUMN")
        evaluate.add_argument("--mapping", type=Path, metavar="FILE.yaml")

        proposed = actions.add_parser(
            "columns", help="show which column of a file holds which trait, as YAML to change"
        )
        proposed.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        result = getattr(self, options["action"])(options)
        if options["action"] == "columns" and not self.as_json:
            self.stdout.write(result["mapping"])  # so that it can be sent into a file, and be changed there
            return
        self.emit(result)

    def train(self, options: dict[str, Any]) -> dict[str, Any]:
        return linkage.train(workspace_id=self.workspace_id(options), seed=options["seed"], now=timezone.now())

    def resolve(self, options: dict[str, Any]) -> dict[str, Any]:
        return linkage.resolve(workspace_id=self.workspace_id(options), clock=timezone.now)

    def evaluate(self, options: dict[str, Any]) -> dict[str, Any]:
        return evaluation.evaluate(
            options["file"], key=options["key"], truth=options["truth"], mapping_file=options["mapping"]
        )

    def columns(self, options: dict[str, Any]) -> dict[str, Any]:
        return evaluation.propose(options["file"])
