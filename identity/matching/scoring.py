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
# How many pairs all rules of blocking together may make of everybody, beside those of one person: what decides how long a
# run takes.
PAIRS_PER_RECORD: Final = 1
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

    What a rule costs are the pairs that no tighter one makes: where people have many records, each rule makes the same
    pairs of theirs again. Table `record` is a sample. Chance meetings grow with the square of the records, so a rule that
    makes few pairs of a sample may make far too many of all; and the rules are frozen with the model, so that one record
    later is compared with the same others.
    """
    rules = model.settings["blocking_rules_to_generate_predictions"]
    connection.execute(
        f"CREATE OR REPLACE TABLE counted AS SELECT * FROM record ORDER BY hash(unique_id) LIMIT {_COUNTED}"  # noqa: S608  # a constant
    )
    rows = connection.execute("SELECT count(*) FROM counted").fetchall()[0][0]
    scale = (population / rows) ** 2
    made = sorted((_pairs_made_by(connection, rule, ()) * scale, place) for place, rule in enumerate(rules))
    matches = model.settings["probability_two_random_records_match"] * population * (population - 1) / 2
    budget, spent = max(PAIRS_OF_SMALL_DATA, PAIRS_PER_RECORD * population) + matches, 0.0
    kept: list[int] = []
    for pairs, place in made:
        if pairs > budget and kept:
            break  # at most what was spent is made already, so these and all that follow are too many
        more = _pairs_made_by(connection, rules[place], [rules[one] for one in kept]) * scale
        if spent + more <= budget or not kept:
            spent += more
            kept.append(place)
    connection.execute("DROP TABLE counted")
    chosen = [rule for place, rule in enumerate(rules) if place in kept]
    return replace(model, settings={**model.settings, "blocking_rules_to_generate_predictions": chosen})


def _pairs_made_by(connection: DuckDBPyConnection, rule: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> int:
    """Pairs of table `counted` that the rule makes and none of the `others`, by those of some of the records."""
    unmade = " AND ".join([f"({one['blocking_rule']}) IS NOT TRUE" for one in others] or ["true"])
    sql = f"""SELECT count(*) FROM counted l JOIN counted r ON l.unique_id <> r.unique_id AND {rule["blocking_rule"]}
        WHERE hash(l.unique_id, 1) % {_ONE_OF} = 0 AND {unmade}"""  # noqa: S608  # rules of our own
    return int(connection.execute(sql).fetchall()[0][0]) * _ONE_OF // 2


_ONE_OF: Final = 8  # of the counted records: their pairs stand for those of all


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
