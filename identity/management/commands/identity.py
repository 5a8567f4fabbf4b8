"""`manage.py identity train|resolve|cancel|index|models|undo|history|households|opinions|evaluate|columns`."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from cdp import rehearsal, retrospect
from cdp.management.command import TesseraCommand
from identity import evaluation, households, linkage, operating, undoing
from identity.live import index
from identity.matching.training import SEED
from identity.review import opinions


class Command(TesseraCommand):
    help = "Train the model of record linkage, link records with it, undo what it did, and measure how well it goes."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        train = actions.add_parser("train", help="learn from the records of the workspace, and freeze a candidate")
        train.add_argument("--seed", type=int, default=SEED)
        train.add_argument(
            "--calibrate",
            action="store_true",
            help="learn nothing: a candidate of the active model, with thresholds that agree with what stewards judged",
        )
        actions.add_parser("households", help="find anew who belongs with whom: households and organisations")
        actions.add_parser("opinions", help="form a second opinion on the pairs that wait, and order them anew")
        resolve = actions.add_parser("resolve", help="score all records with the active model, judge, and cluster")
        resolve.add_argument("--preview", action="store_true", help="say what would change, and change nothing")
        resolve.add_argument("--model", type=int, metavar="N", help="with --preview: this version, not the active one")
        resolve.add_argument("--only-new", action="store_true", help="only records that came since the last run")
        cancel = actions.add_parser("cancel", help="stop a run of `resolve` that is at work")
        cancel.add_argument("run", type=int)
        _add_models(actions.add_parser("models", help="the versions of the model, and which one links"))
        _add_undo(actions.add_parser("undo", help="take back a judgement, a run, or all that a model judged"))
        history = actions.add_parser("history", help="what a profile was on a day")
        history.add_argument("profile", type=int)
        history.add_argument("--at", required=True, metavar="TIME", help="2026-11-21 or 2026-11-21T12:00:00Z")
        actions.add_parser("index", help="make the keys by which arrivals are compared at once, for the active model")
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

    def train(self, options: dict[str, Any]) -> Mapping[str, Any]:
        if options["calibrate"]:
            return operating.calibrate(workspace_id=self.workspace_id(options), now=timezone.now())
        return linkage.train(workspace_id=self.workspace_id(options), seed=options["seed"], now=timezone.now())

    def resolve(self, options: dict[str, Any]) -> Mapping[str, Any]:
        workspace_id = self.workspace_id(options)
        if options["preview"]:
            changes = rehearsal.resolve(workspace_id=workspace_id, version=options["model"], now=timezone.now())
            return asdict(changes)
        if options["model"]:
            message = "`resolve` links with the active model: `identity models activate N` first, or add --preview."
            raise CommandError(message)
        return linkage.resolve(workspace_id=workspace_id, clock=timezone.now, only_new=options["only_new"])

    def cancel(self, options: dict[str, Any]) -> Mapping[str, Any]:
        return linkage.cancel(workspace_id=self.workspace_id(options), run=options["run"], now=timezone.now())

    def models(self, options: dict[str, Any]) -> Mapping[str, Any]:
        workspace_id, deed, numbers = self.workspace_id(options), options["deed"], options["versions"]
        if len(numbers) != VERSIONS_NAMED[deed]:
            message = f"`identity models {deed}` names {VERSIONS_NAMED[deed]} versions, not {len(numbers)}."
            raise CommandError(message)
        if deed == "activate":
            return operating.activate(workspace_id=workspace_id, version=numbers[0], now=timezone.now())
        return operating.shown(deed, numbers, workspace_id=workspace_id)

    def undo(self, options: dict[str, Any]) -> Mapping[str, Any]:
        scope = next(scope for scope in undoing.Scope if options[scope.value] is not None)
        deed = rehearsal.undo if options["preview"] else undoing.undo_as_operator
        number, workspace_id = options[scope.value], self.workspace_id(options)
        return asdict(deed(workspace_id=workspace_id, scope=scope, number=number, now=timezone.now()))

    def history(self, options: dict[str, Any]) -> Mapping[str, Any]:
        workspace_id = self.workspace_id(options)
        return retrospect.profile_at(workspace_id=workspace_id, profile_id=options["profile"], at=_time(options["at"]))

    def households(self, options: dict[str, Any]) -> dict[str, int]:
        return households.relate_everybody(workspace_id=self.workspace_id(options), now=timezone.now())

    def opinions(self, options: dict[str, Any]) -> dict[str, Any]:
        return opinions.give_opinions(workspace_id=self.workspace_id(options), now=timezone.now())

    def index(self, options: dict[str, Any]) -> dict[str, Any]:
        return index.build_index(
            workspace_id=self.workspace_id(options), now=timezone.now(), progress=lambda keys: self.say(f"{keys} keys")
        )

    def evaluate(self, options: dict[str, Any]) -> dict[str, Any]:
        return evaluation.evaluate(
            options["file"], key=options["key"], truth=options["truth"], mapping_file=options["mapping"]
        )

    def columns(self, options: dict[str, Any]) -> dict[str, Any]:
        return evaluation.propose(options["file"])


VERSIONS_NAMED = {"list": 0, "show": 1, "activate": 1, "compare": 2}


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("deed", choices=list(VERSIONS_NAMED))
    parser.add_argument("versions", type=int, nargs="*", metavar="N", help="show N, activate N, compare OLDER NEWER")


def _add_undo(parser: argparse.ArgumentParser) -> None:
    scope = parser.add_mutually_exclusive_group(required=True)
    for name in undoing.Scope:
        scope.add_argument(f"--{name.value}", type=int, metavar="N")
    parser.add_argument("--preview", action="store_true", help="say what would change, and change nothing")


def _time(text: str) -> datetime:
    """A day means its beginning; a time without a zone is UTC."""
    try:
        read = parse_datetime(text) or datetime.fromisoformat(text)
    except ValueError as error:
        message = f"--at {text!r} is no time: write 2026-11-21 or 2026-11-21T12:00:00Z."
        raise CommandError(message) from error
    return read if read.tzinfo else read.replace(tzinfo=UTC)
