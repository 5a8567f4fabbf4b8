"""Files that people give the console: received, looked at before anything is loaded, and loaded by the worker.

A file lies in UPLOAD_DIR under a name of our own, unpacked; the row says what it is and under which mapping. Its run is
the work: the worker claims it, loads for a turn, and gives way to what arrives meanwhile. A worker that is killed leaves
its claim to expire, and the next one goes on where the last chunk was stored.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import OperationalError, connection

from cdp.ingestion import loading
from cdp.ingestion.files import FileError, Table, open_table
from cdp.ingestion.loading import Clock, Counts, Load, LoadInterruptedError
from cdp.ingestion.mapping import FileMapping, mapping_in
from cdp.ingestion.messages import Fact
from cdp.ingestion.quarantine import Refused
from cdp.ingestion.rows import RecordRow
from cdp.ingestion.sources import known_source
from cdp.ingestion.texts import Text, packing_of
from cdp.kernel.errors import TesseraError
from cdp.models import Run, RunState, Source, Upload, UploadKind, User
from cdp.models.tenancy import workspace_scope

log = structlog.get_logger()

PREVIEWED_ROWS: Final = 20
KEPT: Final = timedelta(days=7)  # what nobody started, and what was stopped and not taken up again
LEASE: Final = timedelta(minutes=5)  # longer than any chunk takes
_BLOCK: Final = 2**20


class FileTooLargeError(FileError):
    """The file, or what it unpacks to, is larger than UPLOAD_BYTES: load it with `manage.py load` instead."""

    code = "file_too_large"


class UploadedFileGoneError(FileError):
    """The uploaded file is no longer there: upload it again. Web server and worker must see the same UPLOAD_DIR."""

    code = "uploaded_file_gone"


# -- receiving ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """A file that lies in UPLOAD_DIR, read through once, and the mapping that it seems to need."""

    stored_as: str
    size: int
    survey: Mapping[str, Any]
    mapping: str


def receive_file(*, content: Path, name: str, source: Source, kind: str) -> Received:
    """Take the file over. `name` is what people call it. Raises `FileError`, and then nothing of it is kept."""
    place = f"{source.workspace_id}/{uuid.uuid4().hex}"
    stored = _path(place + "".join(_endings(name)))
    stored.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.move(content, stored)
    try:
        table = open_table(stored)
        if packing_of(stored):
            stored, table = _unpacked(stored, table)
        mapping = _proposed(table, name, source, of_events=kind == UploadKind.EVENTS)
    except TesseraError:
        stored.unlink(missing_ok=True)
        raise
    stored_as = f"{source.workspace_id}/{stored.name}"
    return Received(stored_as, stored.stat().st_size, _survey_of(table), mapping)


def add_upload(received: Received, *, name: str, source: Source, kind: str, by: User | None, now: datetime) -> Upload:
    return Upload.objects.create(
        workspace_id=source.workspace_id, source=source, kind=kind, name=name, stored_as=received.stored_as,
        survey=received.survey, size=received.size, mapping=received.mapping, uploaded_by=by, uploaded_at=now,
    )  # fmt: skip


def _endings(name: str) -> list[str]:
    """Those that say what the file is: a file of people may have points anywhere in its name."""
    path = Path(name)
    return [suffix.lower() for suffix in path.suffixes[-2 if packing_of(path) else -1 :]]


def _path(stored_as: str) -> Path:
    return Path(settings.UPLOAD_DIR) / stored_as


def _unpacked(packed: Path, table: Table) -> tuple[Path, Table]:
    """The same file unpacked, so that each turn can go on at its offset at once. Measured while it is unpacked."""
    plain = packed.with_suffix("")
    left = settings.UPLOAD_BYTES
    text = table.source or Text(packed, "utf-8", is_recoded=False, digest="")
    with text.open() as source, plain.open("wb") as target:
        while block := source.read(_BLOCK):
            left -= len(block)
            if left < 0:
                plain.unlink()
                raise FileTooLargeError
            target.write(block)
    packed.unlink()
    survey = {"encoding": text.charset, "is_recoded": False, "digest": text.digest}
    return plain, open_table(plain, survey=survey)


def _proposed(table: Table, name: str, source: Source, *, of_events: bool) -> str:
    if of_events and loading.is_as_sdks_send(table):
        return ""
    return loading.guess_of(table, region=known_source(source).region, name=name, of_events=of_events).yaml


def _survey_of(table: Table) -> Mapping[str, Any]:
    survey: dict[str, Any] = {"digest": table.digest}
    if table.source:
        survey |= {"encoding": table.source.encoding, "is_recoded": table.source.is_recoded}
    return survey


# -- looking --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PreviewedRow:
    """A row as it would be stored, or with `code` and `message` why it would be refused."""

    number: int
    name: str = ""  # the key of a record, the name of an event
    at: datetime | None = None
    identifiers: Sequence[str] = ()
    values: Mapping[str, Any] | None = None
    code: str = ""
    message: str = ""


def preview_rows(upload: Upload, *, now: datetime) -> list[PreviewedRow]:
    """The first rows under the upload's mapping. Nothing is stored. Raises a `TesseraError` if it cannot be used."""
    load = _load_of(upload)
    return [
        _previewed(row.number, loading.read_row(load, row, now)) for row in islice(load.table.rows(), PREVIEWED_ROWS)
    ]


