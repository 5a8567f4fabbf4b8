"""Somebody of whom the ledger knows nothing gets the mask of the silent with their row: nothing is decided twice.

Nearly all who come are silent. They were written without a mask, locked, decided and written again, identifier and
profile each, which was most of what it cost to store somebody new. The lock is now taken before the first row, and
exclusively where a legal basis changes: whoever comes at that moment has the mask of the one or of the other.
"""

from django.db import migrations

FUNCTIONS = """
CREATE FUNCTION core.identifiers_come() RETURNS trigger
LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4711, NULLIF(current_setting('tessera.workspace', true), '')::integer);
    RETURN NULL;
END $$;

CREATE FUNCTION core.identifier_is_silent() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
BEGIN
    NEW.permitted := COALESCE(
        (SELECT bit_or(bit) FROM purpose WHERE workspace_id = NEW.workspace_id AND legal_basis <> 'CONSENT'), 0::smallint
    );
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
            SELECT DISTINCT f.profile_id FROM fresh f WHERE f.profile_id <> f.id OR EXISTS (
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

CREATE OR REPLACE FUNCTION core.purposes_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(4711, NULLIF(current_setting('tessera.workspace', true), '')::integer);
    PERFORM core.refresh_permissions(ARRAY(SELECT id FROM profile), true);
    RETURN NULL;
END $$;

CREATE TRIGGER identifiers_come BEFORE INSERT ON core.identifier
    FOR EACH STATEMENT EXECUTE FUNCTION core.identifiers_come();
CREATE TRIGGER identifier_is_silent BEFORE INSERT ON core.identifier
    FOR EACH ROW EXECUTE FUNCTION core.identifier_is_silent();
"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0004_identity_hears"), ("cdp", "0002_access")]

    operations = [migrations.RunSQL(FUNCTIONS, migrations.RunSQL.noop)]
