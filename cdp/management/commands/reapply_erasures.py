"""`reapply_erasures`: after a restore, erase again who was erased since the backup was made."""

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from cdp.management.command import TesseraCommand
from cdp.management.times import read_time
from consent import erasure, erasure_ledger


class Command(TesseraCommand):
    help = "Erase again, in a restored database, whom the ledger of erasures names. Nothing starts until it is done."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--since", default="", metavar="TIME", help="begin there, whatever the database knows; ISO 8601"
        )
        parser.add_argument("--check", action="store_true", help="only say whether it is needed; exit status 1: it is")

    def handle(self, *_: Any, **options: Any) -> None:
        if options["check"]:
            erasure_ledger.refuse_if_behind()
            self.emit({"line": erasure_ledger.followed()})
        else:
            again = erasure.reapply_erasures(now=timezone.now(), since=read_time(options["since"]))
            self.emit({"reapplied": again, "line": erasure_ledger.followed()})
