"""The merge rule to the letter, no race of a new identifier with a consent, and explanations for operators.

Two corrections of 0002_permissions:

* An identifier whose last word does not grant (lapsed, terminated, asked and not answered) says no, whatever the legal
  basis. Before, only silence under consent did: a consent that had run out was taken for silence, which permits under
  legitimate interest.
* An identifier and what it said could be stored at the same moment by two transactions of which neither saw the other,
  and a withdrawal was lost.
"""

from django.db import migrations

from cdp.kernel.logins import OPERATOR
from cdp.models.access import grant

REFRESH = """
CREATE OR REPLACE FUNCTION core.refresh_permissions(profiles bigint[], tells boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
    moment timestamptz := clock_timestamp();  -- now() is when the transaction began, before what it records
BEGIN
    PERFORM 1 FROM profile WHERE id = ANY(profiles) ORDER BY id FOR UPDATE;

    WITH said AS (
        SELECT i.profile_id, i.id AS identifier_id, r.purpose, r.occurred_at, r.expires_at, r.is_verified,
               r.state IN ('REFUSED', 'WITHDRAWN') AS denies, r.state = 'UNKNOWN' AS is_silent,
               r.state IN ('GIVEN', 'RENEWED') AND (r.expires_at IS NULL OR r.expires_at > moment) AS grants
        FROM identifier i
        JOIN consent_record r ON r.workspace_id = i.workspace_id AND r.identifier_type = i.type
                             AND r.identifier_digest = i.digest
        WHERE i.profile_id = ANY(profiles)
    ),
    latest AS (  -- of two at the same instant the one that permits less
        SELECT DISTINCT ON (identifier_id, purpose) * FROM said
        WHERE occurred_at <= moment
        ORDER BY identifier_id, purpose, occurred_at DESC, grants, denies DESC, is_silent, is_verified
    ),
    verdict AS (
        SELECT profile_id, purpose, bool_or(grants) AS is_granted, bool_or(NOT is_silent) AS is_heard,
               max(occurred_at) FILTER (WHERE denies) AS denied_at,
               max(occurred_at) FILTER (WHERE grants AND is_verified) AS verified_at
        FROM latest GROUP BY profile_id, purpose
    ),
    change AS (  -- when the answer could next be another one if nobody says anything
        SELECT profile_id, min(at) AS at
        FROM said, LATERAL (VALUES (occurred_at), (expires_at)) AS instant(at)
        WHERE at > moment GROUP BY profile_id
    ),
    decided AS (
        SELECT p.id, c.at AS until, COALESCE(bit_or(u.bit) FILTER (WHERE
            CASE WHEN v.denied_at IS NOT NULL THEN COALESCE(v.verified_at > v.denied_at, false)
                 WHEN v.is_heard THEN v.is_granted
                 ELSE u.legal_basis <> 'CONSENT'
            END), 0::smallint) AS mask
        FROM profile p
        LEFT JOIN purpose u ON u.workspace_id = p.workspace_id
        LEFT JOIN verdict v ON v.profile_id = p.id AND v.purpose = u.purpose
        LEFT JOIN change c ON c.profile_id = p.id
        WHERE p.id = ANY(profiles)
        GROUP BY p.id, c.at
    ),
    on_identifiers AS (
        UPDATE identifier i SET permitted = d.mask, permitted_until = d.until FROM decided d
        WHERE i.profile_id = d.id AND (i.permitted, i.permitted_until) IS DISTINCT FROM (d.mask, d.until)
    ),
    on_profiles AS (
        UPDATE profile p SET permitted = d.mask, permitted_until = d.until FROM decided d
        WHERE p.id = d.id AND (p.permitted, p.permitted_until) IS DISTINCT FROM (d.mask, d.until)
        RETURNING p.workspace_id, p.id
    )
    INSERT INTO outbox (workspace_id, stage, subject_id, cause)
    SELECT workspace_id, 'SEGMENTS', id, 'CONSENT' FROM on_profiles WHERE tells;
END $$;
"""

# New identifiers share the lock, a consent has it alone: whichever commits later sees the other, and decides anew.
NO_RACE = """
CREATE OR REPLACE FUNCTION core.identifiers_came() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4711, workspace_id::integer)
        FROM (SELECT DISTINCT workspace_id FROM fresh ORDER BY workspace_id) AS touched;
    INSERT INTO profile (id, workspace_id) SELECT id, workspace_id FROM fresh ON CONFLICT DO NOTHING;
    PERFORM core.refresh_permissions(ARRAY(SELECT DISTINCT profile_id FROM fresh), false);
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION core.consent_was_recorded() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
    concerned bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock(4711, workspace_id::integer)
        FROM (SELECT DISTINCT workspace_id FROM said ORDER BY workspace_id) AS touched;
    PERFORM 1 FROM identifier i JOIN said s
        ON i.workspace_id = s.workspace_id AND i.type = s.identifier_type AND i.digest = s.identifier_digest
        ORDER BY i.id FOR UPDATE OF i;
    concerned := ARRAY(
        SELECT DISTINCT i.profile_id FROM identifier i JOIN said s
        ON i.workspace_id = s.workspace_id AND i.type = s.identifier_type AND i.digest = s.identifier_digest
    );
    IF cardinality(concerned) > 0 THEN
        PERFORM core.refresh_permissions(concerned, true);
    END IF;
    RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0003_purpose_schemas")]

    operations = [
        migrations.RunSQL(REFRESH, migrations.RunSQL.noop),
        migrations.RunSQL(NO_RACE, migrations.RunSQL.noop),
        # `consent explain` tells about people who are hidden from every purpose: by digest, without their values.
        grant(
            "SELECT (id, workspace_id, type, digest, profile_id, permitted, permitted_until)",
            "identifier",
            to=OPERATOR,
        ),
    ]
