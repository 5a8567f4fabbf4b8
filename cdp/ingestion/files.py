"""Rows of CSV, JSON lines and Parquet files, read in a stream: memory is bounded whatever the file holds.

A row that cannot be read is handed over with its reason instead of its fields; what makes the whole file unusable is a
`FileError` before the first row.
"""

import codecs
import csv
import hashlib
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import charset_normalizer

from cdp.ingestion.bodies import InvalidJsonError, read_item
from cdp.kernel.errors import TesseraError

LONGEST_LINE: Final = 2**20
KEPT_OF_A_LONG_LINE: Final = 1_000
_BLOCK: Final = 2**20
_SAMPLE: Final = 2**18
_PEEKED_ROWS: Final = 100
_DELIMITERS: Final = ",;\t|"
_BOMS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_NEAR_ENOUGH: Final = 0.1  # of two guesses at an encoding the usual one, unless the other is clearly better

csv.field_size_limit(LONGEST_LINE)


class FileError(TesseraError):
    """The file cannot be read."""

    code = "unreadable_file"


class UnknownFileKindError(FileError):
    """Files are CSV (.csv, .tsv), JSON lines (.jsonl, .ndjson, .json) or Parquet (.parquet), told by their ending."""

    code = "unknown_file_kind"


class UndecodableFileError(FileError):
    """The file is no text in an encoding that can be recognised: save it as UTF-8."""

    code = "undecodable_file"


class EmptyFileError(FileError):
    """The file has no rows."""

    code = "empty_file"


class BadHeaderError(FileError):
    """The first line of the file is no list of different column names."""

    code = "bad_header"


@dataclass(frozen=True, slots=True)
class Row:
    """`number` is the line, or in Parquet the row, counted from 1. `code` says why there are no `fields`."""

    number: int
    fields: Mapping[str, Any]
    size: int = 0
    code: str = ""
    message: str = ""
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """An opened file. Each call of `rows` begins anew."""

    columns: Sequence[str]  # of JSON lines, where each row has its own, those of the first rows
    rows: Callable[[], Iterator[Row]]
    encoding: str
    has_types: bool  # CSV has text alone
    is_uniform: bool  # every row has all columns


def digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_table(path: Path) -> Table:
    """Raises `FileError`: nothing of such a file is loaded."""
    if not path.is_file():
        raise FileError(f"There is no file {path}.")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UnknownFileKindError
    if not path.stat().st_size:
        raise EmptyFileError(f"{path.name} is empty.")
    return reader(path)


# -- text -----------------------------------------------------------------------------------------------------------


def encoding_of(path: Path) -> str:
    """UTF-8 if all of it is, else what it looks like, if all of it can be read so."""
    with path.open("rb") as file:
        sample = file.read(_SAMPLE)
    for bom, encoding in _BOMS:
        if sample.startswith(bom):
            _check_decodes(path, encoding)
            return encoding
    try:
        _check_decodes(path, "utf-8")
    except UndecodableFileError as error:
        guess = _guess(sample if error.details["byte"] < _SAMPLE else _around(path, error.details["byte"]))
        if guess is None:
            raise
        _check_decodes(path, guess)
        return guess
    return "utf-8"


