"""The same decisions at a cost that grows with the batch, not with its square.

Postgres plans the statements of a function once in a session, mostly for a batch of one, and in a young database
without statistics it takes row-level security to leave a single row. Both led to nested loops over thousands of rows:
10,000 new identifiers took most of a minute. Hence: each array is planned for its own length, nested loops are off but
where LATERAL asks for the index of the ledger, and what a trigger compares it compares by hashing.
"""

from django.db import migrations

REFRESH = """
CREATE OR REPLACE FUNCTION core.refresh_permissions(profiles bigint[], tells boolean) RETURNS void
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
"""

MOVED = """
CREATE OR REPLACE FUNCTION core.identifiers_moved() RETURNS trigger
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
"""

RECORDED = """
CREATE OR REPLACE FUNCTION core.consent_was_recorded() RETURNS trigger
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
    dependencies = [("consent", "0004_rule_and_races")]

    operations = [migrations.RunSQL(step, migrations.RunSQL.noop) for step in (REFRESH, MOVED, RECORDED)] + [
        migrations.RunSQL(ASSUME.format(table=table, column=column, distinct=distinct), migrations.RunSQL.noop)
        for table, columns in DISTINCT_VALUES.items()
        for column, distinct in columns.items()
    ]
