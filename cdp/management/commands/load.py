"""`manage.py load records|events FILE --source NAME`, and `--guess` for a mapping to begin with."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone
from tqdm import tqdm

from cdp.ingestion import services as ingestion
from cdp.ingestion.connector_registry import EXPORTS
from cdp.ingestion.loading import Progress
from cdp.kernel import garbage
from cdp.management.command import TesseraCommand


class Command(TesseraCommand):
    help = "Load a CSV, JSON or Parquet file. A load that was stopped goes on where it was."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        for name, of_what in (("records", "rows of a source system"), ("events", "events")):
            action = actions.add_parser(name, help=f"load {of_what}")
            action.add_argument("file", type=Path)
            action.add_argument("--source", required=True, metavar="NAME")
            meaning = action.add_mutually_exclusive_group()
            meaning.add_argument("--mapping", type=Path, metavar="FILE.yaml", help="what the columns mean")
            if name == "events":
                meaning.add_argument("--format", choices=sorted(EXPORTS), help="the export of a system")
            action.add_argument("--guess", action="store_true", help="load nothing: print a mapping to begin with")
            action.add_argument("--limit", type=int, metavar="ROWS", help="load the first rows only")
            action.add_argument("--quiet", action="store_true", help="say nothing while it loads")

    def run_from_argv(self, argv: list[str]) -> None:
        garbage.settle()
        super().run_from_argv(argv)

    def handle(self, *args: Any, **options: Any) -> None:
        where = {"workspace_id": self.workspace_id(options), "source": options["source"], "path": options["file"]}
        if options["guess"]:
            self._show(ingestion.guess_mapping(**where, of_events=options["action"] == "events"))
            return
        load = {"records": ingestion.load_records, "events": ingestion.load_events}[options["action"]]
        how = {"export": options["format"]} if options.get("format") else {"mapping": options["mapping"]}
        with self._progress(is_quiet=options["quiet"]) as report:
            counts = load(**where, **how, limit=options["limit"], clock=timezone.now, report=report)
        self.emit(asdict(counts))

    def _show(self, guess: ingestion.Guess) -> None:
        """The mapping alone, so that it can be sent to a file; with `--json` as one object."""
        if self.as_json:
            self.emit({"mapping": guess.mapping, "columns": guess.columns, "yaml": guess.yaml})
        else:
            self.stdout.write(guess.yaml, ending="")

    @contextmanager
    def _progress(self, *, is_quiet: bool) -> Iterator[Callable[[Progress], None]]:
        """A bar for whoever watches a terminal, else a line for each chunk."""
        if is_quiet or not sys.stderr.isatty():
            yield (lambda _: None) if is_quiet else self._line
            return
        with tqdm(unit="rows", unit_scale=True, file=sys.stderr, dynamic_ncols=True) as bar:
            yield lambda progress: _move(bar, progress)

    def _line(self, progress: Progress) -> None:
        counts = progress.counts
        share = f" ({progress.offset / progress.total:.0%})" if progress.total else ""
        self.say(
            f"{counts.read:,} rows read{share}, {counts.accepted:,} accepted, {counts.quarantined:,} in quarantine"
        )


def _move(bar: "tqdm[Any]", progress: Progress) -> None:
    """The rows that there will be are reckoned from the bytes that are left."""
    if progress.total and progress.offset:
        bar.total = round(progress.counts.read * progress.total / progress.offset)
    bar.set_postfix(accepted=progress.counts.accepted, quarantined=progress.counts.quarantined, refresh=False)
    bar.update(progress.counts.read - bar.n)
