"""Parquet files of events: what is in them, where they lie, and how one becomes durable.

    COLUMNAR_DIR / database / workspace / files     those that the manifest in Postgres names
    COLUMNAR_DIR / database / workspace / runs      what a computation needs besides, deleted when it ends

An event is in a file as it came: with the id of its identifier, never an address, and without its context.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from django.conf import settings
from django.db import connection

EVENTS: Final = pa.schema(
    [
        ("id", pa.int64()),
        ("identifier_id", pa.int64()),
        ("source_id", pa.int64()),
        ("message_id", pa.string()),
        ("name", pa.string()),
        ("micros", pa.int64()),  # microseconds since 1970
        ("properties", pa.string()),  # JSON
        ("month", pa.int32()),  # year * 12 + month - 1
    ]
)
# What an event of `core.event` or of a view of it is in a file.
COLUMNS: Final = """e.id, e.identifier_id, e.source_id, e.message_id, e.name,
    (extract(epoch FROM e.occurred_at) * 1000000)::bigint AS micros, e.properties::text AS properties,
    (12 * extract(year FROM e.occurred_at AT TIME ZONE 'UTC') + extract(month FROM e.occurred_at AT TIME ZONE 'UTC') - 1
    )::integer AS month"""
ROWS_IN_A_GROUP: Final = 100_000


def of_database() -> Path:
    """Two databases, such as one that is measured, do not sweep each other's files."""
    return Path(settings.COLUMNAR_DIR) / str(connection.settings_dict["NAME"])


def files_of(workspace_id: int) -> Path:
    return _made(of_database() / str(workspace_id) / "files")


def runs_of(workspace_id: int) -> Path:
    return _made(of_database() / str(workspace_id) / "runs")


@contextmanager
def run_directory(workspace_id: int) -> Iterator[Path]:
    """For one computation: nobody else may look into it, and nothing of it stays."""
    place = Path(tempfile.mkdtemp(dir=runs_of(workspace_id), prefix="run-"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def write_durably(table: pa.Table, directory: Path) -> str:
    """Whole under its name, or not there: written, synced and renamed. Returns the name."""
    name = new_name()
    pq.write_table(table, unfinished(directory, name), compression="zstd", row_group_size=ROWS_IN_A_GROUP)
    settle(directory, name)
    return name


def new_name() -> str:
    return f"{uuid.uuid4().hex}.parquet"


def unfinished(directory: Path, name: str) -> Path:
    return directory / f"{name}.part"


def settle(directory: Path, name: str) -> None:
    """What was written unfinished becomes the file of this name."""
    part = unfinished(directory, name)
    part.chmod(0o600)
    _sync(part)
    part.rename(directory / name)
    _sync(directory)


def write_plainly(columns: dict[str, Any], schema: pa.Schema, place: Path) -> Path:
    """For a run that ends with its directory."""
    pq.write_table(pa.table(columns, schema=schema), place, compression="lz4")
    return place


def _sync(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _made(directory: Path) -> Path:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def first_of(month: int) -> str:
    """The instant at which a month begins, for Postgres."""
    return f"{month // 12:04}-{month % 12 + 1:02}-01T00:00:00Z"
