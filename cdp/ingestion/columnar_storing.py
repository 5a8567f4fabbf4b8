"""Columns of events as SQL alone stores them: a block goes to Postgres as Arrow wrote it, and no row of it is seen by Python.

First whom it names (`meet`), then what happened (`store`); each may be a transaction of its own, for identifiers that
have no event yet do no harm. The nodes of a block are numbered: its rows and pairs name them by their place.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from django.db import connection
from django.db.backends.utils import CursorWrapper

from cdp.ingestion import storing
from cdp.ingestion.storing import Form
from consent import suppression
from consent.gate import Collection, Permit

Data = Sequence[memoryview | bytes]
AT_ONCE: Final = nullcontext()  # the turn of those who work alone


@dataclass(frozen=True, slots=True)
class Columns:
    """The simple events of a block, in COPY's text format.

    `nodes` are place, type and value; `meetings` two places and the first time that they came together; `events` are message
    id, name, a place for each slot, when it occurred, whether the file says when, and properties.
    """

    size: int
    slots: int
    source_id: int
    received_at: datetime
    months: Sequence[date]
    nodes: Data
    meetings: Data
    events: Data


# -- who ------------------------------------------------------------------------------------------------------------

_BLOCK_NODES: Final = """
DROP TABLE IF EXISTS pg_temp.block_node, pg_temp.known_node;  -- of a block that failed
CREATE TEMPORARY TABLE block_node (place integer, type text, value text);
CREATE TEMPORARY TABLE known_node (place integer, id bigint)
"""
# Of places nothing is known to the planner, who would sort them all; but they are keys.
_HASH: Final = "SET LOCAL enable_mergejoin = off"
_KNOW: Final = """
INSERT INTO pg_temp.known_node
SELECT n.place, i.id FROM pg_temp.block_node n
JOIN identifier i ON i.workspace_id = %s AND i.type = n.type AND i.value = n.value
WHERE NOT EXISTS (SELECT FROM pg_temp.known_node k WHERE k.place = n.place)
"""
_UNKNOWN: Final = """
SELECT DISTINCT type, value FROM pg_temp.block_node n
WHERE NOT EXISTS (SELECT FROM pg_temp.known_node k WHERE k.place = n.place)
"""
_BLOCK_MEETINGS: Final = "CREATE TEMPORARY TABLE block_meeting (l integer, r integer, at timestamptz)"
_PAIRS: Final = """
INSERT INTO pg_temp.arriving_pair
SELECT least(l.id, r.id), greatest(l.id, r.id), %s, min(m.at) FROM pg_temp.block_meeting m
JOIN pg_temp.known_node l ON l.place = m.l JOIN pg_temp.known_node r ON r.place = m.r
GROUP BY 1, 2
"""
_ENSURE_PARTITIONS: Final = "SELECT core.ensure_event_partition(month) FROM unnest(%s::date[]) AS months (month)"


def meet(permit: Permit[Collection], columns: Columns) -> set[int]:
    """Make the identifiers, pairs and partitions that are missing. Returns the identifiers of which something is new."""
    with connection.cursor() as cursor:
        cursor.execute(_BLOCK_NODES)
        cursor.execute(_HASH)
        _copy(cursor, "block_node", columns.nodes)
        learnt = _know(permit, cursor)
        learnt |= _pair(permit, cursor, columns)
        cursor.execute(_ENSURE_PARTITIONS, [list(columns.months)])
    return learnt


def _know(permit: Permit[Collection], cursor: CursorWrapper) -> set[int]:
    cursor.execute(_KNOW, [permit.workspace_id])
    cursor.execute(_UNKNOWN)
    unknown = set(cursor.fetchall())
    unknown -= suppression.suppressed_among(permit, unknown)
    if not unknown:
        return set()
    added = storing.add(permit, unknown)
    cursor.execute(_KNOW, [permit.workspace_id])
    return set(added.values())


def _pair(permit: Permit[Collection], cursor: CursorWrapper, columns: Columns) -> set[int]:
    if not columns.meetings:
        return set()
    cursor.execute(_BLOCK_MEETINGS)
    _copy(cursor, "block_meeting", columns.meetings)
    cursor.execute(storing.ARRIVING_PAIRS)
    cursor.execute(_PAIRS, [columns.source_id])
    cursor.execute("DROP TABLE pg_temp.block_meeting")
    return storing.add_sightings(permit, cursor)


# -- what -----------------------------------------------------------------------------------------------------------


def store(permit: Permit[Collection], columns: Columns, turn: AbstractContextManager[None]) -> tuple[int, list[int]]:
    """The events of a block whose nodes were met. Messages are claimed in `turn`. Returns as `storing.write_arrived`."""
    form = _form(columns)
    with storing.arriving(form) as cursor:
        cursor.execute(_HASH)
        _copy(cursor, f"arriving_event ({_columns(columns.slots)})", columns.events)
        size = columns.size - _drop_suppressed(permit, cursor, columns.slots)
        with turn:
            fresh = size if storing.claim_all(permit, cursor) else storing.claim(permit, cursor, size)
        whose = storing.insert_events(permit, cursor, form)
        cursor.execute("DROP TABLE pg_temp.block_node, pg_temp.known_node")
    return fresh, whose


# Also those who were erased since they were met, in the transaction before this one.
_NOT_TO_BE_STORED: Final = """
SELECT n.place FROM pg_temp.block_node n LEFT JOIN pg_temp.known_node k ON k.place = n.place
LEFT JOIN identifier i ON i.id = k.id
LEFT JOIN suppression s ON s.workspace_id = %s AND s.identifier_type = i.type AND s.identifier_digest = i.digest
    AND core.is_in_force(s.until)
