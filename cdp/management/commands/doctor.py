"""`doctor`: is this installation well?"""

import sys
from dataclasses import asdict
from typing import Any

from django.utils import timezone

from cdp.management import doctor
from cdp.management.command import TesseraCommand


class Command(TesseraCommand):
    help = "Check services, schema, the wall around personal data, clock, disk and queues. Exit status 1: one is bad."

    def handle(self, *_: Any, **options: Any) -> None:
        checks = doctor.examine(timezone.now)
        if not self.as_json:
            for check in checks:
                self.stdout.write(f"{'ok ' if check.ok else 'BAD'} {check.name}: {check.detail}")
        else:
            self.emit({"checks": [asdict(check) for check in checks]})
        if not all(check.ok for check in checks):
            sys.exit(1)
