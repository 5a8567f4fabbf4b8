"""`identity evaluate`: the production path on a labelled file."""

import csv
import json

import pytest
from django.core.management import call_command

from identity import evaluation
from tests.factories import febrl


@pytest.fixture
def labelled(tmp_path):
    """FEBRL 1 with a column that says who each row is."""
    path = tmp_path / "people.csv"
    with febrl.path_of("1").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0], "entity"])
        writer.writeheader()
        writer.writerows({**row, "entity": row["rec_id"].split("-")[1]} for row in rows)
    return path


@pytest.mark.slow
def test_evaluate__labelled_people__prints_how_well_they_were_linked(labelled, capsys):
    call_command("identity", "evaluate", str(labelled), "--id", "rec_id", "--truth", "entity", "--json")

    printed = json.loads(capsys.readouterr().out)
    assert printed["rows"] == 1000
    assert printed["pairwise"]["f1"] >= 0.995
    assert printed["b_cubed"]["f1"] >= 0.995
    assert abs(printed["clusters"] - 500) <= 3
    assert printed["largest_cluster"] == 2
    assert printed["seconds"].keys() == {"train", "score", "cluster", "total"}
    assert printed["thresholds"].keys() == {"lower", "upper"}


@pytest.mark.slow
def test_evaluate__with_a_mapping__looks_at_nothing_else(labelled, tmp_path):
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(
        "key: rec_id\ntraits: {given_name: given_name, surname: surname, national_id: soc_sec_id, nickname: state}\n"
    )

    result = evaluation.evaluate(labelled, key="rec_id", truth="entity", mapping_file=mapping)

    assert result["columns"] == {"given_name": "given_name", "surname": "surname", "national_id": "soc_sec_id"}
    assert result["pairwise"]["f1"] >= 0.9


def test_evaluate__without_the_truth_column__says_which_there_are(labelled):
    with pytest.raises(evaluation.UnknownColumnError, match="rec_id, given_name"):
        evaluation.evaluate(labelled, key="rec_id", truth="person")
