"""What a block of columns says, as SQL stores it: COPY as Arrow wrote it, and no row of it is seen by Python.

First whom it names (`meet`), then what happened (`store`); each may be a transaction of its own, for identifiers that
have no event yet do no harm.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from cdp.ingestion import message_ledger, storing
from cdp.ingestion.acquaintances import Acquaintances, Flags, Values, names_of, names_of_pairs
from cdp.ingestion.messages import Fact
from cdp.ingestion.storing import Form
from cdp.kernel.arrays import bigints
from consent import suppression
from consent.gate import Collection, Permit

AT_ONCE: Final = nullcontext()  # the turn of those who work alone
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_AT_LEAST_ONE: Final = 2**60  # added to times, which may be 0 or less


Ids = Values  # 0 for those who must not be stored


@dataclass(frozen=True, slots=True)
class Meetings:
    """Of two slots: the places of those who came together, and when they did so first, in microseconds since 1970."""

    slots: tuple[int, int]
    left: Values
    right: Values
    first_at: Values


@dataclass(frozen=True, slots=True)
class Whom:
    """Whom a block names. A slot is a type and its values, each once, as texts of Arrow; rows and meetings name them by
    their place.

    `facts` are rows that were read singly: they too are met before anything is stored.
    """

    source_id: int
    months: Sequence[date]
    slots: Sequence[tuple[str, Any]]
    meetings: Sequence[Meetings]
    facts: Sequence[Fact] = ()


@dataclass(frozen=True, slots=True)
class Met:
    """For each slot the ids of its places, and the identifiers of which something is new."""

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
    ids = [known.ids[kind].find(names_of(values)) for kind, values in whom.slots]
    strange = {
        (kind, value)
        for (kind, values), theirs in zip(whom.slots, ids, strict=True)
        for value in _those(values, theirs == 0)
    }
    strange -= suppression.suppressed_among(permit, strange)
    if not strange:
        return ids, set()
    found = storing.resolve(permit, strange, are_new=known.are_new)
    known.are_new = 2 * len(found.added) > len(strange)
    for (kind, values), theirs in zip(whom.slots, ids, strict=True):
        theirs[theirs == 0] = [found.known.get((kind, value), 0) for value in _those(values, theirs == 0)]
    transaction.on_commit(partial(_remember, known, found.known))
    return ids, set(found.added)


def _those(values: Any, chosen: Flags) -> list[str]:  # noqa: ANN401  # texts of Arrow
    those: list[str] = values.filter(pa.array(chosen)).to_pylist()
    return those


def _remember(known: Acquaintances, ids: storing.Ids) -> None:
    for kind in {kind for kind, _ in ids}:
        theirs = {value: key for (type_, value), key in ids.items() if type_ == kind}
        known.ids[kind].put(names_of(pa.array(theirs, pa.string())), np.array(list(theirs.values()), np.int64))


def _pair(permit: Permit[Collection], whom: Whom, ids: Sequence[Ids], known: Acquaintances) -> set[int]:
    """Returns the identifiers of pairs that nobody saw before, or not as early."""
    pairs = [_pairs(meetings, ids) for meetings in whom.meetings]
    if not pairs:
        return set()
    left, right, at = (np.concatenate(column) for column in zip(*pairs, strict=True))
    since = known.pairs.find(names_of_pairs(left, right))
    is_strange = (since == 0) | (since > at + _AT_LEAST_ONE)
    left, right, at = left[is_strange], right[is_strange], at[is_strange]
    seen = zip(left.tolist(), right.tolist(), at.tolist(), strict=True)
    learnt = storing.add_pairs(permit, [(one, other, whom.source_id, _told(when)) for one, other, when in seen])
    transaction.on_commit(partial(known.pairs.put, names_of_pairs(left, right), at + _AT_LEAST_ONE))
    return learnt


def _pairs(meetings: Meetings, ids: Sequence[Ids]) -> tuple[Values, Values, Values]:
    """Their ids, the lesser first, and when they met."""
    one, other = (
        ids[slot][places] for slot, places in zip(meetings.slots, (meetings.left, meetings.right), strict=True)
    )
    are_known = (one != 0) & (other != 0)
    one, other = one[are_known], other[are_known]
    return np.minimum(one, other), np.maximum(one, other), meetings.first_at[are_known]


def _told(at: int) -> str:
    return str(_EPOCH + timedelta(microseconds=at))


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
            fresh = size if message_ledger.claim_all(permit, cursor) else message_ledger.claim(permit, cursor)
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
    ids = bigints(np.unique(np.concatenate(met.ids)).tolist())
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
