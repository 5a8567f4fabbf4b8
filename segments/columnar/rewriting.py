"""Files that others take the place of: where events went stale, and where there are many small ones.

Runs in the turn of the copy (see `copying`). DuckDB reads and writes, within its memory limit, however large a month is.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from django.conf import settings

from cdp.kernel.arrays import bigints
from segments.columnar.files import (
    COLUMNS,
    EVENTS,
    ROWS_IN_A_GROUP,
    files_of,
    first_of,
    new_name,
    unfinished,
    write_durably,
)  # fmt: skip
from segments.columnar.files import settle as settle_file
from segments.columnar.reading import columns_of
from segments.models import ColumnarFile, StaleEvent

SMALL_ROWS: Final = 1_000_000
MOST_SMALL: Final = 8
AT_ONCE: Final = 100_000
"""Stale events that are settled in one turn."""

_AGAIN = f"SELECT {COLUMNS} FROM core.event e WHERE e.id = ANY(%(ids)s::bigint[])"  # noqa: S608  # our own names
_MONTH_AGAIN = f"""
SELECT {COLUMNS} FROM core.event e WHERE e.id <= %(to)s AND core.month_number(e.occurred_at) = %(month)s
AND e.occurred_at >= %(begins)s AND e.occurred_at < %(ends)s
"""  # noqa: S608  # our own names


def settle(workspace_id: int, copied_to: int, *, now: datetime) -> int:
    """Take out of the files what went stale, and put in what Postgres says of it now. Returns how many events."""
    stale = list(StaleEvent.objects.order_by("pk")[:AT_ONCE])
    whole = {one.month for one in stale if one.event_id is None}
    ids: dict[int, set[int]] = defaultdict(set)
    for one in stale:
        if one.event_id is not None and one.month not in whole:
            ids[one.month].add(one.event_id)
    for month in sorted(whole):
        _replace(workspace_id, _of_month(month), _read_month(month, copied_to), now)
    for month, gone in sorted(ids.items()):
        _rewrite_month(workspace_id, month, gone, now)
    StaleEvent.objects.filter(pk__in=[one.pk for one in stale]).delete()
    return len(stale)


def gather(workspace_id: int, *, now: datetime) -> int:
    """One file in place of many small ones of a month. Returns how many went."""
    small: dict[int, list[ColumnarFile]] = defaultdict(list)
    for file in ColumnarFile.objects.filter(retired_at=None, rows__lt=SMALL_ROWS).order_by("pk"):
        small[file.month].append(file)
    many = [files for files in small.values() if len(files) > MOST_SMALL]
    for files in many:
        _merge(workspace_id, files, set(), now)
    return sum(map(len, many))


def _of_month(month: int) -> list[ColumnarFile]:
    return list(ColumnarFile.objects.filter(retired_at=None, month=month).order_by("pk"))


def _read_month(month: int, copied_to: int) -> pa.Table:
    given = {"to": copied_to, "month": month, "begins": first_of(month), "ends": first_of(month + 1)}
    return columns_of(_MONTH_AGAIN, given, EVENTS)


def _rewrite_month(workspace_id: int, month: int, stale: set[int], now: datetime) -> None:
    touched = [file for file in _of_month(month) if any(file.first_id <= one <= file.last_id for one in stale)]
    if touched:
        _merge(workspace_id, touched, stale, now)
    add(workspace_id, columns_of(_AGAIN, {"ids": bigints(stale)}, EVENTS), now=now)


def _replace(workspace_id: int, files: Iterable[ColumnarFile], events: pa.Table, now: datetime) -> None:
    _retire(files, now)
    add(workspace_id, events, now=now)


def add(workspace_id: int, events: pa.Table, *, now: datetime) -> None:
    """A file of these events of one month."""
    if events.num_rows:
        name = write_durably(events, files_of(workspace_id))
        _enter(workspace_id, name, now)


def _merge(workspace_id: int, files: Sequence[ColumnarFile], stale: set[int], now: datetime) -> None:
    """One file in place of these, without the stale events. The part's name is made of hexadecimal digits."""
    directory, name = files_of(workspace_id), new_name()
    given = {"files": [str(directory / file.name) for file in files]}
    with within_limits() as duck:
        duck.register("stale", pa.table({"id": pa.array(sorted(stale), pa.int64())}))
        part = str(unfinished(directory, name)).replace("'", "''")
        duck.execute(
            "COPY (SELECT * FROM read_parquet($files) WHERE id NOT IN (SELECT id FROM stale) ORDER BY name, micros)"  # noqa: S608  # a path of ours, quoted
            f" TO '{part}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROWS_IN_A_GROUP})",
            given,
        )
    settle_file(directory, name)
    _retire(files, now)
    _enter(workspace_id, name, now)


def within_limits(spill: Path | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB of our own that takes no more of the machine than the settings say."""
    config: Mapping[str, str | int | bool] = {
        "memory_limit": settings.DUCKDB_MEMORY_LIMIT,
        "threads": settings.DUCKDB_THREADS,
        "temp_directory": str(spill or settings.DUCKDB_SPILL_DIRECTORY),
        "autoinstall_known_extensions": False,
        "preserve_insertion_order": False,
    }
    return duckdb.connect(":memory:", config=dict(config))


def _retire(files: Iterable[ColumnarFile], now: datetime) -> None:
    ColumnarFile.objects.filter(pk__in=[file.pk for file in files]).update(retired_at=now)


def _enter(workspace_id: int, name: str, now: datetime) -> None:
    """The line of a file, from what the file says of itself. One without any event has none, and is swept."""
    about = pq.read_metadata(files_of(workspace_id) / name)
    if not about.num_rows:
        return
    columns = {field: place for place, field in enumerate(EVENTS.names)}
    groups = [about.row_group(place) for place in range(about.num_row_groups)]
    ids = [group.column(columns["id"]).statistics for group in groups]
    ColumnarFile.objects.create(
        workspace_id=workspace_id, month=groups[0].column(columns["month"]).statistics.min, name=name,
        rows=about.num_rows, first_id=min(each.min for each in ids), last_id=max(each.max for each in ids), written_at=now,
    )  # fmt: skip
