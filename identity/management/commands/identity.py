"""`manage.py identity train|resolve|evaluate`."""

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
        resolve = actions.add_parser("resolve", help="score all records with the latest model, judge, and cluster")
        resolve.add_argument("--only-new", action="store_true", help="only records that came since the last run")
        evaluate = actions.add_parser("evaluate", help="run the same path on a labelled file, without a workspace")
        evaluate.add_argument("file", type=Path)
        evaluate.add_argument("--id", required=True, metavar="COLUMN", dest="key")
        evaluate.add_argument("--truth", required=True, metavar="COLUMN")
        evaluate.add_argument("--mapping", type=Path, metavar="FILE.yaml")

    def handle(self, *args: Any, **options: Any) -> None:
        self.emit(getattr(self, options["action"])(options))

    def train(self, options: dict[str, Any]) -> dict[str, Any]:
        return linkage.train(workspace_id=self.workspace_id(options), seed=options["seed"], now=timezone.now())

    def resolve(self, options: dict[str, Any]) -> dict[str, Any]:
        return linkage.resolve(
            workspace_id=self.workspace_id(options), clock=timezone.now, only_new=options["only_new"]
        )

    def evaluate(self, options: dict[str, Any]) -> dict[str, Any]:
        return evaluation.evaluate(
            options["file"], key=options["key"], truth=options["truth"], mapping_file=options["mapping"]
        )
