"""Households and organisations: relations between people, never merges.

Each person has a row for every rule that applies (`identity.matching.belonging`), found by the person's golden record
alone. So only those are looked at whose record may have changed, and whoever has the same key is found by an index.
To belong together permits nothing: each member is shown to a purpose by their own word.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cache
from itertools import chain, pairwise
from typing import Any, Final, NamedTuple

from django.db import connection

from cdp.kernel.arrays import bigints, byteas, floats, texts
from cdp.kernel.purposes import Purpose
from cdp.models import planning
from cdp.models.digests import identifier_digest
from consent import gate
from consent.gate import Identity, Permit
from identity import golden
from identity.matching import belonging
from identity.matching.belonging import TRUST, Belonging, Rule

PEOPLE_AT_ONCE: Final = 10_000
MANY_AT_ONCE: Final = 100_000  # where all is held by one transaction anyway

# Only the traits that a rule reads, by key; whoever does not permit to be recognised has none here.
_TRAITS = f"""
SELECT profile_id, name, CASE WHEN jsonb_typeof(value) IN ('string', 'number') THEN value #>> '{{}}' END
FROM trait WHERE profile_id = ANY({planning.UNCOUNTED.format(ids="%(profiles)s")}) AND name = ANY(%(names)s)
"""  # noqa: S608  # our own constant
# Of events the purpose sees group calls alone. The newest of each person: the calls of a person who is merged or undone follow the identifier.
_GROUPS = """
SELECT DISTINCT ON (profile_id) profile_id, group_id FROM event
WHERE profile_id = ANY(%(profiles)s::bigint[]) ORDER BY profile_id, occurred_at DESC, group_id
"""
_END = """
UPDATE core.relation SET until = %(now)s
WHERE profile_id = ANY(%(profiles)s::bigint[]) AND until IS NULL AND rule = ANY(%(rules)s::text[])
AND (profile_id, rule, key) NOT IN (SELECT * FROM unnest(%(profile)s::bigint[], %(rule)s::text[], %(key)s::bytea[]))
"""
_BEGIN = """
INSERT INTO core.relation (workspace_id, profile_id, kind, rule, key, confidence, shared, since)
SELECT %(workspace)s, profile_id, kind, rule, key, confidence, shared::jsonb, %(now)s
FROM unnest(%(profile)s::bigint[], %(rule)s::text[], %(key)s::bytea[], %(shared)s::text[])
    AS found (profile_id, rule, key, shared)
