"""Score pairs with a frozen model. A full batch and a single arrival go through the same parameters and frequencies,
so the same pair has the same weight on both ways.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from duckdb import DuckDBPyConnection

from identity.matching import blocking, features, weighing

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
    _frame(connection, model)
    _score(connection, model, [("framed", "framed")])


def score_arrivals(connection: DuckDBPyConnection, model: FrozenModel, arrivals: list[int]) -> None:
    """Compare the records `arrivals` with all others of table `record` and with each other, into table `pair`."""
    _frame(connection, model)
    connection.execute(
        "CREATE OR REPLACE TABLE arrival AS SELECT * FROM framed WHERE unique_id IN (SELECT unnest($ids::BIGINT[]))",
        {"ids": arrivals},
    )
    _score(connection, model, [("arrival", "framed"), ("framed", "arrival")])
    connection.execute("DROP TABLE arrival")


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


def scored_levels(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The levels of all comparisons that carry a weight, in order."""
    levels = [level for comparison in settings["comparisons"] for level in comparison["comparison_levels"]]
    return [level for level in levels if not level.get("is_null_level")]


def frequency_columns(settings: Mapping[str, Any]) -> list[str]:
    return sorted(
        {level["tf_adjustment_column"] for level in scored_levels(settings) if "tf_adjustment_column" in level}
    )


# -- the pairs, and what they weigh ---------------------------------------------------------------------------------

# Frozen frequencies, and not those of the rows at hand: a pair weighs the same whoever else is compared.
_FREQUENCY: Final = """
CREATE OR REPLACE TABLE frequency_{column} AS
SELECT unnest($values::VARCHAR[]) AS value, unnest($frequencies::DOUBLE[]) AS frequency
"""
_FRAME: Final = """
CREATE OR REPLACE TABLE framed AS SELECT {columns} FROM record {joins}
"""
_FREQUENCY_OF: Final = "CASE WHEN record.{column} IS NOT NULL THEN greatest(frequency_{column}.frequency, {rarest!r}::DOUBLE) END AS tf_{column}"


def _frame(connection: DuckDBPyConnection, model: FrozenModel) -> None:
    """Table `framed`: of the records what the model looks at, with the frequencies of their values."""
    frequencies = frequency_columns(model.settings)
    for column in frequencies:
        known = model.frequencies.get(column, {})
        given = {"values": list(known), "frequencies": list(known.values())}
        connection.execute(_FREQUENCY.format(column=column), given)
    columns = [f"record.{column}" for column in ("unique_id", *_columns_of(model.settings))]
    columns += [_FREQUENCY_OF.format(column=one, rarest=float(model.metadata["rarest"][one])) for one in frequencies]
    joins = [f"LEFT JOIN frequency_{one} ON frequency_{one}.value = record.{one}" for one in frequencies]
    connection.execute(_FRAME.format(columns=", ".join(columns), joins=" ".join(joins)))
    for column in frequencies:
        connection.execute(f"DROP TABLE frequency_{column}")


def _columns_of(settings: Mapping[str, Any]) -> list[str]:
    said = [
        level["sql_condition"] for comparison in settings["comparisons"] for level in comparison["comparison_levels"]
    ]
    words = {word.removesuffix("_l").removesuffix("_r") for text in said for word in _WORD.findall(text)}
    words |= {word for rule in blocking.rules_of(settings) for word in _WORD.findall(rule)}
    return [column for column in ("unique_in", *features.COLUMNS) if column in words]


_WORD: Final = re.compile(r"\w+")
_BLOCK: Final = "SELECT l.unique_id AS left_id, r.unique_id AS right_id FROM {one} l JOIN {other} r ON l.unique_id < r.unique_id AND {rule}"


def _score(connection: DuckDBPyConnection, model: FrozenModel, sides: Sequence[tuple[str, str]]) -> None:
    """Every pair of these tables that a rule puts together, once, and what Splink would add up of it."""
    rules = blocking.rules_of(model.settings)
    blocks = [_BLOCK.format(one=one, other=other, rule=f"({rule})") for one, other in sides for rule in rules]
    connection.execute(f"CREATE OR REPLACE TABLE blocked AS {' UNION '.join(blocks)}")
    weighed = weighing.pairs_sql(
        model.settings, pairs="blocked", records="framed", columns=_columns_of(model.settings),
        frequencies=frequency_columns(model.settings), least=str(LEAST_WEIGHT),
    )  # fmt: skip
    connection.execute(f"CREATE OR REPLACE TABLE pair AS {weighed}")
    connection.execute("DROP TABLE blocked")
    connection.execute("DROP TABLE framed")
