"""`manage.py lists`: people by hand, on lists that rules can use, and in or out of a segment whatever its rule says."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from cdp.management.command import TesseraCommand
from segments import list_files, lists
from segments.lists import By
from segments.services import segment_named


class Command(TesseraCommand):
    help = "Put people on lists, by hand or from a file."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        make = actions.add_parser("make", help="an empty list")
        make.add_argument("slug")
        make.add_argument("--name", default="")
        for action, told in (("put-on", "put on the list"), ("take-off", "take off the list")):
            change = actions.add_parser(action, help=f"{told} whom the lines of a file name")
            change.add_argument("slug")
            change.add_argument(
                "file", type=Path, help="one a line: TYPE:VALUE, an e-mail address, or a profile's number"
            )
            change.add_argument("--reason", default="", type=_reason)
        for action, told in (
            ("include", "always in the segment"), ("exclude", "never in it"), ("leave", "the rule alone decides again"),
        ):  # fmt: skip
            by_hand = actions.add_parser(action, help=told)
            by_hand.add_argument("segment")
            by_hand.add_argument("profiles", type=int, nargs="+", metavar="PROFILE")
            by_hand.add_argument("--reason", default="", type=_reason)
        actions.add_parser("show", help="all lists")

    def handle(self, *args: Any, **options: Any) -> None:
        do = {
            "make": self._make, "put-on": self._load, "take-off": self._load, "include": self._move, "exclude": self._move,
            "leave": self._move, "show": self._show,
        }  # fmt: skip
        self.emit(do[options["action"]](options, self.workspace_id(options)))

    def _make(self, options: Mapping[str, Any], workspace_id: int) -> Mapping[str, Any]:
        return {"list": lists.make_list(workspace_id=workspace_id, slug=options["slug"], name=options["name"]).slug}

    def _load(self, options: Mapping[str, Any], workspace_id: int) -> Mapping[str, Any]:
        """Lines that name nobody are told on standard error, by number: what they hold may be personal."""
        done = list_files.load(
            workspace_id=workspace_id,
            slug=options["slug"],
            lines=_lines_of(options["file"]),
            is_removal=options["action"] == "take-off",
            by=By(reason=options["reason"]),
            now=timezone.now(),
            refuse=lambda number, code: self.stderr.write(f"line {number}: {code}"),
        )
        return {"lines": done.lines, "changed": done.changed, "refused": done.refused}

    def _move(self, options: Mapping[str, Any], workspace_id: int) -> Mapping[str, Any]:
        do = {"include": lists.include, "exclude": lists.exclude, "leave": lists.leave_to_rule}
        segment = segment_named(workspace_id=workspace_id, slug=options["segment"])
        by, now = By(reason=options["reason"]), timezone.now()
        changed = do[options["action"]](segment=segment, profiles=options["profiles"], by=by, now=now)
        return {"segment": segment.slug, "changed": changed}

    def _show(self, _: Mapping[str, Any], workspace_id: int) -> Mapping[str, Any]:
        return {"lists": [{"list": each.slug, "name": each.name} for each in lists.lists_of(workspace_id)]}


def _lines_of(file: Path) -> Iterator[str]:
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            yield from opened
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {type(error).__name__}.", returncode=2) from error


def _reason(text: str) -> str:
    if len(text) > lists.LONGEST_REASON:
        raise argparse.ArgumentTypeError(f"a reason has {lists.LONGEST_REASON} characters at most")
    return text
