"""`manage.py consume SOURCE`."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from cdp.ingestion.consuming import consume_stream
from cdp.ingestion.streams.consumer import Counts
from cdp.management.command import TesseraCommand


class Command(TesseraCommand):
    help = "Read a Kafka, Valkey or Redis stream until SIGTERM. Started again it goes on where it was."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("source", help="a source of the kind KAFKA or STREAM")
        parser.add_argument("--once", action="store_true", help="stop when nothing waits")
        parser.add_argument("--max", type=_count, metavar="N", help="stop after N messages")

    def handle(self, *args: Any, **options: Any) -> None:
        with _until_signalled() as stop:
            counts = consume_stream(
                workspace_id=self.workspace_id(options),
                source=options["source"],
                clock=timezone.now,
                stop=stop,
                until_idle=options["once"],
                most=options["max"],
                report=self._report,
            )
        self.emit(asdict(counts))

    def _report(self, counts: Counts) -> None:
        lag = "?" if counts.lag is None else f"{counts.lag:,}"
        self.say(f"{counts.messages:,} messages, {counts.quarantined:,} in quarantine, {lag} waiting")


@contextmanager
def _until_signalled() -> Iterator[threading.Event]:
    """What is being stored is stored and committed; then it ends."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError(text)
    return count
