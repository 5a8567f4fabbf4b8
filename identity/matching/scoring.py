"""Score pairs with a frozen model. A full batch and a single arrival go through the same parameters and frequencies,
so the same pair has the same weight on both ways.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from duckdb import DuckDBPyConnection
from splink import DuckDBAPI, Linker, SettingsCreator
from splink.internals.splink_dataframe import SplinkDataFrame

from identity.matching import distances, weighing

LEAST_WEIGHT: Final = -10.0  # pairs below it are not even kept
# How many pairs all rules of blocking together may make of everybody: what decides how long a run takes.
PAIRS_PER_RECORD: Final = 3
PAIRS_OF_SMALL_DATA: Final = 1_000_000
_COUNTED: Final = 40_000  # records among which the pairs of a rule are counted


@dataclass(frozen=True, slots=True)
class FrozenModel:
    """Parameters, frequencies of values, and where it all came from: scores follow from this alone.

    `metadata["rarest"]` is the frequency of a value that the training saw once or never.
    """

    settings: Mapping[str, Any]
    frequencies: Mapping[str, Mapping[str, float]]
    metadata: Mapping[str, Any]


def score_batch(connection: DuckDBPyConnection, model: FrozenModel) -> None:
    """Compare all records of table `record` that share a blocking key. The pairs go to table `pair`."""
    linker = _prepared(connection, model)
    _keep(connection, model, linker.inference.predict(threshold_match_weight=LEAST_WEIGHT, warning_mode="never"))


def score_arrivals(connection: DuckDBPyConnection, model: FrozenModel, arrivals: list[int]) -> None:
    """Compare the records `arrivals` with all others of table `record` and with each other, into table `pair`."""
    linker = _prepared(connection, model)
    connection.execute(
        "CREATE OR REPLACE TABLE arrival AS SELECT * FROM record WHERE unique_id IN (SELECT unnest($ids::BIGINT[]))",
        {"ids": arrivals},
    )
    connection.execute("CREATE OR REPLACE TABLE known AS SELECT * FROM record ANTI JOIN arrival USING (unique_id)")
    known, new = (_registered(linker, name) for name in ("known", "arrival"))
    between = linker.inference.predict_between(known, new, threshold_match_weight=LEAST_WEIGHT, warning_mode="never")
    within = linker.inference.predict_within(new, threshold_match_weight=LEAST_WEIGHT, warning_mode="never")
    _keep(connection, model, between, within)


def within_budget(connection: DuckDBPyConnection, model: FrozenModel, *, population: int) -> FrozenModel:
    """The model with those of its rules of blocking that `population` records can afford, the tightest first.

    Table `record` is a sample of them. Chance meetings grow with the square of the records, so a rule that makes few
    pairs of a sample may make far too many of all; and the rules are frozen with the model, so that one record later is
    compared with the same others.
    """
    rules = model.settings["blocking_rules_to_generate_predictions"]
    connection.execute(
        f"CREATE OR REPLACE TABLE counted AS SELECT * FROM record ORDER BY hash(unique_id) LIMIT {_COUNTED}"  # noqa: S608  # a constant
    )
    scale = (population / connection.execute("SELECT count(*) FROM counted").fetchall()[0][0]) ** 2
    made = [(_pairs_made_by(connection, rule) * scale, place) for place, rule in enumerate(rules)]
    connection.execute("DROP TABLE counted")
    remaining = max(PAIRS_OF_SMALL_DATA, PAIRS_PER_RECORD * population)
    kept: set[int] = set()
    for pairs, place in sorted(made):
        remaining -= pairs
        if remaining >= 0 or not kept:
            kept.add(place)
    chosen = [rule for place, rule in enumerate(rules) if place in kept]
    return replace(model, settings={**model.settings, "blocking_rules_to_generate_predictions": chosen})


def _pairs_made_by(connection: DuckDBPyConnection, rule: Mapping[str, Any]) -> int:
    sql = f"SELECT count(*) FROM counted l JOIN counted r ON l.unique_id < r.unique_id AND {rule['blocking_rule']}"  # noqa: S608  # a rule of our own
    return int(connection.execute(sql).fetchall()[0][0])


def linker_over(connection: DuckDBPyConnection, settings: dict[str, Any] | SettingsCreator) -> Linker:
    """A Splink linker over table `record`. Its log goes where the project's logs go."""
    people = DuckDBAPI(connection).register("record", dataset_display_name="people")
    return Linker(people, settings, log_level=None)


def scored_levels(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The levels of all comparisons that carry a weight, in order."""
    levels = [level for comparison in settings["comparisons"] for level in comparison["comparison_levels"]]
    return [level for level in levels if not level.get("is_null_level")]


def frequency_columns(settings: Mapping[str, Any]) -> list[str]:
    return sorted(
        {level["tf_adjustment_column"] for level in scored_levels(settings) if "tf_adjustment_column" in level}
    )


_FREQUENCIES: Final = """
CREATE OR REPLACE TABLE frequency_{column} AS
SELECT value AS {column}, max(frequency) AS tf_{column} FROM (
    SELECT unnest($values::VARCHAR[]) AS value, unnest($frequencies::DOUBLE[]) AS frequency
    UNION ALL
    SELECT DISTINCT {column}, $rarest::DOUBLE FROM record WHERE {column} IS NOT NULL
) GROUP BY value
"""


def _prepared(connection: DuckDBPyConnection, model: FrozenModel) -> Linker:
    """Frozen frequencies stand in for those that Splink would count in the rows at hand."""
    linker = linker_over(connection, distances.with_quick_conditions(model.settings))
    for column in frequency_columns(model.settings):
        known = model.frequencies.get(column, {})
        connection.execute(
            _FREQUENCIES.format(column=column),
            {
                "values": list(known),
                "frequencies": list(known.values()),
                "rarest": model.metadata["rarest"][column],
            },
        )
        linker.table_management.register_term_frequency_lookup(_registered(linker, f"frequency_{column}"), column)
    return linker


def _registered(linker: Linker, table: str) -> SplinkDataFrame:
    return linker._db_api.register(table, dataset_display_name=table)  # noqa: SLF001  # the linker's own connection


_KEEP: Final = """
CREATE OR REPLACE TABLE pair AS
SELECT least(unique_id_l, unique_id_r) AS left_id, greatest(unique_id_l, unique_id_r) AS right_id,
       match_weight AS weight, {parts} AS parts
FROM ({predicted})
"""


def _keep(connection: DuckDBPyConnection, model: FrozenModel, *predicted: SplinkDataFrame) -> None:
    """With the weight of each comparison, frequencies included, as the evidence."""
    parts = weighing.evidence_sql(model.settings, frequency="mw_tf_adj_")
    union = " UNION ALL BY NAME ".join(f"SELECT * FROM {table.physical_name}" for table in predicted)  # noqa: S608  # names that Splink made
    connection.execute(_KEEP.format(parts=parts, predicted=union))
