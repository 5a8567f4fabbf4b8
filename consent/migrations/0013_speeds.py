"""The ledger takes ten thousand records a second, and a million people are decided anew in one go.

Records carried three indexes and a check that nobody asks: see 0014_lean_keys of cdp. Who said nothing was decided purpose
by purpose, which was most of the work where most are silent; now only what was said is looked at. And however many people
are to be decided, it is done slice by slice, for what Postgres plans and keeps in memory grows with the slice.

The function that decides is changed where it stands, so that this does not undo what another migration did to it.
"""

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import RIGHTS
from cdp.models.access import erasure_rule, grant

EXTEND: str = import_module("consent.migrations.0007_ledger").EXTEND

DECIDING = """
DO $do$
DECLARE
    decides text := pg_get_functiondef('core.refresh_permissions(bigint[],boolean)'::regprocedure);
    change text[];
BEGIN
    FOREACH change SLICE 1 IN ARRAY ARRAY[
        ['    decided AS (
        SELECT p.id, c.at AS until, COALESCE(bit_or(u.bit) FILTER (WHERE
            CASE WHEN v.denied_at IS NOT NULL THEN COALESCE(v.verified_at > v.denied_at, false)
                 WHEN v.is_heard THEN v.is_granted
                 ELSE u.legal_basis <> ''CONSENT''
            END), 0::smallint) & ~COALESCE(x.bits, 0::smallint) AS mask',
         '    silence AS MATERIALIZED (  -- what those permit who said nothing
        SELECT workspace_id, bit_or(bit) FILTER (WHERE legal_basis <> ''CONSENT'') AS bits FROM purpose GROUP BY workspace_id
    ),
    answer AS (  -- the purposes that somebody spoke of, and among them those that are granted
        SELECT v.profile_id, bit_or(u.bit) AS bits, bit_or(u.bit) FILTER (WHERE
            CASE WHEN v.denied_at IS NOT NULL THEN v.verified_at > v.denied_at ELSE v.is_granted END) AS granted
        FROM verdict v JOIN purpose u ON u.purpose = v.purpose
        WHERE v.is_heard GROUP BY v.profile_id
    ),
    decided AS (
        SELECT p.id, c.at AS until,
               (COALESCE(s.bits, 0::smallint) & ~COALESCE(v.bits, 0::smallint) | COALESCE(v.granted, 0::smallint))
               & ~COALESCE(x.bits, 0::smallint) AS mask'],
        ['LEFT JOIN purpose u ON u.workspace_id = p.workspace_id
        LEFT JOIN verdict v ON v.profile_id = p.id AND v.purpose = u.purpose',
         'LEFT JOIN silence s ON s.workspace_id = p.workspace_id
        LEFT JOIN answer v ON v.profile_id = p.id'],
        ['
        GROUP BY p.id, c.at, x.bits', ''],
        ['WHERE i.profile_id = ANY(profiles) GROUP BY i.profile_id',
         'WHERE i.profile_id = ANY(profiles) AND EXISTS (SELECT FROM restriction WHERE lifted_at IS NULL)
        GROUP BY i.profile_id'],
        ['WHERE tells AND p.is_recognised', 'WHERE tells AND p.is_recognised AND i.profile_id = ANY(profiles)']
    ] LOOP
        IF (length(decides) - length(replace(decides, change[1], ''))) / length(change[1]) <> 1 THEN
            RAISE EXCEPTION 'core.refresh_permissions does not read as expected: %', change[1];
        END IF;
        decides := replace(decides, change[1], change[2]);
    END LOOP;
    EXECUTE replace(decides, 'core.refresh_permissions(', 'core.decide_permissions(');
END $do$;
REVOKE ALL ON FUNCTION core.decide_permissions FROM PUBLIC;
-- One plan for one person and for ten thousand, made once in a session: people by their index, and all else by hashing.
ALTER FUNCTION core.decide_permissions SET plan_cache_mode = force_generic_plan SET enable_seqscan = off;

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
"""

