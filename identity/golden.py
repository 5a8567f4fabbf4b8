"""The golden record: of all values that a person's identifiers carry, one for each trait, with where it came from."""

from collections.abc import Iterable

from django.db import connection
from django.db.backends.utils import CursorWrapper

from cdp.kernel.arrays import bigints
from cdp.models import planning
from consent.gate import Enrichment, Identity, Permit

# Which value is chosen follows from the values alone, never from the order in which they came. All is read by key, and
# the keys are given: conditions reach an index through the view of a purpose, joins do not.
_IDENTIFIERS = "SELECT id FROM identifier WHERE profile_id = ANY(%s::bigint[])"

_CANDIDATES = """
theirs AS {materialized} (
    SELECT id, workspace_id, profile_id FROM identifier WHERE id = ANY(%(identifiers)s::bigint[])
),
known AS {materialized} (SELECT * FROM identifier_trait WHERE identifier_id = ANY({identifiers})),
standing AS (SELECT * FROM trait WHERE profile_id = ANY({profiles})),
"""
_GIVEN = ("identifiers", "profiles")
# Of few each step is done before the next.
_OF_FEW = _CANDIDATES.format(
    materialized="MATERIALIZED", **{name: planning.UNCOUNTED.format(ids=f"%({name})s") for name in _GIVEN}
)
_OF_MANY = _CANDIDATES.format(materialized="", **{name: f"%({name})s::bigint[]" for name in _GIVEN})

# A steward's word first; then the newest value; at the same time the more trusted source, the surer value, the older
# identifier. Nothing else decides, so the same values always give the same record.
_BY_DEFAULT = """
chosen AS (
    SELECT DISTINCT ON (i.profile_id, t.name)
           i.workspace_id, i.profile_id, t.name, t.value, t.source_id, t.identifier_id, t.observed_at, t.confidence,
           CASE WHEN s.kind = 'STEWARD' THEN 'steward' ELSE 'most_recent' END AS rule
    FROM theirs i JOIN known t ON t.identifier_id = i.id JOIN source s ON s.id = t.source_id
    ORDER BY i.profile_id, t.name, s.kind = 'STEWARD' DESC, t.observed_at DESC, s.trust DESC, t.confidence DESC,
             t.identifier_id, t.source_id
)
"""

# As above, with what the rule of the trait asks for before the newest value. Of several stewards the last one's word holds.
_BY_RULE = """
candidate AS (
    SELECT i.workspace_id, i.profile_id, t.name, t.value, t.source_id, t.identifier_id, t.observed_at, t.confidence,
           s.kind = 'STEWARD' AS is_said, s.trust, COALESCE(rule.choice, 'MOST_RECENT') AS choice,
           CASE CASE WHEN s.kind <> 'STEWARD' THEN rule.choice END
               WHEN 'TRUSTED_SOURCE' THEN -COALESCE(array_position(rule.sources, s.name), 1000000)
               WHEN 'MOST_FREQUENT' THEN count(*) OVER (PARTITION BY i.profile_id, t.name, t.value)
               WHEN 'LONGEST' THEN length(t.value #>> '{}')
           END AS merit,
           CASE WHEN s.kind <> 'STEWARD' AND rule.choice = 'TRUSTED_SOURCE' THEN s.trust END AS standing
    FROM theirs i JOIN known t ON t.identifier_id = i.id JOIN source s ON s.id = t.source_id
    LEFT JOIN survivorship_rule rule ON (rule.workspace_id, rule.trait) = (i.workspace_id, t.name)
),
chosen AS (
    SELECT DISTINCT ON (profile_id, name)
           workspace_id, profile_id, name, value, source_id, identifier_id, observed_at, confidence,
           CASE WHEN is_said THEN 'steward' ELSE lower(choice) END AS rule
    FROM candidate
    ORDER BY profile_id, name, is_said DESC, merit DESC NULLS LAST, standing DESC NULLS LAST, observed_at DESC,
             trust DESC, confidence DESC, identifier_id, source_id
)
"""

