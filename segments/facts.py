"""All that is known of everybody, as the reference evaluator takes it: to check the other engines, never to serve.

Only what a rule asks for is read, a page of profiles at a time.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from cdp.kernel.purposes import Purpose
from cdp.models import Workspace
from consent.gate import Permit, Segmentation
from segments.language import Node, leaves_of
from segments.language.periods import zone_named
from segments.language.reference import Fact, Facts
from segments.language.tree import Listed, Member, Rank, Score

PAGE = 5_000

_PROFILES = "SELECT id, permitted, permitted_until FROM profile WHERE id > %s ORDER BY id LIMIT %s"
_TRAITS = "SELECT profile_id, name, value::text FROM trait WHERE profile_id = ANY(%s)"
_GROUPS = 'SELECT profile_id, model_slug, "group" FROM score WHERE profile_id = ANY(%s)'
_SCORES = "SELECT profile_id, model_slug, value FROM score WHERE profile_id = ANY(%s) AND value IS NOT NULL"
_LISTS = "SELECT profile_id, list_slug, added_at, removed_at FROM list_entry WHERE profile_id = ANY(%s)"
_MEMBERSHIPS = """
SELECT m.profile_id, s.slug, m.entered_at, m.left_at FROM membership m JOIN segment s ON s.id = m.segment_id
WHERE m.profile_id = ANY(%s)
"""
_EVENTS = """
SELECT profile_id, name, occurred_at, properties::text, source_id, message_id FROM event WHERE profile_id = ANY(%s)
"""

Page = Mapping[int, Facts]


def everybody(permit: Permit[Segmentation], tree: Node) -> Iterator[Facts]:
    """In order of profile id."""
    kinds = {type(leaf) for leaf in leaves_of(tree)}
    zone = zone_of(permit.workspace_id)
    after = 0
    while rows := _rows(_PROFILES, [after, PAGE]):
        page = {
            profile: Facts(
                profile_id=profile, workspace_zone=zone, permitted=purposes_of(mask), permitted_until=permitted_until
            )
            for profile, mask, permitted_until in rows
        }
        _read(page, kinds)
        yield from page.values()
        after = rows[-1][0]


def zone_of(workspace_id: int) -> tzinfo:
    return zone_named(Workspace.objects.values_list("time_zone", flat=True).get(pk=workspace_id)) or UTC


def purposes_of(mask: int) -> frozenset[str]:
    return frozenset(str(purpose) for purpose in Purpose if mask & purpose.bit)


def _read(page: Page, kinds: set[type]) -> None:
    profiles = list(page)
    for profile, name, value in _rows(_TRAITS, [profiles]):
        page[profile].traits[name] = _decoded(value)
    for profile, model, group in _rows(_GROUPS, [profiles]):
        page[profile].groups[model] = group
    for profile, name, at, properties, source, message in _rows(_EVENTS, [profiles]):
        page[profile].events.append(Fact(name, at, _decoded(properties), source, message))
    if Score in kinds:
        for profile, model, value in _rows(_SCORES, [profiles]):
            page[profile].scores[model] = value
    if Listed in kinds:
        for profile, name, *period in _rows(_LISTS, [profiles]):
            page[profile].lists.setdefault(name, []).append((period[0], period[1]))
    if kinds & MEMBERS:
        for profile, segment, *period in _rows(_MEMBERSHIPS, [profiles]):
            page[profile].memberships.setdefault(segment, []).append((period[0], period[1]))


MEMBERS: Final = {Member, Rank}


def _decoded(text: str) -> Any:  # noqa: ANN401  # any JSON value
    """Numbers as they are stored: a float would round them."""
    return json.loads(text, parse_float=Decimal)


def _rows(sql: str, parameters: Sequence[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
