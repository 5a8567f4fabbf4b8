"""Parquet: rows with types, by way of Arrow; row groups that were read before are passed over."""

import math
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

from cdp.ingestion.tables import START, BadHeaderError, Place, Row, Table
from cdp.ingestion.texts import FileError

_BATCH: Final = 1_000


def opened(path: Path, *, digest: str) -> Table:
    import pyarrow as pa  # noqa: PLC0415  # takes a third of a second that web and workers need not spend
    import pyarrow.parquet as pq  # noqa: PLC0415  # slow to load, and only Parquet needs it

    try:
        with pq.ParquetFile(path) as file:
            schema, total = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError):
        raise FileError(f"{path.name} is no Parquet file.") from None
    columns = schema.names
    if len(set(columns)) < len(columns):
        raise BadHeaderError(f"{path.name} has two columns of one name.")
    return Table(
        path,
        columns,
        partial(_rows, path),
        "parquet",
        has_types=True,
        is_uniform=True,
        digest=digest,
        total=total,
        schema=schema,
    )


def _rows(path: Path, place: Place = START) -> Iterator[Row]:
    number = place.number
    for batch in batches(path, number, size=_BATCH):
        size = batch.nbytes // max(batch.num_rows, 1)
        for fields in batch.to_pylist():
            number += 1
            yield Row(number, {name: as_json(value) for name, value in fields.items()}, size, end=Place(number, number))


def batches(path: Path, skipped: int, *, size: int) -> Iterator[Any]:
    """Record batches of at most `size` rows, from the row behind `skipped`. Raises `FileError` where it is damaged."""
    import pyarrow as pa  # noqa: PLC0415  # as above
    import pyarrow.parquet as pq  # noqa: PLC0415  # slow to load, and only Parquet needs it

    number = skipped
    try:
        with pq.ParquetFile(path) as file:
            groups, behind = _groups_from(file.metadata, skipped)
            for batch in file.iter_batches(batch_size=size, row_groups=groups):
                if behind >= batch.num_rows:
                    behind -= batch.num_rows
                    continue
                yield batch.slice(behind)
                number += batch.num_rows - behind
                behind = 0
    except (pa.ArrowException, OSError) as error:
        raise FileError(f"{path.name} is damaged after row {number}.") from error


def _groups_from(metadata: Any, skipped: int) -> tuple[list[int], int]:  # noqa: ANN401  # Arrow has no types
    """The row groups that are left, and how many rows of the first of them were read."""
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if skipped < rows:
            return list(range(group, metadata.num_row_groups)), skipped
        skipped -= rows
    return [], 0


_SIMPLE: Final = (str, bool, int, type(None))


def as_json(value: Any) -> Any:  # noqa: ANN401, PLR0911  # whatever Parquet can hold, one line each
    if isinstance(value, _SIMPLE):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, dict):
        return {str(name): as_json(inner) for name, inner in value.items()}
    return [as_json(inner) for inner in value] if isinstance(value, list | tuple) else str(value)
