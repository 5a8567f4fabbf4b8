"""What a profile was on a day: the ledger up to then, resolved anew.

Judgements are never changed and a retraction is a later row, so the ledger of any day is what had been written by then
and not yet taken back. Of values only the newest of each source is kept: one that was observed by that day and not since
is what it was then; of the others it is said that they are not known any more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import connection

from cdp.kernel.arrays import bigints
from identity import disputes, queries

UNKNOWABLE: Final = (
    "values that newer ones of the same source have replaced since",
    "the workspace's rules of that day: today's are applied",
    "people who were erased since, and what was judged about them",
)


@dataclass(frozen=True, slots=True)
class Past:
    """`id` is the profile's of that day: a younger one may have belonged to an older one then. None: not yet there.

    `traits` maps a name to its value and origin; `unknown` are those that were overwritten since.
    """

    id: int | None
    identifiers: Sequence[int] = ()
    traits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unknown: Sequence[str] = ()


def profile_at(*, workspace_id: int, profile_id: int, at: datetime) -> Past:
    """Whoever `profile_id` was at `at`, in the transaction of a workspace or of the purpose of identity."""
    rules = queries.rules_of(workspace_id)
    ledger = _ledger_at(profile_id, rules, at)
    if profile_id not in ledger.types:
        return Past(None)
    clusters = disputes.resolve(ledger, rules).clusters
    then = clusters[profile_id]
    members = sorted(one for one, profile in clusters.items() if profile == then)
    traits, unknown = _traits_at(members, at)
    return Past(then, members, traits, unknown)


# -- the ledger of that day -----------------------------------------------------------------------------------------

_KNOWN: Final = "SELECT id, type FROM identifier WHERE id = %s AND created_at <= %s"


def _ledger_at(start: int, rules: queries.Rules, at: datetime) -> queries.Neighbourhood:
    """Followed from one identifier along what united: whose it is today does not count."""
    found = queries.Neighbourhood()
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN, [start, at])
        found.types.update(cursor.fetchall())
        frontier = set(found.types)
        while frontier:
            heard, ends = queries.heard_of(cursor, frontier, rules, at=at)
            found.judgements.update(heard)
            found.ends.update(ends)
            frontier = queries.reached(frontier, heard, found.ends, rules) - found.types.keys()
            found.types.update((one, found.ends[one]) for one in frontier)
    return found


# -- the golden record of that day ----------------------------------------------------------------------------------

# By the same order of precedence as `golden`; a name with a value that came later was not, or not surely, what it is.
_TRAITS: Final = """
SELECT DISTINCT ON (t.name) t.name, t.value #>> '{}', s.name, t.identifier_id, t.observed_at,
       bool_or(t.observed_at > %(at)s) OVER (PARTITION BY t.name)
FROM identifier_trait t JOIN source s ON s.id = t.source_id WHERE t.identifier_id = ANY(%(ids)s::bigint[])
ORDER BY t.name, s.kind = 'STEWARD' DESC, t.observed_at DESC, s.trust DESC, t.confidence DESC, t.identifier_id,
         t.source_id
"""


def _traits_at(members: Sequence[int], at: datetime) -> tuple[dict[str, dict[str, Any]], list[str]]:
    with connection.cursor() as cursor:
        cursor.execute(_TRAITS, {"ids": bigints(members), "at": at})
        rows = cursor.fetchall()
    traits = {
        name: {"value": value, "source": source, "identifier": identifier, "observed_at": observed_at}
        for name, value, source, identifier, observed_at, is_newer in rows
        if not is_newer
    }
    return traits, [row[0] for row in rows if row[-1]]
