"""One column of a stream of rows: exact counts as it passes by, the rest from the sample. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from cdp.ingestion.quality import cells, statistics

MOST_DISTINCT: Final = 2_000
SHOWN_VALUES: Final = 10
SHOWN_SHAPES: Final = 8
LEAST_SHOWN: Final = 5  # a value that fewer rows have may be somebody's own
MOST_SHOWN_DISTINCT: Final = 1_000
_LONG: Final = 64  # of longer texts the beginning tells them apart
_MOSTLY: Final = 0.5
_UNIQUE: Final = 0.95
_ADDRESSES: Final = 0.01  # of the values: then the column has them
_JUDGED: Final = 20  # values from which on a share says something
_LARGE_NUMBER: Final = 1e6


class Column:
    """`see` is called with each chunk; `report` at the end, with what the sample has of the column."""

    def __init__(self, name: str, most_distinct: int = MOST_DISTINCT) -> None:
        self.name = name
        self.most_distinct = most_distinct
        self.present = 0
        self.types: Counter[str] = Counter()
        self.values: Counter[str] | None = Counter()  # None: more different ones than are told apart
        self.moments = statistics.Moments()

    def see(self, values: Sequence[Any]) -> None:
        """Equal texts are looked at once: most columns have few different ones."""
        texts = Counter([value for value in values if type(value) is str])
        missing = sum(texts.pop(text) for text in [text for text in texts if not text or text.isspace()])
        others = [value for value in values if type(value) is not str] if texts.total() + missing < len(values) else []
        others = [value for value in others if not cells.is_missing(value)]
        self.present += texts.total() + len(others)
        self._see_texts(texts)
        if others:
            self._see_others(others)

    def _see_texts(self, texts: "Counter[str]") -> None:
        numbers = {text: number for text in texts if (number := cells.number_in(text)) is not None}
        times = [texts[text] for text in numbers]
        self._see_numbers(np.repeat(np.array([*numbers.values()], dtype=float), times))
        dates = sum(count for text, count in texts.items() if cells.is_date(text))
        self.types.update(date=dates, text=texts.total() - sum(times) - dates)
        self._count(texts)

    def _see_others(self, others: Sequence[Any]) -> None:
        kinds = Counter(map(type, others))
        numbers = [
            cells.bounded(value) for value in others if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        self._see_numbers(np.array(numbers, dtype=float))
        lists = kinds[list] + kinds[tuple]
        self.types.update(boolean=kinds[bool], list=lists, object=len(others) - len(numbers) - kinds[bool] - lists)
        self._count(Counter(map(str, others)))

    def _see_numbers(self, numbers: statistics.Numbers) -> None:
        whole = int((numbers == np.floor(numbers)).sum())
        self.types.update(integer=whole, number=len(numbers) - whole)
        self.moments.see(numbers)

    def _count(self, texts: "Counter[str]") -> None:
        if self.values is None:
            return
        for text, times in texts.items():
            self.values[text if len(text) <= _LONG else text[:_LONG]] += times
        if len(self.values) > self.most_distinct:
            self.values = None

    # -- report -----------------------------------------------------------------------------------------------------

    def report(self, rows: int, sample: Sequence[Any]) -> dict[str, Any]:
        """`sample` has None where the value is missing. Nothing that could be one person's gets into the report."""
        known = [str(value) for value in sample if value is not None]
        is_personal = self._is_personal(known)
        told: dict[str, Any] = {
            "name": self.name,
            "type": self.type,
            "types": {name: count for name, count in sorted(self.types.items()) if count},
            "missing": rows - self.present,
            "missing_share": (rows - self.present) / rows if rows else 0.0,
            "distinct": self.most_distinct if self.values is None else len(self.values),
            "is_distinct_exact": self.values is not None,
            "is_personal": is_personal,
        }
        if self.is_numeric and not is_personal:
            return told | {"numbers": self._told_numbers(numbers_of(sample))}
        if self.values is not None and not is_personal and len(self.values) <= MOST_SHOWN_DISTINCT:
            return told | {"values": _most(self.values, SHOWN_VALUES)}
        return told | {"shapes": _most(Counter(map(cells.shape, known)), SHOWN_SHAPES)}

    @property
    def type(self) -> str:
        """That of most values; a column of whole and broken numbers has numbers."""
        if not self.present:
            return "empty"
        if self.is_numeric:
            return "number" if self.types["number"] else "integer"
        return max(sorted(self.types), key=self.types.__getitem__)

    @property
    def is_numeric(self) -> bool:
        return self.present > 0 and self.moments.count > _MOSTLY * self.present

    def _is_personal(self, known: Sequence[str]) -> bool:
        if cells.names_a_person(self.name) or self.types["list"] or self.types["object"]:
            return True
        if len(known) < _JUDGED:
            return not self.is_numeric  # too few to tell
        is_unique = len(set(known)) > _UNIQUE * len(known)
        if self.is_numeric:
            return is_unique and not self.types["number"] and self.moments.greatest >= _LARGE_NUMBER
        return sum(map(cells.looks_personal, known)) > _ADDRESSES * len(known) or len(set(known)) > _MOSTLY * len(known)

    def _told_numbers(self, numbers: statistics.Numbers) -> dict[str, Any]:
        first, median, third = statistics.quartiles(numbers)
        return {
            "count": self.moments.count,
            "min": self.moments.least,
            "max": self.moments.greatest,
            "mean": self.moments.mean,
            "deviation": self.moments.deviation,
            "q1": first,
            "median": median,
            "q3": third,
            "sampled": len(numbers),
            "outliers_iqr": statistics.outliers_by_iqr(numbers),
            "outliers_z": statistics.outliers_by_z(numbers),
            "histogram": statistics.histogram(numbers),
        }


def numbers_of(sample: Sequence[Any]) -> statistics.Numbers:
    """Those of a sample, without what is missing or no number."""
    every = numbers_or_nan(sample)
    return every[~np.isnan(every)]


def numbers_or_nan(sample: Sequence[Any]) -> statistics.Numbers:
    return np.array([_number(value) for value in sample], dtype=float)


def _number(value: Any) -> float:  # noqa: ANN401  # as a sample keeps it
    if isinstance(value, float):
        return value
    found = cells.number_in(value) if isinstance(value, str) else None
    return float("nan") if found is None else found


def _most(counts: "Counter[str]", shown: int) -> list[dict[str, Any]]:
    """The most frequent, as far as enough rows have them; what is left is one number."""
    common = sorted(
        ((value, count) for value, count in counts.items() if count >= LEAST_SHOWN), key=lambda one: (-one[1], one[0])
    )[:shown]
    left = counts.total() - sum(count for _, count in common)
    others = [{"value": None, "count": left}] if left else []
    return [*({"value": value, "count": count} for value, count in common), *others]
