"""`manage.py quarantine list|show|replay|discard|export`."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from cdp.ingestion import quarantine, replaying
from cdp.ingestion.mending import NO_MEND, Mend, read_mend
from cdp.ingestion.quarantine import Chosen
from cdp.ingestion.rereading import Correction, read_mapping_text
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.management.command import TesseraCommand
from cdp.models import QuarantinedItem, Run, RunState
from cdp.models.tenancy import workspace_scope
from consent import gate

SECONDS_BETWEEN_LOOKS = 0.2


class UnknownItemError(TesseraError):
    """There is no such item in quarantine."""

    code = "unknown_item"


class RunFailedError(TesseraError):
    """The run did not reach its end."""

    code = "run_failed"


class Command(TesseraCommand):
    help = "Look at what was refused, mend it, replay it, or discard it."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        actions = self.add_actions(parser)
        listing = actions.add_parser("list", help="what waits, newest first, and how much of each code there is")
        _add_filters(listing)
        listing.add_argument("--limit", type=int, default=50, metavar="N", help="default: 50")
        show = actions.add_parser("show", help="one item, whole")
        show.add_argument("id", type=int)
        replay = actions.add_parser("replay", help="store what can be read now, perhaps mended")
        _add_filters(replay)
        replay.add_argument("--mend", type=Path, metavar="FILE.yaml", help="operations on what came")
        replay.add_argument("--mapping", type=Path, metavar="FILE.yaml", help="for rows of files, in place of theirs")
        replay.add_argument("--dry-run", action="store_true", help="say what would become of it; nothing is written")
        replay.add_argument("--resume", type=int, metavar="RUN", help="go on with a run that failed or was cancelled")
        discard = actions.add_parser("discard", help="erase the text of items; that they came stays on record")
        _add_filters(discard)
        discard.add_argument("--reason", required=True)
        export = actions.add_parser("export", help="write what waits into a file, one JSON object a line")
        export.add_argument("file", type=Path, metavar="FILE.jsonl")
        _add_filters(export)

    def handle(self, *_: Any, **options: Any) -> None:
        do = {
            "list": self._list,
            "show": self._show,
            "replay": self._replay,
            "discard": self._discard,
            "export": self._export,
        }
        self.emit(do[options["action"]](self.workspace_id(options), options))

    def _list(self, workspace_id: int, options: Mapping[str, Any]) -> Mapping[str, Any]:
        with workspace_scope(workspace_id):
            waiting = quarantine.waiting_in(_chosen(options), workspace_id=workspace_id).select_related("source")
            items = [_line(item) for item in waiting.order_by("-pk")[: options["limit"]]]
            by_code = dict(quarantine.waiting_by_code(workspace_id=workspace_id))
            return {"waiting": waiting.count(), "codes": by_code, "items": items}

    def _show(self, workspace_id: int, options: Mapping[str, Any]) -> Mapping[str, Any]:
        with workspace_scope(workspace_id):
            found = QuarantinedItem.objects.filter(workspace=workspace_id, pk=options["id"])
            item = found.select_related("source", "reading").first()
            if item is None:
                raise UnknownItemError
            return _whole(item)

    def _replay(self, workspace_id: int, options: Mapping[str, Any]) -> Mapping[str, Any]:
        if options["resume"]:
            replaying.resume(workspace_id=workspace_id, run_id=options["resume"], now=timezone.now())
            return self._work(workspace_id, options["resume"])
        asked: dict[str, Any] = {"chosen": _chosen(options), "correction": _correction(options)}
        if options["dry_run"]:
            with gate.permit(Purpose.COLLECTION, workspace_id=workspace_id):
                return replaying.preview(workspace_id=workspace_id, **asked).as_json()
        run = replaying.order_replay(workspace_id=workspace_id, asked_by=None, now=timezone.now(), **asked)
        return self._work(workspace_id, run.pk)

    def _discard(self, workspace_id: int, options: Mapping[str, Any]) -> Mapping[str, Any]:
        run = replaying.order_discard(
            workspace_id=workspace_id, chosen=_chosen(options), reason=options["reason"], asked_by=None,
            now=timezone.now(),
        )  # fmt: skip
        return self._work(workspace_id, run.pk)

    def _export(self, workspace_id: int, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """A file that is there already is left alone: what it holds may be all that is left of something."""
        exported = 0
        try:
            file = options["file"].open("x", encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{options['file']} cannot be made: {error.strerror}.", returncode=2) from error
        with file, workspace_scope(workspace_id):
            waiting = quarantine.waiting_in(_chosen(options), workspace_id=workspace_id).order_by("pk")
            for item in waiting.select_related("source", "reading").iterator(chunk_size=500):
                exported += 1
                file.write(json.dumps(_whole(item), default=str, ensure_ascii=False) + "\n")
        return {"exported": exported}

    def _work(self, workspace_id: int, run_id: int) -> Mapping[str, Any]:
        """To its end, whoever else works on it."""
        while True:
            run = replaying.work(
                workspace_id=workspace_id, run_id=run_id, clock=timezone.now, seconds=3600, report=self._report
            )
            if run.state != RunState.RUNNING:
                break
            time.sleep(SECONDS_BETWEEN_LOOKS)
        if run.state != RunState.DONE:
            raise RunFailedError(f"Run {run.pk} is {run.state.lower()}: `quarantine replay --resume {run.pk}` goes on.")
        return {"run": run.pk, **run.counts}

    def _report(self, run: Run) -> None:
        self.say(f"{run.counts.get('read', 0):,} of {run.counts['chosen']:,} items")


# -- what is asked for ----------------------------------------------------------------------------------------------


def _add_filters(parser: CommandParser) -> None:
    parser.add_argument("--id", type=int, action="append", default=[], dest="ids", help="these alone; may be repeated")
    parser.add_argument("--source", default="", metavar="NAME")
    parser.add_argument("--code", default="", help="why it was refused")
    parser.add_argument("--place", default="", metavar="PATTERN", help="for example 'customers.csv:*'")
    parser.add_argument("--since", type=_time, metavar="TIME", help="came at or after it (ISO 8601)")
    parser.add_argument("--until", type=_time, metavar="TIME", help="came before it")
    parser.add_argument("--text", default="", help="holds this text")


def _time(text: str) -> datetime:
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _chosen(options: Mapping[str, Any]) -> Chosen:
    names = ("ids", "source", "code", "place", "since", "until", "text")
    return Chosen(**{name: options[name] for name in names})


def _correction(options: Mapping[str, Any]) -> Correction:
    mapping = read_mapping_text(_text_of(options["mapping"])) if options["mapping"] else None
    return Correction(_mend(options["mend"]), mapping)


def _mend(path: Path | None) -> Mend:
    return read_mend(_text_of(path)) if path else NO_MEND


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read as text.", returncode=2) from error


# -- what is told ---------------------------------------------------------------------------------------------------


def _line(item: QuarantinedItem) -> dict[str, Any]:
    return {
        "id": item.pk,
        "source": item.source.name,
        "received_at": item.received_at.isoformat(),
        "place": item.place,
        "code": item.code,
        "message": item.message,
        "tried_code": item.tried_code,
    }


def _whole(item: QuarantinedItem) -> dict[str, Any]:
    moments = {name: getattr(item, name) for name in ("replayed_at", "discarded_at", "tried_at")}
    return {
        **_line(item),
        **{name: at and at.isoformat() for name, at in moments.items()},
        "run": item.run_id,
        "reading": item.reading.body if item.reading else None,
        "raw": item.raw,
    }
