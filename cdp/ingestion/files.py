"""Rows of CSV, JSON and Parquet files, read in a stream: memory is bounded whatever the file holds.

A row that cannot be read is handed over with its reason instead of its fields; what makes the whole file unusable is a
`FileError` before the first row.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from cdp.ingestion import csv_rows, json_rows, parquet_rows
from cdp.ingestion.tables import START, BadHeaderError, EmptyFileError, Place, Row, Table, UnknownFileKindError
from cdp.ingestion.texts import (
    DamagedFileError,
    FileError,
    Text,
    UndecodableFileError,
    digest_of_file,
    packing_of,
    read_through,
)

__all__ = [
    "START", "BadHeaderError", "DamagedFileError", "EmptyFileError", "FileError", "Place", "Row", "Table",
    "UndecodableFileError", "UnknownFileKindError", "digest_of_file", "is_known_kind", "open_table",
]  # fmt: skip

_OF_TEXT: Final[Mapping[str, Callable[..., Table]]] = {
    ".csv": csv_rows.opened,
    ".tsv": csv_rows.opened,
    ".jsonl": json_rows.opened,
    ".ndjson": json_rows.opened,
    ".json": json_rows.opened,
}


def open_table(
    path: Path, *, dialect: Mapping[str, Any] | None = None, survey: Mapping[str, Any] | None = None
) -> Table:
    """`dialect` is what a mapping says of the file, `survey` what is known of it since it was read through.

    Raises `FileError`: nothing of such a file is loaded.
    """
    if not path.is_file():
        raise FileError(f"There is no file {path}.")
    if not is_known_kind(path.name):
        raise UnknownFileKindError
    if not path.stat().st_size:
        raise EmptyFileError(f"{path.name} is empty.")
    kind = _kind(path)
    if kind == ".parquet":
        return parquet_rows.opened(path, digest=survey["digest"] if survey else digest_of_file(path))
    said = dict(dialect or {})
    encoding = said.pop("encoding", "")
    if survey and encoding in {"", survey["encoding"]}:
        return _OF_TEXT[kind](Text(path, **survey), said)
    return _OF_TEXT[kind](read_through(path, encoding=encoding), said)


def is_known_kind(name: str) -> bool:
    path = Path(name)
    return _kind(path) in _OF_TEXT or (_kind(path) == ".parquet" and not packing_of(path))


def _kind(path: Path) -> str:
    return (path.with_suffix("") if packing_of(path) else path).suffix.lower()
