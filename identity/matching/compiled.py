"""A frozen model made ready once, so that a few records are judged in milliseconds: frequencies loaded, statements
prepared. The same cleaning, rules, parameters and frequencies as in the batch give the same weights.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import duckdb
import pyarrow as pa

from identity.matching import blocking, engine, features, scoring, weighing
from identity.matching.scoring import FrozenModel

RawRow = tuple[Any, ...]
"""(id, type in which people are unique or None, the traits in order)"""
Pair = tuple[int, int, float, dict[str, float]]

_ARROW_TYPES: Final[Mapping[str, pa.DataType]] = {
    "BIGINT": pa.int64(),
    "BOOLEAN": pa.bool_(),
    "DOUBLE": pa.float64(),
    "INTEGER": pa.int32(),
    "VARCHAR": pa.string(),
    "VARCHAR[]": pa.list_(pa.string()),
}
_ASKED: Final = pa.schema([("left_id", pa.int64()), ("right_id", pa.int64())])

# The same function as in `features`, set up a hundred times faster, which for one record is all that counts: a text is
# computed once and not again in every branch, and the table of all the letters that there are is made for a text alone
# that is not ASCII. A property test compares the two.
_QUICK_MACROS: Final = (
    r"""CREATE OR REPLACE MACRO words_of(words) AS list_transform([lower(strip_accents(words))], lambda plain:
        list_transform([trim(CASE
            WHEN strlen(plain) = length(plain) THEN regexp_replace(plain, '[^a-z0-9]+', ' ', 'g')
            ELSE regexp_replace(latin(plain), CASE WHEN plain IS NULL THEN '' ELSE '[^\p{L}\p{N}]+' END, ' ', 'g')
        END)], lambda spoken: CASE WHEN spoken <> '' THEN spoken END)[1])[1]""",
)


class CompiledModel:
    """Add records, ask for their keys, weigh pairs of them: all within `at_work`."""

    def __init__(
        self, model: FrozenModel, *, is_day_first: bool, salt: str, memory_limit: str, threads: int = 1
    ) -> None:
        self._turn = threading.Lock()
        bounds: dict[str, str | bool | int | float | list[str]] = {"memory_limit": memory_limit, "threads": threads}
        self._duck = duckdb.connect(":memory:", config={**bounds, "temp_directory": ""})
        self._duck.execute("SET enable_progress_bar = false")
        features.learn_macros(self._duck)
        for macro in _QUICK_MACROS:
            self._duck.execute(macro)
        columns = scoring.frequency_columns(model.settings)
        cleaning = features.cleaning(is_day_first=is_day_first)
        self._record = self._make_tables(cleaning, columns)
        self._frequencies = [
            (
                self._record.names.index(column),
                model.frequencies.get(column, {}),
                float(model.metadata["rarest"][column]),
            )
            for column in columns
        ]
        self._duck.execute(f"PREPARE clean AS {cleaning}")
        self._duck.execute(f"PREPARE keys AS {blocking.keys_sql(model.settings, salt=salt)}")
        self._duck.execute(f"PREPARE weigh AS {_weigh_sql(model, columns)}")

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """One thread at a time. Nothing personal outlives its judgement: the records are forgotten at the end."""
        with self._turn:
            try:
                yield
            finally:
                for table in ("raw", "record", "asked"):
                    self._duck.execute(f"DELETE FROM {table}")  # noqa: S608  # our own names

    def add(self, rows: Sequence[RawRow]) -> None:
        """Clean these records and add them to those at hand."""
        if not rows:
            return
        self._duck.execute("DELETE FROM raw")
        engine.append(self._duck, "raw", engine.RAW, rows)
        cleaned = self._duck.execute("EXECUTE clean").fetchall()
        with_frequencies = [(*row, *self._frequencies_of(row)) for row in cleaned]
        engine.append(self._duck, "record", self._record, with_frequencies)

    def _frequencies_of(self, row: RawRow) -> Iterator[float | None]:
        """By a dictionary: a join would read all frequencies for each arrival."""
        for place, known, rarest in self._frequencies:
            yield None if row[place] is None else known.get(row[place], rarest)

    def keys(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(record, key) of the records at hand: the keys that they are found by, and those by which they find others."""
        rows = self._duck.execute("EXECUTE keys").fetchall()
        return [row[:2] for row in rows if row[2]], [row[:2] for row in rows if row[3]]

    def weigh(self, asked: Iterable[tuple[int, int]], least: float) -> list[Pair]:
        """Of pairs that have a key in common, those that the model's rules compare, with at least this weight."""
        ordered = sorted({(min(pair), max(pair)) for pair in asked})
        if not ordered:
            return []
        engine.append(self._duck, "asked", _ASKED, ordered)
        return self._duck.execute(f"EXECUTE weigh({least!r})").fetchall()

    # -- made once --------------------------------------------------------------------------------------------------

    def _make_tables(self, cleaning: str, frequency_columns: Sequence[str]) -> pa.Schema:
        texts = ", ".join(f"{name} VARCHAR" for name in engine.RAW.names[1:])
        self._duck.execute(f"CREATE TABLE raw (unique_id BIGINT, {texts})")
        self._duck.execute("CREATE TABLE asked (left_id BIGINT, right_id BIGINT)")
        frequencies = "".join(f", NULL::DOUBLE AS tf_{column}" for column in frequency_columns)
        self._duck.execute(f"CREATE TABLE record AS SELECT *{frequencies} FROM ({cleaning})")  # noqa: S608  # our own statements
        described = self._duck.execute("DESCRIBE record").fetchall()
        return pa.schema([(name, _ARROW_TYPES[kind]) for name, kind, *_ in described])


def _weigh_sql(model: FrozenModel, frequency_columns: Sequence[str]) -> str:
    weighed = weighing.pairs_sql(
        model.settings, pairs="asked", records="record", columns=features.COLUMNS, frequencies=frequency_columns,
        least="$1", condition=blocking.condition_sql(model.settings),
    )  # fmt: skip
    return f"{weighed} ORDER BY left_id, right_id"
