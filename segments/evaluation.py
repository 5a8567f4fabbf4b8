"""One rule, several engines, the same members: what `manage.py segments evaluate` compares."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from consent.gate import Permit, Segmentation
from segments.language import Node
from segments.language.ranks import Threshold
from segments.language.reference import Fact, Facts, is_in
from segments.queries import NO_ENDS, Found, matching

PAGE = 5_000

_PROFILES = "SELECT id FROM profile WHERE id > %s ORDER BY id LIMIT %s"
_TRAITS = "SELECT profile_id, name, value::text FROM trait WHERE profile_id = ANY(%s)"
_GROUPS = 'SELECT profile_id, model_slug, "group" FROM score WHERE profile_id = ANY(%s)'
_EVENTS = """
SELECT profile_id, name, occurred_at, properties::text, source_id, message_id FROM event WHERE profile_id = ANY(%s)
"""


def matching_by_reference(
    _: Permit[Segmentation], tree: Node, *, now: datetime, frozen: Mapping[str, Threshold] = NO_ENDS
) -> Found:
    """One profile after the other, by the slow evaluator: to check the other engines, on any population that fits."""
    return Found([profile for profile, facts in _everybody() if is_in(tree, facts, now)])


ENGINES: Final[Mapping[str, Callable[..., Found]]] = {"postgres": matching, "reference": matching_by_reference}


def _everybody() -> Iterator[tuple[int, Facts]]:
    """In order of id, a page of profiles in memory at a time."""
    after = 0
    while page := [profile for (profile,) in _rows(_PROFILES, [after, PAGE])]:
        facts = {profile: Facts({}, [], {}) for profile in page}
        for profile, name, value in _rows(_TRAITS, [page]):
            facts[profile].traits[name] = _decoded(value)
        for profile, model, group in _rows(_GROUPS, [page]):
            facts[profile].groups[model] = group
        for profile, name, at, properties, source, message in _rows(_EVENTS, [page]):
            facts[profile].events.append(Fact(name, at, _decoded(properties), source, message))
        yield from facts.items()
        after = page[-1]


def _decoded(text: str) -> Any:  # noqa: ANN401  # any JSON value
    """Numbers as they are stored: a float would round them."""
    return json.loads(text, parse_float=Decimal)


def _rows(sql: str, parameters: Sequence[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
