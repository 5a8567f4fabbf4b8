"""The decision for each recipient, and by where the person lives: what was said of one platform opens that one alone.

Consent to be shown advertisements is given to a recipient or to all. Beside the mask, which holds for every recipient
at once, the profile of whoever named one keeps a mask for each: `{"meta": 127, "": 95}`, where "" is everybody who was
not named. Most people name nobody, and keep nothing. The views of a purpose show who permits it to all; what is sent to
one recipient is read through a view that asks for that one (see activation/migrations).

Silence permits where the law says so: the workspace names the trait that tells where a person lives, and each purpose
its regimes. As long as nothing is known of a person, silence is no.
"""

from django.db import migrations, models

from cdp.kernel.logins import OPERATOR
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant

# The whole function, as it reads from now on: what earlier migrations replaced in it piece by piece. Only what was said
# is looked at, for most people said nothing; one plan does for one person and for ten thousand, people by their index and
# all else by hashing; and however many are to be decided, it is done slice by slice.
REFRESH = f"""
-- The rows are locked first, so that of two transactions which change the ledger and the cluster of one person at once,
-- the second sees what the first did: without it a withdrawal could be lost.
CREATE OR REPLACE FUNCTION core.decide_permissions(profiles bigint[], tells boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_nestloop = off SET enable_seqscan = off AS $$
DECLARE
    moment timestamptz := clock_timestamp();  -- now() is when the transaction began, before what it records
    place_trait text := (SELECT NULLIF(jurisdiction_trait, '') FROM consent_settings);  -- of this workspace
BEGIN
    PERFORM 1 FROM profile WHERE id = ANY(profiles) ORDER BY id FOR UPDATE;

    WITH said AS (
        SELECT i.workspace_id, i.profile_id, i.id AS identifier_id, r.*
        FROM identifier i CROSS JOIN LATERAL (
            SELECT purpose, recipient, occurred_at, expires_at, is_verified,
                   state IN ('REFUSED', 'WITHDRAWN') AS denies, state = 'UNKNOWN' AS is_silent,
                   state IN ('GIVEN', 'RENEWED') AND (expires_at IS NULL OR expires_at > moment) AS grants
            FROM consent_record
            WHERE workspace_id = i.workspace_id AND identifier_type = i.type AND identifier_digest = i.digest
            OFFSET 0
        ) AS r
        WHERE i.profile_id = ANY(profiles)
    ),
    latest AS (  -- of two at the same instant the one that permits less
        SELECT DISTINCT ON (identifier_id, purpose, recipient) * FROM said
        WHERE occurred_at <= moment
        ORDER BY identifier_id, purpose, recipient, occurred_at DESC, grants, denies DESC, is_silent, is_verified
    ),
    named AS (SELECT DISTINCT profile_id, workspace_id, recipient FROM latest WHERE recipient <> ''),
    asked AS (  -- each is decided for whom they named, and as '' for everybody else
        SELECT id, workspace_id, '' AS recipient FROM profile WHERE id = ANY(profiles)
        UNION ALL
        SELECT profile_id, workspace_id, recipient FROM named
    ),
    heard AS (  -- what was said of all counts for each
        SELECT recipient AS asked, profile_id, purpose, recipient, occurred_at, grants, denies, is_silent, is_verified
        FROM latest
        UNION ALL
        SELECT n.recipient, l.profile_id, l.purpose, '', l.occurred_at, l.grants, l.denies, l.is_silent, l.is_verified
        FROM latest l JOIN named n ON n.profile_id = l.profile_id WHERE l.recipient = ''
    ),
    verdict AS (
        SELECT profile_id, asked, purpose, bool_or(grants) AS is_granted, bool_or(NOT is_silent) AS is_heard,
               bool_or(denies AND recipient <> '') AS is_barred,  -- which they take back in that name alone
               max(occurred_at) FILTER (WHERE denies) AS denied_at,
               max(occurred_at) FILTER (WHERE grants AND is_verified) AS verified_at
        FROM heard GROUP BY profile_id, asked, purpose
    ),
    change AS (  -- when the answer could next be another one if nobody says anything
        SELECT profile_id, min(at) AS at
        FROM said, LATERAL (VALUES (occurred_at), (expires_at)) AS instant(at)
        WHERE at > moment GROUP BY profile_id
    ),
    denied AS MATERIALIZED (  -- restricted, or objected to: whatever was consented to
        SELECT i.profile_id, bit_or(r.denies) AS bits FROM identifier i CROSS JOIN LATERAL (
            SELECT denies FROM restriction WHERE lifted_at IS NULL
              AND workspace_id = i.workspace_id AND identifier_type = i.type AND identifier_digest = i.digest
            OFFSET 0
        ) AS r
        WHERE i.profile_id = ANY(profiles) AND EXISTS (SELECT FROM restriction WHERE lifted_at IS NULL)
        GROUP BY i.profile_id
    ),
    silence AS MATERIALIZED (  -- what everybody permits who said nothing
        SELECT workspace_id, bit_or(bit) FILTER (WHERE legal_basis <> 'CONSENT') AS bits
        FROM purpose GROUP BY workspace_id
    ),
    place AS MATERIALIZED (
        SELECT profile_id, substring(upper(value #>> '{{}}') FROM '^[A-Z]{{2}}(?:-[A-Z0-9]{{1,3}})?$') AS code FROM trait
        WHERE place_trait IS NOT NULL AND profile_id = ANY(profiles) AND name = place_trait
    ),
    silence_there AS (  -- and what besides where the law says so
        SELECT p.profile_id, bit_or(u.bit) AS bits FROM place p JOIN purpose u
        ON COALESCE(u.regimes ->> p.code, u.regimes ->> split_part(p.code, '-', 1)) = 'OPT_OUT' GROUP BY p.profile_id
    ),
    answer AS (  -- the purposes that somebody spoke of, and among them those that are granted
        SELECT v.profile_id, v.asked, bit_or(u.bit) AS bits, bit_or(u.bit) FILTER (WHERE
            CASE WHEN v.is_barred THEN false
                 WHEN v.denied_at IS NOT NULL THEN v.verified_at > v.denied_at
                 ELSE v.is_granted
            END) AS granted
        FROM verdict v JOIN purpose u ON u.purpose = v.purpose WHERE v.is_heard GROUP BY v.profile_id, v.asked
    ),
    possible AS (
        SELECT a.id, a.recipient,
               ((COALESCE(s.bits, 0::smallint) | COALESCE(t.bits, 0::smallint)) & ~COALESCE(v.bits, 0::smallint)
                | COALESCE(v.granted, 0::smallint)) & ~COALESCE(x.bits, 0::smallint) AS mask
        FROM asked a
        LEFT JOIN silence s ON s.workspace_id = a.workspace_id
        LEFT JOIN silence_there t ON t.profile_id = a.id
        LEFT JOIN answer v ON v.profile_id = a.id AND v.asked = a.recipient
        LEFT JOIN denied x ON x.profile_id = a.id
    ),
    to_named AS (
        SELECT id, bit_and(mask) AS mask, jsonb_object_agg(recipient, mask) AS masks
        FROM possible WHERE recipient <> '' GROUP BY id
    ),
    decided AS (
        SELECT r.id, c.at AS until, j.code, r.mask & COALESCE(n.mask, r.mask) AS mask,
               n.masks || jsonb_build_object('', r.mask) AS by_recipient
        FROM possible r
        LEFT JOIN to_named n ON n.id = r.id
        LEFT JOIN change c ON c.profile_id = r.id
        LEFT JOIN place j ON j.profile_id = r.id
        WHERE r.recipient = ''
    ),
    on_identifiers AS (
        UPDATE identifier i SET permitted = d.mask, permitted_until = d.until FROM decided d
        WHERE i.profile_id = d.id AND i.profile_id = ANY(profiles)
          AND (i.permitted, i.permitted_until) IS DISTINCT FROM (d.mask, d.until)
    ),
    on_profiles AS (
        UPDATE profile p
        SET permitted = d.mask, permitted_until = d.until, permitted_by_recipient = d.by_recipient, jurisdiction = d.code
        FROM decided d
        WHERE p.id = d.id AND p.id = ANY(profiles)
          AND (p.permitted, p.permitted_until, p.permitted_by_recipient, p.jurisdiction)
              IS DISTINCT FROM (d.mask, d.until, d.by_recipient, d.code)
        RETURNING p.workspace_id, p.id, new.permitted & ~old.permitted & {Purpose.IDENTITY.bit} <> 0 AS is_recognised,
                  old.permitted & ~new.permitted & {Purpose.ADVERTISING.bit} <> 0
                  OR old.permitted_by_recipient IS DISTINCT FROM new.permitted_by_recipient AS is_lost
    ),
    recognised AS (
        INSERT INTO outbox (workspace_id, stage, subject_id, cause)
        SELECT i.workspace_id, 'IDENTITY', i.id, 'CONSENT' FROM on_profiles p JOIN identifier i ON i.profile_id = p.id
        WHERE tells AND p.is_recognised AND i.profile_id = ANY(profiles)
    )
    -- Whoever may be lost to an audience is told to the audiences at once, and not after what waits for the segments.
    INSERT INTO outbox (workspace_id, stage, subject_id, cause)
    SELECT workspace_id, 'SEGMENTS', id, 'CONSENT' FROM on_profiles WHERE tells
    UNION ALL SELECT workspace_id, 'ACTIVATION', id, 'CONSENT' FROM on_profiles WHERE tells AND is_lost;
END $$;
REVOKE ALL ON FUNCTION core.decide_permissions FROM PUBLIC;

-- In the order of their ids: of two that decide the same people, one waits for the other and neither for ever.
CREATE OR REPLACE FUNCTION core.refresh_permissions(profiles bigint[], tells boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
    slice_size CONSTANT integer := 10000;
    ordered bigint[] := profiles;
BEGIN
    IF cardinality(profiles) > slice_size THEN
        ordered := ARRAY(SELECT DISTINCT id FROM unnest(profiles) AS asked (id) ORDER BY id);
    END IF;
    FOR beginning IN 1 .. cardinality(ordered) BY slice_size LOOP
        PERFORM core.decide_permissions(ordered[beginning : beginning + slice_size - 1], tells);
    END LOOP;
END $$;
"""  # noqa: S608  # a bit of our own

