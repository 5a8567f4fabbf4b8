"""`manage.py connections create|list|check|run|reset|mapping`."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from django.core.management.base import CommandParser
from django.utils import timezone

from cdp.ingestion import connecting, reading
from cdp.ingestion.connector_registry import KINDS
from cdp.kernel.errors import TesseraError
from cdp.management.command import TesseraCommand
from cdp.management.commands.sources import slug
from cdp.models import Connection
from cdp.models.tenancy import workspace_scope

_CHOICES = [kind.lower() for kind in KINDS]
SECRETS_VARIABLE = "CONNECTION_SECRETS"  # not an argument: those are seen by everybody on the machine


class BadSettingsError(TesseraError):
    """The settings or secrets are no table of YAML or JSON."""

    code = "bad_settings"


class Command(TesseraCommand):
    help = "Connect systems that are read from, as a CRM, and read them."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        create = actions.add_parser("create", help=f"connect a system; its secrets come from {SECRETS_VARIABLE}")
        create.add_argument("name", type=slug, help="of the new source: small letters, digits, - and _")
        create.add_argument("--kind", required=True, choices=_CHOICES)
        create.add_argument("--config", type=Path, metavar="FILE.yaml", help="settings, mappings among them")
        create.add_argument("--every", type=int, default=900, metavar="SECONDS", help="default: 900")
        actions.add_parser("list", help="what is connected, and how it fares")
        for name, what in (
            ("check", "ask the system for a row of each object"),
            ("run", "read now, until there is no more"),
            ("reset", "forget how far it was read"),
        ):
            actions.add_parser(name, help=what).add_argument("name")
        mapping = actions.add_parser("mapping", help="print the mappings that a kind comes with, as settings")
        mapping.add_argument("--kind", required=True, choices=_CHOICES)

    def handle(self, *args: Any, **options: Any) -> None:
        self.emit(getattr(self, f"_{options['action']}")(options))

    def _create(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        path = options["config"]
        with self._scope(options) as workspace_id:
            made = connecting.create_connection(
                workspace_id=workspace_id,
                name=options["name"],
                kind=options["kind"].upper(),
                config=_table(path.read_text(encoding="utf-8"), "settings") if path else {},
                secrets=_table(os.environ.get(SECRETS_VARIABLE, ""), "secrets"),
                every_seconds=options["every"],
                now=timezone.now(),
            )
        return _described(made)

    def _list(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        with self._scope(options) as workspace_id:
            return {"connections": [_described(one) for one in connecting.connections_in(workspace_id)]}

    def _check(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        said = connecting.check_connection(self._named(options))
        return {"connection": options["name"], "ok": not any(said.values()), "objects": said}

    def _run(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        counts = reading.read_now(self._named(options), clock=timezone.now)
        return {"connection": options["name"], **asdict(counts)}

    def _reset(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        found = self._named(options)
        with self._scope(options):
            connecting.reset_connection(found, now=timezone.now())
        return {"connection": options["name"], "reset": True}

    def _mapping(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return connecting.shipped_settings(options["kind"].upper())

    def _named(self, options: Mapping[str, Any]) -> Connection:
        with self._scope(options) as workspace_id:
            return connecting.connection_named(options["name"], workspace_id=workspace_id)

    @contextmanager
    def _scope(self, options: Mapping[str, Any]) -> Iterator[int]:
        workspace_id = self.workspace_id(options)
        with workspace_scope(workspace_id):
            yield workspace_id


def _described(connection: Connection) -> dict[str, Any]:
    return {
        "connection": connection.source.name,
        "kind": connection.source.kind.lower(),
        "state": connecting.state_of(connection, now=timezone.now()).lower(),
        "due_at": connection.due_at,
        "failures": connection.failures,
        "error": connection.error,
        "counts": connection.run.counts if connection.run else {},
    }


def _table(text: str, what: str) -> dict[str, Any]:
    try:
        given = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        given = None
    if not isinstance(given, dict):
        raise BadSettingsError(f"The {what} must be a table, in YAML or JSON.")
    return given
