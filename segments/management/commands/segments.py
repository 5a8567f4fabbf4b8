"""`manage.py segments`: who matches a rule, new segments, and groups that are learned."""

import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from cdp.management.command import TesseraCommand
from segments import services
from segments.learned import runs

ENGINES = tuple(services.ENGINES)


class Command(TesseraCommand):
    help = "Evaluate a rule over everybody, create a segment, or learn one."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        evaluate = actions.add_parser("evaluate", help="who matches a rule; nothing is written")
        evaluate.add_argument("file", type=Path, help="the rule: JSON, or the text form")
        evaluate.add_argument("--engine", choices=ENGINES, default=ENGINES[0])
        evaluate.add_argument("--at", metavar="TIME", help="as of this time (ISO 8601, UTC without an offset)")
        evaluate.add_argument("--members", action="store_true", help="list the ids of the profiles")
        create = actions.add_parser("create", help="a new segment, computed and serving")
        create.add_argument("slug")
        create.add_argument("file", type=Path, help="the rule: JSON, or the text form")
        create.add_argument("--name", default="")
        create.add_argument("--allow-unknown", action="store_true", help="names that the rule needs will come later")
        learn = actions.add_parser("learn", help="train a learned segmentation from a specification")
        learn.add_argument("file", type=Path, help="the specification: YAML")
        learn.add_argument("--input", type=Path, help="a plain file in place of the profiles")

    def handle(self, *args: Any, **options: Any) -> None:
        do = {"evaluate": self._evaluate, "create": self._create, "learn": self._learn}
        self.emit(do[options["action"]](options, now=timezone.now()))

    def _evaluate(self, options: Mapping[str, Any], *, now: datetime) -> Mapping[str, Any]:
        rule, at = _text_of(options["file"]), _time(options["at"]) or now
        workspace_id = self.workspace_id(options)
        began = time.perf_counter()
        found = services.find_matching(workspace_id=workspace_id, definition=rule, engine=options["engine"], now=at)
        seconds = round(time.perf_counter() - began, 3)
        result: dict[str, Any] = {"count": len(found.members), "digest": found.digest, "seconds": seconds}
        return {**result, "members": list(found.members)} if options["members"] else result

    def _create(self, options: Mapping[str, Any], *, now: datetime) -> Mapping[str, Any]:
        segment = services.create_segment(
            workspace_id=self.workspace_id(options), slug=options["slug"], name=options["name"],
            definition=_text_of(options["file"]), author=None, now=now, allow_unknown=options["allow_unknown"],
        )  # fmt: skip
        services.finish_versions(workspace_id=segment.workspace_id, clock=timezone.now)
        return {"segment": segment.slug, "version": 1, "members": services.size_of(segment)}

    def _learn(self, options: Mapping[str, Any], *, now: datetime) -> Mapping[str, Any]:
        specification = yaml.safe_load(_text_of(options["file"]))
        if not isinstance(specification, dict):
            raise CommandError("A specification is a YAML mapping.", returncode=2)
        workspace_id = self.workspace_id(options)
        return runs.learn(workspace_id=workspace_id, specification=specification, input_file=options["input"], now=now)


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {type(error).__name__}.", returncode=2) from error


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise CommandError(f"{text!r} is no time: write 2026-11-21T12:00:00Z.", returncode=2)
    return found if timezone.is_aware(found) else found.replace(tzinfo=timezone.get_default_timezone())
