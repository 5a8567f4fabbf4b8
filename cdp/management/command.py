"""What every command of `manage.py` has in common: a workspace, and one JSON object for scripts.

class Command(TesseraCommand):
    def add_arguments(self, parser):
        super().add_arguments(parser)
        train = self.add_actions(parser).add_parser("train")     # only where there are several actions
        train.add_argument("--seed", type=int)

    def handle(self, *args, **options):
        self.emit(identity.train(workspace_id=self.workspace_id(options), ...))
"""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from cdp.kernel.errors import TesseraError
from cdp.models import Workspace

DEFAULT_WORKSPACE = "default"


class UnknownWorkspaceError(TesseraError):
    """There is no such workspace. `manage.py workspaces create SLUG` makes one."""

    code = "unknown_workspace"


class ActionParser(CommandParser):
    """The parser of one action, which takes the common options too: people write them last."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        _add_common_options(self, default=argparse.SUPPRESS)


class TesseraCommand(BaseCommand):
    """Exit status: 0 done; 1 the work failed, with `code: message` on standard error; 2 wrong arguments.

    Standard output belongs to `emit`; progress goes to standard error by `say`.
    """

    as_json = False
    requires_system_checks = ()  # `make check` runs them; a command that people wait for does not

    def add_arguments(self, parser: CommandParser) -> None:
        _add_common_options(parser)

    def add_actions(self, parser: CommandParser) -> "argparse._SubParsersAction[ActionParser]":
        """For `manage.py NAME ACTION …`: the chosen action is `options["action"]`."""
        return parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=ActionParser)

    def run_from_argv(self, argv: list[str]) -> None:
        try:
            super().run_from_argv(argv)
        except TesseraError as error:
            self.stderr.write(f"{error.code}: {error.message}")
            sys.exit(1)

    def execute(self, *args: Any, **options: Any) -> str | None:
        self.as_json = bool(options.get("as_json"))
        return super().execute(*args, **options)

    def workspace_id(self, options: Mapping[str, Any]) -> int:
        slug = options["workspace"]
        found = Workspace.objects.filter(slug=slug, closed_at=None).values_list("pk", flat=True).first()
        if found is None:
            message = f"There is no workspace {slug!r}: `manage.py workspaces create {slug}` makes it."
            raise UnknownWorkspaceError(message)
        return found

    def emit(self, result: Mapping[str, Any]) -> None:
        """Print the result: one JSON object under `--json`, else a line for each value."""
        if self.as_json:
            self.stdout.write(_as_json(result))
            return
        for name, value in result.items():
            self.stdout.write(f"{name}: {value if isinstance(value, str) else _as_json(value)}")

    def say(self, text: str) -> None:
        """Tell whoever watches how far it is."""
        self.stderr.write(text, str)


def _add_common_options(parser: argparse.ArgumentParser, **given: Any) -> None:
    parser.add_argument(
        "--workspace", metavar="SLUG", help="default: default", **{"default": DEFAULT_WORKSPACE, **given}
    )
    parser.add_argument(
        "--json",
        action="store_true",
        dest="as_json",
        help="print exactly one JSON object",
        **{"default": False, **given},
    )


def _as_json(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
