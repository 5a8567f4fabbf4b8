"""The DuckDB in which records are compared: in memory, within bounds, gone afterwards."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from tempfile import TemporaryDirectory
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from duckdb import DuckDBPyConnection
from pyarrow import csv

from identity.matching import features

_ROWS_AT_ONCE: Final = 50_000
_COLUMNS: Final = ("unique_id", "unique_in", *features.TRAITS)
RAW: Final = pa.schema([("unique_id", pa.int64()), *((name, pa.string()) for name in _COLUMNS[1:])])


@contextmanager
def connect(*, memory_limit: str, threads: int, spill_directory: str = "") -> Iterator[DuckDBPyConnection]:
    """`memory_limit` as DuckDB writes it, "2GB". What does not fit fails, for the rows are personal data: unless
    `spill_directory` is given, in which what is written for a while lies in a directory of its own, and is removed.
    """
    with _private_directory(spill_directory) as spilled:
        bounds: dict[str, str | bool | int | float | list[str]] = {"memory_limit": memory_limit, "threads": threads}
        connection = duckdb.connect(":memory:", config={**bounds, "temp_directory": spilled})
        try:
            connection.execute("SET enable_progress_bar = false")
            yield connection
        finally:
            connection.close()


@contextmanager
def _private_directory(parent: str) -> Iterator[str]:
    if not parent:
        yield ""
        return
    with TemporaryDirectory(prefix="tessera-", dir=parent) as directory:
        yield directory


def load(connection: DuckDBPyConnection, rows: Iterable[tuple[Any, ...]]) -> int:
    """Make table `record` from rows of (id, type in which people are unique or None, the traits in order)."""
    columns = ", ".join(f"{name} VARCHAR" for name in _COLUMNS[1:])
    connection.execute(f"CREATE OR REPLACE TABLE raw (unique_id BIGINT, {columns})")
    remaining = iter(rows)
    total = 0
    while chunk := list(islice(remaining, _ROWS_AT_ONCE)):
        append(connection, "raw", RAW, chunk)
        total += len(chunk)
    features.clean(connection)
    return total


def append(connection: DuckDBPyConnection, table: str, schema: pa.Schema, rows: Sequence[tuple[Any, ...]]) -> None:
    """`table` is one of our own names and has the columns of `schema`; there is at least one row."""
    arrays = [pa.array(values, type=field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
    connection.register("chunk", pa.Table.from_arrays(arrays, schema=schema))
    connection.execute(f"INSERT INTO {table} SELECT * FROM chunk")  # noqa: S608  # see above
    connection.unregister("chunk")


# What is received: `at` and `source` only where values of a trait compete.
VALUE: Final = pa.schema([("id", pa.int64()), ("trait", pa.int32()), ("text", pa.string())])
COMPETING_VALUE: Final = pa.schema([*VALUE, ("at", pa.int64()), ("source", pa.int64())])
UNIQUE_TYPE: Final = pa.schema([("id", pa.int64()), ("type", pa.string())])


def receive(connection: DuckDBPyConnection, table: str, schema: pa.Schema, blocks: Iterable[bytes]) -> None:
    """Make a table of blocks of CSV, each of whole rows."""
    connection.register("block", schema.empty_table())
    connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM block")  # noqa: S608  # our own names of tables
    connection.unregister("block")
    for block in blocks:
        connection.register("block", parsed(block, schema))
        connection.execute(f"INSERT INTO {table} SELECT * FROM block")  # noqa: S608  # the same
        connection.unregister("block")


def parsed(block: bytes, schema: pa.Schema) -> pa.Table:
    """Of CSV in whole rows. An empty text is one, and no NULL."""
    return csv.read_csv(
        pa.BufferReader(block),
        read_options=csv.ReadOptions(column_names=schema.names, block_size=len(block) + 1),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=schema, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""]
        ),
    )


_PIVOT: Final = """
CREATE OR REPLACE TABLE pivoted AS
SELECT v.id AS unique_id, any_value(u.type) AS unique_in{columns}
FROM value v LEFT JOIN unique_type u ON u.id = v.id
GROUP BY v.id HAVING min(v.trait) <> max(v.trait)
"""
# What nobody has is a constant: DuckDB does not look at it for each record.
_RAW: Final = "CREATE OR REPLACE VIEW raw AS SELECT unique_id, unique_in, {columns} FROM pivoted"
# Where sources differ, the newest value, and of two at the same moment that of the older source.
_NEWEST: Final = ", arg_max(v.text, (v.at, -v.source)) FILTER (WHERE v.trait = {place}) AS {name}"
_ONLY: Final = ", any_value(v.text) FILTER (WHERE v.trait = {place}) AS {name}"


def pivot(connection: DuckDBPyConnection, *, are_competing: bool, is_day_first: bool | None = None) -> int:
    """Make table `record` of what was received as `value` and `unique_type`. Returns how many there are.

    `are_competing` says that a trait of a record may have several values. Unless `is_day_first` is given, the dates
    themselves say how they are read.
    """
    present = {place for (place,) in connection.execute("SELECT DISTINCT trait FROM value").fetchall()}
    given = {name: place for place, name in enumerate(features.TRAITS, start=1) if place in present}
    chosen = _NEWEST if are_competing else _ONLY
    made = (chosen.format(place=place, name=name) for name, place in given.items())
    connection.execute(_PIVOT.format(columns="".join(made)))
    raw = (name if name in given else f"NULL::VARCHAR AS {name}" for name in features.TRAITS)
    connection.execute(_RAW.format(columns=", ".join(raw)))
    connection.execute("DROP TABLE value")
    connection.execute("DROP TABLE unique_type")
    features.clean(connection, given=given, is_day_first=is_day_first)
    connection.execute("DROP VIEW raw")
    connection.execute("DROP TABLE pivoted")
    return int(connection.execute("SELECT count(*) FROM record").fetchall()[0][0])


_EVIDENCE: Final = pa.schema([
    ("left_id", pa.int64()), ("right_id", pa.int64()), ("weight", pa.float64()), ("parts", pa.string())
])  # fmt: skip


def evidence_above(connection: DuckDBPyConnection, weight: float) -> pa.Table:
    """The same as `pairs_above` by columns, with the parts as JSON: what goes to Postgres and is not looked at here."""
    return connection.sql(
        "SELECT left_id, right_id, weight, to_json(parts)::VARCHAR AS parts FROM pair WHERE weight >= ?"
        " ORDER BY left_id, right_id",
        params=[weight],
    ).to_arrow_table()


def no_evidence() -> pa.Table:
    return _EVIDENCE.empty_table()


def pairs_above(connection: DuckDBPyConnection, weight: float) -> list[tuple[int, int, float, dict[str, float]]]:
    """(left, right, weight, weight of each comparison) of the scored pairs, in a fixed order."""
    return connection.execute(
        "SELECT left_id, right_id, weight, parts FROM pair WHERE weight >= ? ORDER BY left_id, right_id", [weight]
    ).fetchall()


def records(connection: DuckDBPyConnection) -> npt.NDArray[np.int64]:
    return connection.execute("SELECT unique_id FROM record").fetchnumpy()["unique_id"]


@contextmanager
def sampled(connection: DuckDBPyConnection, *, size: int) -> Iterator[DuckDBPyConnection]:
    """For whoever works on what is yielded, table `record` has about `size` of the records, all if there are fewer, and
    whatever is made is gone in the end.
    """
    connection.execute("CREATE SCHEMA sample")
    with connection.cursor() as beside:
        beside.execute("SET search_path = 'sample,main'")
        beside.execute(_SAMPLE, {"size": size})
        yield beside
    connection.execute("DROP SCHEMA sample CASCADE")


_SAMPLE: Final = """
CREATE TABLE sample.record AS SELECT * FROM main.record
WHERE hash(unique_id, 'sample') % 1000000 < 1e6 * $size / (SELECT greatest(count(*), 1) FROM main.record)
"""


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
