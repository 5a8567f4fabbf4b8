"""Groups from real purchases: the CDNOW sample, 2,357 customers who first bought in early 1997."""

import importlib.util
from datetime import UTC, datetime
from pathlib import Path

import pytest

from segments.learned import specification, training
from segments.learned.assignment import assign
from segments.learned.input_files import customers_of

AT = datetime(1998, 7, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def customers(tmp_path_factory):
    package = importlib.util.find_spec("lifetimes")  # for its data alone: it is never imported
    assert package is not None
    lines = (Path(package.origin).parent / "datasets" / "CDNOW_sample.txt").read_text().splitlines()
    path = tmp_path_factory.mktemp("cdnow") / "purchases.csv"
    rows = [line.split() for line in lines]
    path.write_text("customer,date,money\n" + "\n".join(f"{row[1]},{row[2]},{row[4]}" for row in rows))
    return customers_of(path, columns={}, at=AT)


@pytest.fixture(scope="module")
def trained(customers):
    return training.train(customers, specification.read({"at": AT.isoformat()}))


def test_cdnow__is_read_whole(customers):
    assert len(customers.ids) == 2_357
    assert customers.values[:, 1].sum() == 6_919
    assert customers.set_aside == 0


def test_cdnow__gives_groups_that_are_stable_and_large_enough(trained):
    result, _ = trained
    criteria = {each["k"]: each for each in result["criteria"]}

    chosen = criteria[result["k"]]
    assert criteria.keys() == set(range(2, 13))
    assert chosen["refused"] is None
    assert chosen["stability"] >= 0.8
    assert min(chosen["sizes"]) >= 47
    assert all(chosen["silhouette"] >= each["silhouette"] for each in criteria.values() if not each["refused"])
    assert any(each["refused"] for each in criteria.values())


def test_cdnow__learnt_twice__gives_the_same_result_and_picture(customers):
    asked = specification.read({"k": {"min": 2, "max": 4}, "resamples": 5})

    assert training.train(customers, asked) == training.train(customers, asked)


def test_cdnow__assigned_by_the_frozen_centres__has_the_sizes_of_the_training(customers, trained):
    result, _ = trained

    groups = assign(result, customers.values)

    assert {group["group"]: group["size"] for group in result["groups"]} == {
        key: groups.count(key) for key in set(groups)
    }
