"""Customers from a plain file instead of profiles: one row a purchase, or one row a customer.

CSV, JSON lines and Parquet, told apart by their ending. A row that cannot be read is counted and left out.
"""

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet

from cdp.kernel.errors import TesseraError
from segments.learned.features import FEATURES, Customers
from segments.learned.specification import PURCHASE_COLUMNS, SUMMARY_COLUMNS

SECONDS_A_DAY = 86_400
NEVER = datetime.min.replace(tzinfo=UTC)
Row = Mapping[str, Any]


class InputFileError(TesseraError):
    """The file cannot be learnt from: it must exist, be CSV, JSON lines or Parquet, and have the named columns."""

    code = "learning_input"


@dataclass(slots=True)
class _Purchases:
    """What one customer bought. Decimals, so that the order of the rows cannot change the sum."""

    last_at: datetime = NEVER
    count: int = 0
    money: Decimal = field(default_factory=Decimal)

    def add(self, at: datetime, money: Decimal) -> None:
        self.last_at = max(self.last_at, at)
        self.count += 1
        self.money += money

    def summary(self, at: datetime) -> list[float]:
        return [(at - self.last_at).total_seconds() / SECONDS_A_DAY, self.count, float(self.money)]


def customers_of(path: Path, *, columns: Mapping[str, str], at: datetime | None) -> Customers:
    """Read `path`. `at` is when recency is measured; without it, the time of the newest purchase in the file."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None or not path.is_file():
        raise InputFileError(path=str(path))
    rows = reader(path)
    first = next(rows, {})
    columns = _columns_of(first, columns)
    read = _summaries if "recency" in columns else _purchases
    return read(chain([first], rows), columns, at)


def _columns_of(first: Row, columns: Mapping[str, str]) -> Mapping[str, str]:
    """Without names from the specification, the columns must bear ours."""
    if not columns:
        named = SUMMARY_COLUMNS if first.keys() >= SUMMARY_COLUMNS else PURCHASE_COLUMNS
        columns = {name: name for name in named}
    if missing := sorted(set(columns.values()) - first.keys()):
        there = ", ".join(map(str, first)) or "none"
        raise InputFileError(f"The file has no column {missing[0]!r}. Its columns: {there}.", column=missing[0])
    return columns


def _purchases(rows: Iterable[Row], columns: Mapping[str, str], at: datetime | None) -> Customers:
    customers: defaultdict[str, _Purchases] = defaultdict(_Purchases)
    set_aside = 0
    for row in rows:
        try:
            customer = _name(row[columns["customer"]])
            bought_at, money = _time(row[columns["date"]]), _number(row[columns["money"]])
        except (KeyError, ValueError):
            set_aside += 1
            continue
        if at is None or bought_at <= at:
            customers[customer].add(bought_at, money)
    at = at or max((bought.last_at for bought in customers.values()), default=NEVER)
    return _customers({name: bought.summary(at) for name, bought in customers.items()}, at, set_aside)


def _summaries(rows: Iterable[Row], columns: Mapping[str, str], at: datetime | None) -> Customers:
    """The last row of a customer counts."""
    customers: dict[str, list[float]] = {}
    set_aside = 0
    for row in rows:
        try:
            values = [float(_number(row[columns[feature]])) for feature in FEATURES]
            customers[_name(row[columns["customer"]])] = values
        except (KeyError, ValueError):
            set_aside += 1
    return _customers(customers, at or NEVER, set_aside)


def _customers(summaries: Mapping[str, list[float]], at: datetime, set_aside: int) -> Customers:
    names = sorted(summaries)
    values = np.array([summaries[name] for name in names], float).reshape(-1, len(FEATURES))
    return Customers(names, values, at, set_aside)


def _name(value: object) -> str:
    if value is None or value == "":
        raise ValueError
    return str(value)


def _time(value: object) -> datetime:
    """ISO, the short form 19970101 too. Without a zone it is UTC."""
    made = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def _number(value: object) -> Decimal:
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation as error:
        raise ValueError from error
    if not number.is_finite():
        raise ValueError
    return number


def _csv_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
        file.seek(0)
        yield from csv.DictReader(file, delimiter=max(",;\t|", key=header.count))


def _json_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line, parse_float=Decimal)


def _parquet_rows(path: Path) -> Iterator[Row]:
    for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
        yield from batch.to_pylist()


_READERS = {
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".json": _json_rows,
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
    ".parquet": _parquet_rows,
}
