"""JSON: an object on each line, or one array of objects, which is read as it comes and never held whole."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, BinaryIO, Final

from cdp.ingestion.bodies import InvalidJsonError, read_item
from cdp.ingestion.csv_rows import too_long
from cdp.ingestion.tables import START, Place, Row, Table
from cdp.ingestion.texts import KEPT_OF_A_LONG_LINE, LONGEST_LINE, Lines, LineTooLongError, Text

_PEEKED_ROWS: Final = 100
_BLOCK: Final = 2**18


def opened(text: Text, _: Mapping[str, Any]) -> Table:
    is_array = text.beginning().lstrip().startswith("[")
    rows = partial(_elements if is_array else _rows, text)
    columns = dict.fromkeys(name for row in islice(rows(), _PEEKED_ROWS) for name in row.fields)
    return Table(
        text.path,
        list(columns),
        rows,
        text.encoding,
        has_types=True,
        is_uniform=False,
        digest=text.digest,
        total=text.total,
        source=text,
    )


# -- lines ----------------------------------------------------------------------------------------------------------


def _rows(text: Text, place: Place = START) -> Iterator[Row]:
    with text.open(place.offset) as file:
        offset = file.tell() if file.seekable() else place.offset
        lines = Lines(file, text.charset, offset=offset, number=place.number)
        while True:
            lines.hold()
            try:
                line = next(lines)
            except StopIteration:
                return
            except LineTooLongError as error:
                yield too_long(error, lines)
            else:
                if line.strip():
                    yield _row(lines.number, line, Place(lines.offset, lines.number))


def _row(number: int, written: str, end: Place) -> Row:
    try:
        value = read_item(written.encode(errors="replace"))
    except InvalidJsonError:
        return Row(number, {}, len(written), "malformed_json", _why(number, written), written, end)
    if not isinstance(value, dict):
        return Row(number, {}, len(written), "not_an_object", f"Line {number} is no JSON object.", written, end)
    return Row(number, value, len(written), end=end)


def _why(number: int, written: str) -> str:
    try:
        json.loads(written, strict=False)
    except json.JSONDecodeError as error:
        return f"Line {number + error.lineno - 1} is no JSON at column {error.colno}: {error.msg}."
    except RecursionError:
        return f"The JSON on line {number} is nested too deeply."
    return f"Line {number} is no JSON."


# -- arrays ---------------------------------------------------------------------------------------------------------

# A string that is cut by the end of what was read so far is one token all the same: brackets in it are none.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[\[\]{}]|[^\s,"\[\]{}][^,"\[\]{}\n]*', re.DOTALL)


def _elements(text: Text, place: Place = START) -> Iterator[Row]:
    """The elements of an array one by one: each is cut out by its brackets, then read as a line would be."""
    with text.open(place.offset) as file:
        offset = file.tell() if file.seekable() else place.offset
        scan = _Scan(file, offset, place.number or 1, is_inside=place != START)
        for line, raw in scan:
            yield _element(line, raw, text.charset, Place(scan.offset, scan.line))
        if scan.depth:
            message = f"The array ends at line {scan.line} without `]`: the file was cut, and some of it is missing."
            yield Row(scan.line, {}, 0, "unclosed_array", message, "[", Place(scan.offset, scan.line))


def _element(line: int, raw: bytes, charset: str, end: Place) -> Row:
    if len(raw) > LONGEST_LINE:
        message = f"The element at line {line} is longer than {LONGEST_LINE} bytes; its beginning is kept."
        kept = raw[:KEPT_OF_A_LONG_LINE].decode(charset, "replace")
        return Row(line, {}, len(raw), "line_too_long", message, kept, end)
    return _row(line, raw.decode(charset, "replace").replace("\x00", "\ufffd"), end)


class _Scan:
    """Cuts an array at its top level. `offset` and `line` are where the element that was given last ends."""

    def __init__(self, file: BinaryIO, offset: int, line: int, *, is_inside: bool) -> None:
        self.file = file
        self.offset = offset
        self.line = line
        self.depth = 1 if is_inside else 0
        self.buffer = b""
        self.at = 0  # what of the buffer was given
        self.is_at_end = False

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Pairs of line and bytes. What never ends is given, cut, at the end of the file or of patience."""
        while True:
            found = self._next_element()
            left = len(self.buffer) - self.at
            if found is not None:
                yield found
            elif self.is_at_end or left > 2 * LONGEST_LINE:
                if rest := self.buffer[self.at :].strip(b" \t\r\n,]"):
                    self.depth = 0 if self.is_at_end else self.depth  # what was cut is told by this element
                    yield self._cut(self.buffer.index(rest, self.at), len(self.buffer))
                if self.is_at_end:
                    return
            else:
                self._read_on(left)

    def _read_on(self, left: int) -> None:
        block = self.file.read(max(_BLOCK, left))
        self.buffer = self.buffer[self.at :] + block
        self.at = 0
        self.is_at_end = not block

    def _next_element(self) -> tuple[int, bytes] | None:
        """The element that the buffer holds whole."""
        start, depth = -1, self.depth
        for found in _TOKEN.finditer(self.buffer, self.at):
            token = found[0]
            if found.end() == len(self.buffer) and not self.is_at_end and token not in {b"]", b"}"}:
                return None  # it may go on
            if depth == 0 and token == b"[":
                depth = self.depth = 1
                self._cut(found.start(), found.end())
                continue
            if start < 0 and token == b"]":
                depth = self.depth = 0
                self._cut(found.start(), found.end())
                continue
            start = found.start() if start < 0 else start
            depth += (token in {b"{", b"["}) - (token in {b"}", b"]"})
            if depth <= self.depth:
                return self._cut(start, found.end())
        return None

    def _cut(self, start: int, end: int) -> tuple[int, bytes]:
        line = self.line + self.buffer.count(b"\n", self.at, start)
        self.line = line + self.buffer.count(b"\n", start, end)
        self.offset += end - self.at
        self.at = end
        return line, self.buffer[start:end]