def _previewed(number: int, read: Fact | RecordRow | Refused) -> PreviewedRow:
    if isinstance(read, Refused):
        return PreviewedRow(number, code=read.code, message=read.message)
    identifiers = [f"{kind}:{value}" for kind, value in read.nodes]
    if isinstance(read, RecordRow):
        return PreviewedRow(number, read.key, read.observed_at, identifiers, read.traits)
    return PreviewedRow(number, read.name, read.occurred_at, identifiers, read.properties)


def _load_of(upload: Upload) -> Load:
    of_events = upload.kind == UploadKind.EVENTS
    given: FileMapping | None = mapping_in(upload.mapping, of_events=of_events) if upload.mapping.strip() else None
    path = _path(upload.stored_as)
    if not path.is_file():
        raise UploadedFileGoneError
    make = loading.events_load if of_events else loading.records_load
    return make(known_source(upload.source), path, given, survey=upload.survey, name=upload.name)


# -- starting, and giving up ----------------------------------------------------------------------------------------


def start_upload(upload: Upload, *, by: User | None, now: datetime) -> Run:
    """Order the loading, or go on with one that failed or was cancelled. The worker is to be woken on commit.

    Raises a `TesseraError` if the mapping cannot be used.
    """
    held = Upload.objects.select_for_update().select_related("source", "source__workspace").get(pk=upload.pk)
    load = _load_of(held)
    if held.run is None:
        held.run = Run.objects.create(
            workspace_id=held.workspace_id, kind=load.kind, subject=f"{held.source.name} {held.name}",
            counts=asdict(Counts()), asked_by=by, started_at=now, heartbeat_at=now,
        )  # fmt: skip
        held.save(update_fields=["run"])
    elif held.run.state in {RunState.FAILED, RunState.CANCELLED}:
        held.run.state, held.run.error, held.run.finished_at = RunState.RUNNING, "", None
        held.run.save(update_fields=["state", "error", "finished_at"])
    return held.run


def load_file(*, content: Path, name: str, source: Source, kind: str, mapping: str, now: datetime) -> Run:
    """Take a file over and order its loading at once, for whoever cannot look at it first. By machines.

    The same file under the same mapping again is the run that it has already, unless that one failed or was cancelled.
    Raises a `TesseraError` if the file or the mapping cannot be used: then nothing of it is kept.
    """
    received = replace(receive_file(content=content, name=name, source=source, kind=kind), mapping=mapping)
    try:
        with workspace_scope(source.workspace_id):
            if known := _run_of_same(received, source, kind):
                _path(received.stored_as).unlink(missing_ok=True)
                return known
            upload = add_upload(received, name=name, source=source, kind=kind, by=None, now=now)
            return start_upload(upload, by=None, now=now)
    except TesseraError:
        _path(received.stored_as).unlink(missing_ok=True)
        raise


def _run_of_same(received: Received, source: Source, kind: str) -> Run | None:
    same = Upload.objects.filter(source=source, kind=kind, mapping=received.mapping)
    same = same.filter(survey__digest=received.survey["digest"], run__state__in=(RunState.RUNNING, RunState.DONE))
    found = same.select_related("run").order_by("pk").last()
    return found.run if found else None


