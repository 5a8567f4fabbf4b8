"""What a workspace has that rules can name: its events and traits by sight, the rest by its tables.

The views leap from name to name through an index and look at a bounded sample of values, so this takes the same time for a
million profiles as for a hundred. A property that none of the events looked at has is not known.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.db import connection

from cdp.kernel.purposes import Purpose
from consent.gate import Permit, Segmentation
from segments.language.check import Kind, Kinds, Known
from segments.language.tree import Measured
from segments.models import LearnedModel, Segment

MOST_NAMES: Final = 1_000
"""Of events, and of traits. Of more than the views look for nothing is said: the others would seem unknown."""

_TRAITS = "SELECT name, kind FROM known_trait"
_PROPERTIES = "SELECT event, property, kind FROM known_property"
_GIVES_NUMBERS = """
SELECT asked.slug FROM unnest(%(names)s::text[]) AS asked (slug)
WHERE COALESCE((SELECT s.value IS NOT NULL FROM score s WHERE s.model_slug = asked.slug LIMIT 1), true)
"""


def known_names(
    permit: Permit[Segmentation], *, lists: Iterable[str] = (), computed: Mapping[str, Measured] | None = None
) -> Known:
    """What rules of this workspace may name, of the people whom segmentation may see."""
    models = _models(permit.workspace_id)
    return Known(
        traits=_traits(),
        events=_events(),
        models=models,
        scores=frozenset(slug for (slug,) in _rows(_GIVES_NUMBERS, {"names": list(models)})),
        segments=_segments(permit.workspace_id),
        purposes=frozenset(purpose.value for purpose in Purpose if purpose.is_gated),
        lists=frozenset(lists),
        computed=computed or {},
    )


def _traits() -> Mapping[str, Kinds]:
    kinds: dict[str, set[Kind]] = defaultdict(set)
    for name, kind in _rows(_TRAITS, {}):
        kinds[name] |= _kinds(kind)
    return {name: frozenset(found) for name, found in _unless_too_many(kinds).items()}


def _events() -> Mapping[str, Mapping[str, Kinds]]:
    kinds: dict[str, dict[str, set[Kind]]] = defaultdict(lambda: defaultdict(set))
    for event, name, kind in _rows(_PROPERTIES, {}):
        properties = kinds[event]
        if name is not None:
            properties[name] |= _kinds(kind)
    return {
        event: {name: frozenset(found) for name, found in properties.items()}
        for event, properties in _unless_too_many(kinds).items()
    }


def _unless_too_many(found: dict[str, Any]) -> dict[str, Any]:
    return found if len(found) <= MOST_NAMES else {}


def _kinds(kind: str) -> set[Kind]:
    """A null is there and says nothing."""
    return {Kind(kind)} if kind != "null" else set()


def _models(workspace_id: int) -> Mapping[str, frozenset[str]]:
    """Learned models with the groups of all their versions."""
    groups: dict[str, frozenset[str]] = {}
    rows = LearnedModel.objects.filter(workspace_id=workspace_id).values_list("slug", "result__groups")
    for slug, found in rows:
        groups[slug] = groups.get(slug, frozenset()) | {group["group"] for group in found or ()}
    return groups


def _segments(workspace_id: int) -> frozenset[str]:
    live = Segment.objects.filter(workspace_id=workspace_id, archived_at=None, live_version__isnull=False)
    return frozenset(live.values_list("slug", flat=True))


def _rows(sql: str, parameters: Mapping[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
