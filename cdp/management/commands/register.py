"""`manage.py register [--format json|csv|html|ods] [--language fr] [--output FILE] [--processor NAME]`."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone, translation

from activation.register import register_of
from cdp.management.command import TesseraCommand
from consent import processor_register, register

WRITERS: Final[Mapping[str, Callable[[register.Register], str | bytes]]] = {
    "json": lambda built: json.dumps(built.as_json(), default=str, ensure_ascii=False),
    **{name: write for name, (write, _) in register.FILES.items()},
}


class Command(TesseraCommand):
    help = "The record of processing activities (GDPR Art. 30) and the data map, from what is declared and enforced."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--format", choices=tuple(WRITERS), default="json")
        parser.add_argument("--language", choices=[code for code, _ in settings.LANGUAGES], default="en")
        parser.add_argument("--output", type=Path, metavar="FILE", help="written to it; ods needs one")
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
        if options["format"] == "ods" and options["output"] is None:
            raise CommandError("A spreadsheet is no text: say --output FILE.", returncode=2)
        with translation.override(options["language"]):
            built = register_of(workspace_id=self.workspace_id(options), now=timezone.now())
            if options["output"] is not None:
                self._write_file(built, options)
            elif options["format"] == "json":
                self.emit(built.as_json())
            else:
                self.stdout.write(str(WRITERS[options["format"]](built)))

    def _write_file(self, built: register.Register, options: Mapping[str, Any]) -> None:
        written = WRITERS[options["format"]](built)
        options["output"].write_bytes(written if isinstance(written, bytes) else written.encode())
        self.emit({"file": str(options["output"]), "activities": len(built.activities), "missing": built.missing})

    def _write_for_processor(self, options: dict[str, Any]) -> None:
        if options["format"] not in {"json", "csv"} or options["output"] is not None:
            raise CommandError("The record of a processor is written as json or csv, and to no file.", returncode=2)
        built = processor_register.build(name=options["processor"], contact=options["contact"], now=timezone.now())
        if options["format"] == "json":
            self.emit(built.as_json())
        else:
            self.stdout.write(processor_register.as_csv(built))
