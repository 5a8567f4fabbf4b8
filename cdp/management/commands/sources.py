"""`manage.py sources create NAME --kind http|file`."""

import re
from typing import Any

from django.core.management.base import CommandParser

from cdp.ingestion import services as ingestion
from cdp.management.command import TesseraCommand
from cdp.models import SourceKind

KINDS = {"http": SourceKind.HTTP, "file": SourceKind.FILE}


class Command(TesseraCommand):
    help = "Make sources of data and their write keys."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        create = self.add_actions(parser).add_parser("create", help="make a source; its write key is shown once")
        create.add_argument("name", type=slug, help="small letters, digits, - and _")
        create.add_argument("--kind", required=True, choices=sorted(KINDS))
        create.add_argument("--unique-people", action="store_true", help="two of its records are never one person")
        create.add_argument("--region", type=_region, help="ISO 3166 code, for phone numbers and dates")

    def handle(self, *args: Any, **options: Any) -> None:
        source, write_key = ingestion.create_source(
            workspace_id=self.workspace_id(options),
            name=options["name"],
            kind=KINDS[options["kind"]],
            region=options["region"] or "",
            has_unique_people=options["unique_people"],
        )
        self.emit({"source": source.name, "write_key": write_key})


def slug(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,49}", text):
        raise ValueError(text)
    return text


def _region(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2}", text):
        raise ValueError(text)
    return text.upper()
