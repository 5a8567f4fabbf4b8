"""`stack serve | stop | status | supervise`: the default set-up on one machine."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from cdp import embedded, supervisor
from cdp.kernel.errors import TesseraError


class Command(BaseCommand):
    requires_system_checks = ()
    help = "Start and stop Postgres, Valkey, web server, workers and scheduler of this checkout."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("what", choices=["serve", "stop", "status", "supervise"])

    def handle(self, *_: Any, what: str, **__: Any) -> None:
        stack = embedded.default_stack()
        try:
            if what in {"serve", "supervise"}:
                embedded.adopt()
            if what == "serve":
                self.stdout.write(f"Tessera serves at {supervisor.serve(stack)}/console/ (make stop ends it)")
            elif what == "stop":
                supervisor.stop(stack)
            elif what == "supervise":
                supervisor.supervise(stack)
            else:
                self._print_status(stack)
        except supervisor.PortInUseError as error:
            self.stderr.write(error.message)
            sys.exit(supervisor.EXIT_PORT_IN_USE)
        except TesseraError as error:
            self.stderr.write(f"{error.code}: {error.message}")
            sys.exit(1)

    def _print_status(self, stack: embedded.Stack) -> None:
        found = supervisor.running(stack)
        self.stdout.write(f"serving at {supervisor.address(found['port'])}" if found else "not serving")
