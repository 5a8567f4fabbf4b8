"""The decision for each person, as a mask on identifier and profile, true in the transaction that changes the ledger.

The merge rule stands a second time in Python, as `consent.policy`, against which a property test compares.

The cost grows with the batch, not with its square. Postgres plans the statements of a function once in a session, mostly
for a batch of one, and in a young database without statistics it takes row-level security to leave a single row: both
lead to nested loops over thousands of rows. Hence each array is planned for its own length, nested loops are off but
where LATERAL asks for the index of the ledger, and what a trigger compares it compares by hashing.
"""

from django.db import migrations

from cdp.kernel.logins import OPERATOR, PURPOSES_BY_LOGIN, WEB
from cdp.models.access import append_only, grant, row_security

REFRESH = """
-- Decide anew for these profiles. Their rows are locked first, so that of two transactions which change the ledger and
-- the cluster of one person at once, the second sees what the first did: without it a withdrawal could be lost.
CREATE FUNCTION core.refresh_permissions(profiles bigint[], tells boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = core, pg_temp SET plan_cache_mode = force_custom_plan SET enable_nestloop = off AS $$
DECLARE
    moment timestamptz := clock_timestamp();  -- now() is when the transaction began, before what it records
BEGIN
    PERFORM 1 FROM profile WHERE id = ANY(profiles) ORDER BY id FOR UPDATE;

    WITH said AS (
        SELECT i.profile_id, i.id AS identifier_id, r.*
        FROM identifier i CROSS JOIN LATERAL (
            SELECT purpose, occurred_at, expires_at, is_verified,
                   state IN ('REFUSED', 'WITHDRAWN') AS denies, state = 'UNKNOWN' AS is_silent,
                   state IN ('GIVEN', 'RENEWED') AND (expires_at IS NULL OR expires_at > moment) AS grants
            FROM consent_record
            WHERE workspace_id = i.workspace_id AND identifier_type = i.type AND identifier_digest = i.digest
            OFFSET 0
        ) AS r
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
        WHERE i.profile_id = d.id AND i.profile_id = ANY(profiles)
          AND (i.permitted, i.permitted_until) IS DISTINCT FROM (d.mask, d.until)
    ),
    on_profiles AS (
        UPDATE profile p SET permitted = d.mask, permitted_until = d.until FROM decided d
        WHERE p.id = d.id AND p.id = ANY(profiles)
          AND (p.permitted, p.permitted_until) IS DISTINCT FROM (d.mask, d.until)
        RETURNING p.workspace_id, p.id
    )
    INSERT INTO outbox (workspace_id, stage, subject_id, cause)
    SELECT workspace_id, 'SEGMENTS', id, 'CONSENT' FROM on_profiles WHERE tells;
END $$;
REVOKE ALL ON FUNCTION core.refresh_permissions FROM PUBLIC;

-- Time passed a `permitted_until`: until this has run the person permits nothing.
CREATE FUNCTION core.refresh_expired_permissions(most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
    expired bigint[] := ARRAY(SELECT id FROM profile WHERE permitted_until <= clock_timestamp() ORDER BY id LIMIT most);
BEGIN
    PERFORM core.refresh_permissions(expired, true);
    RETURN cardinality(expired);
END $$;
REVOKE ALL ON FUNCTION core.refresh_expired_permissions FROM PUBLIC;
"""