# What stays as it was is not so much as touched: a row that only ran into its unique key would be locked, which is a write.
_KEEP = """,
changed AS MATERIALIZED (
    SELECT s.id AS former_id, c.* FROM chosen c FULL JOIN standing s ON s.profile_id = c.profile_id AND s.name = c.name
    WHERE (s.value, s.source_id, s.identifier_id, s.observed_at, s.confidence, s.rule)
        IS DISTINCT FROM (c.value, c.source_id, c.identifier_id, c.observed_at, c.confidence, c.rule)
),
vanished AS (
    DELETE FROM trait WHERE profile_id = ANY(%(profiles)s::bigint[])
    AND id IN (SELECT former_id FROM changed WHERE name IS NULL)
    RETURNING profile_id
),
written AS (
    INSERT INTO trait (workspace_id, profile_id, name, value, source_id, identifier_id, observed_at, confidence, rule)
    SELECT workspace_id, profile_id, name, value, source_id, identifier_id, observed_at, confidence, rule
    FROM changed WHERE name IS NOT NULL
    ON CONFLICT (profile_id, name) DO UPDATE SET
        value = excluded.value, source_id = excluded.source_id, identifier_id = excluded.identifier_id,
        observed_at = excluded.observed_at, confidence = excluded.confidence, rule = excluded.rule
    RETURNING profile_id
)
SELECT profile_id FROM vanished UNION SELECT profile_id FROM written
"""
_REFRESH = f"WITH {_OF_FEW} {_BY_DEFAULT} {_KEEP}"
_REFRESH_BY_RULE = f"WITH {_OF_FEW} {_BY_RULE} {_KEEP}"
_REFRESH_MANY = f"WITH {_OF_MANY} {_BY_DEFAULT} {_KEEP}"
_REFRESH_MANY_BY_RULE = f"WITH {_OF_MANY} {_BY_RULE} {_KEEP}"

# Row-level security shows the rules of the workspace alone.
_HAS_RULES = "EXISTS (SELECT FROM survivorship_rule)"
_IDENTIFIERS_AND_RULES = f"SELECT ARRAY({_IDENTIFIERS}), {_HAS_RULES}"  # our own constants

# The traits that would not be what they are, of all that the rules of a workspace are about.
_WOULD_CHANGE = f"""
WITH {_OF_FEW} {_BY_RULE}
SELECT c.name, count(*) FILTER (WHERE c.value IS DISTINCT FROM standing.value), count(*)
FROM chosen c LEFT JOIN standing ON (standing.profile_id, standing.name) = (c.profile_id, c.name)
WHERE c.name = ANY(%(names)s) GROUP BY c.name ORDER BY c.name
"""  # noqa: S608  # our own constants


# Whoever moves identifiers (the pipeline's worker, a batch of record linkage) and whoever adds values to them wait for
# each other: at the same moment neither would see what the other writes. One person would be resolved twice, or a value
# stay behind on a person whose identifier it is no longer.
_TAKE_TURN = "SELECT pg_advisory_xact_lock(hashtext('identity.golden'), %s)"


def take_turn(permit: Permit[Identity] | Permit[Enrichment]) -> None:
    """Before anything is read that the golden record depends on. The turn ends with the transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_TURN, [permit.workspace_id])


def refresh_traits(permit: Permit[Identity] | Permit[Enrichment], profile_ids: Iterable[int]) -> None:
    """Choose anew for these profiles. What has no candidate any more goes; what is unchanged is not written.

    Profiles whose people do not permit the purpose are as they were: neither their values nor their traits are seen.
    """
    del permit  # the proof is the type; the transaction does the rest
    with planning.by_key(), connection.cursor() as cursor:
        _refresh(cursor, profile_ids, _REFRESH, _REFRESH_BY_RULE)


def refreshed_traits(permit: Permit[Identity], profile_ids: Iterable[int], *, are_good_part: bool) -> list[int]:
    """The same, by key or for a good part of everybody. Returns the profiles whose golden record is another one now."""
    del permit  # as above
    with planning.in_bulk() if are_good_part else planning.by_key(), connection.cursor() as cursor:
        by_default = _REFRESH_MANY if are_good_part else _REFRESH
        _refresh(cursor, profile_ids, by_default, _REFRESH_MANY_BY_RULE if are_good_part else _REFRESH_BY_RULE)
        return [profile for (profile,) in cursor.fetchall()]


def _refresh(cursor: CursorWrapper, profile_ids: Iterable[int], by_default: str, by_rule: str) -> None:
    profiles = bigints(dict.fromkeys(profile_ids))
    cursor.execute(_IDENTIFIERS_AND_RULES, [profiles])
    identifiers, has_rules = cursor.fetchone()
    cursor.execute(by_rule if has_rules else by_default, {"profiles": profiles, "identifiers": bigints(identifiers)})


def traits_that_would_change(profile_ids: Iterable[int], names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """By the rules as they are in this transaction: of each of these traits, how many profiles would have another value
    and how many have any.
    """
    profiles = bigints(profile_ids)
    with planning.by_key(), connection.cursor() as cursor:
        cursor.execute(_IDENTIFIERS, [profiles])
        identifiers = bigints(one for (one,) in cursor.fetchall())
        cursor.execute(_WOULD_CHANGE, {"profiles": profiles, "identifiers": identifiers, "names": list(names)})
        return {name: (changed, all_) for name, changed, all_ in cursor.fetchall()}