# Most changes of an identifier move it nowhere: a mask was written. Nested loops are off, for a plan that was made when
# one identifier changed is kept for when ten thousand do.
MOVED = """
CREATE OR REPLACE FUNCTION core.identifiers_moved() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp SET enable_nestloop = off AS $$
DECLARE
    moved bigint[] := ARRAY(
        SELECT DISTINCT concerned.id
        FROM before JOIN after ON after.id = before.id AND after.profile_id <> before.profile_id
        CROSS JOIN LATERAL (VALUES (before.profile_id), (after.profile_id)) AS concerned (id)
    );
BEGIN
    IF cardinality(moved) > 0 THEN
        PERFORM core.refresh_permissions(moved, false);
    END IF;
    RETURN NULL;
END $$;
"""


# A mask that is written anew finds room beside the old one, and then no index need hear of it: without, one that changed
# was entered into four. Pages that are there already fill up as before until they are rewritten.
ROOM = """
ALTER TABLE core.identifier SET (fillfactor = 60);
ALTER TABLE core.profile SET (fillfactor = 60);
"""

# Likewise for what is done when somebody said something: planning took longer than all else that a single record costs.
RECORDED = f"""
CREATE OR REPLACE FUNCTION core.consent_is_chained() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = core, pg_temp SET plan_cache_mode = force_generic_plan SET enable_nestloop = off AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(4711, workspace_id::integer)
        FROM (SELECT DISTINCT workspace_id FROM said ORDER BY workspace_id) AS touched;
    {EXTEND.format(rows="said")};
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION core.consent_was_recorded() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = core, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    concerned bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock(4711, workspace_id::integer)
        FROM (SELECT DISTINCT workspace_id FROM said ORDER BY workspace_id) AS touched;
    concerned := ARRAY(
        SELECT DISTINCT i.id FROM said s CROSS JOIN LATERAL (
            SELECT id FROM identifier
            WHERE workspace_id = s.workspace_id AND type = s.identifier_type AND digest = s.identifier_digest
            OFFSET 0
        ) AS i
    );
    PERFORM 1 FROM identifier WHERE id = ANY(concerned) ORDER BY id FOR UPDATE;
    IF cardinality(concerned) > 0 THEN
        -- Read after the lock: a merge may have moved them meanwhile.
        PERFORM core.refresh_permissions(
            ARRAY(SELECT DISTINCT profile_id FROM identifier WHERE id = ANY(concerned)), true
        );
    END IF;
    RETURN NULL;
END $$;
"""  # noqa: S608  # text of our own

# What staff did stays, and to which row; what it was called then does not, where that names the person.
STAFF_LOG = """UPDATE django_admin_log SET object_repr = '', change_message = '' WHERE object_repr ~* $3 OR object_repr ~ $4
        OR change_message ~* $3 OR change_message ~ $4"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0012_opendsr")]

    operations = [
        migrations.AlterField(
            model_name="consentrecord",
            name="workspace",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                to="cdp.workspace",
            ),
        ),
        migrations.AlterField(
            model_name="consentrecord",
            name="source",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                to="cdp.source",
                verbose_name="source",
            ),
        ),
        migrations.AlterField(
            model_name="consentrecord",
            name="notice",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                to="consent.notice",
                verbose_name="notice",
            ),
        ),
        migrations.AddIndex(
            model_name="consentrecord",
            index=models.Index(
                condition=models.Q(("source__isnull", False)), fields=["source"], name="consent_record_by_source"
            ),
        ),
        migrations.AddIndex(
            model_name="consentrecord",
            index=models.Index(
                condition=models.Q(("notice__isnull", False)), fields=["notice"], name="consent_record_by_notice"
            ),
        ),
        migrations.RunSQL(DECIDING, migrations.RunSQL.noop),
        migrations.RunSQL(MOVED, migrations.RunSQL.noop),
        migrations.RunSQL(RECORDED, migrations.RunSQL.noop),
        migrations.RunSQL(ROOM, migrations.RunSQL.noop),
        erasure_rule("django_admin_log", STAFF_LOG, place=30),
        # Heads are published, and breaches told of, by the worker that answers people.
        grant("SELECT", "consent_link", to=RIGHTS),
        grant("SELECT, INSERT", "signing_key", to=RIGHTS),
        grant("SELECT (id, workspace_id, noticed_at, authority_told_at, untold_reason)", "breach", to=RIGHTS),
    ]
