"""Customers from plain files."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet
import pytest

from segments.learned import input_files
from segments.learned.input_files import InputFileError

PURCHASES = [("ada", "19970101", "10.50"), ("bob", "1997-01-03", "7"), ("ada", "1997-01-03T12:00:00Z", "4.50")]
COLUMNS = {"customer": "who", "date": "day", "money": "paid"}


def written(path, rows):
    if path.suffix == ".jsonl":
        path.write_text("\n\n".join(json.dumps(dict(zip(("who", "day", "paid"), row, strict=True))) for row in rows))
    elif path.suffix == ".parquet":
        columns = dict(zip(("who", "day", "paid"), map(list, zip(*rows, strict=True)), strict=True))
        pyarrow.parquet.write_table(pa.table(columns), path)
    else:
        path.write_text("\n".join(";".join(row) for row in [("who", "day", "paid"), *rows]), encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_purchases__of_any_kind_of_file__become_customers(ending, tmp_path):
    path = written(tmp_path / f"purchases.{ending}", PURCHASES)

    found = input_files.customers_of(path, columns=COLUMNS, at=None)

    assert found.ids == ["ada", "bob"]
    assert found.values.tolist() == [[0, 2, 15], [0.5, 1, 7]]
    assert found.at == datetime(1997, 1, 3, 12, tzinfo=UTC)  # the newest purchase


def test_purchases__after_the_time_of_the_specification__do_not_count(tmp_path):
    path = written(tmp_path / "purchases.csv", PURCHASES)

    found = input_files.customers_of(path, columns=COLUMNS, at=datetime(1997, 1, 2, tzinfo=UTC))

    assert (found.ids, found.values.tolist()) == (["ada"], [[1, 1, 10.5]])


@pytest.mark.parametrize(
    "row", [("", "19970101", "1"), ("eve", "soon", "1"), ("eve", "19970101", "much"), ("eve", "19970101", "NaN"), ("eve",)]
)  # fmt: skip
def test_purchases__that_cannot_be_read__are_counted_and_left_out(row, tmp_path):
    path = written(tmp_path / "purchases.csv", [*PURCHASES, row])

    found = input_files.customers_of(path, columns=COLUMNS, at=None)

    assert (found.ids, found.set_aside) == (["ada", "bob"], 1)


def test_purchases__in_another_order__have_the_same_digest(tmp_path):
    rows = [("ada", "19970101", str(Decimal(cents) / 100)) for cents in (10, 20, 30, 1_000_000_007)]

    one = input_files.customers_of(written(tmp_path / "one.csv", rows), columns=COLUMNS, at=None)
    other = input_files.customers_of(written(tmp_path / "other.csv", rows[::-1]), columns=COLUMNS, at=None)

    assert one.digest() == other.digest()


def test_summaries__one_row_a_customer__are_taken_as_they_are(tmp_path):
    path = tmp_path / "customers.csv"
    path.write_text("customer,recency,frequency,monetary\nbob,3,1,7.5\nada,0,2,15\neve,,,\n")

    found = input_files.customers_of(path, columns={}, at=None)

    assert found.ids == ["ada", "bob"]
    assert found.values.tolist() == [[0, 2, 15], [3, 1, 7.5]]
    assert found.set_aside == 1


def test_file__without_the_columns__says_which_are_there(tmp_path):
    path = written(tmp_path / "purchases.csv", PURCHASES)

    with pytest.raises(InputFileError, match=r"no column 'customer'. Its columns: who, day, paid"):
        input_files.customers_of(path, columns={}, at=None)


@pytest.mark.parametrize("name", ["missing.csv", "purchases.xlsx"])
def test_file__missing_or_of_an_unknown_kind__is_refused(name, tmp_path):
    (tmp_path / "purchases.xlsx").touch()

    with pytest.raises(InputFileError):
        input_files.customers_of(tmp_path / name, columns={}, at=None)