WHERE i.id IS NULL OR s.id IS NOT NULL
"""


def _drop_suppressed(permit: Permit[Collection], cursor: CursorWrapper, slots: int) -> int:
    """Take out the events that name somebody who is suppressed. Returns how many they were."""
    if not suppression.is_in_use(permit.workspace_id):
        return 0
    cursor.execute(_NOT_TO_BE_STORED, [permit.workspace_id])
    places = [place for (place,) in cursor.fetchall()]
    if not places:
        return 0
    names_one = " OR ".join(f"place{slot} = ANY(%(places)s)" for slot in range(slots))
    cursor.execute(f"DELETE FROM pg_temp.arriving_event WHERE {names_one}", {"places": places})  # noqa: S608  # our own names
    dropped = int(cursor.rowcount)
    if dropped:
        suppression.count_dropped(permit.workspace_id, dropped)
    return dropped


def _columns(slots: int) -> str:
    return f"message_id, name, {', '.join(f'place{slot}' for slot in range(slots))}, occurred_at, is_said, properties"


def _form(columns: Columns) -> Form:
    """The events of a block say little that differs: where they come from is the same of all."""
    slots = range(columns.slots)
    ids = f"array_remove(ARRAY[{', '.join(f'node{slot}.id' for slot in slots)}], NULL)"
    nodes = " ".join(f"LEFT JOIN pg_temp.known_node node{slot} ON node{slot}.place = e.place{slot}" for slot in slots)
    whose = f"FROM pg_temp.arriving_event e {nodes}"
    return Form(
        table=f"""
CREATE TEMPORARY TABLE arriving_event (
    source_id bigint DEFAULT {columns.source_id:d}, message_id text, name text,
    {", ".join(f"place{slot} integer" for slot in slots)}, occurred_at timestamptz, is_said boolean, properties jsonb
)
""",
        insert=f"""
INSERT INTO event (
    workspace_id, source_id, identifier_id, message_id, kind, name, occurred_at, original_at, received_at, seen_with,
    properties, context
)
SELECT %(workspace)s, source_id, ({ids})[1], message_id, 'track', name, occurred_at, CASE WHEN is_said THEN occurred_at END,
       %(received_at)s, ({ids})[2:], properties, '{{}}'
{whose}
""",  # names and numbers of our own
        whose=f"SELECT DISTINCT ({ids})[1] {whose}",  # likewise
        values={"received_at": columns.received_at},
    )


def _copy(cursor: CursorWrapper, table: str, data: Data) -> None:
    with cursor.copy(f"COPY pg_temp.{table} FROM STDIN") as copy:
        for piece in data:
            copy.write(piece)
