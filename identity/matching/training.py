"""Train a model without labels, and freeze it: parameters, term frequencies, versions and seed in one value."""

import dataclasses
import hashlib
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import duckdb
import splink
from duckdb import DuckDBPyConnection
from splink import Linker, SettingsCreator
from splink.blocking_rule_library import CustomRule
from splink.internals.blocking_rule_creator import BlockingRuleCreator
from splink.internals.comparison_creator import ComparisonCreator
from splink.internals.exceptions import EMTrainingException

from cdp.kernel.errors import TesseraError
from identity.matching import comparisons, features, scoring, thresholds
from identity.matching.scoring import FrozenModel

SEED: Final = 20_260_101
RANDOM_PAIRS: Final = 2_000_000
PAIRS_PER_SESSION: Final = 1_000_000
RECALL_OF_CERTAIN_RULES: Final = 0.8  # a wrong guess moves the prior by less than half a bit, and it is estimated anew
PAIRS_PER_RECORD: Final = 20  # a blocking rule that would make more is left out, so that no common value rules the run
MOST_PAIRS_OF_SMALL_DATA: Final = 500_000
RAREST: Final = 1e-6  # no level is rarer among strangers than this, whatever the sample says
SELDOM: Final = 1e-3  # nor is any level impossible for one person
UNSEEN: Final = 5e-3  # a level that no match of the training had: rare among matches, and if rare among all, silent

log = logging.getLogger(__name__)


class TooLittleToLearnError(TesseraError):
    """These records cannot train a model: load more of them, or records that share more fields."""

    code = "too_little_to_learn"


def train(connection: DuckDBPyConnection, *, seed: int = SEED, population: int | None = None) -> FrozenModel:
    """Learn from table `record` (see `features.clean`). Deterministic for the same rows, seed and versions.

    Where these are a sample, `population` is how many records the rules of blocking must be affordable for.
    """
    began = time.perf_counter()
    columns = features.filled_columns(connection)
    rows = count_records(connection)
    made = comparisons.comparisons_for(columns)
    if rows < 10 or len(made) < 2:
        raise TooLittleToLearnError
    rules = affordable(connection, comparisons.blocking_rules(columns), rows)
    linker = scoring.linker_over(connection, _blank_settings(made, rules, columns))
    _learn_prior(linker, columns)
    linker.training.estimate_u_using_random_sampling(
        max_pairs=min(RANDOM_PAIRS, rows * rows), seed=seed, num_chunks=1, min_count_per_level=None
    )
    seen = linker.misc.save_model_to_json()
    sessions = affordable(connection, comparisons.sessions(columns), rows)
    unseen: list[str] = []
    for _ in range(2):  # once more, now that the matches among the random pairs are known
        _learn_matches(linker, sessions)
        learned = linker.misc.save_model_to_json()
        unseen = unseen or _unseen(learned)
        settings = _without_matches(seen, learned)
        linker = scoring.linker_over(connection, settings)
    model = FrozenModel(
        settings=settings,
        frequencies=_frequencies(connection, settings),
        metadata={
            "splink": splink.__version__,
            "duckdb": duckdb.__version__,
            "seed": seed,
            "rows": rows,
            "digest": _digest(connection),
            "columns": sorted(columns),
            "sessions": [" + ".join(rule) for rule in sessions],
            "unseen": unseen,
            "rarest": _rarest(connection, settings),
        },
    )
    affordable_model = scoring.within_budget(connection, model, population=population or rows)
    return _calibrated(connection, affordable_model, began)


def _calibrated(connection: DuckDBPyConnection, model: FrozenModel, began: float) -> FrozenModel:
    """Let the scores of the sample itself set the prior and the thresholds."""
    scoring.score_batch(connection, model)
    weights = connection.execute("SELECT weight FROM pair").fetchnumpy()["weight"]
    rows = model.metadata["rows"]
    before = model.settings["probability_two_random_records_match"]
    prior = thresholds.implied_prior(weights, before, rows * (rows - 1) / 2)
    chosen = thresholds.choose(weights + thresholds.log_odds(prior) - thresholds.log_odds(before))
    return FrozenModel(
        settings={**model.settings, "probability_two_random_records_match": prior},
        frequencies=model.frequencies,
        metadata={
            **model.metadata,
            "thresholds": dataclasses.asdict(chosen),
            "seconds": round(time.perf_counter() - began, 3),
        },
    )


def count_records(connection: DuckDBPyConnection) -> int:
    return int(connection.execute("SELECT count(*) FROM record").fetchall()[0][0])


