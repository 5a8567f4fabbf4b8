"""`manage.py register [--format json|csv|html]`."""

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from activation.register import register_of
from cdp.management.command import TesseraCommand
from consent import register


class Command(TesseraCommand):
    help = "The record of processing activities (GDPR Art. 30) and the data map, from what is declared and enforced."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--format", choices=("json", "csv", "html"), default="json")

    def handle(self, *args: Any, **options: Any) -> None:
        built = register_of(workspace_id=self.workspace_id(options), now=timezone.now())
        if options["format"] == "json":
            self.emit(built.as_json())
        else:
            write = {"csv": register.as_csv, "html": register.as_html}[options["format"]]
            self.stdout.write(write(built))