TRIGGERS = """
-- The lock, shared here and exclusive where a consent is recorded: an identifier and what it said may be stored at the
-- same moment by two transactions, of which neither would see the other, and a withdrawal would be lost.
CREATE FUNCTION core.identifiers_came() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4711, workspace_id::integer)
        FROM (SELECT DISTINCT workspace_id FROM fresh ORDER BY workspace_id) AS touched;
    INSERT INTO profile (id, workspace_id) SELECT id, workspace_id FROM fresh ON CONFLICT DO NOTHING;
    PERFORM core.refresh_permissions(ARRAY(SELECT DISTINCT profile_id FROM fresh), false);
    RETURN NULL;
END $$;
CREATE TRIGGER identifier_came AFTER INSERT ON core.identifier
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION core.identifiers_came();

CREATE FUNCTION core.identifiers_moved() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
    moved bigint[] := ARRAY(
        (SELECT profile_id FROM (SELECT id, profile_id FROM before EXCEPT SELECT id, profile_id FROM after) AS was)
        UNION
        (SELECT profile_id FROM (SELECT id, profile_id FROM after EXCEPT SELECT id, profile_id FROM before) AS became)
    );
BEGIN
    IF cardinality(moved) > 0 THEN
        PERFORM core.refresh_permissions(moved, false);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER identifier_moved AFTER UPDATE ON core.identifier
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION core.identifiers_moved();

-- The identifiers are locked: a merge that moves one of them waits, or is waited for, and the right profile is decided.
CREATE FUNCTION core.consent_was_recorded() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    concerned bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock(4711, workspace_id::integer)
        FROM (SELECT DISTINCT workspace_id FROM said ORDER BY workspace_id) AS touched;
    EXECUTE $query$  -- planned anew each time: without parameters the first plan would be kept for the session
        SELECT ARRAY(
            SELECT DISTINCT i.id FROM said s CROSS JOIN LATERAL (
                SELECT id FROM identifier
                WHERE workspace_id = s.workspace_id AND type = s.identifier_type AND digest = s.identifier_digest
                OFFSET 0
            ) AS i
        )
    $query$ INTO concerned;
    PERFORM 1 FROM identifier WHERE id = ANY(concerned) ORDER BY id FOR UPDATE;
    IF cardinality(concerned) > 0 THEN
        -- Read after the lock: a merge may have moved them meanwhile.
        PERFORM core.refresh_permissions(
            ARRAY(SELECT DISTINCT profile_id FROM identifier WHERE id = ANY(concerned)), true
        );
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER consent_record_was_added AFTER INSERT ON core.consent_record
    REFERENCING NEW TABLE AS said FOR EACH STATEMENT EXECUTE FUNCTION core.consent_was_recorded();

-- A legal basis changed: everybody is decided anew.
CREATE FUNCTION core.purposes_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
BEGIN
    PERFORM core.refresh_permissions(ARRAY(SELECT id FROM profile), true);
    RETURN NULL;
END $$;
CREATE TRIGGER purpose_changed AFTER INSERT OR UPDATE OR DELETE ON core.purpose
    FOR EACH STATEMENT EXECUTE FUNCTION core.purposes_changed();
"""

# What the planner assumes until the tables are analysed for the first time: negative is a share of the rows. Without it
# workspace and type count as selective, and the index is read from the wrong end, a workspace for each digest.
DISTINCT_VALUES: dict[str, dict[str, float]] = {
    "identifier": {"workspace_id": 1, "type": 6, "value": -1, "digest": -1, "profile_id": -0.7},
    "profile": {"workspace_id": 1},
    "consent_record": {
        "workspace_id": 1, "identifier_type": 6, "identifier_digest": -0.5, "purpose": 6, "key": -1,
    },
    "purpose": {"workspace_id": 1},
}  # fmt: skip

ASSUME = """
DO $$ BEGIN
    PERFORM pg_restore_attribute_stats(
        'schemaname', 'core', 'relname', '{table}', 'attname', '{column}', 'inherited', false,
        'null_frac', 0::real, 'avg_width', 8, 'n_distinct', {distinct}::real
    );
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0001_tables"), ("cdp", "0002_access")]

    operations = [
        migrations.RunSQL(REFRESH, migrations.RunSQL.noop),
        migrations.RunSQL(TRIGGERS, migrations.RunSQL.noop),
        *(
            migrations.RunSQL(ASSUME.format(table=table, column=column, distinct=distinct), migrations.RunSQL.noop)
            for table, columns in DISTINCT_VALUES.items()
            for column, distinct in columns.items()
        ),
        row_security("purpose", "notice", "consent_record"),
        append_only("notice", "consent_record"),
        *(grant("SELECT", "purpose", "notice", to=login) for login in PURPOSES_BY_LOGIN),
        *(grant("INSERT, UPDATE", "purpose", to=login) for login in (WEB, OPERATOR)),
        *(grant("INSERT", "notice", to=login) for login in (WEB, OPERATOR)),
        *(grant("SELECT, INSERT", "consent_record", to=login) for login in (WEB, OPERATOR)),
        # `consent explain` tells about people who are hidden from every purpose: by digest, without their values.
        grant(
            "SELECT (id, workspace_id, type, digest, profile_id, permitted, permitted_until)",
            "identifier",
            to=OPERATOR,
        ),
        migrations.RunSQL(
            f"GRANT EXECUTE ON FUNCTION core.refresh_expired_permissions TO segmentation, {OPERATOR}",
            migrations.RunSQL.noop,
        ),
    ]