# Who moves is decided anew in the same transaction. Where the workspace names no trait this is one look at its settings.
PLACES = """
CREATE FUNCTION core.places_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    place_trait text := (SELECT NULLIF(jurisdiction_trait, '') FROM consent_settings);
    moved bigint[];
BEGIN
    IF place_trait IS NOT NULL THEN
        moved := ARRAY(SELECT DISTINCT profile_id FROM changed WHERE name = place_trait);
        IF cardinality(moved) > 0 THEN
            PERFORM core.refresh_permissions(moved, true);
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER trait_tells_the_place AFTER INSERT ON core.trait
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION core.places_changed();
CREATE TRIGGER trait_tells_another_place AFTER UPDATE ON core.trait
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION core.places_changed();
CREATE TRIGGER trait_tells_no_place AFTER DELETE ON core.trait
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION core.places_changed();

-- Another trait tells where people live, or none: everybody is decided anew.
CREATE TRIGGER jurisdiction_trait_was_named AFTER INSERT ON core.consent_settings
    FOR EACH ROW WHEN (NEW.jurisdiction_trait <> '') EXECUTE FUNCTION core.purposes_changed();
CREATE TRIGGER jurisdiction_trait_changed AFTER UPDATE ON core.consent_settings
    FOR EACH ROW WHEN (NEW.jurisdiction_trait <> OLD.jurisdiction_trait) EXECUTE FUNCTION core.purposes_changed();
"""

