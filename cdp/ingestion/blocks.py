"""Flat files as blocks of columns: what CSV and Parquet hold, some ten thousand rows at a time, for the columnar path.

Arrow cuts a part of a CSV file that has no quotes ten times as fast as Python does, and there both cannot differ. Where
there is a quote, a stray carriage return, a NUL or a row of another length, the rows are read as everywhere else.
"""

import ctypes
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO, Final

import pyarrow as pa
from pyarrow import csv as arrow_csv

from cdp.ingestion import csv_rows, parquet_rows
from cdp.ingestion.tables import START, Place, Row, Table
from cdp.ingestion.texts import Lines, Text, packing_of

BLOCK_ROWS: Final = 20_000
BLOCK_BYTES: Final = 13 * 2**17
_ODD: Final = (b'"', b"\x00")
pa.set_memory_pool(pa.system_memory_pool())  # which gives back what a block needed; Arrow's own keeps it
_M_ARENA_MAX: Final = -8
_M_MMAP_THRESHOLD: Final = -3
if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):  # glibc: else each thread keeps what it once needed
    mallopt(_M_ARENA_MAX, 2)
    mallopt(_M_MMAP_THRESHOLD, 2**20)  # what is larger is given back at once: else a column leaves a gap for its like
_PLAIN_CHARSETS: Final = frozenset({"utf-8", "ascii"})


class _WithoutPandas:
    """A finder that finds no pandas."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


def _leave_pandas_alone() -> None:
    """Arrow loads pandas, where it is installed, to see whether what it is given comes from there: 45 MB for nothing.

    It looks once in a process. Whoever uses pandas there still can, but Arrow makes no frames for them.
    """
    sys.meta_path.insert(0, _WithoutPandas)
    pa.scalar("")
    sys.meta_path.remove(_WithoutPandas)


_leave_pandas_alone()


@dataclass(frozen=True, slots=True)
class Block:
    """`numbers` are the lines of the rows in `columns`; `bad` are those that could not be read, `end` is behind all."""

    columns: Mapping[str, Any]
    numbers: Sequence[int]
    end: Place
    bad: Sequence[Row] = field(default_factory=tuple)

    def rows(self) -> Iterator[Row]:
        """One by one: first those that could not be read."""
        yield from self.bad
        yield from (Row(number, self.fields(place)) for place, number in enumerate(self.numbers))

    def fields(self, place: int) -> dict[str, Any]:
        return {name: parquet_rows.as_json(column[place].as_py()) for name, column in self.columns.items()}


def blocks(table: Table, place: Place, *, limit: int | None = None) -> Iterator[Block]:
    """From `place` on, at most `limit` rows. A limit is met exactly, so its last rows are read one by one."""
    if limit is not None:
        yield from _of_rows(table, islice(table.rows(place), limit))
    elif table.has_types:
        yield from _of_parquet(table, place)
    elif table.source is not None and _is_plain(table):
        yield from _of_csv(table, table.source, place)
    else:
        yield from _of_rows(table, table.rows(place))


def _is_plain(table: Table) -> bool:
    """Whether it can be opened anywhere, and lines and columns end where Arrow sees them end."""
    text = table.source
    return text is not None and not (text.is_recoded or packing_of(text.path)) and table.dialect.is_usual


# -- any file -------------------------------------------------------------------------------------------------------


def _of_rows(table: Table, rows: Iterator[Row]) -> Iterator[Block]:
    while block := _next_block(table, rows):
        yield block


def _next_block(table: Table, rows: Iterator[Row]) -> Block | None:
    taken: list[Row] = []
    size = 0
    for row in rows:
        taken.append(row)
        size += row.size
        if len(taken) == BLOCK_ROWS or size >= BLOCK_BYTES:
            break
    if not taken:
        return None
    good = [row for row in taken if not row.code]
    kind = None if table.has_types else pa.string()
    columns = {name: pa.array([row.fields[name] for row in good], kind) for name in table.columns}
    bad = [row for row in taken if row.code]
    return Block(columns, [row.number for row in good], taken[-1].end, bad)


# -- Parquet --------------------------------------------------------------------------------------------------------


def _of_parquet(table: Table, place: Place) -> Iterator[Block]:
    number = place.number
    for batch in parquet_rows.batches(table.path, number, size=BLOCK_ROWS):
        numbers = range(number + 1, number + batch.num_rows + 1)
        number += batch.num_rows
        yield Block(dict(zip(batch.schema.names, batch.columns, strict=True)), numbers, Place(number, number))


# -- CSV ------------------------------------------------------------------------------------------------------------


def _of_csv(table: Table, text: Text, place: Place) -> Iterator[Block]:
    at = table.first if place == START else place
    with text.open(at.offset) as file:
        while data := _read_at(file, at.offset):
            block = _by_arrow(table, text, data, at) or _by_rows(table, text, file, at)
            if block is None:
                return
            yield block
            at = block.end


def _read_at(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    return file.read(BLOCK_BYTES)


def _by_rows(table: Table, text: Text, file: BinaryIO, at: Place) -> Block | None:
    file.seek(at.offset)
    lines = Lines(file, text.charset, offset=at.offset, number=at.number)
    return _next_block(table, csv_rows.read(lines, table.dialect, table.columns))


def _by_arrow(table: Table, text: Text, data: bytes, at: Place) -> Block | None:
    """None where the two readers might differ."""
    data = data[: data.rfind(b"\n") + 1]
    if not data or any(odd in data for odd in _ODD) or (b"\r" in data and data.count(b"\r") != data.count(b"\r\n")):
        return None
    read = _columns(table, data if text.charset in _PLAIN_CHARSETS else data.decode(text.charset).encode())
    lines = data.count(b"\n")
    if read is None or read.num_rows != lines:
        return None
    columns = {name: column.combine_chunks() for name, column in zip(table.columns, read.columns, strict=True)}
    numbers = range(at.number + 1, at.number + lines + 1)
    return Block(columns, numbers, Place(at.offset + len(data), at.number + lines))


def _columns(table: Table, data: bytes) -> Any:  # noqa: ANN401  # Arrow has no types
    names = [str(place) for place in range(len(table.columns))]
    try:
        return arrow_csv.read_csv(
            pa.BufferReader(data),
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
            parse_options=arrow_csv.ParseOptions(delimiter=table.dialect.delimiter, quote_char=False),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=True
            ),
        )
    except pa.ArrowInvalid:  # a row of another length
        return None
