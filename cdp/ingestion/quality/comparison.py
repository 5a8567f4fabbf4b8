"""A profile beside the one before it: what moved, and what moved or is wrong beyond a threshold. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cdp.ingestion.quality import statistics
from cdp.ingestion.quality.profiles import Samples
from cdp.ingestion.quality.thresholds import Thresholds

Profile = Mapping[str, Any]
LEAST_ROWS: Final = 20  # a share of fewer rows alerts nobody


@dataclass(frozen=True, slots=True)
class Alert:
    kind: str
    column: str
    value: float
    threshold: float


def changes(now: Profile, before: Profile, samples: Samples, samples_before: Samples) -> list[dict[str, Any]]:
    """For every column of either profile: how its missing share, its numbers or its values moved."""
    ours, theirs = _columns(now), _columns(before)
    told = [_change(ours.get(name), theirs.get(name), name, samples, samples_before) for name in {**ours, **theirs}]
    return [change for change in told if len(change) > 1]


def alerts(profile: Profile, limits: Thresholds) -> list[Alert]:
    """`profile` with its `changes` and `rows_before`. The order is that of the columns."""
    rows, before = profile["rows"], profile["rows_before"] or 0
    found: list[Alert] = []
    if max(rows, before) >= LEAST_ROWS:
        found += _of_rows(profile, limits)
    if rows >= LEAST_ROWS:
        found += _of_columns(profile, limits)
    if min(rows, before) >= LEAST_ROWS:
        found += _of_changes(profile, limits)
    return found


def _columns(profile: Profile) -> dict[str, Mapping[str, Any]]:
    return {column["name"]: column for column in profile["columns"]}


def _change(
    now: Profile | None, before: Profile | None, name: str, samples: Samples, samples_before: Samples
) -> dict[str, Any]:
    if now is None or before is None:
        return {"column": name, "is_new": before is None}
    told: dict[str, Any] = {"column": name, "missing": now["missing_share"] - before["missing_share"]}
    if name in samples and name in samples_before:
        told["ks"] = statistics.kolmogorov_smirnov(samples[name], samples_before[name])
    for what in ("values", "shapes"):
        if what in now and what in before:
            told["moved"] = statistics.total_variation(_counts(now[what]), _counts(before[what]))
    return told


def _counts(most: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {"" if one["value"] is None else f"={one['value']}": one["count"] for one in most}


def _of_rows(profile: Profile, limits: Thresholds) -> Iterator[Alert]:
    before = profile["rows_before"]
    if before and (moved := abs(profile["rows"] - before) / before) > limits.rows_change:
        yield Alert("rows_change", "", moved, limits.rows_change)
    for kind, found in profile["duplicates"].items():
        if kind != "is_exact" and found["share"] > limits.duplicate_share:
            yield Alert(f"duplicate_{kind}", "", found["share"], limits.duplicate_share)


def _of_columns(profile: Profile, limits: Thresholds) -> Iterator[Alert]:
    for column in profile["columns"]:
        share = column.get("numbers", {}).get("outliers_iqr", {}).get("share", 0.0)
        if share > limits.outlier_share:
            yield Alert("outlier_share", column["name"], share, limits.outlier_share)


def _of_changes(profile: Profile, limits: Thresholds) -> Iterator[Alert]:
    for change in profile["changes"]:
        name = change["column"]
        if "is_new" in change:
            yield Alert("column_new" if change["is_new"] else "column_gone", name, 1.0, 0.0)
            continue
        if abs(change["missing"]) > limits.missing_change:
            yield Alert("missing_change", name, change["missing"], limits.missing_change)
        found = change.get("ks")
        if found and found["statistic"] > limits.ks_statistic and found["p"] < limits.ks_p:
            yield Alert("ks", name, found["statistic"], limits.ks_statistic)
        if change.get("moved", 0.0) > limits.category_change:
            yield Alert("category_change", name, change["moved"], limits.category_change)
