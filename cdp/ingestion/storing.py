"""The set-based writes of ingestion. All run within a permit of the purpose COLLECTION, and all may run twice.

What arrives goes by COPY into temporary tables (COPY refuses tables with row-level security), and from there by SQL over
those tables alone: `write_arrived` stores whatever lies in `arriving_event`, whoever filled it.
"""

from collections.abc import Collection as SomeOf
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import combinations, islice
from typing import Final, NamedTuple, Protocol, TypeVar

from django.db import connection
from django.db.backends.utils import CursorWrapper
from msgspec.structs import replace

from cdp.ingestion import message_ledger
from cdp.ingestion.bodies import storable_json
from cdp.ingestion.messages import Fact, Node
from cdp.ingestion.signalling import record_signals
from cdp.kernel.arrays import bigints, texts
from cdp.models import Cause
from cdp.models.digests import identifier_digest
from consent import suppression
from consent.gate import Collection, Permit

Ids = Mapping[Node, int]


@dataclass(frozen=True, slots=True)
class Stored:
    """`events` were new. `touched` are identifiers: LEARNT where itself, a link or a value is new, for only then can it
    change who somebody is; else EVENT for those whose event it is.
    """

    events: int
    touched: Mapping[int, Cause]


class Observation(NamedTuple):
    """A value that a source gave for an identifier."""

    node: Node
    source_id: int
    name: str
    value: object
    observed_at: datetime


Sighted = tuple[int, int, int, str]


class Encounter(NamedTuple):
    """Identifiers that came together."""

    nodes: Sequence[Node]
    source_id: int
    seen_at: datetime


def write_facts(permit: Permit[Collection], facts: Iterable[Fact]) -> Stored:
    """Store what was not stored before, and link what came together. A replay writes nothing and touches nobody."""
    known = unsuppressed(permit, _with_previous(permit, list(facts)))
    if not known:
        return Stored(0, {})
    record_signals(permit, known)
    ids = resolve(permit, {node for fact in known for node in fact.nodes})
    learnt = set(ids.added)
    learnt |= observe(permit, _observations(known), ids.known)
    learnt |= sight(permit, encounters(known), ids.known)
    events, seen = write_arrived(permit, (event_line(fact, ids.known) for fact in known))
    return Stored(events, {**dict.fromkeys(seen, Cause.EVENT), **dict.fromkeys(learnt, Cause.LEARNT)})


class Naming(Protocol):
    """A fact or a row: whoever it names."""

    @property
    def nodes(self) -> Sequence[Node]: ...


N = TypeVar("N", bound=Naming)


def unsuppressed(permit: Permit[Collection], said: Sequence[N]) -> list[N]:
    """What names nobody who is suppressed. The rest is dropped and counted: kept anywhere it would be what must not be."""
    suppressed = suppression.suppressed_among(permit, (node for one in said for node in one.nodes))
    if not suppressed:
        return list(said)
    kept = [one for one in said if suppressed.isdisjoint(one.nodes)]
    if dropped := len(said) - len(kept):
        suppression.count_dropped(permit.workspace_id, dropped)
    return kept


def _observations(facts: Iterable[Fact]) -> Iterator[Observation]:
    for fact in facts:
        for name, value in fact.traits.items():
            yield Observation(fact.nodes[0], fact.source_id, name, value, fact.occurred_at)


def encounters(facts: Iterable[Fact]) -> Iterator[Encounter]:
    return (Encounter(fact.nodes, fact.source_id, fact.occurred_at) for fact in facts)


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


# -- COPY -----------------------------------------------------------------------------------------------------------

ABSENT: Final = "\\N"
_LINES_AT_ONCE: Final = 1_000
_CONTROL: Final = dict.fromkeys((*range(32), 127), " ")


def copied(text: str) -> str:
    """As a value of COPY's text format. JSON and normal values hold no control characters, but backslashes."""
    return text.replace("\\", "\\\\") if "\\" in text else text


def _copy(cursor: CursorWrapper, table: str, lines: Iterable[str]) -> None:
    """Lines end with a newline. `table` is one of our own names."""
    rest = iter(lines)
    with cursor.copy(f"COPY pg_temp.{table} FROM STDIN") as copy:
        while some := list(islice(rest, _LINES_AT_ONCE)):
            copy.write("".join(some))


# -- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Form:
    """How events lie in `arriving_event`, which has source_id, message_id and occurred_at in every form."""

    table: str
    insert: str  # into `event`, with `values` and the workspace as its parameters
    whose: str  # asks for the identifiers whose events they are
    values: Mapping[str, datetime] = field(default_factory=dict)