JOIN unnest(%(rules)s::text[], %(kinds)s::text[], %(confidences)s::float8[]) AS trust (rule, kind, confidence) USING (rule)
ON CONFLICT (profile_id, rule, key) WHERE until IS NULL DO NOTHING
"""
# Who was merged away, or permits to be recognised no more.
_END_OF_THE_GONE = """
UPDATE core.relation SET until = %(now)s
WHERE until IS NULL AND workspace_id = %(workspace)s AND profile_id NOT IN (SELECT id FROM profile)
"""
_END_OF_THE_GONE_AMONG = """
UPDATE core.relation SET until = %(now)s
WHERE until IS NULL AND workspace_id = %(workspace)s AND profile_id = ANY(%(profiles)s::bigint[])
AND profile_id NOT IN (SELECT id FROM profile WHERE id = ANY(%(profiles)s::bigint[]))
"""
_EVERYBODY = "SELECT id FROM profile WHERE id > %s ORDER BY id LIMIT %s"

_OF_TRAITS: Final = [rule for rule in Rule if rule is not Rule.GROUP_CALL]


class Changes(NamedTuple):
    begun: int
    ended: int


def relate(permit: Permit[Identity], profile_ids: Iterable[int], *, now: datetime) -> Changes:
    """After their golden records were chosen anew: write down whom these people belong with now."""
    profiles = bigints(profile_ids)
    return _written(_told_by_traits(permit, profiles, _traits_of(profiles), now))


def relate_many(
    permit: Permit[Identity], profile_ids: Collection[int], changed: Sequence[int], *, now: datetime
) -> None:
    """The same of very many, of whom those in `changed` have another golden record than before. Of the others there is
    nothing new to say, unless they are gone.
    """
    given: dict[str, Any] = {"workspace": permit.workspace_id, "now": now, "profiles": bigints(profile_ids)}
    with planning.by_key(), connection.cursor() as cursor:
        cursor.execute(_END_OF_THE_GONE_AMONG, given)
    slices = (bigints(changed[start : start + MANY_AT_ONCE]) for start in range(0, len(changed), MANY_AT_ONCE))
    with ThreadPoolExecutor(1) as aside:  # one slice is reckoned while the one before it is written
        telling = (aside.submit(_told_by_traits, permit, one, _traits_of(one), now) for one in slices)
        for told, _ in pairwise(chain(telling, [None])):
            if told:
                _written(told.result())


def relate_everybody(*, workspace_id: int, now: datetime) -> dict[str, int]:
    """The same of the whole workspace, with what group calls say, and end the relations of those who are gone."""
    people = begun = ended = 0
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id) as permit:
        golden.take_turn(permit)
        for chunk in _everybody():
            changes = relate(permit, chunk, now=now), _relate_by_group_calls(permit, chunk, now=now)
            people += len(chunk)
            begun += sum(each.begun for each in changes)
            ended += sum(each.ended for each in changes)
        with connection.cursor() as cursor:
            cursor.execute(_END_OF_THE_GONE, {"workspace": workspace_id, "now": now})
            ended += cursor.rowcount
    return {"people": people, "begun": begun, "ended": ended}


def _relate_by_group_calls(permit: Permit[Identity], profile_ids: Collection[int], *, now: datetime) -> Changes:
    profiles = bigints(profile_ids)
    with planning.by_key(), connection.cursor() as cursor:
        cursor.execute(_GROUPS, {"profiles": profiles})
        found = [(one, Belonging(Rule.GROUP_CALL, group, ("groupId",))) for one, group in cursor.fetchall()]
    return _written(_told(permit, profiles, found, [Rule.GROUP_CALL], now))


def _everybody() -> Iterator[list[int]]:
    last = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(_EVERYBODY, [last, PEOPLE_AT_ONCE])
            chunk = [one for (one,) in cursor.fetchall()]
            if not chunk:
                return
            yield chunk
            last = chunk[-1]


def _traits_of(profiles: str) -> list[tuple[int, str, str | None]]:
    with planning.by_key(), connection.cursor() as cursor:
        cursor.execute(_TRAITS, {"profiles": profiles, "names": list(belonging.TRAITS)})
        rows: list[tuple[int, str, str | None]] = cursor.fetchall()
        return rows


def _told_by_traits(
    permit: Permit[Identity], profiles: str, rows: Iterable[tuple[int, str, str | None]], now: datetime
) -> dict[str, Any]:
    people: defaultdict[int, dict[str, str | None]] = defaultdict(dict)
    for profile, name, value in rows:
        people[profile][name] = value
    found = ((profile, each) for profile, traits in people.items() for each in belonging.belongings_of(traits))
    return _told(permit, profiles, found, _OF_TRAITS, now)


def _told(
    permit: Permit[Identity],
    profiles: str,
    found: Iterable[tuple[int, Belonging]],
    rules: Sequence[Rule],
    now: datetime,
) -> dict[str, Any]:
    """What is found by these rules of these profiles, as the statements below take it. In columns at once: hundreds of
    thousands of tuples would be looked through again and again for garbage.
    """
    whose, by_rule, keys, shared = list[int](), list[str](), list[bytes](), list[str]()
    for profile, each in found:
        whose.append(profile)
        by_rule.append(each.rule)
        keys.append(_key(permit, each))
        shared.append(_as_json(each.shared))
    return {
        "workspace": permit.workspace_id,
        "now": now,
        "profiles": profiles,
        "rules": texts(rules),
        "kinds": texts(TRUST[rule].kind for rule in rules),
        "confidences": floats(TRUST[rule].confidence for rule in rules),
        "profile": bigints(whose),
        "rule": texts(by_rule),
        "key": byteas(keys),
        "shared": texts(shared),
    }


def _written(told: Mapping[str, Any]) -> Changes:
    with planning.by_key(), connection.cursor() as cursor:
        cursor.execute(_END, told)
        ended = cursor.rowcount
        cursor.execute(_BEGIN, told)
        return Changes(begun=cursor.rowcount, ended=ended)


_as_json = cache(json.dumps)  # of a handful of different ones


def _key(permit: Permit[Identity], each: Belonging) -> bytes:
    """Of no other workspace: two tenants must not be able to compare whom they know."""
    return identifier_digest(f"relation:{permit.workspace_id}:{each.rule}", each.text)
