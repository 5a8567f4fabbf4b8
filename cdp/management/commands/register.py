"""`manage.py register [--format json|csv|html] [--processor NAME]`."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from activation.register import register_of
from cdp.management.command import TesseraCommand
from consent import processor_register, register


class Command(TesseraCommand):
    help = "The record of processing activities (GDPR Art. 30) and the data map, from what is declared and enforced."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--format", choices=("json", "csv", "html"), default="json")
        parser.add_argument(
            "--processor",
            metavar="NAME",
            help="your record as processor for the controllers of all workspaces, Art. 30(2)",
        )
        parser.add_argument("--contact", default="", help="of the processor")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["processor"]:
            self._write_for_processor(options)
            return
        built = register_of(workspace_id=self.workspace_id(options), now=timezone.now())
        if options["format"] == "json":
            self.emit(built.as_json())
        else:
            write = {"csv": register.as_csv, "html": register.as_html}[options["format"]]
            self.stdout.write(write(built))

    def _write_for_processor(self, options: dict[str, Any]) -> None:
        if options["format"] == "html":
            raise CommandError("The record of a processor is written as json or csv.", returncode=2)
        built = processor_register.build(name=options["processor"], contact=options["contact"], now=timezone.now())
        if options["format"] == "json":
            self.emit(built.as_json())
        else:
            self.stdout.write(processor_register.as_csv(built))
