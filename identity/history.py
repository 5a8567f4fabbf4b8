"""What a profile was on a day: the ledger up to then, resolved anew.

Judgements are never changed and a retraction is a later row, so the ledger of any day is what had been written by then
and not yet taken back. Of values only the newest of each source is kept: one that was observed by that day and not since
is what it was then; of the others it is said that they are not known any more.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import connection

from cdp.kernel.arrays import bigints
from identity import queries, resolver
from identity.resolver import Kind

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
    types, judgements = _ledger_at(profile_id, rules, at)
    if profile_id not in types:
        return Past(None)
    clusters = resolver.resolve(types, judgements, rules.limits).clusters
    then = clusters[profile_id]
    members = sorted(one for one, profile in clusters.items() if profile == then)
    traits, unknown = _traits_at(members, at)
    return Past(then, members, traits, unknown)


# -- the ledger of that day -----------------------------------------------------------------------------------------

_STANDING: Final = """
WITH touching AS (
    SELECT * FROM judgement WHERE left_id = ANY(%(ids)s::bigint[])
    UNION
    SELECT * FROM judgement WHERE right_id = ANY(%(ids)s::bigint[])
)
SELECT j.left_id, j.right_id, j.verdict = 'SAME', j.kind, j.weight FROM touching j
WHERE j.retracts_id IS NULL AND j.created_at <= %(at)s
  AND NOT EXISTS (SELECT 1 FROM judgement later WHERE later.retracts_id = j.id AND later.created_at <= %(at)s)
"""
_KNOWN: Final = """
SELECT id, type, lower(value) = ANY(%(blocked)s) FROM identifier
WHERE id = ANY(%(ids)s::bigint[]) AND created_at <= %(at)s
"""


def _ledger_at(start: int, rules: queries.Rules, at: datetime) -> tuple[dict[int, str], set[resolver.Judgement]]:
    """Followed from one identifier along what united, as `queries.neighbourhood_of` follows today's ledger."""
    types: dict[int, str] = {}
    heard: set[resolver.Judgement] = set()
    ends: dict[int, str] = {}
    frontier = {start}
    while frontier:
        fresh, found = _heard_at(frontier, rules, at)
        types.update({one: fresh[one] for one in frontier if one in fresh})
        ends.update(fresh)
        heard |= found
        frontier = _reached(frontier, found, ends, rules) - types.keys()
    return types, heard


def _heard_at(ids: Iterable[int], rules: queries.Rules, at: datetime) -> tuple[dict[int, str], set[resolver.Judgement]]:
    with connection.cursor() as cursor:
        cursor.execute(_STANDING, {"ids": bigints(ids), "at": at})
        rows = cursor.fetchall()
        ends = {*ids, *(end for left, right, *_ in rows for end in (left, right))}
        cursor.execute(_KNOWN, {"ids": bigints(ends), "blocked": list(rules.blocked_values), "at": at})
        known = cursor.fetchall()
    types, blocked = {one: kind for one, kind, _ in known}, {one for one, _, is_blocked in known if is_blocked}
    heard = {
        resolver.Judgement(left, right, is_same, Kind(kind), weight)
        for left, right, is_same, kind, weight in rows
        if left in types and right in types and (kind != Kind.DETERMINISTIC or not blocked & {left, right})
    }
    return types, heard


def _reached(
    ids: Collection[int], heard: Iterable[resolver.Judgement], types: Mapping[int, str], rules: queries.Rules
) -> set[int]:
    prevailing = resolver.prevailing(heard)
    shared = resolver.shared_identifiers(types, prevailing, rules.limits).intersection(ids)
    live = [one for one in prevailing if one.is_same and not resolver.is_void(one, shared)]
    return {end for one in live for end in (one.left, one.right)}


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
