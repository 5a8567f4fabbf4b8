"""What an opened file is to whoever reads it: rows, each with its place, and the errors of files that cannot be used."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cdp.ingestion.dialects import Dialect
from cdp.ingestion.texts import FileError, Text


class UnknownFileKindError(FileError):
    """Files are CSV (.csv, .tsv), JSON (.jsonl, .ndjson, .json), each also as .gz or .zst, or Parquet (.parquet)."""

    code = "unknown_file_kind"


class EmptyFileError(FileError):
    """The file has no rows."""

    code = "empty_file"


class BadHeaderError(FileError):
    """The first line of the file is no list of different column names."""

    code = "bad_header"


@dataclass(frozen=True, slots=True)
class Place:
    """How far a file was read. `offset` counts bytes of its text, unpacked, in Parquet rows; `number` lines or rows."""

    offset: int = 0
    number: int = 0


START: Final = Place()


@dataclass(frozen=True, slots=True)
class Row:
    """`number` is the line, or in Parquet the row, counted from 1. `code` says why there are no `fields`.

    `end` is where the next row begins: a load that was stopped goes on there.
    """

    number: int
    fields: Mapping[str, Any]
    size: int = 0
    code: str = ""
    message: str = ""
    raw: str = ""
    end: Place = START


@dataclass(frozen=True, slots=True)
class Table:
    """An opened file. Each call of `rows` begins anew, at the place that it is given."""

    path: Path
    columns: Sequence[str]  # of JSON, where each row has its own, those of the first rows
    rows: Callable[..., Iterator[Row]]
    encoding: str
    has_types: bool  # CSV has text alone
    is_uniform: bool  # every row has all columns
    digest: str  # of the whole file: what it is called does not matter
    total: int = 0  # the offset at which it ends; 0 where only reading would tell
    source: Text | None = None  # of text files
    first: Place = START  # of CSV, where the first row begins
    schema: Any = None  # of Parquet, as Arrow has it
    dialect: Dialect = field(default_factory=Dialect)  # of CSV