def affordable(connection: DuckDBPyConnection, rules: Iterable[comparisons.Rule], rows: int) -> list[comparisons.Rule]:
    most = max(MOST_PAIRS_OF_SMALL_DATA, PAIRS_PER_RECORD * rows)
    return [rule for rule in rules if 0 < pairs_made_by(connection, rule) <= most]


def pairs_made_by(connection: DuckDBPyConnection, rule: comparisons.Rule) -> int:
    keys = ", ".join(rule)
    known = " AND ".join(f"{key} IS NOT NULL" for key in rule)
    sql = f"""
        SELECT COALESCE(sum(n * (n - 1) // 2), 0) FROM (
            SELECT count(*) AS n FROM record WHERE {known} GROUP BY {keys}
        )"""  # noqa: S608  # keys are our own
    return int(connection.execute(sql).fetchall()[0][0])


def _blank_settings(
    made: list[ComparisonCreator | dict[str, Any]], rules: list[comparisons.Rule], columns: frozenset[str]
) -> SettingsCreator:
    return SettingsCreator(
        link_type="dedupe_only",
        comparisons=made,
        blocking_rules_to_generate_predictions=[
            CustomRule(rule) for rule in (*map(comparisons.as_sql, rules), *comparisons.swapped_names(columns))
        ],
        retain_matching_columns=False,
        retain_intermediate_calculation_columns=True,
    )


def _learn_prior(linker: Linker, columns: frozenset[str]) -> None:
    rules: list[str | BlockingRuleCreator] = [comparisons.as_sql(rule) for rule in comparisons.certain_rules(columns)]
    if not rules:
        return
    recall = RECALL_OF_CERTAIN_RULES
    linker.training.estimate_probability_two_random_records_match(rules, recall=recall)
    if not linker.misc.save_model_to_json()["probability_two_random_records_match"]:
        raise TooLittleToLearnError


def _learn_matches(linker: Linker, sessions: list[comparisons.Rule]) -> None:
    learned = 0
    for rule in sessions:
        try:
            linker.training.estimate_parameters_using_expectation_maximisation(
                comparisons.as_sql(rule), estimate_without_term_frequencies=True, max_pairs=PAIRS_PER_SESSION
            )
        except EMTrainingException:
            log.info("identity.session_skipped %s", " + ".join(rule))
        else:
            learned += 1
    if not learned:
        raise TooLittleToLearnError


def _without_matches(seen: dict[str, Any], learned: dict[str, Any]) -> dict[str, Any]:
    """Take the matches out of what random pairs share, and leave no level impossible.

    In small sets random pairs hold so many matches that a rare agreement looks common among strangers:
    seen = (1 - prior) * strangers + prior * matches.
    """
    prior = learned["probability_two_random_records_match"]
    for before, level in zip(scoring.scored_levels(seen), scoring.scored_levels(learned), strict=True):
        match = level.get("m_probability")
        stranger = max(RAREST, (before.get("u_probability", 0.0) - prior * (match or 0.0)) / (1 - prior))
        level["u_probability"] = stranger
        level["m_probability"] = max(match, min(SELDOM, stranger * 100)) if match else min(stranger, UNSEEN)
    return learned


def _unseen(learned: dict[str, Any]) -> list[str]:
    """Levels that no match of the training had: what they weigh is assumed."""
    return [
        f"{comparison['output_column_name']}: {level['label_for_charts']}"
        for comparison in learned["comparisons"]
        for level in scoring.scored_levels({"comparisons": [comparison]})
        if "m_probability" not in level
    ]


def _frequencies(connection: DuckDBPyConnection, settings: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Of values that occur more than once; all others count as seen once (see `scoring`)."""
    found = {}
    for column in scoring.frequency_columns(settings):
        sql = f"""
            SELECT {column}, count(*) / (SELECT count({column}) FROM record)::DOUBLE FROM record
            WHERE {column} IS NOT NULL GROUP BY {column} HAVING count(*) > 1 ORDER BY {column}"""  # noqa: S608  # our own names of columns
        found[column] = dict(connection.execute(sql).fetchall())
    return found


def _rarest(connection: DuckDBPyConnection, settings: Mapping[str, Any]) -> dict[str, float]:
    columns = scoring.frequency_columns(settings)
    parts = ", ".join(f"1.0 / greatest(count({column}), 1)" for column in columns) or "NULL"
    row = connection.execute(f"SELECT {parts} FROM record").fetchall()[0]  # noqa: S608  # our own names
    return {column: float(share) for column, share in zip(columns, row, strict=False)}


def _digest(connection: DuckDBPyConnection) -> str:
    rows = connection.execute("SELECT * FROM record ORDER BY unique_id").fetchall()
    return hashlib.sha256(repr(rows).encode()).hexdigest()
