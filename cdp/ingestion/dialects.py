"""How a CSV file is written: told from its beginning. Pure.

A delimiter is recognised by how alike it cuts many lines, not by how often it stands in one: `1,5;2,5` has as many
commas as semicolons, but only the semicolon gives every line the columns of the first.
"""

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

DELIMITERS: Final = (",", ";", "\t", "|")
QUOTES: Final = ('"', "'")
_LINES: Final = 200
_MOST: Final = 0.9  # of the numbers of a file are written with a comma, if it writes decimal commas

_DATA = re.compile(
    r"[-+]?\d[\d.,]*|[^@\s]+@[^@\s]+\.[^@\s]+|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[T ].*)?|"
    r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|\+?[\d ().-]{8,20}"
)
_COMMA_NUMBER = re.compile(r"[-+]?\d+,\d+")
_POINT_NUMBER = re.compile(r"[-+]?\d+\.\d+")


@dataclass(frozen=True, slots=True)
class Dialect:
    """`skip` is how many lines stand before the header, or before the first row where there is none."""

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""  # what makes a quote inside a quoted value; without one it is doubled
    has_header: bool = True
    skip: int = 0
    decimal: str = "."

    @property
    def is_usual(self) -> bool:
        """Whether every CSV reader understands it, once it is told the delimiter."""
        return self.quote == '"' and not self.escape

    def of_reader(self) -> dict[str, Any]:
        """The arguments of `csv.reader`."""
        return {
            "delimiter": self.delimiter,
            "quotechar": self.quote,
            "escapechar": self.escape or None,
            "doublequote": not self.escape,
            "strict": True,
        }

    def of_rows(self) -> dict[str, str]:
        """What one must know to read a row of it alone; `said` takes it back."""
        return {"delimiter": self.delimiter, "quote": self.quote, "escape": self.escape, "decimal": self.decimal}

    def said(self, given: Mapping[str, Any]) -> "Dialect":
        """What a mapping says of the file goes before what it looks like."""
        return replace(self, **given)


def detect(beginning: str, *, delimiters: Sequence[str] = DELIMITERS) -> Dialect:
    """`beginning` ends anywhere: its last line is not looked at, unless it is the only one."""
    lines = _whole_lines(beginning)
    named = _named_delimiter(lines)
    body = _body(lines)
    delimiter, quote = _best(body, [named] if named else delimiters)
    found = Dialect(delimiter=delimiter, quote=quote, escape=_escape(body, quote))
    skip = _comments(lines, found)
    rows = _parsed(lines[skip:], found)
    return replace(found, skip=skip, has_header=_has_header(rows), decimal=_decimal(rows, delimiter))


def _whole_lines(beginning: str) -> list[str]:
    lines = beginning.splitlines(keepends=True)
    return (lines if len(lines) < 2 or lines[-1].endswith(("\n", "\r")) else lines[:-1])[: _LINES * 2]


def _named_delimiter(lines: Sequence[str]) -> str:
    """Spreadsheets write `sep=;` before the header."""
    found = re.fullmatch(r"sep=(.)\s*", lines[0]) if lines else None
    return found[1] if found else ""


def _body(lines: Sequence[str]) -> list[str]:
    """Without what may be comments: enough to tell the delimiter by."""
    body = [line for line in lines if line.strip() and not line.startswith("#")]
    body = body[1:] if body and re.fullmatch(r"sep=.\s*", body[0]) else body
    return body[:_LINES] or list(lines[:_LINES])


# -- delimiter and quotes -------------------------------------------------------------------------------------------


def _best(lines: Sequence[str], delimiters: Sequence[str]) -> tuple[str, str]:
    """The pair that gives most lines one number of columns; of two as good the one with more columns, then order."""
    usual_first = [(delimiter, quote) for quote in QUOTES for delimiter in delimiters]
    best = max(usual_first, key=lambda pair: _alikeness(lines, *pair))
    return best if _alikeness(lines, *best) > (0, 0) else (delimiters[0], QUOTES[0])


def _alikeness(lines: Sequence[str], delimiter: str, quote: str) -> tuple[float, int]:
    if quote != QUOTES[0] and not any(f"{delimiter}{quote}" in line or line.startswith(quote) for line in lines):
        return 0, 0
    try:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True) if row]
    except csv.Error:  # a value went on after its quote: so this is no quote, or the delimiter is another
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter, quotechar=quote) if row]
        widths += [1] * (len(widths) // 10 + 1)
    if not widths:
        return 0, 0
    width, times = Counter(widths).most_common(1)[0]
    return (round(times / len(widths), 2), width) if width > 1 else (0, 0)


def _escape(lines: Sequence[str], quote: str) -> str:
    r"""`\"` inside quoted values, where none is doubled."""
    text = "".join(lines)
    inside = re.search(rf"[^\\{quote}]\\{quote}[^,;\t|\r\n]", text)
    return "\\" if inside and not re.search(rf"[^,;\t|\r\n{quote}]{quote}{quote}", text) else ""


# -- what stands where ----------------------------------------------------------------------------------------------


def _comments(lines: Sequence[str], dialect: Dialect) -> int:
    """Leading lines that are blank, `sep=`, or begin with # — unless the last of those is the header itself."""
    skip = 1 if _named_delimiter(lines) else 0
    while skip < len(lines) and (not lines[skip].strip() or lines[skip].startswith("#")):
        skip += 1
    if skip and skip < len(lines) and lines[skip - 1].startswith("#"):
        above, below = _parsed(lines[skip - 1 : skip + 1], dialect)[:2] or [[], []]
        skip -= len(above) == len(below) > 1
    return skip


def _parsed(lines: Sequence[str], dialect: Dialect) -> list[list[str]]:
    arguments = {**dialect.of_reader(), "strict": False}
    return [row for row in csv.reader(lines[:_LINES], **arguments) if row]


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """A first row that looks like the others is no header: a number over numbers, an address over addresses.

    One name over a column of data decides: years may be names of columns. Where nothing tells, there is a header.
    """
    if len(rows) < 2:
        return True
    first, *others = rows
    said = [_names_column(cell, [row[place] for row in others if place < len(row)]) for place, cell in enumerate(first)]
    return True in said or False not in said


def _names_column(cell: str, below: Sequence[str]) -> bool | None:
    filled = [value.strip() for value in below if value.strip()]
    if not filled or not cell.strip():
        return None
    if sum(bool(_DATA.fullmatch(value)) for value in filled) < _MOST * len(filled):
        return None
    return not _DATA.fullmatch(cell.strip())


def _decimal(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    if delimiter == ",":
        return "."
    values = [value.strip() for row in rows[1:] for value in row]
    commas = sum(bool(_COMMA_NUMBER.fullmatch(value)) for value in values)
    points = sum(bool(_POINT_NUMBER.fullmatch(value)) for value in values)
    return "," if commas and commas >= _MOST * (commas + points) else "."