# Whoever named a recipient until now is decided once more: the others' masks are what they were.
NAMED_BEFORE = """
DO $$ DECLARE w bigint; BEGIN
    FOR w IN SELECT id FROM core.workspace ORDER BY id LOOP
        PERFORM set_config('tessera.workspace', w::text, true);
        PERFORM core.refresh_permissions(ARRAY(
            SELECT DISTINCT i.profile_id FROM core.consent_record r JOIN core.identifier i
            ON i.workspace_id = r.workspace_id AND i.type = r.identifier_type AND i.digest = r.identifier_digest
            WHERE r.recipient <> ''
        ), true);
    END LOOP;
    PERFORM set_config('tessera.workspace', '', true);
END $$;
"""


# A trait of somebody whom enrichment may not see is refused as one of nobody: before the foreign key could say which it is.
CHECKED = "ALTER VIEW enrichment.trait SET (check_option = cascaded)"


class Migration(migrations.Migration):
    dependencies = [("consent", "0014_snippet"), ("cdp", "0018_masks_by_recipient")]

    operations = [
        migrations.AddField(
            model_name="consentsettings",
            name="jurisdiction_trait",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="whose value is where the person lives, as FR or US-CA; empty: not known of anybody",
                max_length=128,
                verbose_name="trait of the jurisdiction",
            ),
        ),
        migrations.RunSQL(REFRESH, migrations.RunSQL.noop),
        migrations.RunSQL(PLACES, migrations.RunSQL.noop),
        migrations.RunSQL(NAMED_BEFORE, migrations.RunSQL.noop),
        migrations.RunSQL(CHECKED, migrations.RunSQL.noop),
        # `consent explain` answers for one recipient, and by where the person lives.
        grant("SELECT (id, workspace_id, permitted_by_recipient, jurisdiction)", "profile", to=OPERATOR),
    ]
