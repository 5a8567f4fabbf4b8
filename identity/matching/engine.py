"""The DuckDB in which records are compared: in memory, within bounds, gone afterwards."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

import duckdb
import pyarrow as pa
from duckdb import DuckDBPyConnection

from identity.matching import features

_ROWS_AT_ONCE: Final = 50_000
_COLUMNS: Final = ("unique_id", "unique_in", *features.TRAITS)
_SCHEMA: Final = pa.schema([("unique_id", pa.int64()), *((name, pa.string()) for name in _COLUMNS[1:])])


@contextmanager
def connect(*, memory_limit: str, threads: int) -> Iterator[DuckDBPyConnection]:
    """Nothing is written to disk: the rows are personal data. `memory_limit` as DuckDB writes it, "2GB"."""
    bounds: dict[str, str | bool | int | float | list[str]] = {"memory_limit": memory_limit, "threads": threads}
    connection = duckdb.connect(":memory:", config={**bounds, "temp_directory": ""})
    try:
        connection.execute("SET enable_progress_bar = false")
        yield connection
    finally:
        connection.close()


def load(connection: DuckDBPyConnection, rows: Iterable[tuple[Any, ...]]) -> int:
    """Make table `record` from rows of (id, type in which people are unique or None, the traits in order)."""
    columns = ", ".join(f"{name} VARCHAR" for name in _COLUMNS[1:])
    connection.execute(f"CREATE OR REPLACE TABLE raw (unique_id BIGINT, {columns})")
    remaining = iter(rows)
    total = 0
    while chunk := list(islice(remaining, _ROWS_AT_ONCE)):
        arrays = [
            pa.array(values, type=field.type) for values, field in zip(zip(*chunk, strict=True), _SCHEMA, strict=True)
        ]
        connection.register("chunk", pa.Table.from_arrays(arrays, schema=_SCHEMA))
        connection.execute("INSERT INTO raw SELECT * FROM chunk")
        connection.unregister("chunk")
        total += len(chunk)
    features.clean(connection)
    return total


def pairs_above(connection: DuckDBPyConnection, weight: float) -> list[tuple[int, int, float, dict[str, float]]]:
    """(left, right, weight, weight of each comparison) of the scored pairs, in a fixed order."""
    return connection.execute(
        "SELECT left_id, right_id, weight, parts FROM pair WHERE weight >= ? ORDER BY left_id, right_id", [weight]
    ).fetchall()


def records(connection: DuckDBPyConnection) -> list[int]:
    return [one for (one,) in connection.execute("SELECT unique_id FROM record").fetchall()]


def number_by_content(connection: DuckDBPyConnection) -> None:
    """Number the records by what they say. Splink samples by id: so the same records, loaded anew, train the same model."""
    connection.execute(f"""
        CREATE OR REPLACE TABLE record AS
        SELECT row_number() OVER (ORDER BY {", ".join(_content_of(connection))}) AS unique_id, * EXCLUDE (unique_id)
        FROM record
    """)  # noqa: S608  # our own names of columns


def _content_of(connection: DuckDBPyConnection) -> list[str]:
    described = connection.execute("DESCRIBE record").fetchall()
    return [row[0] for row in described if row[0] != "unique_id"]
