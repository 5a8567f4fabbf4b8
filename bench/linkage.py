"""Linking FEBRL 4 without labels: `identity evaluate` beside Splink called directly with its documented person model.

Both see the same 10,000 rows and are judged by the same evaluator, over all true pairs, after clustering.
"""

import csv
import tempfile
import time
from pathlib import Path
from typing import Any

from identity import evaluation
from identity.matching import accuracy, engine
from tests.factories import febrl

SETS = ("4a", "4b")
KEY, TRUTH = "rec_id", "entity"


def run() -> dict[str, object]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "febrl4.csv"
        _write(path)
        ours = evaluation.evaluate(path, key=KEY, truth=TRUTH)
        baseline = _splink(path)
    figures = {
        "rows": ours["rows"],
        "seconds": ours["seconds"]["total"],
        **ours["pairwise"],
        "largest_cluster": ours["largest_cluster"],
    }
    return {
        "name": "linkage",
        "figures": figures,
        "baseline": baseline,
        "ratio": round(figures["seconds"] / baseline["seconds"], 3),
    }


def _write(path: Path) -> None:
    rows = []
    for name in SETS:
        with febrl.path_of(name).open(newline="", encoding="utf-8") as file:
            rows += [
                {key: value.strip() for key, value in row.items()}
                for row in csv.DictReader(file, skipinitialspace=True)
            ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0], TRUTH])
        writer.writeheader()
        writer.writerows({**row, TRUTH: row[KEY].split("-")[1]} for row in rows)


def _splink(path: Path) -> dict[str, Any]:
    """The steps of Splink's tutorial for linking people: deterministic rules for the prior, random sampling for u,
    expectation maximisation on two blocks, predictions clustered at a probability of 0.95.
    """
    import splink.comparison_library as cl
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    began = time.perf_counter()
    with engine.connect(memory_limit="2GB", threads=2) as connection:
        connection.execute(
            "CREATE TABLE people AS SELECT row_number() OVER () AS unique_id, * REPLACE (NULLIF(trim(given_name), '')"
            " AS given_name, NULLIF(trim(surname), '') AS surname) FROM read_csv(?, all_varchar = true)",
            [str(path)],
        )
        settings = SettingsCreator(
            link_type="dedupe_only",
            comparisons=[
                cl.NameComparison("given_name"),
                cl.NameComparison("surname"),
                cl.DateOfBirthComparison("date_of_birth", input_is_string=True, datetime_format="%Y%m%d"),
                cl.DamerauLevenshteinAtThresholds("soc_sec_id"),
                cl.ExactMatch("street_number").configure(term_frequency_adjustments=True),
                cl.DamerauLevenshteinAtThresholds("postcode"),
            ],
            blocking_rules_to_generate_predictions=[
                block_on("given_name", "surname"),
                block_on("date_of_birth"),
                block_on("soc_sec_id"),
                block_on("postcode", "surname"),
                block_on("postcode", "given_name"),
            ],
        )
        api = DuckDBAPI(connection)
        linker = Linker(api.register("people", dataset_display_name="febrl"), settings, log_level=None)
        linker.training.estimate_probability_two_random_records_match(
            [block_on("soc_sec_id"), block_on("given_name", "surname", "date_of_birth")], recall=0.9
        )
        linker.training.estimate_u_using_random_sampling(max_pairs=1e7, seed=1)
        linker.training.estimate_parameters_using_expectation_maximisation(block_on("date_of_birth"))
        linker.training.estimate_parameters_using_expectation_maximisation(block_on("postcode"))
        predicted = linker.inference.predict(threshold_match_probability=0.5)
        clustered = linker.clustering.cluster_pairwise_predictions_at_threshold(
            predicted, threshold_match_probability=0.95
        )
        seconds = round(time.perf_counter() - began, 3)
        found = connection.execute(f"SELECT unique_id, cluster_id, {TRUTH} FROM {clustered.physical_name}").fetchall()
    clusters = {one: cluster for one, cluster, _ in found}
    truth = {one: entity for one, _, entity in found}
    return {"seconds": seconds, **accuracy.pairwise(clusters, truth).as_dict()}
