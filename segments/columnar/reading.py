"""From Postgres into columns: the answer of COPY is parsed by Arrow, a piece in memory at a time."""

import io
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pyarrow as pa
from django.db import connection
from pyarrow import csv

BLOCK: Final = 8 * 2**20


def columns_of(query: str, parameters: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """The rows of a query that fit into memory; `query` has named parameters and gives the columns in order."""
    return pa.Table.from_batches(batches_of(query, parameters, schema), schema)


def batches_of(query: str, parameters: Mapping[str, Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows a batch at a time. None of the values may be null."""
    with connection.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv)", parameters) as copy:
        stream = io.BufferedReader(_Copied(copy), BLOCK)
        if not stream.peek(1):
            return
        yield from csv.open_csv(
            stream,
            read_options=csv.ReadOptions(column_names=schema.names, block_size=BLOCK, use_threads=False),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(column_types=schema, strings_can_be_null=False, null_values=[]),
        )


class _Copied(io.RawIOBase):
    """What COPY sends, as a file that can be read."""

    def __init__(self, copy: Any) -> None:  # noqa: ANN401  # psycopg's Copy, which Django wraps
        self._pieces = iter(copy)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  # any writable buffer
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
