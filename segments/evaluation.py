"""One rule, several engines, the same members: what `manage.py segments evaluate` compares."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from consent.gate import Permit, Segmentation
from segments import facts, queries, ranks
from segments.language import Node, canonical, leaves_of
from segments.language.ranks import Threshold
from segments.language.reference import is_in, threshold
from segments.language.tree import Rank
from segments.queries import Found


def matching(permit: Permit[Segmentation], tree: Node, *, now: datetime) -> Found:
    """By the query that serves; rankings end where they do at `now`."""
    return queries.matching(permit, tree, now=now, frozen=ranks.ends_as_of(permit, [tree], now=now))


if TYPE_CHECKING:
    from segments.columnar.engines import Engine


def matching_by_reference(permit: Permit[Segmentation], tree: Node, *, now: datetime) -> Found:
    """One profile after the other, by the slow evaluator: to check the other engines, on any population that fits."""
    thresholds = _ends(permit, tree, now)
    everybody = (replace(one, thresholds=thresholds) for one in facts.everybody(permit, tree))
    return Found([one.profile_id for one in everybody if is_in(tree, one, now)])


def matching_by_duckdb(permit: Permit[Segmentation], tree: Node, *, now: datetime) -> Found:
    """Over the columnar copy of the events, and what of them is not in it yet."""
    from segments.columnar.engines import DuckDB  # noqa: PLC0415  # loads DuckDB and Arrow, which other work need not

    return _matching_by_columns(permit, tree, now, DuckDB())


def matching_by_spark(permit: Permit[Segmentation], tree: Node, *, now: datetime) -> Found:
    """Likewise, by a Spark that is started for it or that the environment names. Raises `SparkMissingError`."""
    from segments.columnar.engines import Spark  # noqa: PLC0415  # likewise

    return _matching_by_columns(permit, tree, now, Spark())


def _matching_by_columns(permit: Permit[Segmentation], tree: Node, now: datetime, engine: "Engine") -> Found:
    from segments.columnar.engines import members_of  # noqa: PLC0415  # likewise

    zone, frozen = facts.zone_of(permit.workspace_id), ranks.ends_as_of(permit, [tree], now=now)
    [members] = members_of(permit, [tree], engine=engine, now=now, zone=zone, frozen=frozen)
    return Found(members)


def _ends(permit: Permit[Segmentation], tree: Node, now: datetime) -> Mapping[str, Threshold]:
    """Where the rankings of the rule end at `now`."""
    ranks = [leaf for leaf in leaves_of(tree) if isinstance(leaf, Rank)]
    return {canonical(rank): threshold(rank, facts.everybody(permit, rank), now) for rank in ranks}


ENGINES: Final[Mapping[str, Callable[..., Found]]] = {
    "postgres": matching,
    "reference": matching_by_reference,
    "duckdb": matching_by_duckdb,
    "spark": matching_by_spark,
}
