"""The set-based writes of ingestion. All run within a permit of the purpose COLLECTION, and all may run twice."""

from collections.abc import Collection as SomeOf
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import combinations
from typing import Any

from django.db import connection

from cdp.ingestion.bodies import storable_json
from cdp.ingestion.messages import Fact, Node
from cdp.models.digests import identifier_digest
from consent.gate import Collection, Permit

Ids = Mapping[Node, int]


@dataclass(frozen=True, slots=True)
class Stored:
    """`events` were new; `touched` are the identifiers that they came with."""

    events: int
    touched: frozenset[int]


@dataclass(frozen=True, slots=True)
class Observation:
    """A value that a source gave for an identifier."""

    node: Node
    source_id: int
    name: str
    value: object
    observed_at: datetime


@dataclass(frozen=True, slots=True)
class Encounter:
    """Identifiers that came together."""

    nodes: Sequence[Node]
    source_id: int
    seen_at: datetime


def write_facts(permit: Permit[Collection], facts: Iterable[Fact]) -> Stored:
    """Store what was not stored before, and link what came together. A replay writes nothing and touches nobody."""
    fresh = _with_previous(permit, _fresh(permit, facts))
    if not fresh:
        return Stored(0, frozenset())
    ids = resolve(permit, {node for fact in fresh for node in fact.nodes})
    _write_events(permit, fresh, ids)
    observe(permit, _observations(fresh), ids)
    sight(permit, [Encounter(fact.nodes, fact.source_id, fact.occurred_at) for fact in fresh], ids)
    return Stored(len(fresh), frozenset(ids.values()))


# -- events ---------------------------------------------------------------------------------------------------------

# In the order of the key, so that two writers of the same messages wait for each other instead of deadlocking.
_CLAIM_MESSAGES = """
INSERT INTO message (source_id, message_id, workspace_id)
SELECT source, message, %s FROM unnest(%s::bigint[], %s::text[]) AS new (source, message) ORDER BY source, message
ON CONFLICT DO NOTHING RETURNING source_id, message_id
"""


def _fresh(permit: Permit[Collection], facts: Iterable[Fact]) -> list[Fact]:
    """Those whose message nobody stored before: the key is claimed for ever."""
    by_key: dict[tuple[int, str], Fact] = {}
    for fact in facts:
        by_key.setdefault((fact.source_id, fact.message_id), fact)
    if not by_key:
        return []
    sources, message_ids = zip(*by_key, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM_MESSAGES, [permit.workspace_id, list(sources), list(message_ids)])
        claimed = set(cursor.fetchall())
    return [fact for key, fact in by_key.items() if key in claimed]


_KNOWN_USERS = "SELECT value FROM identifier WHERE workspace_id = %s AND type = 'user_id' AND value = ANY(%s)"


def _with_previous(permit: Permit[Collection], facts: list[Fact]) -> list[Fact]:
    """An alias does not say what its previous id was: a user where we know one of that name, else a device."""
    previous = [fact.previous_id for fact in facts if fact.previous_id]
    if not previous:
        return facts
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN_USERS, [permit.workspace_id, previous])
        users = {value for (value,) in cursor.fetchall()}
    users |= {value for fact in facts for kind, value in fact.nodes if kind == "user_id" and not fact.previous_id}
    return [_resolved_alias(fact, users) if fact.previous_id else fact for fact in facts]


def _resolved_alias(fact: Fact, users: SomeOf[str]) -> Fact:
    kind = "user_id" if fact.previous_id in users else "anonymous_id"
    # The user that it became stays the one whose event this is.
    return replace(fact, nodes=tuple(dict.fromkeys((*fact.nodes, (kind, str(fact.previous_id))))))


_ARRIVING_EVENTS = """
CREATE TEMPORARY TABLE arriving_event (
    source_id bigint, identifier_id bigint, message_id text, kind text, name text, occurred_at timestamptz,
    original_at timestamptz, sent_at timestamptz, received_at timestamptz, seen_with bigint[], properties jsonb,
    context jsonb
)
"""
_COPY_EVENTS = """
COPY pg_temp.arriving_event (
    source_id, identifier_id, message_id, kind, name, occurred_at, original_at, sent_at, received_at, seen_with,
    properties, context
) FROM STDIN
"""
_INSERT_EVENTS = """
INSERT INTO event (
    workspace_id, source_id, identifier_id, message_id, kind, name, occurred_at, original_at, sent_at, received_at,
    seen_with, properties, context
)
SELECT %s, source_id, identifier_id, message_id, kind, name, occurred_at, original_at, sent_at, received_at, seen_with,
       properties, context
FROM pg_temp.arriving_event
"""


def _write_events(permit: Permit[Collection], facts: Sequence[Fact], ids: Ids) -> None:
    """By way of a temporary table: COPY refuses tables with row-level security."""
    with connection.cursor() as cursor:
        for month in sorted({date(fact.occurred_at.year, fact.occurred_at.month, 1) for fact in facts}):
            cursor.execute("SELECT core.ensure_event_partition(%s)", [month])
        cursor.execute(_ARRIVING_EVENTS)
        with cursor.copy(_COPY_EVENTS) as copy:
            for fact in facts:
                copy.write_row(_event_row(fact, ids))
        cursor.execute(_INSERT_EVENTS, [permit.workspace_id])
        cursor.execute("DROP TABLE pg_temp.arriving_event")