CALLS: Final = Form(
    table="""
CREATE TEMPORARY TABLE arriving_event (
    source_id bigint, message_id text, kind text, name text, ids bigint[], occurred_at timestamptz,
    original_at timestamptz, sent_at timestamptz, received_at timestamptz, properties jsonb, context jsonb
)
""",
    insert="""
INSERT INTO event (
    workspace_id, source_id, identifier_id, message_id, kind, name, occurred_at, original_at, sent_at, received_at,
    seen_with, properties, context
)
SELECT %(workspace)s, source_id, ids[1], message_id, kind, name, occurred_at, original_at, sent_at, received_at, ids[2:],
       properties, context
FROM pg_temp.arriving_event
""",
    whose="SELECT DISTINCT ids[1] FROM pg_temp.arriving_event",
)
_ENSURE_PARTITIONS = """
SELECT core.ensure_event_partition(month) FROM (
    SELECT DISTINCT date_trunc('month', day)::date
    FROM (SELECT DISTINCT (occurred_at AT TIME ZONE 'UTC')::date FROM pg_temp.arriving_event) AS days (day)
) AS months (month)
"""


def write_arrived(permit: Permit[Collection], lines: Iterable[str]) -> tuple[int, list[int]]:
    """Store events whose message nobody stored before; its key is claimed for ever.

    `lines` are in COPY's text format: source, message id, kind, name, ids of the identifiers as an array (whose event it
    is comes first), when it occurred, original time, when it was sent and received, properties, context.
    Returns how many were new, and whose they are.
    """
    with arriving(CALLS) as cursor:
        _copy(cursor, "arriving_event", lines)
        fresh = message_ledger.claim(permit, cursor)
        cursor.execute(_ENSURE_PARTITIONS)
        insert_events(permit, cursor, CALLS)
        return fresh, owners(cursor, CALLS)


@contextmanager
def arriving(form: Form) -> Iterator[CursorWrapper]:
    """While there is `arriving_event`."""
    with connection.cursor() as cursor:
        cursor.execute(form.table)
        yield cursor
        cursor.execute("DROP TABLE pg_temp.arriving_event")


def insert_events(permit: Permit[Collection], cursor: CursorWrapper, form: Form) -> None:
    """What lies in `arriving_event` is stored."""
    cursor.execute(form.insert, {"workspace": permit.workspace_id, **form.values})


def owners(cursor: CursorWrapper, form: Form) -> list[int]:
    """Whose the events in `arriving_event` are."""
    cursor.execute(form.whose)
    return [key for (key,) in cursor.fetchall()]


# A batch was sent and received at one time, and telling a time takes longer than all else of a line.
_told = lru_cache(256)(str)


def event_line(fact: Fact, ids: Ids) -> str:
    keys = ",".join(str(ids[node]) for node in fact.nodes)
    return (
        f"{fact.source_id}\t{copied(fact.message_id)}\t{fact.kind}\t{copied(fact.name)}\t{{{keys}}}\t{fact.occurred_at}"
        f"\t{fact.original_at or ABSENT}\t{_told(fact.sent_at or ABSENT)}"
        f"\t{_told(fact.received_at)}\t{copied(storable_json(fact.properties))}\t{copied(storable_json(fact.context))}\n"
    )


# -- identifiers ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Resolved:
    """`added` are the ids of those that nobody saw before."""

    known: Ids
    added: SomeOf[int]


_FIND_IDENTIFIERS = """
SELECT n.type, n.value, i.id FROM unnest(%s::text[], %s::text[]) AS n (type, value)
JOIN identifier i ON i.workspace_id = %s AND i.type = n.type AND i.value = n.value
"""
_ARRIVING_IDENTIFIERS = "CREATE TEMPORARY TABLE arriving_identifier (type text, value text, digest bytea)"
_ADD_IDENTIFIERS = """
INSERT INTO identifier (workspace_id, type, value, digest)
SELECT %s, type, value, digest FROM pg_temp.arriving_identifier
ON CONFLICT DO NOTHING RETURNING type, value, id
"""


def resolve(permit: Permit[Collection], nodes: SomeOf[Node], *, are_new: bool = False) -> Resolved:
    """The ids of these identifiers; those that nobody saw before are made, in the order of their names. Where most
    `are_new`, it takes less to make them than to look for them first.
    """
    known = {} if are_new else found(permit, nodes)
    missing = [node for node in nodes if node not in known]
    if not missing:
        return Resolved(known, ())
    added = add(permit, missing)
    met = [node for node in missing if node not in added]  # another transaction made them meanwhile
    return Resolved({**known, **added, **(found(permit, met) if met else {})}, added.values())


