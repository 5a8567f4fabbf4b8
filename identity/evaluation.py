"""How well would the production path link the rows of a labelled file? The truth is used for nothing but the score."""

import itertools
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from cdp.ingestion import files, mapping
from cdp.kernel.errors import TesseraError
from identity import resolver
from identity.matching import accuracy, columns, engine, features, scoring, training
from identity.matching.scoring import FrozenModel
from identity.resolver import Judgement, Kind

_SAMPLE = 500  # rows by whose contents columns are recognised


class UnknownColumnError(TesseraError):
    """The file has no such column."""

    code = "unknown_column"


def evaluate(path: Path, *, key: str, truth: str, mapping_file: Path | None = None) -> dict[str, Any]:
    """Train without labels, score, cluster under the guards, and compare with column `truth`.

    Works in memory with the rows of the file alone: no workspace is read or written.
    """
    table = files.open_table(path)
    for name in (key, truth):
        if name not in table.columns:
            raise UnknownColumnError(f"{path.name} has no column {name!r}. It has {', '.join(table.columns)}.")
    found = _traits_of(table, mapping_file, excluded={key, truth})
    rows = [row.fields for row in table.rows() if not row.code]
    began = time.perf_counter()
    with engine.connect(memory_limit=settings.DUCKDB_MEMORY_LIMIT, threads=settings.DUCKDB_THREADS) as connection:
        engine.load(connection, _as_records(rows, found))
        unusable = features.unusable_values(connection)
        model = training.train(connection)
        trained = time.perf_counter()
        scoring.score_batch(connection, model)
        pairs = engine.pairs_above(connection, model.metadata["thresholds"]["upper"])
        scored = time.perf_counter()
    judgements = [Judgement(left, right, True, Kind.PROBABILISTIC, weight) for left, right, weight, _ in pairs]
    clusters = resolver.resolve(dict.fromkeys(range(len(rows)), "file:id"), judgements).clusters
    clustered = time.perf_counter()
    entities = {place: row[truth] for place, row in enumerate(rows)}
    return {
        "rows": len(rows),
        "columns": found,
        "seconds": {
            "train": round(trained - began, 3),
            "score": round(scored - trained, 3),
            "cluster": round(clustered - scored, 3),
            "total": round(clustered - began, 3),
        },
        "pairwise": accuracy.pairwise(clusters, entities).as_dict(),
        "b_cubed": accuracy.b_cubed(clusters, entities).as_dict(),
        "clusters": len(set(clusters.values())),
        "largest_cluster": max(Counter(clusters.values()).values(), default=0),
        "thresholds": model.metadata["thresholds"],
        "set_aside": _set_aside(table, found, model, unusable, excluded={key, truth}),
    }


def propose(path: Path) -> dict[str, Any]:
    """Which column holds which trait, as `recognise` sees it, and as a mapping to change by hand."""
    table = files.open_table(path)
    key = next((name for name in table.columns if name.lower() in mapping.RECORD_KEYS), table.columns[0])
    found = _traits_of(table, None, excluded={key})
    return {
        "columns": found,
        "unused": [name for name in table.columns if name != key and name not in found.values()],
        "mapping": columns.as_yaml(found, key=key),
    }


def _set_aside(
    table: files.Table, found: Mapping[str, str], model: FrozenModel, unusable: dict[str, int], *, excluded: set[str]
) -> dict[str, Any]:
    """What the linkage did without, and why: nothing is left out in silence."""
    known = set(model.metadata["columns"])
    return {
        "rows": sum(1 for row in table.rows() if row.code),
        "columns": [name for name in table.columns if name not in {*found.values(), *excluded}],
        "silent": [trait for trait in found if not known & set(features.COLUMNS_OF.get(trait, (trait,)))],
        "values": unusable,
        "rules": model.metadata["set_aside"],
        "untrained": model.metadata["unseen"],
        "unconverged": model.metadata["unconverged"],
        "correlated": model.metadata["correlated"],
    }


def _traits_of(table: files.Table, mapping_file: Path | None, *, excluded: set[str]) -> dict[str, str]:
    if mapping_file is None:
        sample = [row.fields for row in itertools.islice(table.rows(), _SAMPLE) if not row.code]
        return columns.recognise(table.columns, sample, excluded=excluded)
    given = mapping.read_mapping(mapping_file, of_events=False)
    named = {**given.identifiers, **(given.traits or {})}
    return {trait: column for trait, column in named.items() if trait in features.TRAITS and column not in excluded}


def _as_records(rows: list[Mapping[str, Any]], found: Mapping[str, str]) -> Iterator[tuple[Any, ...]]:
    for place, row in enumerate(rows):
        yield (place, None, *(_as_text(row.get(found[trait])) if trait in found else None for trait in features.TRAITS))


def _as_text(value: Any) -> str | None:  # noqa: ANN401  # whatever a file holds
    return None if value is None else str(value)