def discard_upload(upload: Upload) -> None:
    """The row first: a file without a row is found by the sweep, a row without its file is not."""
    path = _path(upload.stored_as)
    upload.delete()
    path.unlink(missing_ok=True)


# -- loading --------------------------------------------------------------------------------------------------------

# The one that waits longest for its turn. Another worker's claim is passed over; that of a killed one expires.
_CLAIM = """
UPDATE upload SET claimed_until = %(until)s WHERE id = (
    SELECT u.id FROM upload u JOIN run r ON r.id = u.run_id
    WHERE u.workspace_id = %(workspace)s AND r.state = 'RUNNING'
      AND (u.claimed_until IS NULL OR u.claimed_until < %(now)s)
    ORDER BY r.heartbeat_at, u.id LIMIT 1 FOR UPDATE OF u SKIP LOCKED
) RETURNING id
"""


def load_next(*, workspace_id: int, clock: Clock, seconds: float) -> bool:
    """One turn of the worker: load for about so many seconds. False when nothing waits."""
    upload = _claimed(workspace_id, clock())
    if upload is None:
        return False
    try:
        _take_turn(upload, clock, seconds)
    except LoadInterruptedError:  # cancelled, or another worker took it after the claim had expired
        log.info("upload.interrupted", upload=upload.pk)
    except OperationalError:  # the database went away: the claim expires, and the next turn goes on
        raise
    except Exception as error:  # noqa: BLE001  # whatever is wrong with a file of somebody must not stop the worker
        _fail(upload, error, clock())
    with workspace_scope(workspace_id):
        Upload.objects.filter(pk=upload.pk).update(claimed_until=None)
    return True


def _claimed(workspace_id: int, now: datetime) -> Upload | None:
    with workspace_scope(workspace_id), connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"until": now + LEASE, "workspace": workspace_id, "now": now})
        found = cursor.fetchone()
        related = ("run", "source", "source__workspace")
        return Upload.objects.select_related(*related).get(pk=found[0]) if found else None


def _take_turn(upload: Upload, clock: Clock, seconds: float) -> None:
    run, until = upload.run, monotonic() + seconds
    if run is None:
        return
    loading.run_load(_load_of(upload), run, clock, _renewing(upload, clock), is_over=lambda: monotonic() > until)
    with workspace_scope(upload.workspace_id):
        is_done = Run.objects.filter(pk=run.pk, state=RunState.DONE).exists()
    if is_done:
        _path(upload.stored_as).unlink(missing_ok=True)
        log.info("upload.loaded", upload=upload.pk, run=run.pk)


def _renewing(upload: Upload, clock: Clock) -> Callable[[object], None]:
    def renew(_: object) -> None:
        with workspace_scope(upload.workspace_id):
            Upload.objects.filter(pk=upload.pk).update(claimed_until=clock() + LEASE)

    return renew


def _fail(upload: Upload, error: Exception, now: datetime) -> None:
    """Only the class, or the code of what is wrong with the file: texts may hold personal data."""
    told = error.code if isinstance(error, TesseraError) else type(error).__name__
    log.warning("upload.failed", upload=upload.pk, error=told)
    with workspace_scope(upload.workspace_id):
        Run.objects.filter(upload=upload).exclude(state=RunState.DONE).update(
            state=RunState.FAILED, error=told, finished_at=now
        )


def forget_old(*, workspace_id: int, now: datetime) -> int:
    """Files that nobody started or took up again, and what a killed web server left. Returns how many rows went."""
    with workspace_scope(workspace_id):
        old = list(Upload.objects.filter(uploaded_at__lt=now - KEPT).exclude(run__state=RunState.RUNNING)[:100])
        for upload in old:
            discard_upload(upload)
        known = set(Upload.objects.values_list("stored_as", flat=True))
    for path in _files_before(now - KEPT, _path(str(workspace_id))):
        if f"{workspace_id}/{path.name}" not in known:
            path.unlink(missing_ok=True)
    return len(old)


def _files_before(moment: datetime, directory: Path) -> Iterator[Path]:
    if directory.is_dir():
        with os.scandir(directory) as entries:
            yield from [Path(one.path) for one in entries if one.is_file() and one.stat().st_mtime < moment.timestamp()]
