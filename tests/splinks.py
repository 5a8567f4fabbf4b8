"""Splink itself, called with a frozen model: what our own scoring must add up to, and what it is measured against.

It knows no relatives: what these take away is reckoned from what Splink says of each comparison.
"""

from typing import Final

from duckdb import DuckDBPyConnection
from splink import DuckDBAPI, Linker
from splink.internals.splink_dataframe import SplinkDataFrame

from identity.matching import weighing
from identity.matching.relatives import RELATIVES
from identity.matching.scoring import LEAST_WEIGHT, FrozenModel, frequency_columns


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
    linker = Linker(
        DuckDBAPI(connection).register("record", dataset_display_name="people"),
        {name: value for name, value in model.settings.items() if name != RELATIVES},
        log_level=None,
    )
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
    return linker._db_api.register(table, dataset_display_name=table)  # the linker's own connection


_KEEP: Final = """
CREATE OR REPLACE TABLE pair AS
SELECT least(unique_id_l, unique_id_r) AS left_id, greatest(unique_id_l, unique_id_r) AS right_id,
       match_weight + mw_relatives AS weight, {parts} AS parts
FROM (SELECT *, {relatives} AS mw_relatives FROM ({predicted})) WHERE match_weight + mw_relatives >= {least}
"""


def _keep(connection: DuckDBPyConnection, model: FrozenModel, *predicted: SplinkDataFrame) -> None:
    """With the weight of each comparison, frequencies included, as the evidence."""
    parts = weighing.evidence_sql(model.settings, frequency="mw_tf_adj_")
    has_relatives = RELATIVES in model.settings
    relatives = weighing.relatives_sql(model.settings, frequency="mw_tf_adj_") if has_relatives else "0"
    union = " UNION ALL BY NAME ".join(
        f"SELECT * FROM {table.physical_name}" for table in predicted
    )  # names that Splink made
    connection.execute(_KEEP.format(parts=parts, predicted=union, relatives=relatives, least=LEAST_WEIGHT))
