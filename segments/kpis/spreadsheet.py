"""Figures as a CSV file. A text that a spreadsheet would take for a formula gets an apostrophe before it."""

import csv
from collections.abc import Iterable
from io import StringIO
from typing import Final
from zoneinfo import ZoneInfo

from segments.kpis.sentences import sentence_of
from segments.kpis.series import Series, Value

COLUMNS: Final = (
    "segment", "figure", "version", "period", "from", "until", "value", "numerator", "denominator", "people", "state",
    "computed_at", "meaning",
)  # fmt: skip
FORMULAS: Final = frozenset("=+-@\t\r")


def as_csv(segment: str, series: Iterable[Series], zone: ZoneInfo) -> str:
    """One line for each value; days are those of the workspace."""
    written = StringIO()
    lines = csv.writer(written, lineterminator="\n")
    lines.writerow(COLUMNS)
    for one in series:
        lines.writerows(_line(segment, one, value, zone) for value in one.values)
    return written.getvalue()


def _line(segment: str, series: Series, value: Value, zone: ZoneInfo) -> list[object]:
    begins, ends = (instant.astimezone(zone).date().isoformat() for instant in (value.start, value.end))
    numbers = [value.value, value.numerator, value.denominator, value.people]
    return [
        _harmless(segment), _harmless(series.slug), series.version.number, series.definition.period, begins, ends,
        *numbers, state_of(value), value.computed_at.isoformat(timespec="seconds"),
        _harmless(sentence_of(series.definition)),
    ]  # fmt: skip


def state_of(value: Value) -> str:
    """withheld, running, settling or settled."""
    if value.is_withheld:
        return "withheld"
    if value.is_running:
        return "running"
    return "settled" if value.is_settled else "settling"


def _harmless(text: str) -> str:
    return f"'{text}" if text[:1] in FORMULAS else text