def found(permit: Permit[Collection], nodes: SomeOf[Node]) -> dict[Node, int]:
    """The ids of those that there are."""
    with connection.cursor() as cursor:
        kinds, values = texts(kind for kind, _ in nodes), texts(value for _, value in nodes)
        cursor.execute(_FIND_IDENTIFIERS, [kinds, values, permit.workspace_id])
        return {(kind, value): key for kind, value, key in cursor.fetchall()}


def add(permit: Permit[Collection], nodes: Iterable[Node]) -> dict[Node, int]:
    """Make these identifiers, in the order of their names. Returns those that nobody else made meanwhile."""
    lines = (
        f"{copied(kind)}\t{copied(value)}\t\\\\x{identifier_digest(kind, value).hex()}\n"
        for kind, value in sorted(nodes)
    )
    with connection.cursor() as cursor:
        cursor.execute(_ARRIVING_IDENTIFIERS)
        _copy(cursor, "arriving_identifier", lines)
        cursor.execute(_ADD_IDENTIFIERS, [permit.workspace_id])
        added = {(kind, value): key for kind, value, key in cursor.fetchall()}
        cursor.execute("DROP TABLE pg_temp.arriving_identifier")
    return added


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
RETURNING identifier_id
"""


def observe(permit: Permit[Collection], observations: Iterable[Observation], ids: Ids) -> set[int]:
    """Returns the identifiers of which something is new."""
    lines = [
        f"{ids[one.node]}\t{one.source_id}\t{copied(_plain(one.name))}\t{copied(storable_json(one.value))}"
        f"\t{one.observed_at}\n"
        for one in observations
    ]
    if not lines:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(_ARRIVING_TRAITS)
        _copy(cursor, "arriving_trait", lines)
        cursor.execute(_UPSERT_TRAITS, [permit.workspace_id])
        changed = {key for (key,) in cursor.fetchall()}
        cursor.execute("DROP TABLE pg_temp.arriving_trait")
    return changed


def _plain(name: str) -> str:
    """The name of a trait comes as the sender wrote it."""
    return name if name.isprintable() else name.translate(_CONTROL)


# -- who was seen with whom -----------------------------------------------------------------------------------------

# Most were seen together before, and of those nothing more needs to be told. An event that is older than what was known
# of its pair comes late: the earliest is kept, so that what follows from it does not depend on the order of arrival.
_UNSEEN = """
SELECT l, r FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[]) AS pair (l, r, at)
WHERE NOT EXISTS (SELECT FROM sighting WHERE left_id = l AND right_id = r AND seen_at <= at)
"""
_ARRIVING_PAIRS = "CREATE TEMPORARY TABLE arriving_pair (l bigint, r bigint, source bigint, at timestamptz)"
_ADD_SIGHTINGS = """
INSERT INTO sighting (workspace_id, left_id, right_id, source_id, seen_at)
SELECT DISTINCT ON (l, r) %s::bigint, l, r, source, at FROM pg_temp.arriving_pair ORDER BY l, r, at, source
ON CONFLICT (left_id, right_id) DO UPDATE SET source_id = excluded.source_id, seen_at = excluded.seen_at
    WHERE sighting.seen_at > excluded.seen_at
RETURNING left_id, right_id
"""


def sight(permit: Permit[Collection], encounters: Iterable[Encounter], ids: Ids) -> set[int]:
    """Of each pair the earliest encounter is kept. Returns the identifiers of pairs that nobody saw before, or not as early."""
    first: dict[tuple[int, int], tuple[datetime, int]] = {}
    for nodes, source_id, seen_at in encounters:
        if len(nodes) > 1:
            seen = (seen_at, source_id)
            for pair in combinations(sorted({ids[node] for node in nodes}), 2):
                if pair not in first or seen < first[pair]:
                    first[pair] = seen
    return add_pairs(permit, [(*pair, source, str(at)) for pair, (at, source) in first.items()])


def add_pairs(permit: Permit[Collection], pairs: Sequence[Sighted]) -> set[int]:
    """As `sight`, of pairs of identifiers, the lesser first, each with the source that saw them and when."""
    if not pairs:
        return set()
    with connection.cursor() as cursor:
        lefts, rights = bigints(pair[0] for pair in pairs), bigints(pair[1] for pair in pairs)
        cursor.execute(_UNSEEN, [lefts, rights, [pair[3] for pair in pairs]])
        unseen = set(cursor.fetchall())
        if not unseen:
            return set()
        cursor.execute(_ARRIVING_PAIRS)
        _copy(
            cursor,
            "arriving_pair",
            (f"{left}\t{right}\t{source}\t{at}\n" for left, right, source, at in pairs if (left, right) in unseen),
        )
        cursor.execute(_ADD_SIGHTINGS, [permit.workspace_id])
        added = {key for pair in cursor.fetchall() for key in pair}
        cursor.execute("DROP TABLE pg_temp.arriving_pair")
    return added
