"""`make demo`: the main job on real input, and then the console."""

import json
import logging
import os
import signal
import subprocess
import sys
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from cdp import embedded, supervisor
from cdp.demo import report, setting, state
from cdp.demo.client import TesseraClient
from cdp.demo.receiver import Receiver
from cdp.demo.story import Story
from cdp.kernel.logins import OWNER
from cdp.management.command import TesseraCommand


class Command(TesseraCommand):
    help = "Run the main job on real input, print the result and serve the console."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--once", action="store_true", help="stop everything after the result, and write it to demo.json"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        logging.getLogger().setLevel(logging.WARNING)  # what is said below is for people; the processes keep their logs
        stack = embedded.default_stack()
        self.say("Starting Postgres, Valkey, web server and workers …")
        os.environ["PRIVATE_ADDRESSES_ALLOWED"] = "true"  # the receiver listens on this machine
        supervisor.halt(stack)  # workers of `make serve` may not speak with it
        url = supervisor.serve(stack)
        try:
            result, password = self._play(stack, url)
            (stack.home / "demo.json").write_text(json.dumps(result, indent=1, default=str))
            self.emit(result) if options["as_json"] else self.stdout.write(report.render(result))
            if not options["once"]:
                self._serve_until_interrupted(url, password)
        finally:
            self.say("Stopping …")
            supervisor.stop(stack)

    def _play(self, stack: embedded.Stack, url: str) -> tuple[dict[str, Any], str]:
        directory = stack.home / "demo"
        known = state.load(directory)
        if known and known.is_finished:
            self.say("Closing the workspace of the last demo …")
            close_last_workspace()
            known = None
        known = known or state.begin(directory, today=timezone.now().date())
        with Receiver(signing_key=known.signing_key, directory=directory, port=known.receiver_port) as receiver:
            known.receiver_port = receiver.port
            made = setting.prepare(directory, known)
            client = TesseraClient(url=url, api_key=known.api_key, write_key=known.write_key)
            result = Story(made, client, receiver, self.say).play()
        known.is_finished = True
        made.save()
        return result, known.password

    def _serve_until_interrupted(self, url: str, password: str) -> None:
        self.stdout.write(f"\nThe console: {url}/console/   log-in: {setting.LOGIN}   password: {password}")
        self.stdout.write("Ctrl-C ends it.")
        self.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


def close_last_workspace() -> None:
    """As `owner`, in a process of its own: nobody else may delete a ledger."""
    subprocess.run(
        [sys.executable, "manage.py", "workspaces", "close", setting.SLUG, "--yes", "--json"],
        cwd=embedded.CHECKOUT, env=embedded.environment_for(OWNER), check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
