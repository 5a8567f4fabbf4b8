"""Who comes in one statement gets the mask of the silent that was looked up once, before the first row.

It was looked up for each row, which was half of what somebody new cost. The mask is told from the one trigger to the
other by a setting of the transaction, which others could set as well: so it is compared when all are there, and whoever
has another is decided anew.
"""

from django.db import migrations

FUNCTIONS = """
CREATE OR REPLACE FUNCTION core.identifiers_come() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
    here integer := NULLIF(current_setting('tessera.workspace', true), '')::integer;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4711, here);
    PERFORM set_config('tessera.silent', COALESCE(bit_or(bit), 0::smallint)::text, true)
        FROM purpose WHERE workspace_id = here AND legal_basis <> 'CONSENT';
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION core.identifier_is_silent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.permitted := current_setting('tessera.silent');
    NEW.permitted_until := NULL;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION core.identifiers_came() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    heard bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4711, workspace_id::integer)
        FROM (SELECT DISTINCT workspace_id FROM fresh ORDER BY workspace_id) AS touched;
    INSERT INTO profile (id, workspace_id, permitted) SELECT id, workspace_id, permitted FROM fresh ON CONFLICT DO NOTHING;
    EXECUTE $query$  -- planned anew each time: without parameters the first plan would be kept for the session
        SELECT ARRAY(
            SELECT DISTINCT f.profile_id FROM fresh f
            LEFT JOIN (
                SELECT workspace_id, bit_or(bit) AS bits FROM purpose WHERE legal_basis <> 'CONSENT' GROUP BY workspace_id
            ) AS silent USING (workspace_id)
            WHERE f.profile_id <> f.id OR f.permitted <> COALESCE(silent.bits, 0::smallint) OR EXISTS (
                SELECT 1 FROM consent_record r
                WHERE r.workspace_id = f.workspace_id AND r.identifier_type = f.type AND r.identifier_digest = f.digest
            )
        )
    $query$ INTO heard;
    IF cardinality(heard) > 0 THEN
        PERFORM core.refresh_permissions(heard, false);
    END IF;
    RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0020_chosen_mentions"), ("cdp", "0022_lean_people")]

    operations = [migrations.RunSQL(FUNCTIONS, migrations.RunSQL.noop)]
