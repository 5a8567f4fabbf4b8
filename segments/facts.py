"""What is known of people, as the reference evaluator takes it: all who evaluate by it read it here.

`facts_of` reads what is compared of given people: what a condition is true by, and computed traits. `everybody` reads all
that a rule could ask, a page of profiles at a time: to check the other engines, never to serve.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from cdp.kernel.arrays import bigints, texts
from cdp.kernel.purposes import Purpose
from cdp.models import Workspace
from consent.gate import Permit, Segmentation
from segments.language import Node, leaves_of
from segments.language.periods import zone_named
from segments.language.reference import Fact, Facts
from segments.language.tree import (
    Anniversary,
    Dated,
    Event,
    Leaf,
    Listed,
    Measured,
    Member,
    Near,
    Rank,
    Score,
    Trait,
)  # fmt: skip
from segments.language.tree import Sequence as Steps
from segments.queries import of_profiles

PAGE: Final = 5_000
ZONE: Final = "timezone"
"""The trait by which the calendar of a person is told: read of everybody."""

Page = Mapping[int, Facts]


@dataclass(frozen=True, slots=True)
class Names:
    """Of the traits and events that are compared."""

    traits: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()


def names_in(leaves: Iterable[Leaf]) -> Names:
    found = list(leaves)
    return Names(frozenset(_traits_in(found)), frozenset(_events_in(found)))


def _traits_in(leaves: Iterable[Leaf]) -> Iterator[str]:
    for leaf in leaves:
        match leaf:
            case Trait(condition=named) | Rank(of=named) if not isinstance(named, Measured):
                yield named.name
            case Near(trait=name) | Dated(trait=name) | Anniversary(trait=name):
                yield name


def _events_in(leaves: Iterable[Leaf]) -> Iterator[str]:
    for leaf in leaves:
        match leaf:
            case Event(measured=measured) | Rank(of=Measured() as measured):
                yield measured.event
            case Steps(steps=steps, without=without, then_not=then_not):
                yield from (step.event for step in (*steps, *without, *([then_not] if then_not else [])))


# -- given people -----------------------------------------------------------------------------------------------------

_SEEN = "SELECT id FROM profile WHERE id = ANY(%s::bigint[])"
_TRAITS = """
SELECT profile_id, name, value::text FROM trait
WHERE profile_id = ANY(%(profiles)s::bigint[]) AND name = ANY(%(traits)s::text[])
"""
_EVENTS = """
SELECT profile_id, name, occurred_at, properties::text, source_id, message_id FROM event
WHERE profile_id = ANY(%(profiles)s::bigint[]) AND identifier_id = ANY(%(identifiers)s::bigint[])
AND name = ANY(%(events)s::text[]) LIMIT %(most)s
"""
_SOURCE_ZONES = """
SELECT DISTINCT ON (t.profile_id) t.profile_id, s.time_zone FROM trait t JOIN source s ON s.id = t.source_id
WHERE t.profile_id = ANY(%(profiles)s::bigint[]) AND s.time_zone <> '' ORDER BY t.profile_id, s.id
"""


def facts_of(permit: Permit[Any], profiles: Sequence[int], names: Names, *, most: int | None = None) -> Page:
    """Of those whom the purpose may see: somebody may not be seen, and a device of theirs with its events may.

    `most` bounds the events: of more than these some are left out.
    """
    zone = zone_of(permit.workspace_id)
    seen = [profile for (profile,) in _rows(_SEEN, [bigints(profiles)])]
    asked = {"traits": texts(names.traits | {ZONE}), "events": texts(names.events), "most": most}
    given = {**of_profiles(seen), **asked}
    source_zones = dict(_rows(_SOURCE_ZONES, given))
    page = {
        profile: Facts(profile_id=profile, source_zone=zone_named(source_zones.get(profile, "")), workspace_zone=zone)
        for profile in seen
    }
    for profile, name, value in _rows(_TRAITS, given):
        page[profile].traits[name] = _decoded(value)
    for profile, name, at, properties, source, message in _rows(_EVENTS, given) if names.events else ():
        page[profile].events.append(Fact(name, at, _decoded(properties), source, message))
    return page


def zone_of(workspace_id: int) -> tzinfo:
    return zone_named(Workspace.objects.values_list("time_zone", flat=True).get(pk=workspace_id)) or UTC


# -- everybody --------------------------------------------------------------------------------------------------------

_PROFILES = "SELECT id, permitted, permitted_until FROM profile WHERE id > %s ORDER BY id LIMIT %s"
_GROUPS = 'SELECT profile_id, model_slug, "group" FROM score WHERE profile_id = ANY(%s)'
_SCORES = "SELECT profile_id, model_slug, value FROM score WHERE profile_id = ANY(%s) AND value IS NOT NULL"
_LISTS = "SELECT profile_id, list_slug, added_at, removed_at FROM list_entry WHERE profile_id = ANY(%s)"
_MEMBERSHIPS = """
SELECT m.profile_id, s.slug, m.entered_at, m.left_at FROM membership m JOIN segment s ON s.id = m.segment_id
WHERE m.profile_id = ANY(%s)
"""


def everybody(permit: Permit[Segmentation], tree: Node) -> Iterator[Facts]:
    """In order of profile id."""
    leaves = list(leaves_of(tree))
    names, kinds = names_in(leaves), {type(leaf) for leaf in leaves}
    after = 0
    while rows := _rows(_PROFILES, [after, PAGE]):
        page = facts_of(permit, [profile for profile, *_ in rows], names)
        _read(page, kinds)
        for profile, mask, permitted_until in rows:
            yield replace(page[profile], permitted=purposes_of(mask), permitted_until=permitted_until)
        after = rows[-1][0]


def purposes_of(mask: int) -> frozenset[str]:
    return frozenset(str(purpose) for purpose in Purpose if mask & purpose.bit)


def _read(page: Page, kinds: set[type]) -> None:
    """What is kept of a profile beside its traits and events."""
    profiles = list(page)
    for profile, model, group in _rows(_GROUPS, [profiles]):
        page[profile].groups[model] = group
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


def _rows(sql: str, parameters: Any) -> list[Any]:  # noqa: ANN401  # as the cursor takes them
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
