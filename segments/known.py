"""What a workspace has that rules can name: its events and traits by sight, the rest by its tables.

Names are found by leaping from one to the next in an index, and kinds of values on a bounded sample, so this takes the same
time for a million profiles as for a hundred. A property that none of the events looked at has is not known.
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
SAMPLE: Final = 20_000
"""Rows that are looked at for the kinds of all names together, and of one name a `LARGEST`."""
LARGEST: Final = 1_000

_NAMES = """
WITH RECURSIVE found AS (
    (SELECT name FROM {table} ORDER BY name LIMIT 1)
    UNION ALL
    SELECT (SELECT t.name FROM {table} t WHERE t.name > found.name ORDER BY t.name LIMIT 1)
    FROM found WHERE found.name IS NOT NULL
)
SELECT name FROM found WHERE name IS NOT NULL LIMIT %(most)s
"""
_TRAIT_KINDS = """
SELECT DISTINCT asked.name, jsonb_typeof(seen.value)
FROM unnest(%(names)s::text[]) AS asked (name)
CROSS JOIN LATERAL (SELECT t.value FROM trait t WHERE t.name = asked.name LIMIT %(each)s) AS seen
"""
# The newest and the oldest, for what is sent of an event changes in time.
_PROPERTY_KINDS = """
SELECT DISTINCT asked.name, property.key, jsonb_typeof(property.value)
FROM unnest(%(names)s::text[]) AS asked (name)
CROSS JOIN LATERAL (
    (SELECT e.properties FROM event e WHERE e.name = asked.name ORDER BY e.occurred_at DESC LIMIT %(each)s)
    UNION ALL
    (SELECT e.properties FROM event e WHERE e.name = asked.name ORDER BY e.occurred_at LIMIT %(each)s)
) AS seen
CROSS JOIN LATERAL jsonb_each(CASE WHEN jsonb_typeof(seen.properties) = 'object' THEN seen.properties END) AS property
"""
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
    names = _names("trait")
    kinds: dict[str, set[Kind]] = {name: set() for name in names}
    for name, kind in _rows(_TRAIT_KINDS, {"names": names, "each": _each(names)}):
        kinds[name] |= _kinds(kind)
    return {name: frozenset(found) for name, found in kinds.items()}


def _events() -> Mapping[str, Mapping[str, Kinds]]:
    names = _names("event")
    kinds: dict[str, dict[str, set[Kind]]] = {name: defaultdict(set) for name in names}
    for name, key, kind in _rows(_PROPERTY_KINDS, {"names": names, "each": _each(names) // 2}):
        kinds[name][key] |= _kinds(kind)
    return {name: {key: frozenset(found) for key, found in by_key.items()} for name, by_key in kinds.items()}


def _names(table: str) -> list[str]:
    """Of events or traits. More than can be looked at says nothing: a name that is left out would seem unknown."""
    found = [name for (name,) in _rows(_NAMES.format(table=table), {"most": MOST_NAMES + 1})]
    return found if len(found) <= MOST_NAMES else []


def _each(names: list[str]) -> int:
    return min(LARGEST, SAMPLE // max(1, len(names)))


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
