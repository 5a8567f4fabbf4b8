"""The match weight of a pair as one expression of SQL, made of the frozen model: what Splink adds up, in the same order,
and what relatives take away.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from splink.internals.misc import prob_to_match_weight

from identity.matching import dependence, distances
from identity.matching.relatives import RELATIVES

Comparison = Mapping[str, Any]
Level = Mapping[str, Any]

_LEAST: Final = 1e-300  # as Splink does: no probability is so small that its logarithm is none


_PAIRS: Final = """
WITH compared AS (
    SELECT l.unique_id AS left_id, r.unique_id AS right_id, {both}
    FROM {pairs} AS asked JOIN {records} l ON l.unique_id = asked.left_id JOIN {records} r ON r.unique_id = asked.right_id
    WHERE {condition}
),
levelled AS (SELECT left_id, right_id, {frequencies} {levels} FROM compared),
weighed AS (SELECT *, {parts} FROM levelled)
SELECT left_id, right_id, {weight} AS weight, {evidence} AS parts FROM weighed WHERE {weight} >= {least}
"""


def pairs_sql(
    settings: Mapping[str, Any], *, pairs: str, records: str, columns: Sequence[str], frequencies: Sequence[str],
    least: str, condition: str = "true",
) -> str:  # fmt: skip
    """Of the table `pairs` (left_id, right_id) those that fulfil `condition` and weigh at least `least`, with what they
    weigh. `columns` are those of the table `records` that the model looks at; of `frequencies` it has `tf_…`.
    """
    comparisons, shares = settings["comparisons"], [f"tf_{column}" for column in frequencies]
    return _PAIRS.format(
        both=", ".join(f"{side}.{one} AS {one}_{side}" for one in (*columns, *shares) for side in ("l", "r")),
        frequencies="".join(f"{one}_{side}, " for one in shares for side in ("l", "r")),
        levels=", ".join(map(level_sql, comparisons)),
        parts=", ".join(all_part_sqls(settings)),
        weight=weight_sql(settings),
        evidence=evidence_sql(settings),
        pairs=pairs,
        records=records,
        condition=condition,
        least=least,
    )


def all_part_sqls(settings: Mapping[str, Any]) -> list[str]:
    """The columns that are added up, over those that `level_sql` makes; each may be made of those before it."""
    parts = [part for comparison in settings["comparisons"] for part in part_sqls(comparison)]
    return [*parts, f"{relatives_sql(settings)} AS mw_{RELATIVES}"] if RELATIVES in settings else parts


def relatives_sql(settings: Mapping[str, Any], *, frequency: str = "tf_of_") -> str:
    """What it takes away that two records may be of relatives: the odds of one person to anybody else, and not to strangers
    alone. What relatives share says so much the less, the likelier it makes them.
    """
    relatives = settings[RELATIVES]
    terms = [_double(relatives["log_odds"])]
    for comparison in settings["comparisons"]:
        said, facts = _said(comparison, frequency), name_of(comparison).split(dependence.WITH)
        alike = next((share for one, share in relatives["alike"].items() if one in facts), 0.0)
        terms.append(f"log2({_double(1 - alike)} + {_double(alike)} * {_power(said)})" if alike else said)
    return f"-log2({_double(1.0)} + {_power(' + '.join(terms))})"


def _power(bits: str) -> str:
    return f"pow({_double(2.0)}, {bits})"


def _double(number: float) -> str:
    return f"CAST({number!r} AS DOUBLE)"


def weight_sql(settings: Mapping[str, Any]) -> str:
    """The sum of what `all_part_sqls` makes."""
    terms = [_double(prob_to_match_weight(settings["probability_two_random_records_match"]))]
    for comparison in settings["comparisons"]:
        terms.append(f"mw_{name_of(comparison)}")
        if _has_frequencies(comparison):
            terms.append(f"tf_of_{name_of(comparison)}")
    terms += [f"mw_{RELATIVES}"] if RELATIVES in settings else []
    return " + ".join(terms)


def evidence_sql(settings: Mapping[str, Any], *, frequency: str = "tf_of_") -> str:
    """The weight of each comparison, frequencies included. `frequency` begins the names of their columns."""
    parts = [f"{name_of(one)} := round({_said(one, frequency)}, 3)" for one in settings["comparisons"]]
    parts += [f"{RELATIVES} := round(mw_{RELATIVES}, 3)"] if RELATIVES in settings else []
    return f"struct_pack({', '.join(parts)})"


def _said(comparison: Comparison, frequency: str) -> str:
    """What a comparison weighs, its frequency included."""
    name = name_of(comparison)
    return f"mw_{name} + {frequency}{name}" if _has_frequencies(comparison) else f"mw_{name}"


def part_sqls(comparison: Comparison) -> list[str]:
    """Those of one comparison."""
    parts = [f"{_match_sql(comparison)} AS mw_{name_of(comparison)}"]
    if _has_frequencies(comparison):
        parts.append(f"{_frequency_sql(comparison)} AS tf_of_{name_of(comparison)}")
    return parts


def level_sql(comparison: Comparison) -> str:
    """The place of the first level whose condition holds."""
    whens = " ".join(
        f"WHEN {distances.quickly(level['sql_condition'])} THEN {place}"
        for place, level in enumerate(comparison["comparison_levels"])
        if level["sql_condition"] != "ELSE"
    )
    return f"CASE {whens} ELSE {len(comparison['comparison_levels']) - 1} END AS level_{name_of(comparison)}"


def name_of(comparison: Comparison) -> str:
    return str(comparison["output_column_name"])


def _match_sql(comparison: Comparison) -> str:
    return _chosen(comparison, (_double(_match_weight(level)) for level in _levels(comparison)))


def _match_weight(level: Level) -> float:
    if level.get("is_null_level"):
        return 0.0
    return math.log2(max(level["m_probability"], _LEAST) / max(level["u_probability"], _LEAST))


def _frequency_sql(comparison: Comparison) -> str:
    return _chosen(comparison, (_frequency_of(comparison, level) for level in _levels(comparison)))


def _frequency_of(comparison: Comparison, level: Level) -> str:
    column = level.get("tf_adjustment_column")
    share = level.get("tf_adjustment_weight", 0.0)
    if column is None or not share or level.get("is_null_level") or level["sql_condition"] == "ELSE":
        return "CAST(0 AS DOUBLE)"
    floor = _double(level.get("tf_minimum_u_value", 0.0))
    usual = math.log2(_exact_u(comparison, level, column))
    left, right = f"tf_{column}_l", f"tf_{column}_r"
    commonest = f"greatest(coalesce({left}, {right}), coalesce({right}, {left}), {floor})"
    adjusted = f"{_double(share)} * ({_double(usual)} - log2({commonest}))"
    return f"CASE WHEN coalesce({left}, {right}) IS NOT NULL THEN {adjusted} ELSE CAST(0 AS DOUBLE) END"


def _exact_u(comparison: Comparison, level: Level, column: str) -> float:
    """How often strangers agree on the column at all: the frequency of one value is measured against it."""
    if level.get("disable_tf_exact_match_detection"):
        return float(level["u_probability"])
    same = f"{column}_l={column}_r"
    plain = {_plain(one["sql_condition"]): one for one in reversed(_levels(comparison))}
    return float(plain[same]["u_probability"])


def _plain(condition: str) -> str:
    return condition.replace('"', "").replace(" ", "").lower()


def _levels(comparison: Comparison) -> list[Level]:
    return list(comparison["comparison_levels"])


def _has_frequencies(comparison: Comparison) -> bool:
    return any("tf_adjustment_column" in level for level in comparison["comparison_levels"])


def _chosen(comparison: Comparison, values: Iterator[str]) -> str:
    whens = " ".join(f"WHEN {place} THEN {value}" for place, value in enumerate(values))
    return f"CASE level_{name_of(comparison)} {whens} END"
