"""Accuracy without labels and without a mapping: floors that no change may fall through."""

import csv

import pytest

from identity import evaluation
from tests.factories import febrl

pytestmark = pytest.mark.slow


def written(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def people(*names):
    for name in names:
        with febrl.path_of(name).open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file, skipinitialspace=True):
                yield {**row, "entity": row["rec_id"].split("-")[1]}


def some(rows, share):
    """Whole people, not rows: every `share`-th."""
    return [row for row in rows if int(row["entity"]) % share == 0]


def test_evaluate__febrl_3__is_as_good_as_published(tmp_path):
    path = written(tmp_path / "people.csv", some(people("3"), 2))

    assert evaluation.evaluate(path, key="rec_id", truth="entity")["pairwise"]["f1"] >= 0.998


def test_evaluate__febrl_4__is_as_good_as_published(tmp_path):
    path = written(tmp_path / "people.csv", some(people("4a", "4b"), 4))

    assert evaluation.evaluate(path, key="rec_id", truth="entity")["pairwise"]["f1"] >= 0.998


def test_evaluate__names_in_one_column_and_headers_that_say_nothing__still_links(tmp_path):
    rows = [
        {
            "a": row["rec_id"],
            "b": f"{row['given_name']} {row['surname']}".strip(),
            "c": row["date_of_birth"],
            "d": f"{row['street_number']} {row['address_1']}".strip(),
            "e": row["postcode"],
            "entity": row["entity"],
        }
        for row in people("1")
    ]

    result = evaluation.evaluate(written(tmp_path / "people.csv", rows), key="a", truth="entity")

    assert result["columns"]["full_name"] == "b"
    assert result["pairwise"]["f1"] >= 0.98
