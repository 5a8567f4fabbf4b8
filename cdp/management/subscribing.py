"""What `webhooks` and `streams` have in common: they connect systems that send by themselves, and list them."""

import json
import os
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml
from django.core.management.base import CommandError, CommandParser

from cdp.ingestion import subscribing
from cdp.management.command import TesseraCommand
from cdp.models import Connection, SourceKind
from cdp.models.tenancy import workspace_scope

SECRETS_VARIABLE = "CONNECTION_SECRETS"  # not an argument: everybody on the machine sees those


class SubscribingCommand(TesseraCommand):
    kinds: ClassVar[Sequence[SourceKind]]

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        _add_create(
            actions.add_parser("create", help=f"make a connection; its secrets come from {SECRETS_VARIABLE}"),
            self.kinds,
        )
        actions.add_parser("list", help="what is connected, and how it fares")

    def handle(self, *_: Any, **options: Any) -> None:
        workspace_id = self.workspace_id(options)
        if options["action"] == "list":
            with workspace_scope(workspace_id):
                found = subscribing.subscriptions_in(workspace_id, kinds=self.kinds)
                self.emit({"connections": [self.described(one) for one in found]})
            return
        made = subscribing.subscribe(
            workspace_id=workspace_id,
            name=options["name"],
            kind=SourceKind(options["kind"].upper()),
            config=_config(options["config"]),
            secrets=_secrets(os.environ.get(SECRETS_VARIABLE, "")),
            region=(options["region"] or "").upper(),
        )
        self.emit(self.described(made))

    def described(self, connection: Connection) -> dict[str, Any]:
        return {
            "source": connection.source.name,
            "kind": connection.source.kind.lower(),
            "is_enabled": connection.is_enabled,
            "failures": connection.failures,
            "error": connection.error,
        }


def _add_create(create: ArgumentParser, kinds: Sequence[SourceKind]) -> None:
    create.add_argument("name", help="of the new source: small letters, digits, - and _")
    create.add_argument("--kind", required=True, choices=[kind.value.lower() for kind in kinds])
    create.add_argument("--config", type=Path, metavar="FILE.yaml", help="its settings")
    create.add_argument("--region", metavar="XX", help="ISO 3166 code, for phone numbers and dates")


def _config(path: Path | None) -> Mapping[str, Any]:
    if path is None:
        return {}
    try:
        return _table(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise CommandError(f"{path} is no YAML file.", returncode=2) from None


def _secrets(text: str) -> Mapping[str, str]:
    try:
        given = _table(json.loads(text or "{}"), SECRETS_VARIABLE)
    except ValueError:
        raise CommandError(f"{SECRETS_VARIABLE} is no JSON.", returncode=2) from None
    return {name: str(value) for name, value in given.items()}


def _table(given: object, where: str) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise CommandError(f"{where} must hold a table.", returncode=2)
    return given
