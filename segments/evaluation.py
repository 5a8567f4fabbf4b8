"""One rule, several engines, the same members: what `manage.py segments evaluate` compares."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from consent.gate import Permit, Segmentation
from segments import facts
from segments.language import Node, canonical, leaves_of
from segments.language.reference import is_in, threshold
from segments.language.tree import Rank
from segments.queries import Found, matching


def matching_by_reference(permit: Permit[Segmentation], tree: Node, *, now: datetime) -> Found:
    """One profile after the other, by the slow evaluator: to check the other engines, on any population that fits."""
    ranks = [leaf for leaf in leaves_of(tree) if isinstance(leaf, Rank)]
    thresholds = {canonical(rank): threshold(rank, facts.everybody(permit, rank), now) for rank in ranks}
    everybody = (replace(one, thresholds=thresholds) for one in facts.everybody(permit, tree))
    return Found([one.profile_id for one in everybody if is_in(tree, one, now)])


ENGINES: Final[Mapping[str, Callable[..., Found]]] = {"postgres": matching, "reference": matching_by_reference}