def _check_decodes(path: Path, encoding: str) -> None:
    """Raises `UndecodableFileError` with the place of the first byte that is no text."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, offset = 1, 0
    with path.open("rb") as file:
        while True:
            block = file.read(_BLOCK)
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                byte = offset - pending + error.start
                line += block[: max(error.start - pending, 0)].count(b"\n")
                message = f"{path.name} is no {encoding} text at byte {byte} (line {line}): save it as UTF-8."
                raise UndecodableFileError(message, byte=byte, line=line) from None
            if not block:
                return
            line += block.count(b"\n")
            offset += len(block)


def _around(path: Path, byte: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(byte - _SAMPLE // 2, 0))
        return file.read(_SAMPLE)


def _guess(sample: bytes) -> str | None:
    if b"\x00" in sample:  # no text in any encoding of single bytes, and UTF-16 begins with its mark
        return None
    matches = charset_normalizer.from_bytes(sample)
    best = matches.best()
    if best is None:
        return None
    usual = next((match for match in matches if match.encoding == "cp1252"), None)
    return "cp1252" if usual and usual.chaos <= best.chaos + _NEAR_ENOUGH else best.encoding


class _LineTooLongError(Exception):
    def __init__(self, number: int, start: str) -> None:
        super().__init__(number)
        self.number = number
        self.start = start


class _Lines:
    """The lines of a text file with their numbers. One that is too long raises, and the next call goes on after it."""

    def __init__(self, file: io.TextIOBase) -> None:
        self.file = file
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self.file.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == LONGEST_LINE and not line.endswith(("\n", "\r")):
            self._skip_the_rest()
            raise _LineTooLongError(self.number, line[:KEPT_OF_A_LONG_LINE])
        return line.replace("\x00", "\ufffd") if "\x00" in line else line

    def _skip_the_rest(self) -> None:
        while (rest := self.file.readline(LONGEST_LINE)) and not rest.endswith(("\n", "\r")):
            pass


class _LinesOfRows(_Lines):
    """Keeps the lines of the row that is being read, for quarantine."""

    def __init__(self, file: io.TextIOBase) -> None:
        super().__init__(file)
        self.row: list[str] = []

    def __next__(self) -> str:
        line = super().__next__()
        self.row.append(line)
        return line


def _too_long(error: _LineTooLongError) -> Row:
    message = f"The line is longer than {LONGEST_LINE} characters; its beginning is kept."
    return Row(error.number, {}, LONGEST_LINE, "line_too_long", message, error.start)


# -- CSV ------------------------------------------------------------------------------------------------------------


def _open_csv(path: Path) -> Table:
    encoding = encoding_of(path)
    with path.open(encoding=encoding, newline="") as file:
        columns, delimiter = _header(path, _Lines(file))
    return Table(
        columns, partial(_csv_rows, path, encoding, columns, delimiter), encoding, has_types=False, is_uniform=True
    )


def _header(path: Path, lines: _Lines) -> tuple[list[str], str]:
    try:
        first = next(lines)
        delimiter = max(_DELIMITERS, key=first.count)
        columns = [name.strip() for name in next(csv.reader([first], delimiter=delimiter))]
    except (_LineTooLongError, csv.Error, StopIteration):
        raise BadHeaderError(f"The first line of {path.name} is no list of column names.") from None
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise BadHeaderError(f"{path.name} has two columns of the name {', '.join(twice)}.")
    return [name or f"column_{place}" for place, name in enumerate(columns, 1)], delimiter


def _csv_rows(path: Path, encoding: str, columns: Sequence[str], delimiter: str) -> Iterator[Row]:
    with path.open(encoding=encoding, newline="") as file:
        lines = _LinesOfRows(file)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        next(reader)
        while True:
            start = lines.number + 1
            lines.row.clear()
            try:
                values = next(reader)
            except StopIteration:
                return
            except _LineTooLongError as error:
                yield _too_long(error)
            except csv.Error as error:
                raw = "".join(lines.row)
                yield Row(start, {}, len(raw), "malformed_row", f"The row is no CSV: {error}.", raw)
            else:
                if values:
                    yield _csv_row(start, values, columns)


def _csv_row(number: int, values: Sequence[str], columns: Sequence[str]) -> Row:
    size = sum(map(len, values))
    if len(values) != len(columns):
        message = f"The row has {len(values)} values for {len(columns)} columns."
        return Row(number, {}, size, "wrong_number_of_columns", message, _csv_line(values))
    return Row(number, dict(zip(columns, values, strict=True)), size)


def _csv_line(values: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


# -- JSON lines -----------------------------------------------------------------------------------------------------


def _open_json_lines(path: Path) -> Table:
    encoding = encoding_of(path)
    with path.open(encoding=encoding) as file:
        if file.read(_SAMPLE).lstrip().startswith("["):
            raise FileError(f"{path.name} is one JSON array: write one object on each line instead.")
    rows = partial(_json_rows, path, encoding)
    columns = dict.fromkeys(name for row in islice(rows(), _PEEKED_ROWS) for name in row.fields)
    return Table(list(columns), rows, encoding, has_types=True, is_uniform=False)


def _json_rows(path: Path, encoding: str) -> Iterator[Row]:
    with path.open(encoding=encoding) as file:
        lines = _Lines(file)
        while True:
            try:
                line = next(lines)
            except StopIteration:
                return
            except _LineTooLongError as error:
                yield _too_long(error)
            else:
                if line.strip():
                    yield _json_row(lines.number, line)


def _json_row(number: int, line: str) -> Row:
    try:
        value = read_item(line.encode(errors="replace"))
    except InvalidJsonError:
        return Row(number, {}, len(line), "malformed_json", "The line is no JSON.", line)
    if not isinstance(value, dict):
        return Row(number, {}, len(line), "not_an_object", "The line is no JSON object.", line)
    return Row(number, value, len(line))


# -- Parquet --------------------------------------------------------------------------------------------------------


def _open_parquet(path: Path) -> Table:
    import pyarrow as pa  # noqa: PLC0415  # takes a third of a second that web and workers need not spend
    import pyarrow.parquet as pq  # noqa: PLC0415  # slow to load, and only Parquet needs it

    try:
        columns = pq.read_schema(path).names
    except (pa.ArrowException, OSError):
        raise FileError(f"{path.name} is no Parquet file.") from None
    if len(set(columns)) < len(columns):
        raise BadHeaderError(f"{path.name} has two columns of one name.")
    return Table(columns, partial(_parquet_rows, path), "parquet", has_types=True, is_uniform=True)


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa  # noqa: PLC0415  # as above
    import pyarrow.parquet as pq  # noqa: PLC0415  # slow to load, and only Parquet needs it

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1_000):
                size = batch.nbytes // max(batch.num_rows, 1)
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(number, {name: _as_json(value) for name, value in fields.items()}, size)
    except (pa.ArrowException, OSError) as error:
        raise FileError(f"{path.name} is damaged after row {number}.") from error


_SIMPLE: Final = (str, bool, int, type(None))


def _as_json(value: Any) -> Any:  # noqa: ANN401, PLR0911  # whatever Parquet can hold, one line each
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
        return {str(name): _as_json(inner) for name, inner in value.items()}
    return [_as_json(inner) for inner in value] if isinstance(value, list | tuple) else str(value)


_READERS: Final[Mapping[str, Callable[[Path], Table]]] = {
    ".csv": _open_csv,
    ".tsv": _open_csv,
    ".jsonl": _open_json_lines,
    ".ndjson": _open_json_lines,
    ".json": _open_json_lines,
    ".parquet": _open_parquet,
}