def _event_row(fact: Fact, ids: Ids) -> tuple[Any, ...]:
    first, *others = (ids[node] for node in fact.nodes)
    return (
        fact.source_id, first, fact.message_id, fact.kind, fact.name, fact.occurred_at, fact.original_at, fact.sent_at,
        fact.received_at, others, storable_json(fact.properties), storable_json(fact.context),
    )  # fmt: skip


# -- identifiers ----------------------------------------------------------------------------------------------------

_FIND_IDENTIFIERS = """
SELECT i.type, i.value, i.id FROM unnest(%s::text[], %s::text[]) AS wanted (type, value)
JOIN identifier i ON i.workspace_id = %s AND i.type = wanted.type AND i.value = wanted.value
"""
_ADD_IDENTIFIERS = """
INSERT INTO identifier (workspace_id, type, value, digest)
SELECT %s, type, value, digest FROM unnest(%s::text[], %s::text[], %s::bytea[]) AS new (type, value, digest)
ON CONFLICT DO NOTHING RETURNING type, value, id
"""


def resolve(permit: Permit[Collection], nodes: SomeOf[Node]) -> dict[Node, int]:
    """The ids of these identifiers; those that nobody saw before are made, in the order of their names."""
    ids = _found(permit, nodes)
    missing = sorted(node for node in nodes if node not in ids)
    if missing:
        ids |= _added(permit, missing)
        ids |= _found(permit, [node for node in missing if node not in ids])  # another transaction made them meanwhile
    return ids


def _found(permit: Permit[Collection], nodes: SomeOf[Node]) -> dict[Node, int]:
    if not nodes:
        return {}
    types, values = zip(*nodes, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_FIND_IDENTIFIERS, [list(types), list(values), permit.workspace_id])
        return {(kind, value): key for kind, value, key in cursor.fetchall()}


def _added(permit: Permit[Collection], nodes: Sequence[Node]) -> dict[Node, int]:
    types, values = zip(*nodes, strict=True)
    digests = [identifier_digest(kind, value) for kind, value in nodes]
    with connection.cursor() as cursor:
        cursor.execute(_ADD_IDENTIFIERS, [permit.workspace_id, list(types), list(values), digests])
        return {(kind, value): key for kind, value, key in cursor.fetchall()}


# -- observed values ------------------------------------------------------------------------------------------------

_ARRIVING_TRAITS = """
CREATE TEMPORARY TABLE arriving_trait (
    identifier_id bigint, source_id bigint, name text, value jsonb, observed_at timestamptz
)
"""
# The newest wins, and of two at the same instant the greater: so the order of arrival does not matter.
_UPSERT_TRAITS = """
INSERT INTO identifier_trait AS known (workspace_id, identifier_id, source_id, name, value, observed_at)
SELECT DISTINCT ON (identifier_id, name, source_id) %s, identifier_id, source_id, name, value, observed_at
FROM pg_temp.arriving_trait
ORDER BY identifier_id, name, source_id, observed_at DESC, value DESC
ON CONFLICT (identifier_id, name, source_id) DO UPDATE SET value = EXCLUDED.value, observed_at = EXCLUDED.observed_at
WHERE (EXCLUDED.observed_at, EXCLUDED.value) > (known.observed_at, known.value)
"""


def observe(permit: Permit[Collection], observations: Iterable[Observation], ids: Ids) -> None:
    rows = [(ids[one.node], one.source_id, one.name, storable_json(one.value), one.observed_at) for one in observations]
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.execute(_ARRIVING_TRAITS)
        with cursor.copy("COPY pg_temp.arriving_trait FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        cursor.execute(_UPSERT_TRAITS, [permit.workspace_id])
        cursor.execute("DROP TABLE pg_temp.arriving_trait")


def _observations(facts: Iterable[Fact]) -> Iterator[Observation]:
    for fact in facts:
        for name, value in fact.traits.items():
            yield Observation(fact.nodes[0], fact.source_id, name, value, fact.occurred_at)


# -- who was seen with whom -----------------------------------------------------------------------------------------

_ADD_SIGHTINGS = """
INSERT INTO sighting (workspace_id, left_id, right_id, source_id, seen_at)
SELECT DISTINCT ON (l, r) %s, l, r, source, at
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[]) AS new (l, r, source, at)
ORDER BY l, r, at, source
ON CONFLICT DO NOTHING
"""


def sight(permit: Permit[Collection], encounters: Iterable[Encounter], ids: Ids) -> None:
    rows = [
        (*sorted(pair), one.source_id, one.seen_at)
        for one in encounters
        for pair in combinations({ids[node] for node in one.nodes}, 2)
    ]
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.execute(_ADD_SIGHTINGS, [permit.workspace_id, *map(list, zip(*rows, strict=True))])
