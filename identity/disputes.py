"""Resolve so that it does not matter what arrived first.

The resolver hears claims of one strength by the ids of their identifiers, and an id says when it arrived. As long as no
guard refuses anything the order is of no account. Where one does, the people concerned are resolved once more, in an
order that follows from what was said alone: what the workspace trusts more, then what was seen earlier, then the names.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from django.db import connection

from cdp.kernel.arrays import bigints
from identity import resolver
from identity.queries import Neighbourhood, Rules
from identity.resolver import Judgement, Reason, Resolution
from identity.windows import NO_WINDOWS, Windows

_A_TRIFLE: Final = 1e-9  # bits: keeps an order among equals, and outweighs nothing
_NEVER: Final = datetime.max.replace(tzinfo=UTC)

Pair = tuple[int, int]
Place = tuple[float, int, int, datetime, tuple[str, ...]]


def resolve(known: Neighbourhood, rules: Rules) -> Resolution:
    """As `resolver.resolve`, under the limits, windows and priorities of `rules`, whatever the order of arrival."""
    types = {**known.ends, **known.types}
    windows = _windows(types, rules)
    found = resolver.resolve(types, known.judgements, rules.limits, windows)
    disputed = _disputed(types, known.judgements, found, rules)
    if disputed:
        found = _settled(found, types, [one for one in known.judgements if one.left in disputed], rules, windows)
    return replace(found, clusters={one: found.clusters[one] for one in known.types})


def _settled(
    found: Resolution, types: Mapping[int, str], claims: Collection[Judgement], rules: Rules, windows: Windows
) -> Resolution:
    ends = {end for one in claims for end in (one.left, one.right)}
    part = {one: types[one] for one in ends if one in types}
    anew = resolver.resolve(part, _in_order(part, claims, rules), rules.limits, windows)
    elsewhere = [one for one in found.refusals if one.left not in part]
    return Resolution({**found.clusters, **anew.clusters}, (*elsewhere, *anew.refusals))


def _disputed(
    types: Mapping[int, str], judgements: Collection[Judgement], found: Resolution, rules: Rules
) -> frozenset[int]:
    """Everybody who is connected with a claim that a guard refused. Of a mailbox that is shared anyway nobody disputes."""
    if not found.refusals:
        return frozenset()
    prevailing = resolver.prevailing(one for one in judgements if one.left in types and one.right in types)
    shared = resolver.shared_identifiers(types, prevailing, rules.limits)
    starts = {
        end
        for one in found.refusals
        if one.reason is not Reason.SHARED or shared.isdisjoint((one.left, one.right))
        for end in (one.left, one.right)
    }
    return _connected(starts, prevailing) if starts else frozenset()


def _connected(starts: Iterable[int], judgements: Iterable[Judgement]) -> frozenset[int]:
    """By whatever was said of them: a "not the same" ties two as much as a "same"."""
    beside: defaultdict[int, set[int]] = defaultdict(set)
    for one in judgements:
        beside[one.left].add(one.right)
        beside[one.right].add(one.left)
    reached, frontier = set(starts), list(starts)
    while frontier:
        fresh = beside[frontier.pop()] - reached
        reached |= fresh
        frontier.extend(fresh)
    return frozenset(reached)


def _in_order(types: Mapping[int, str], claims: Iterable[Judgement], rules: Rules) -> list[Judgement]:
    names, seen = _names(types), _seen(types)
    ranks = {kind: rank for rank, kind in enumerate(rules.priority)}

    def place(one: Judgement) -> Place:
        best, worst = sorted(ranks.get(types.get(end, ""), len(ranks)) for end in (one.left, one.right))
        said = tuple(sorted(names.get(end, "") for end in (one.left, one.right)))
        return -one.weight, worst, best, seen.get((one.left, one.right), _NEVER), said

    ordered = sorted(claims, key=place)
    return [one._replace(weight=one.weight - number * _A_TRIFLE) for number, one in enumerate(ordered)]


# By key, as in `queries`.
_NAMES = "SELECT id, type || ':' || value FROM identifier WHERE id = ANY(%s::bigint[])"
_SEEN = "SELECT left_id, right_id, seen_at FROM sighting WHERE left_id = ANY(%s::bigint[])"
_FIRST_SEEN = """
SELECT id, min(seen_at) FROM (
    SELECT left_id AS id, seen_at FROM sighting WHERE left_id = ANY(%(ids)s::bigint[])
    UNION ALL
    SELECT right_id, seen_at FROM sighting WHERE right_id = ANY(%(ids)s::bigint[])
) AS met GROUP BY id
"""


def _names(ids: Iterable[int]) -> dict[int, str]:
    with connection.cursor() as cursor:
        cursor.execute(_NAMES, [bigints(ids)])
        return dict(cursor.fetchall())


def _seen(ids: Iterable[int]) -> dict[Pair, datetime]:
    with connection.cursor() as cursor:
        cursor.execute(_SEEN, [bigints(ids)])
        return {(left, right): seen_at for left, right, seen_at in cursor.fetchall()}


def _windows(types: Mapping[int, str], rules: Rules) -> Windows:
    if not rules.windows:
        return NO_WINDOWS
    limited = [one for one, kind in types.items() if kind in rules.windows]
    with connection.cursor() as cursor:
        cursor.execute(_FIRST_SEEN, {"ids": bigints(limited)})
        return Windows(rules.windows, dict(cursor.fetchall()))
