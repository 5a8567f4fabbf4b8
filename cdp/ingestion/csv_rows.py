"""CSV: its header, and its rows with the place at which each begins and ends."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from cdp.ingestion.dialects import DELIMITERS, Dialect, detect
from cdp.ingestion.tables import START, BadHeaderError, EmptyFileError, Place, Row, Table
from cdp.ingestion.texts import LONGEST_LINE, Lines, LineTooLongError, Text

csv.field_size_limit(LONGEST_LINE)


def opened(text: Text, said: Mapping[str, Any]) -> Table:
    """Raises `BadHeaderError`."""
    beginning = text.beginning()
    likely = ("\t", *DELIMITERS) if ".tsv" in text.path.suffixes else DELIMITERS
    dialect = detect(beginning, delimiters=[said["delimiter"]] if "delimiter" in said else likely).said(said)
    columns, first = _header(text, dialect)
    rows = partial(_rows, text, dialect, columns, first)
    return Table(
        text.path, columns, rows, text.encoding, has_types=False, is_uniform=True, digest=text.digest, total=text.total,
        source=text, dialect=dialect, first=first,
    )  # fmt: skip


def _header(text: Text, dialect: Dialect) -> tuple[list[str], Place]:
    """The names of the columns, and where the first row begins."""
    name = text.path.name
    with text.open() as file:
        lines = Lines(file, text.charset, offset=file.tell() if file.seekable() else 0, number=0)
        try:
            for _ in range(dialect.skip):
                next(lines)
            before = Place(lines.offset, lines.number)
            cells = next(csv.reader(lines, **dialect.of_reader()))
        except (LineTooLongError, csv.Error):
            raise BadHeaderError(f"The first line of {name} is no list of column names.") from None
        except StopIteration:
            raise EmptyFileError(f"{name} has no rows.") from None
        columns = [cell.strip() if dialect.has_header else "" for cell in cells]
        after = Place(lines.offset, lines.number) if dialect.has_header else before
    twice = sorted({column for column in columns if column and columns.count(column) > 1})
    if twice:
        raise BadHeaderError(f"{name} has two columns of the name {', '.join(twice)}.")
    return [column or f"column_{place}" for place, column in enumerate(columns, 1)], after


def _rows(text: Text, dialect: Dialect, columns: Sequence[str], first: Place, place: Place = START) -> Iterator[Row]:
    start = first if place == START else place
    with text.open(start.offset) as file:
        lines = Lines(file, text.charset, offset=start.offset, number=start.number)
        yield from read(lines, dialect, columns)


def read(lines: Lines, dialect: Dialect, columns: Sequence[str]) -> Iterator[Row]:
    """The rows that these lines hold, from wherever they begin."""
    reader = csv.reader(lines, **dialect.of_reader())
    while True:
        start = lines.number + 1
        lines.hold()
        try:
            values = next(reader)
        except StopIteration:
            return
        except LineTooLongError as error:
            yield too_long(error, lines)
            reader = csv.reader(lines, **dialect.of_reader())  # what it had of the row before goes with the line
        except csv.Error as error:
            yield _malformed(start, str(error), lines, dialect)
        else:
            if values:
                yield _row(start, values, columns, lines)


def _row(number: int, values: Sequence[str], columns: Sequence[str], lines: Lines) -> Row:
    size = sum(map(len, values))
    end = Place(lines.offset, lines.number)
    if len(values) != len(columns):
        message = f"Line {number} has {len(values)} values for {len(columns)} columns."
        return Row(number, {}, size, "wrong_number_of_columns", message, "".join(lines.held), end)
    return Row(number, dict(zip(columns, values, strict=True)), size, end=end)


def too_long(error: LineTooLongError, lines: Lines) -> Row:
    message = f"Line {error.number} is longer than {LONGEST_LINE} characters; its beginning is kept."
    end = Place(lines.offset, lines.number)
    return Row(error.number, {}, LONGEST_LINE, "line_too_long", message, error.start, end)


def _malformed(number: int, reason: str, lines: Lines, dialect: Dialect) -> Row:
    raw = "".join(lines.held)
    line, column = _where(raw, dialect)
    message = f"The row is no CSV at line {number + line}, column {column}: {reason}."
    return Row(number, {}, len(raw), "malformed_row", message, raw, Place(lines.offset, lines.number))


def _where(raw: str, dialect: Dialect) -> tuple[int, int]:
    """Line, counted from 0, and column at which a value goes on behind its quote; else where the row ends."""
    quote, delimiter = re.escape(dialect.quote), re.escape(dialect.delimiter)
    inside = rf"[^{quote}\\]|\\." if dialect.escape else rf"[^{quote}]|{quote}{quote}"
    found = re.search(rf"(?:^|[{delimiter}\n]){quote}(?:{inside})*{quote}(?![{delimiter}{quote}\r\n]|$)", raw)
    place = found.end() if found else len(raw.rstrip("\r\n"))
    return raw.count("\n", 0, place), place - raw.rfind("\n", 0, place)
