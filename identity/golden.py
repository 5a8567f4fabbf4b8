"""The golden record: of all values that a person's identifiers carry, one for each trait, with where it came from."""

from collections.abc import Iterable

from django.db import connection

from cdp.kernel.arrays import bigints
from consent.gate import Enrichment, Identity, Permit
from identity import plans

# A steward's word first; then the newest value; at the same time the more trusted source, the surer value, the older
# identifier. Nothing else decides, so the same values always give the same record. All is read by key, and the keys
# are given: conditions reach an index through the view of a purpose, joins do not.
_IDENTIFIERS = "SELECT id FROM identifier WHERE profile_id = ANY(%s::bigint[])"
_REFRESH = """
WITH theirs AS MATERIALIZED (
    SELECT id, workspace_id, profile_id FROM identifier WHERE id = ANY(%(identifiers)s::bigint[])
),
known AS MATERIALIZED (SELECT * FROM identifier_trait WHERE identifier_id = ANY(%(identifiers)s::bigint[])),
chosen AS (
    SELECT DISTINCT ON (i.profile_id, t.name)
           i.workspace_id, i.profile_id, t.name, t.value, t.source_id, t.identifier_id, t.observed_at, t.confidence,
           CASE WHEN s.kind = 'STEWARD' THEN 'steward' ELSE 'most_recent' END AS rule
    FROM theirs i JOIN known t ON t.identifier_id = i.id JOIN source s ON s.id = t.source_id
    ORDER BY i.profile_id, t.name, s.kind = 'STEWARD' DESC, t.observed_at DESC, s.trust DESC, t.confidence DESC,
             t.identifier_id, t.source_id
),
vanished AS (
    DELETE FROM trait WHERE profile_id = ANY(%(profiles)s::bigint[])
    AND (trait.profile_id, trait.name) NOT IN (SELECT profile_id, name FROM chosen)
)
INSERT INTO trait (workspace_id, profile_id, name, value, source_id, identifier_id, observed_at, confidence, rule)
SELECT * FROM chosen
ON CONFLICT (profile_id, name) DO UPDATE SET
    value = excluded.value, source_id = excluded.source_id, identifier_id = excluded.identifier_id,
    observed_at = excluded.observed_at, confidence = excluded.confidence, rule = excluded.rule
WHERE (trait.value, trait.source_id, trait.identifier_id, trait.observed_at, trait.confidence, trait.rule)
    IS DISTINCT FROM (excluded.value, excluded.source_id, excluded.identifier_id, excluded.observed_at,
                      excluded.confidence, excluded.rule)
"""


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
    profiles = bigints(profile_ids)
    with plans.by_key(), connection.cursor() as cursor:
        cursor.execute(_IDENTIFIERS, [profiles])
        identifiers = bigints(one for (one,) in cursor.fetchall())
        cursor.execute(_REFRESH, {"profiles": profiles, "identifiers": identifiers})
