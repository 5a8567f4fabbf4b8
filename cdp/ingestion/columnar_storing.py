"""What a block of columns says, as SQL stores it: COPY as Arrow wrote it, and no row of it is seen by Python.

First whom it names (`meet`), then what happened (`store`); each may be a transaction of its own, for identifiers that
have no event yet do no harm.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Final

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from cdp.ingestion import storing
from cdp.ingestion.acquaintances import Acquaintances, names_of, names_of_pairs
from cdp.ingestion.messages import Fact
from cdp.ingestion.storing import Form
from cdp.kernel.arrays import bigints
from consent import suppression
from consent.gate import Collection, Permit

AT_ONCE: Final = nullcontext()  # the turn of those who work alone
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_AT_LEAST_ONE: Final = 2**60  # added to times, which may be 0 or less


Ids = Sequence[int | None]


@dataclass(frozen=True, slots=True)
class Meetings:
    """Of two slots: the places of those who came together, and when they did so first, in microseconds since 1970."""

    slots: tuple[int, int]
    left: Sequence[int]
    right: Sequence[int]
    first_at: Sequence[int]


@dataclass(frozen=True, slots=True)
class Whom:
    """Whom a block names. A slot is a type and its values, each once; rows and meetings name them by their place.

    `facts` are rows that were read singly: they too are met before anything is stored.
    """

    source_id: int
    months: Sequence[date]
    slots: Sequence[tuple[str, Sequence[str]]]
    meetings: Sequence[Meetings]
    facts: Sequence[Fact] = ()


@dataclass(frozen=True, slots=True)
class Met:
    """For each slot the ids of its places, None for those who must not be stored; and the identifiers of which something
    is new.
    """

    ids: Sequence[Ids]
    learnt: set[int]
    last_erasure: int  # whoever was erased after it may be among them


@dataclass(frozen=True, slots=True)
class What:
    """Events in COPY's text format: message id, name, whose it is, whom it was seen with as an array, when it occurred,
    whether the file says when, and properties. `owners` are all whose they are; `dropped` of the block named somebody who
    must not be stored.
    """

    source_id: int
    received_at: datetime
    size: int
    data: memoryview | bytes
    owners: Sequence[int]
    dropped: int


# -- who ------------------------------------------------------------------------------------------------------------

_LAST_ERASURE: Final = "SELECT COALESCE(max(id), 0) FROM erasure"
_ENSURE_PARTITIONS: Final = "SELECT core.ensure_event_partition(month) FROM unnest(%s::date[]) AS months (month)"


def meet(permit: Permit[Collection], whom: Whom, known: Acquaintances) -> Met:
    """Make the identifiers, pairs and partitions that are missing."""
    last_erasure = _last_erasure()
    known.forget_if_after(last_erasure)
    ids, learnt = _know(permit, whom, known)
    learnt |= _pair(permit, whom, ids, known)
    learnt |= _meet_facts(permit, whom.facts)
    with connection.cursor() as cursor:
        cursor.execute(_ENSURE_PARTITIONS, [list(whom.months)])
    return Met(ids, learnt, last_erasure)


def still_holds(met: Met) -> bool:
    """Whether nobody was erased since. Within a permit it stays so, for that holds the turn."""
    return _last_erasure() == met.last_erasure


def _last_erasure() -> int:
    with connection.cursor() as cursor:
        cursor.execute(_LAST_ERASURE)
        return int(cursor.fetchone()[0])


def _know(permit: Permit[Collection], whom: Whom, known: Acquaintances) -> tuple[Sequence[Ids], set[int]]:
    """The ids of the places, and those among them that are new."""
    ids = [[key or None for key in known.ids[kind].find(names_of(values)).tolist()] for kind, values in whom.slots]
    strange = {
        (kind, value)
        for (kind, values), theirs in zip(whom.slots, ids, strict=True)
        if None in theirs
        for value, key in zip(values, theirs, strict=True)
        if key is None
    }
    strange -= suppression.suppressed_among(permit, strange)
    if not strange:
        return ids, set()
    found = storing.resolve(permit, strange)
    transaction.on_commit(partial(_remember, known, found.known))
    return [_completed(ids, slot, found.known) for ids, slot in zip(ids, whom.slots, strict=True)], set(found.added)


def _completed(ids: Ids, slot: tuple[str, Sequence[str]], found: storing.Ids) -> Ids:
    kind, values = slot
    return [key or found.get((kind, value)) for value, key in zip(values, ids, strict=True)]


def _remember(known: Acquaintances, ids: storing.Ids) -> None:
    for kind in {kind for kind, _ in ids}:
        theirs = {value: key for (type_, value), key in ids.items() if type_ == kind}
        known.ids[kind].put(names_of(list(theirs)), list(theirs.values()))


def _pair(permit: Permit[Collection], whom: Whom, ids: Sequence[Ids], known: Acquaintances) -> set[int]:
    """Returns the identifiers of pairs that nobody saw before, or not as early."""
    pairs = [pair for meetings in whom.meetings for pair in _pairs(meetings, ids)]
    if not pairs:
        return set()
    names = names_of_pairs([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    since = known.pairs.find(names).tolist()
    strange = [pair for pair, at in zip(pairs, since, strict=True) if not at or at > pair[2] + _AT_LEAST_ONE]
    learnt = storing.add_pairs(permit, [(left, right, whom.source_id, _told(at)) for left, right, at in strange])
    names = names_of_pairs([pair[0] for pair in strange], [pair[1] for pair in strange])
    transaction.on_commit(partial(known.pairs.put, names, [at + _AT_LEAST_ONE for _, _, at in strange]))
    return learnt


def _told(at: int) -> str:
    return str(_EPOCH + timedelta(microseconds=at))


def _pairs(meetings: Meetings, ids: Sequence[Ids]) -> Iterator[tuple[int, int, int]]:
    """Their ids, the lesser first."""
    lefts, rights = (ids[slot] for slot in meetings.slots)
    for one, other, at in zip(meetings.left, meetings.right, meetings.first_at, strict=True):
        left, right = lefts[one], rights[other]
        if left is not None and right is not None:
            yield (left, right, at) if left < right else (right, left, at)


def _meet_facts(permit: Permit[Collection], facts: Sequence[Fact]) -> set[int]:
    """Whom single rows name; those that name somebody who is suppressed are dropped when they are stored."""
    nodes = {node for fact in facts for node in fact.nodes}
    nodes -= suppression.suppressed_among(permit, nodes)
    if not nodes:
        return set()
    ids = storing.resolve(permit, nodes)
    stored = [fact for fact in facts if nodes.issuperset(fact.nodes)]
    return set(ids.added) | storing.sight(permit, storing.encounters(stored), ids.known)


# -- what -----------------------------------------------------------------------------------------------------------


def store(
    permit: Permit[Collection], what: What, met: Met, turn: AbstractContextManager[None]
) -> tuple[int, Sequence[int]]:
    """Events of people who were met. Messages are claimed in `turn`. Returns as `storing.write_arrived`."""
    form = _form(what)
    with storing.arriving(form) as cursor:
        _copy(cursor, what.data)
        dropped = _drop_suppressed(permit, cursor, met)
        size = what.size - dropped
        with turn:  # what counts the dropped is one row of the day, for which blocks wait in their order as well
            _count(permit, what.dropped + dropped)
            fresh = size if storing.claim_all(permit, cursor) else storing.claim(permit, cursor, size)
        storing.insert_events(permit, cursor, form)
        return fresh, what.owners if fresh == what.size else storing.owners(cursor, form)


_SUPPRESSED: Final = """
SELECT i.id FROM identifier i JOIN suppression s
ON s.workspace_id = i.workspace_id AND s.identifier_type = i.type AND s.identifier_digest = i.digest
WHERE i.workspace_id = %s AND i.id = ANY(%s::bigint[]) AND core.is_in_force(s.until)
"""
_DROP: Final = "DELETE FROM pg_temp.arriving_event WHERE whose = ANY(%(them)s) OR seen_with && %(them)s"


def _drop_suppressed(permit: Permit[Collection], cursor: CursorWrapper, met: Met) -> int:
    """Take out the events that name somebody who was suppressed since they were met. Returns how many they were."""
    if not suppression.is_in_use(permit.workspace_id):
        return 0
    ids = bigints({key for slot in met.ids for key in slot if key is not None})
    cursor.execute(_SUPPRESSED, [permit.workspace_id, ids])
    them = [key for (key,) in cursor.fetchall()]
    if not them:
        return 0
    cursor.execute(_DROP, {"them": them})
    return int(cursor.rowcount)


def _count(permit: Permit[Collection], dropped: int) -> None:
    if dropped:
        suppression.count_dropped(permit.workspace_id, dropped)


def _form(what: What) -> Form:
    """The events of a block say little that differs: where they come from is the same of all."""
    return Form(
        table=f"""
CREATE TEMPORARY TABLE arriving_event (
    source_id bigint DEFAULT {what.source_id:d}, message_id text, name text, whose bigint, seen_with bigint[],
    occurred_at timestamptz, is_said boolean, properties jsonb
)
""",
        insert="""
INSERT INTO event (
    workspace_id, source_id, identifier_id, message_id, kind, name, occurred_at, original_at, received_at, seen_with,
    properties, context
)
SELECT %(workspace)s, source_id, whose, message_id, 'track', name, occurred_at, CASE WHEN is_said THEN occurred_at END,
       %(received_at)s, seen_with, properties, '{}'
FROM pg_temp.arriving_event
""",
        whose="SELECT DISTINCT whose FROM pg_temp.arriving_event",
        values={"received_at": what.received_at},
    )


_COPY: Final = """
COPY pg_temp.arriving_event (message_id, name, whose, seen_with, occurred_at, is_said, properties) FROM STDIN
"""


def _copy(cursor: CursorWrapper, data: memoryview | bytes) -> None:
    with cursor.copy(_COPY) as copy:
        copy.write(data)
