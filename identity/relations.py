"""Whom a person belongs with, and which likenesses were refused.

Read where the transaction stands: under the purpose of a permit its view shows those who permit it, and in the scope of
a workspace (the console) all are shown.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from cdp.kernel.arrays import bigints
from identity.matching.belonging import TRUST, Rule
from identity.relation_models import RelationKind, RelationRule

MOST_MEMBERS: Final = 50

# The two belong together while both have the key: from the later beginning to the earlier end. One more than are shown
# are asked for, which tells whether there are more.
_GROUPS = """
SELECT mine.kind, mine.rule, mine.key, mine.confidence, mine.shared, mine.since, mine.until,
       other.profile_id, GREATEST(mine.since, other.since), LEAST(mine.until, other.until)
FROM (SELECT * FROM relation WHERE profile_id = %(profile)s) AS mine
CROSS JOIN LATERAL (
    SELECT profile_id, since, until FROM relation
    WHERE key = mine.key AND profile_id <> mine.profile_id
      AND (until IS NULL OR until > mine.since) AND (mine.until IS NULL OR since < mine.until)
    ORDER BY until IS NULL DESC, profile_id LIMIT %(most)s
) AS other
ORDER BY mine.id, other.profile_id
"""
_REFUSALS = """
SELECT left_id, right_id, reason, evidence, created_at FROM refusal WHERE left_id = ANY(%(ids)s::bigint[])
UNION
SELECT left_id, right_id, reason, evidence, created_at FROM refusal WHERE right_id = ANY(%(ids)s::bigint[])
ORDER BY 1, 2 LIMIT %(most)s
"""
_NAMES = "SELECT id, type || ':' || value FROM identifier WHERE id = ANY(%s::bigint[])"

REASONS: Final[Mapping[str, Promise | str]] = {
    "SHARED": _("several people have one of the two"),
    "NOT_SAME": _("somebody said that the two sides are not one person"),
    "LIMIT": _("the person would have too many identifiers of a type"),
    "SIZE": _("the person would have too many identifiers"),
    "BRIDGE": _("too few of the records on the two sides resemble each other"),
}


@dataclass(frozen=True, slots=True)
class Member:
    profile: int
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Group:
    """`id` is the same for all members, and `until` is null while the person has somebody there. `has_more` when only
    some of them are shown.
    """

    id: str
    kind: str
    rule: str
    confidence: float
    shared: Sequence[str]
    since: datetime
    until: datetime | None
    members: Sequence[Member]
    has_more: bool

    @property
    def kind_in_words(self) -> str:
        return str(RelationKind(self.kind).label)

    @property
    def rule_in_words(self) -> str:
        return str(RelationRule(self.rule).label)


@dataclass(frozen=True, slots=True)
class Refused:
    ids: tuple[int, int]
    left: str
    right: str
    reason: str
    evidence: Mapping[str, Any]
    created_at: datetime

    @property
    def mentions(self) -> frozenset[int]:
        """Every identifier that the refusal tells of: it is shown to whoever may see them all."""
        others = (*self.evidence.get("pair", ()), *self.evidence.get("identifiers", ()))
        return frozenset((*self.ids, *others))

    @property
    def reason_in_words(self) -> str:
        return str(REASONS[self.reason])


def groups_of(profile_id: int, *, at: datetime) -> list[Group]:
    """Those with somebody else in them, now or before: first those that last, the surest first. A door with too many
    names is no household.
    """
    with connection.cursor() as cursor:
        cursor.execute(_GROUPS, {"profile": profile_id, "most": MOST_MEMBERS + 1})
        rows = cursor.fetchall()
    mine: dict[tuple[Any, ...], list[Member]] = {}
    for *own, profile, since, until in rows:
        mine.setdefault(tuple(own), []).append(Member(profile, since, until))
    groups = [_group(own, members) for own, members in mine.items() if not is_crowd(own[1], members, at)]
    return sorted(groups, key=lambda group: (group.until is not None, -group.confidence, group.since))


def is_crowd(rule: str, members: Iterable[Member], at: datetime) -> bool:
    most = TRUST[Rule(rule)].most
    now = sum(each.until is None or each.until > at for each in members)
    return most is not None and now >= most


def _group(own: tuple[Any, ...], members: Sequence[Member]) -> Group:
    kind, rule, key, confidence, shared, *_ = own
    ends = [member.until for member in members if member.until]
    return Group(
        id=bytes(key).hex()[:16],
        kind=kind,
        rule=rule,
        confidence=confidence,
        shared=json.loads(shared),
        since=min(member.since for member in members),
        until=max(ends) if len(ends) == len(members) else None,
        members=members[:MOST_MEMBERS],
        has_more=len(members) > MOST_MEMBERS,
    )


def refusals_about(identifier_ids: Iterable[int]) -> list[Refused]:
    """Why these identifiers are not one person with others. In the scope of a workspace: no purpose sees refusals."""
    with connection.cursor() as cursor:
        cursor.execute(_REFUSALS, {"ids": bigints(identifier_ids), "most": MOST_MEMBERS})
        rows = cursor.fetchall()
        cursor.execute(_NAMES, [bigints({end for left, right, *_ in rows for end in (left, right)})])
        names = dict(cursor.fetchall())
    return [
        Refused((left, right), names[left], names[right], reason, json.loads(evidence), created_at)
        for left, right, reason, evidence, created_at in rows
        if left in names and right in names
    ]
