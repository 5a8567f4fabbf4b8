"""The profile of a stream of rows: seen once, in bounded memory, without keeping what identifies anybody. Pure.

profiler = Profiler(seed=7, key="customer_no")
profiler.see(rows)            # as often as there are chunks; or see_batch, for Arrow
profile, samples = profiler.finish()
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, repeat
from typing import Any, Final

from cdp.ingestion.quality import cells, statistics
from cdp.ingestion.quality.columns import MOST_DISTINCT, Column, numbers_of, numbers_or_nan
from cdp.ingestion.quality.sketches import Distinct, Reservoir

MOST_COLUMNS: Final = 300
SAMPLED_ROWS: Final = 5_000
SAMPLED_CELLS: Final = 400_000
MOST_CORRELATED: Final = 40
MOST_ASSOCIATED: Final = 20
WORTH_TELLING: Final = 0.5  # a correlation below says little
SHOWN_PAIRS: Final = 30
MOST_KEPT: Final = 1_000  # numbers of a column, for the next comparison
LEAST_SAMPLE: Final = 50  # numbers from which on two distributions are compared
_LONGEST_NAME: Final = 100
_LIKE_DATA = re.compile(r"@|\d{5}")
_NO_LETTER = re.compile(r"[^\w]|_")
_BETWEEN: Final = "\x1f"

Samples = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Limits:
    rows: int = SAMPLED_ROWS
    cells: int = SAMPLED_CELLS
    distinct: int = MOST_DISTINCT  # values of a column that are told apart


class Profiler:
    """`key` is the column that tells rows apart; without one near-duplicates are told by whole rows.

    `decimal` is how texts write numbers.
    """

    def __init__(self, *, seed: int, key: str = "", decimal: str = ".", limits: Limits = Limits()) -> None:
        self.seed = seed
        self.key = key
        self.decimal = decimal
        self.limits = limits
        self.rows = 0
        self.columns: dict[str, Column] = {}
        self.has_more_columns = False
        self.whole, self.keys, self.alike = Distinct(), Distinct(), Distinct()
        self.with_key = 0
        self.reservoir: Reservoir | None = None
        self.sample: list[dict[str, Any]] = []

    def see(self, rows: Sequence[Mapping[str, Any]]) -> None:
        names = dict.fromkeys(chain.from_iterable(rows))
        self.see_columns({name: [row.get(name) for row in rows] for name in names}, len(rows))

    def see_batch(self, batch: Any) -> None:  # noqa: ANN401  # a pyarrow.RecordBatch, which costs a third of a second to import
        """As `see`, for what is in columns already."""
        self.see_columns({name: batch.column(name).to_pylist() for name in batch.schema.names}, batch.num_rows)

    def see_columns(self, columns: Mapping[str, Sequence[Any]], count: int) -> None:
        if not count:
            return
        known = {name: values for name, values in columns.items() if self._knows(name)}
        if self.decimal == ",":
            known = {name: list(map(cells.with_point, values)) for name, values in known.items()}
        for name, values in known.items():
            self.columns[name].see(values)
        self._see_rows(known, count)
        self._sample(known, count)
        self.rows += count

    def _knows(self, name: str) -> bool:
        if name not in self.columns:
            if len(self.columns) >= MOST_COLUMNS or not is_a_name(name):
                self.has_more_columns = True
                return False
            self.columns[name] = Column(name, self.limits.distinct)
        return True

    def _see_rows(self, columns: Mapping[str, Sequence[Any]], count: int) -> None:
        """A row is its names and values in the order of names: whatever else its chunk has, the same rows are the same."""
        whole = _joined({name: columns[name] for name in sorted(columns)}) if columns else [""] * count
        self.whole.see(whole)
        if self.key:
            keys = [str(value) for value in columns.get(self.key, ()) if not cells.is_missing(value)]
            self.with_key += len(keys)
            self.keys.see(keys)
            self.alike.see(map(normalised, keys))
        else:
            self.alike.see(map(normalised, whole))

    def _sample(self, columns: Mapping[str, Sequence[Any]], count: int) -> None:
        if self.reservoir is None:
            size = min(self.limits.rows, max(self.limits.cells // max(len(columns), 1), 1))
            self.reservoir = Reservoir(size, self.seed)
        for number, place in self.reservoir.places(count):
            row = {name: _sampled(values[number]) for name, values in columns.items()}
            if place < len(self.sample):
                self.sample[place] = row
            else:
                self.sample.append(row)

    # -- report -----------------------------------------------------------------------------------------------------

    def finish(self) -> tuple[dict[str, Any], Samples]:
        """The profile, and the numbers by which the next one is compared: sorted, so that no row can be put together."""
        sampled = {name: [row.get(name) for row in self.sample] for name in self.columns}
        told = [column.report(self.rows, sampled[name]) for name, column in self.columns.items()]
        numeric = [column["name"] for column in told if "numbers" in column]
        categories = [column["name"] for column in told if "values" in column]
        profile = {
            "rows": self.rows,
            "sampled": len(self.sample),
            "seed": self.seed,
            "has_more_columns": self.has_more_columns,
            "columns": told,
            "duplicates": self._duplicates(),
            "correlations": _correlations(numeric, sampled),
            "associations": _associations(categories, sampled),
        }
        return profile, {name: numbers for name in numeric if len(numbers := _sorted(sampled[name])) >= LEAST_SAMPLE}

    def _duplicates(self) -> dict[str, Any]:
        compared, distinct = (self.with_key, self.keys) if self.key else (self.rows, self.whole)
        told: dict[str, Any] = {
            "rows": _share(self.rows - self.whole.count, self.rows),
            "near": _share(distinct.count - self.alike.count, compared),
            "is_exact": self.whole.is_exact and distinct.is_exact and self.alike.is_exact,
        }
        return told | {"keys": _share(self.with_key - self.keys.count, self.with_key)} if self.key else told


def is_a_name(text: str) -> bool:
    """And not an address, a number or a sentence, which some senders use as names."""
    return len(text) <= _LONGEST_NAME and not _LIKE_DATA.search(text)


def normalised(text: str) -> str:
    """Without case, accents, spaces and signs: `Dupont-Noël ` and `dupont noel` are alike."""
    folded = text.casefold() if text.isascii() else _without_accents(text)
    return _NO_LETTER.sub("", folded)


def _without_accents(text: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(sign))


def _joined(columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """Each row in one text. Files of text alone, which are most, take the fast way; null is as if it were not there."""
    sides = chain.from_iterable((repeat(name), values) for name, values in columns.items())
    try:
        return [_BETWEEN.join(row) for row in zip(*sides, strict=False)]  # the names never end
    except TypeError:
        return [_BETWEEN.join(_told(columns, row)) for row in zip(*columns.values(), strict=True)]


def _told(names: Iterable[str], row: Iterable[Any]) -> Iterator[str]:
    for name, value in zip(names, row, strict=True):
        if value is not None:
            yield from (name, value if type(value) is str else repr(value))


def _sampled(value: Any) -> Any:  # noqa: ANN401  # whatever a row holds
    return None if cells.is_missing(value) else cells.trimmed(value)


def _share(count: int, of: int) -> dict[str, Any]:
    """An estimate may be a little off: no count is below nothing."""
    return {"count": max(count, 0), "share": max(count, 0) / of if of else 0.0}


def _sorted(sample: Sequence[Any]) -> list[float]:
    """In order, and where they are many evenly picked from the order: the distribution stays."""
    numbers = sorted(map(float, numbers_of(sample)))
    if len(numbers) <= MOST_KEPT:
        return numbers
    return [numbers[place * (len(numbers) - 1) // (MOST_KEPT - 1)] for place in range(MOST_KEPT)]


def _correlations(names: Sequence[str], sampled: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The strongest first."""
    numbers = {name: numbers_or_nan(sampled[name]) for name in names[:MOST_CORRELATED]}
    found: list[tuple[float, dict[str, Any]]] = []
    for left, right in combinations(numbers, 2):
        pearson, spearman = statistics.correlation(numbers[left], numbers[right]) or (0.0, 0.0)
        told = {"left": left, "right": right, "pearson": pearson, "spearman": spearman}
        found.append((max(abs(pearson), abs(spearman)), told))
    return _strongest(found)


def _associations(names: Sequence[str], sampled: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    found: list[tuple[float, dict[str, Any]]] = []
    for left, right in combinations(names[:MOST_ASSOCIATED], 2):
        strength = statistics.association(sampled[left], sampled[right]) or 0.0
        found.append((strength, {"left": left, "right": right, "cramers_v": strength}))
    return _strongest(found)


def _strongest(found: Sequence[tuple[float, dict[str, Any]]]) -> list[dict[str, Any]]:
    worth_telling = sorted((one for one in found if one[0] >= WORTH_TELLING), key=lambda one: -one[0])
    return [told for _, told in worth_telling[:SHOWN_PAIRS]]
