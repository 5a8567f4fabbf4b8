"""A frozen model for a few records: what `compiled` does, read from the same SQL, and done without DuckDB.

A record and its candidates take a few milliseconds. From some hundreds of records on DuckDB is faster.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import sqlglot

from identity.matching import blocking, engine, features, nicknames, scoring, weighing
from identity.matching.compiled import Pair, RawRow
from identity.matching.rows import letters, queries
from identity.matching.rows.combining import Function, Row
from identity.matching.rows.expressions import DIALECT, Reader, columns_of
from identity.matching.rows.queries import Lookup, Step
from identity.matching.scoring import FrozenModel

_RECORD: Final = ("unique_id", "unique_in", *features.COLUMNS)


class FewRecords:
    """Add records, ask for their keys, weigh pairs of them: all within `at_work`. The same as `CompiledModel`.

    A model with an expression that is not known here raises `UnknownSQLError` when it is made, and not later.
    """

    def __init__(self, model: FrozenModel, *, is_day_first: bool, salt: str) -> None:
        letters.known()  # asked now, and not while a record waits
        self._turn = threading.Lock()
        self._records: dict[int, Row] = {}
        self._frequencies = [
            (column, f"tf_{column}", model.frequencies.get(column, {}), float(model.metadata["rarest"][column]))
            for column in scoring.frequency_columns(model.settings)
        ]
        self._keys = [_read_key(key) for key in blocking.keys_of(model.settings, salt=salt)]
        self._weighing = _Weighing(model.settings, [*_RECORD, *(name for _, name, *_ in self._frequencies)])
        of_keys = (columns_of(one) for key, _ in self._keys for one in key.expressions)
        of_frequencies = (column for column, *_ in self._frequencies)
        wanted = {*self._weighing.columns, *of_frequencies}.union(*of_keys)
        self._cleaning = _cleaning(is_day_first, frozenset(wanted))

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """One thread at a time. Nothing personal outlives its judgement: the records are forgotten at the end."""
        with self._turn:
            try:
                yield
            finally:
                self._records.clear()

    def add(self, rows: Iterable[RawRow]) -> None:
        """Clean these records and add them to those at hand."""
        for raw in rows:
            record = queries.answer(dict(zip(engine.RAW.names, raw, strict=True)), self._cleaning)
            for column, name, known, rarest in self._frequencies:
                value = record[column]
                record[name] = None if value is None else known.get(value, rarest)
            self._records[raw[0]] = record

    def keys(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(record, key) of the records at hand: the keys that they are found by, and those by which they find others."""
        found = [(one, *made) for one, record in self._records.items() for made in self._keys_of(record)]
        return [(one, number) for one, key, number in found if key.is_kept], [
            (one, number) for one, key, number in found if key.is_asked
        ]

    def _keys_of(self, record: Row) -> Iterator[tuple[blocking.Key, int]]:
        for key, parts in self._keys:
            values = [part(record) for part in parts]
            if None not in values:
                yield key, key.hashed(values)

    def weigh(self, asked: Iterable[tuple[int, int]], least: float) -> list[Pair]:
        """Of pairs that have a key in common, those that the model's rules compare, with at least this weight."""
        ordered = sorted({(min(pair), max(pair)) for pair in asked})
        at_hand = (pair for pair in ordered if self._records.keys() >= set(pair))
        weighed = ((pair, self._weighing.of(*map(self._records.__getitem__, pair))) for pair in at_hand)
        return [(*pair, *found) for pair, found in weighed if found is not None and found[0] >= least]


class _Weighing:
    """What `weighing` says of a pair, in the same order."""

    def __init__(self, settings: Mapping[str, Any], columns: Sequence[str]) -> None:
        comparisons = settings["comparisons"]
        condition = blocking.condition_sql(settings)
        levels = [weighing.level_sql(comparison) for comparison in comparisons]
        parts = weighing.all_part_sqls(settings)
        named = set[str]().union(*map(columns_of, [condition, *levels, *parts]))
        self.columns = [column for column in columns if named & {f"{column}_l", f"{column}_r"}]
        self._left = [f"{column}_l" for column in self.columns]
        self._right = [f"{column}_r" for column in self.columns]
        reader, known = Reader(features.macros()), {*self._left, *self._right}
        self._condition = reader.function(condition, known)
        self._made = [*_named(levels, reader, known), *_named(parts, reader, known)]
        self._weight = reader.function(weighing.weight_sql(settings), known)
        evidence = sqlglot.parse_one(weighing.evidence_sql(settings), dialect=DIALECT)
        self._evidence = [(one.name, reader.function(one.expression, known)) for one in evidence.expressions]

    def of(self, left: Row, right: Row) -> tuple[float, dict[str, float]] | None:
        """The weight and the parts of it; None where the rules do not compare the two."""
        row = dict(zip(self._left, map(left.__getitem__, self.columns), strict=True))
        row.update(zip(self._right, map(right.__getitem__, self.columns), strict=True))
        if not self._condition(row):
            return None
        for name, function in self._made:
            row[name] = function(row)
        return self._weight(row), {name: function(row) for name, function in self._evidence}


@cache
def _cleaning(is_day_first: bool, wanted: frozenset[str]) -> list[Step]:  # noqa: FBT001  # a key of the cache
    lookups = {"nickname": Lookup("name", "root", nicknames.roots())}
    query = features.cleaning(is_day_first=is_day_first)
    return queries.steps(query, engine.RAW.names, Reader(features.macros()), lookups, wanted)


def _read_key(key: blocking.Key) -> tuple[blocking.Key, list[Function]]:
    reader = Reader()
    return key, [reader.function(one, _RECORD) for one in key.expressions]


def _named(expressions: Iterable[str], reader: Reader, known: set[str]) -> list[tuple[str, Function]]:
    """Each may be named by those after it."""
    found = []
    for one in expressions:
        parsed = sqlglot.parse_one(one, dialect=DIALECT)
        found.append((parsed.alias, reader.function(parsed, known)))
        known.add(parsed.alias)
    return found
