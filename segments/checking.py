"""Rules against what a workspace has, before anything is published: misspelt names, and values that are never met.

What there is is read once a minute at most. Before a rule is refused it is read anew: the name may just have come.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cdp.kernel.purposes import Purpose
from consent import gate
from consent.gate import Permit, Segmentation
from segments.known import known_names
from segments.language import LanguageError, measured_from_json, parse_json_with_places, parse_text_with_places
from segments.language.check import Known, check
from segments.language.places import Places
from segments.language.tree import Node
from segments.models import ComputedTraitVersion, SegmentList
from segments.references import check_references

KEPT_SECONDS: Final = 60.0

Definition = object
"""The JSON form as a dictionary or a text, or the text form that people type. Anything else is refused."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """What may be wrong with a rule that can be computed: a code, a sentence with its place, and both for programs."""

    code: str
    message: str
    details: dict[str, Any]


def read_with_places(definition: Definition) -> tuple[Node, Places]:
    """Either form. Raises `LanguageError` with the place of the mistake."""
    is_text = isinstance(definition, str) and not definition.lstrip().startswith("{")
    return parse_text_with_places(str(definition)) if is_text else parse_json_with_places(definition)


def check_definition(*, workspace_id: int, definition: Definition) -> None:
    """Raises `LanguageError` for the first thing that the workspace does not know, or that can never be met there."""
    tree, places = read_with_places(definition)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        refused = _problems(permit, tree, places) and _problems(permit, tree, places, is_fresh=True)
    if refused:
        raise refused[0]


def check_circles(*, workspace_id: int, slug: str, definition: Definition) -> None:
    """Raises when the rule of this segment refers to one that does not serve, or would need itself."""
    tree, _ = read_with_places(definition)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id):
        check_references(workspace_id=workspace_id, slug=slug, tree=tree)


def doubts(permit: Permit[Segmentation], tree: Node, places: Places) -> list[Doubt]:
    """The same, for somebody who still writes the rule."""
    return [Doubt(each.code, each.message, dict(each.details)) for each in _problems(permit, tree, places)]


def _problems(
    permit: Permit[Segmentation], tree: Node, places: Places, *, is_fresh: bool = False
) -> Sequence[LanguageError]:
    kept = _KEPT.get(permit.workspace_id)
    if kept is None or is_fresh or time.monotonic() - kept[0] > KEPT_SECONDS:
        kept = time.monotonic(), _known(permit)
        _KEPT[permit.workspace_id] = kept
    return check(tree, kept[1], places)


_KEPT: dict[int, tuple[float, Known]] = {}


def _known(permit: Permit[Segmentation]) -> Known:
    lists = SegmentList.objects.filter(workspace_id=permit.workspace_id).values_list("slug", flat=True)
    versions = ComputedTraitVersion.objects.filter(workspace_id=permit.workspace_id, trait__archived_at=None)
    newest = versions.order_by("trait_id", "-number").distinct("trait_id").values_list("trait__slug", "definition")
    computed = {slug: measured_from_json(definition) for slug, definition in newest}
    return known_names(permit, lists=lists, computed=computed)
