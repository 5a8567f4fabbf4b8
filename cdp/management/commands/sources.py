"""`manage.py sources create|list|limit|protect|set-time-zone NAME`, `manage.py sources keys list|create|revoke NAME`."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from cdp.ingestion import services as ingestion
from cdp.ingestion import sources
from cdp.ingestion.tokens import client_id_of
from cdp.kernel.assertions import PublicKeyError
from cdp.management.command import ActionParser, TesseraCommand
from cdp.models import Source, SourceKind
from segments.zones import change_time_zone_of_source

KINDS = {"http": SourceKind.HTTP, "file": SourceKind.FILE}


class Command(TesseraCommand):
    help = "Make sources of data, their write keys, and the limits of what they may send."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        create = actions.add_parser("create", help="make a source; its write key is shown once")
        create.add_argument("name", type=slug, help="small letters, digits, - and _")
        create.add_argument("--kind", required=True, choices=sorted(KINDS))
        create.add_argument("--unique-people", action="store_true", help="two of its records are never one person")
        create.add_argument("--region", type=_region, help="ISO 3166 code, for phone numbers and dates")
        _add_limit(create)
        actions.add_parser("list", help="all sources and their limits")
        limit = actions.add_parser("limit", help="say how much a source may send; without options: what is usual here")
        limit.add_argument("name")
        _add_limit(limit)
        protect = actions.add_parser("protect", help="take calls with an access token only; without a key: all again")
        protect.add_argument("name")
        protect.add_argument("--public-key", type=Path, metavar="FILE.pem", help="RSA; one or several")
        zone = actions.add_parser("set-time-zone", help="of its people who gave none; they are evaluated again")
        zone.add_argument("name")
        zone.add_argument("zone", metavar="ZONE", help='for example Europe/Paris; "" for that of the workspace')
        self._add_keys(actions.add_parser("keys", help="the write keys of a source"))

    def _add_keys(self, parser: ActionParser) -> None:
        actions = parser.add_subparsers(dest="key_action", metavar="ACTION", required=True, parser_class=ActionParser)
        actions.add_parser("list", help="when each was made and revoked").add_argument("name")
        actions.add_parser("create", help="one more, shown once").add_argument("name")
        revoke = actions.add_parser("revoke", help="refuse a key from now on")
        revoke.add_argument("name")
        revoke.add_argument("key", type=int, help="its number in the list")

    def handle(self, *args: Any, **options: Any) -> None:
        action = f"keys {options['key_action']}" if options["action"] == "keys" else options["action"]
        self.emit(ACTIONS[action](self.workspace_id(options), options))


def _create(workspace_id: int, options: Mapping[str, Any]) -> dict[str, Any]:
    source, write_key = ingestion.create_source(
        workspace_id=workspace_id,
        name=options["name"],
        kind=KINDS[options["kind"]],
        region=options["region"] or "",
        has_unique_people=options["unique_people"],
        events_per_second=options["events_per_second"],
        burst=options["burst"],
    )
    return {"source": source.name, "write_key": write_key}


def _list(workspace_id: int, _: Mapping[str, Any]) -> dict[str, Any]:
    return {"sources": [_described(source) for source in sources.sources_in(workspace_id)]}


def _limit(workspace_id: int, options: Mapping[str, Any]) -> dict[str, Any]:
    source = sources.limit_source(
        workspace_id=workspace_id,
        name=options["name"],
        events_per_second=options["events_per_second"],
        burst=options["burst"],
    )
    return {"source": source.name, "events_per_second": source.events_per_second, "burst": source.burst}


def _protect(workspace_id: int, options: Mapping[str, Any]) -> dict[str, Any]:
    file = options["public_key"]
    source = sources.protect_source(
        workspace_id=workspace_id, name=options["name"], public_keys=_text_of(file) if file else ""
    )
    return {"source": source.name, "client_id": client_id_of(source), "protected": bool(source.public_keys)}


def _set_time_zone(workspace_id: int, options: Mapping[str, Any]) -> dict[str, Any]:
    name, zone = options["name"], options["zone"]
    evaluated = change_time_zone_of_source(workspace_id=workspace_id, name=name, time_zone=zone)
    return {"source": name, "evaluated_again": evaluated}


def _keys_list(workspace_id: int, options: Mapping[str, Any]) -> dict[str, Any]:
    keys = sources.write_keys_of(options["name"], workspace_id=workspace_id)
    fields = ("id", "hint", "created_at", "revoked_at")
    return {"source": options["name"], "keys": [{field: getattr(key, field) for field in fields} for key in keys]}


def _keys_create(workspace_id: int, options: Mapping[str, Any]) -> dict[str, Any]:
    key, write_key = sources.create_write_key_of(workspace_id=workspace_id, name=options["name"])
    return {"source": options["name"], "id": key.pk, "write_key": write_key}


def _keys_revoke(workspace_id: int, options: Mapping[str, Any]) -> dict[str, Any]:
    key = sources.revoke_write_key(
        workspace_id=workspace_id, name=options["name"], key_id=options["key"], now=timezone.now()
    )
    return {"source": options["name"], "id": key.pk, "revoked_at": key.revoked_at}


ACTIONS: Mapping[str, Callable[[int, Mapping[str, Any]], dict[str, Any]]] = {
    "create": _create,
    "list": _list,
    "set-time-zone": _set_time_zone,
    "limit": _limit,
    "protect": _protect,
    "keys list": _keys_list,
    "keys create": _keys_create,
    "keys revoke": _keys_revoke,
}


def _described(source: Source) -> dict[str, Any]:
    return {
        "source": source.name,
        "kind": source.kind.lower(),
        "enabled": source.is_enabled,
        "events_per_second": source.events_per_second,
        "burst": source.burst,
    }


def _add_limit(parser: ActionParser) -> None:
    parser.add_argument("--events-per-second", type=_whole, metavar="N", help="0: no limit")
    parser.add_argument("--burst", type=_whole, metavar="N", help="events at once; without: those of one second")


def _text_of(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, ValueError):
        raise PublicKeyError(f"{file} cannot be read as text.") from None


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise ValueError(text)
    return int(text)


def slug(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,49}", text):
        raise ValueError(text)
    return text


def _region(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2}", text):
        raise ValueError(text)
    return text.upper()
