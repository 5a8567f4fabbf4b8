"""Suppression, restriction and erasure: who is forgotten stays forgotten, whatever brings them back.

The triggers come beside those of the masks and cost a look-up for each statement. The function that erases does what
the rows of `erasure_rule` say, which only a migration can write: a table that holds people brings its rule with it.
"""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, PURPOSES_BY_LOGIN, RIGHTS, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import erasure_rule, grant, row_security

# -- who is not stored ----------------------------------------------------------------------------------------------

# The statement is refused as a whole: ingestion has left out whoever is suppressed, so that this is met only when
# somebody is suppressed at the same moment, or on a way around ingestion. The batch is then tried again.
SUPPRESSION = """
CREATE FUNCTION core.is_in_force(until timestamptz) RETURNS boolean LANGUAGE sql STABLE
RETURN until IS NULL OR until > statement_timestamp();
CREATE FUNCTION core.today() RETURNS date LANGUAGE sql STABLE
RETURN (statement_timestamp() AT TIME ZONE 'UTC')::date;

CREATE FUNCTION core.identifiers_are_not_suppressed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM suppression) AND NOT EXISTS (SELECT FROM restriction WHERE lifted_at IS NULL) THEN
        RETURN NULL;  -- of this workspace, by row-level security
    END IF;
    IF EXISTS (
        SELECT FROM fresh f CROSS JOIN LATERAL (  -- by the index, however long the list is
            SELECT FROM suppression
            WHERE workspace_id = f.workspace_id AND identifier_type = f.type AND identifier_digest = f.digest
              AND (until IS NULL OR until > clock_timestamp())
            OFFSET 0
        ) AS listed
    ) THEN
        RAISE EXCEPTION 'an identifier is suppressed: whoever has it is not stored'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'identifier_is_not_suppressed';
    END IF;
    PERFORM core.refresh_permissions(ARRAY(
        SELECT DISTINCT f.profile_id FROM fresh f CROSS JOIN LATERAL (
            SELECT FROM restriction WHERE lifted_at IS NULL
              AND workspace_id = f.workspace_id AND identifier_type = f.type AND identifier_digest = f.digest
            OFFSET 0
        ) AS restricted
    ), false);
    RETURN NULL;
END $$;
CREATE TRIGGER identifier_is_not_suppressed AFTER INSERT ON core.identifier
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION core.identifiers_are_not_suppressed();
"""

# -- who is shown to nobody -----------------------------------------------------------------------------------------

# The function that decides is changed where it stands, so that this does not undo what another migration did to it.
DENIALS = """
DO $do$
DECLARE
    decides text := pg_get_functiondef('core.refresh_permissions(bigint[],boolean)'::regprocedure);
    change text[];
BEGIN
    FOREACH change SLICE 1 IN ARRAY ARRAY[
        ['    decided AS (', $sql$    denied AS MATERIALIZED (  -- restricted, or objected to: whatever was consented to
        SELECT i.profile_id, bit_or(r.denies) AS bits FROM identifier i CROSS JOIN LATERAL (
            SELECT denies FROM restriction WHERE lifted_at IS NULL
              AND workspace_id = i.workspace_id AND identifier_type = i.type AND identifier_digest = i.digest
            OFFSET 0
        ) AS r
        WHERE i.profile_id = ANY(profiles) GROUP BY i.profile_id
    ),
    decided AS ($sql$],
        ['0::smallint) AS mask', '0::smallint) & ~COALESCE(x.bits, 0::smallint) AS mask'],
        ['LEFT JOIN change c ON c.profile_id = p.id', 'LEFT JOIN change c ON c.profile_id = p.id
        LEFT JOIN denied x ON x.profile_id = p.id'],
        ['GROUP BY p.id, c.at', 'GROUP BY p.id, c.at, x.bits']
    ] LOOP
        IF (length(decides) - length(replace(decides, change[1], ''))) / length(change[1]) <> 1 THEN
            RAISE EXCEPTION 'core.refresh_permissions does not read as expected: %', change[1];
        END IF;
        decides := replace(decides, change[1], change[2]);
    END LOOP;
    EXECUTE decides;
END $do$;

CREATE FUNCTION core.restrictions_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(4711, NULLIF(current_setting('tessera.workspace', true), '')::integer);
    PERFORM core.refresh_permissions(ARRAY(
        SELECT DISTINCT i.profile_id FROM changed r JOIN identifier i
        ON i.workspace_id = r.workspace_id AND i.type = r.identifier_type AND i.digest = r.identifier_digest
    ), true);
    RETURN NULL;
END $$;
CREATE TRIGGER restriction_came AFTER INSERT ON core.restriction
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION core.restrictions_changed();
CREATE TRIGGER restriction_was_lifted AFTER UPDATE ON core.restriction
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION core.restrictions_changed();
"""

# -- who is erased --------------------------------------------------------------------------------------------------

# A rule is one statement. $1: ids of the person's identifiers; $2: of the profile; $3 and $4: patterns of text that names
# the person, by address or key and by telephone number; $5: the workspace.
ERASING = r"""
CREATE TABLE core.erasure_rule (
    table_name text PRIMARY KEY, place smallint NOT NULL, statement text NOT NULL
);

-- Judgements are append-only, but for those about somebody who is erased, while they are.
CREATE FUNCTION core.refuse_change_but_erasing() RETURNS trigger
LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' AND (
        current_user = 'owner' AND current_setting('tessera.erasing', true) = 'yes'
        OR EXISTS (SELECT 1 FROM core.workspace WHERE id = OLD.workspace_id AND closed_at IS NOT NULL)
    ) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is append-only: write a later row instead', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE OR REPLACE TRIGGER judgement_is_append_only BEFORE UPDATE OR DELETE ON core.judgement
    FOR EACH ROW EXECUTE FUNCTION core.refuse_change_but_erasing();

-- What is waiting in the inbox names several people: only the events that name this one are taken out.
CREATE FUNCTION core.without_mentions(body bytea, named text, telephones text) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE SET search_path = core, pg_temp AS $$
DECLARE
    envelope json := convert_from(body, 'UTF8')::json;
    kept text;
BEGIN
    SELECT COALESCE(string_agg(item.value::text, ',' ORDER BY place), '') INTO kept
    FROM json_array_elements(envelope -> 'batch') WITH ORDINALITY AS item (value, place)
    WHERE NOT COALESCE(item.value::text ~* named, false) AND NOT COALESCE(item.value::text ~ telephones, false);
    RETURN convert_to((
        SELECT '{' || string_agg(
            to_json(key)::text || ':' || CASE key
                WHEN 'batch' THEN '[' || kept || ']'
                WHEN 'shared' THEN CASE WHEN value::text ~* named OR value::text ~ telephones THEN '{}' ELSE value::text END
                ELSE value::text
            END, ','
        ) || '}' FROM json_each(envelope)
    ), 'UTF8');
END $$;
REVOKE ALL ON FUNCTION core.without_mentions FROM PUBLIC;

CREATE FUNCTION core.erase_person(person bigint, named text[], certificate bigint) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    here bigint := NULLIF(current_setting('tessera.workspace', true), '')::bigint;
    atoms bigint[] := ARRAY(
        SELECT id FROM identifier WHERE workspace_id = here AND profile_id = person ORDER BY id FOR UPDATE
    );
    addresses text;
    telephones text;
    counts jsonb := '{}';
    affected bigint;
    rule erasure_rule;
BEGIN
    WITH known AS (
        SELECT value FROM identifier WHERE id = ANY(atoms) UNION SELECT unnest(named)
    )
    SELECT '(?<![[:alnum:]._+-])(' || string_agg(regexp_replace(value, '([^[:alnum:]])', '\\\1', 'g'), '|')
           || ')(?!-?[[:alnum:]]|\.[[:alnum:]])' INTO addresses
    FROM known WHERE length(value) >= 6;

    WITH known AS (
        SELECT value FROM identifier WHERE id = ANY(atoms) UNION SELECT unnest(named)
    )
    SELECT '(' || string_agg(regexp_replace(right(value, 9), '(\d)(?=\d)', '\1[ ./()-]{0,3}', 'g'), '|') || ')(?!\d)'
    INTO telephones FROM known WHERE value ~ '^\+\d{9,}$';

    -- Those who were seen with the person or compared: without them it may be decided otherwise who is who.
    INSERT INTO outbox (workspace_id, stage, subject_id, cause)
    SELECT here, 'IDENTITY', other, 'SPLIT' FROM (
        SELECT right_id AS other FROM sighting WHERE left_id = ANY(atoms)
        UNION SELECT left_id FROM sighting WHERE right_id = ANY(atoms)
        UNION SELECT right_id FROM judgement WHERE left_id = ANY(atoms)
        UNION SELECT left_id FROM judgement WHERE right_id = ANY(atoms)
    ) AS neighbours WHERE other <> ALL(atoms);
    INSERT INTO outbox (workspace_id, stage, subject_id, cause)
    SELECT DISTINCT here, 'ACTIVATION', profile_id, 'CONSENT' FROM audience_member
    WHERE profile_id = ANY(atoms || person) AND workspace_id = here;
    INSERT INTO erasure_order (workspace_id, erasure_id, destination_id, destination, profile_id, answer)
    SELECT DISTINCT here, certificate, d.id, d.slug, person, 'PENDING'
    FROM audience_member m JOIN audience a ON a.id = m.audience_id JOIN destination d ON d.id = a.destination_id
    WHERE m.profile_id = ANY(atoms || person) AND m.workspace_id = here;

    PERFORM set_config('tessera.erasing', 'yes', true);
    FOR rule IN SELECT * FROM erasure_rule ORDER BY place, table_name LOOP
        EXECUTE rule.statement USING atoms, person, addresses, telephones, here;
        GET DIAGNOSTICS affected = ROW_COUNT;
        counts := counts || jsonb_build_object(rule.table_name, affected);
    END LOOP;
    PERFORM set_config('tessera.erasing', '', true);
    RETURN counts;
END $$;
REVOKE ALL ON FUNCTION core.erase_person FROM PUBLIC;
"""

# In this order: what leads to other rows goes after them.
RULES = {
    "message": """DELETE FROM message m USING event e
        WHERE e.identifier_id = ANY($1) AND m.source_id = e.source_id AND m.message_id = e.message_id""",
    # Also what others did together with the person: an event that names the person is the person's.
    "event": """DELETE FROM event WHERE identifier_id = ANY($1) OR identifier_id = ANY(ARRAY(
        SELECT right_id FROM sighting WHERE left_id = ANY($1) UNION SELECT left_id FROM sighting WHERE right_id = ANY($1)
    )) AND seen_with && $1""",
    "trait": "DELETE FROM trait WHERE profile_id = $2 OR identifier_id = ANY($1)",
    "identifier_trait": "DELETE FROM identifier_trait WHERE identifier_id = ANY($1)",
    "record": "DELETE FROM record WHERE identifier_id = ANY($1)",
    "lookup": "DELETE FROM lookup WHERE identifier_id = ANY($1)",
    "review_pair": "DELETE FROM review_pair WHERE left_id = ANY($1) OR right_id = ANY($1)",
    "judgement": "DELETE FROM judgement WHERE left_id = ANY($1) OR right_id = ANY($1)",
    "sighting": "DELETE FROM sighting WHERE left_id = ANY($1) OR right_id = ANY($1)",
    "membership": "DELETE FROM membership WHERE profile_id = ANY($1 || $2)",
    "deadline": "DELETE FROM deadline WHERE profile_id = ANY($1 || $2)",
    "score": "DELETE FROM score WHERE profile_id = ANY($1 || $2)",
    "inbox": """UPDATE inbox SET body = core.without_mentions(body, $3, $4) WHERE workspace_id = $5
        AND (convert_from(body, 'UTF8') ~* $3 OR convert_from(body, 'UTF8') ~ $4)""",
    "quarantine": "DELETE FROM quarantine WHERE workspace_id = $5 AND (raw ~* $3 OR raw ~ $4)",
    "quarantine_order": """UPDATE quarantine_order SET mend = '[]', chosen = '{}' WHERE workspace_id = $5
        AND (mend::text ~* $3 OR mend::text ~ $4 OR chosen::text ~* $3 OR chosen::text ~ $4)""",
    "quarantine_reading": """UPDATE quarantine_reading SET body = body - 'shared' WHERE workspace_id = $5
        AND (body::text ~* $3 OR body::text ~ $4)""",
    "announcement": "DELETE FROM announcement WHERE workspace_id = $5 AND (body::text ~* $3 OR body::text ~ $4)",
    "identifier": "DELETE FROM identifier WHERE id = ANY($1)",
    "profile": "DELETE FROM profile WHERE id = ANY($1)",
}

ASKED_BY = (WEB, OPERATOR, RIGHTS)


class Migration(migrations.Migration):
    dependencies = [
        ("consent", "0008_requests"),
        ("cdp", "0014_lean_keys"),
        ("identity", "0003_lean_keys"),
        ("enrichment", "0003_providers_as_sources"),
        ("segments", "0005_lean_keys"),
        ("activation", "0004_one_sender"),
    ]

    operations = [
        migrations.CreateModel(
            name="Erasure",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "key",
                    models.CharField(
                        help_text="of the one who asked: the same key again erases nothing", max_length=100
                    ),
                ),
                ("number", models.BigIntegerField(help_text="its line in the ledger outside of the database")),
                ("rows", models.JSONField(help_text="table → rows that were erased or emptied", verbose_name="rows")),
                ("erased_at", models.DateTimeField(verbose_name="erased at")),
                (
                    "completed_at",
                    models.DateTimeField(
                        blank=True, help_text="all destinations answered", null=True, verbose_name="completed at"
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "erasure",
                "verbose_name_plural": "erasures",
                "db_table": "erasure",
            },
        ),
        migrations.CreateModel(
            name="ErasureMark",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("number", models.BigIntegerField()),
            ],
            options={
                "db_table": "erasure_mark",
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="erasure_mark_is_one")],
            },
        ),
        migrations.CreateModel(
            name="ErasureOrder",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("destination_id", models.BigIntegerField()),
                (
                    "destination",
                    models.CharField(help_text="its name at that time", max_length=50, verbose_name="destination"),
                ),
                ("profile_id", models.BigIntegerField()),
                (
                    "answer",
                    models.CharField(
                        choices=[
                            ("PENDING", "pending"),
                            ("ACKNOWLEDGED", "acknowledged"),
                            ("REFUSED", "refused"),
                            ("UNSUPPORTED", "unsupported"),
                        ],
                        default="PENDING",
                        max_length=12,
                        verbose_name="answer",
                    ),
                ),
                ("answered_at", models.DateTimeField(blank=True, null=True, verbose_name="answered at")),
                (
                    "erasure",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="orders", to="consent.erasure"
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace"),
                ),
            ],
            options={
                "db_table": "erasure_order",
            },
        ),
        migrations.CreateModel(
            name="Restriction",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("identifier_type", models.CharField(max_length=64, verbose_name="identifier type")),
                ("identifier_digest", models.BinaryField(max_length=32)),
                (
                    "kind",
                    models.CharField(
                        choices=[("RESTRICTION", "restriction (Art. 18)"), ("OBJECTION", "objection (Art. 21)")],
                        max_length=12,
                        verbose_name="kind",
                    ),
                ),
                ("denies", models.PositiveSmallIntegerField(help_text="the bits of the purposes")),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                ("lifted_at", models.DateTimeField(blank=True, null=True, verbose_name="lifted at")),
                (
                    "workspace",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace"),
                ),
            ],
            options={
                "verbose_name": "restriction",
                "verbose_name_plural": "restrictions",
                "db_table": "restriction",
            },
        ),
        migrations.CreateModel(
            name="SuppressedDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(verbose_name="day")),
                ("dropped", models.PositiveBigIntegerField(verbose_name="dropped")),
                (
                    "workspace",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace"),
                ),
            ],
            options={
                "db_table": "suppressed_day",
            },
        ),
        migrations.CreateModel(
            name="Suppression",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("identifier_type", models.CharField(max_length=64, verbose_name="identifier type")),
                ("identifier_digest", models.BinaryField(max_length=32)),
                ("pepper_id", models.CharField(help_text="under which pepper the digest was made", max_length=8)),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("ERASURE", "erased at their request"),
                            ("REQUEST", "asked not to be stored"),
                            ("OPERATOR", "entered by an operator"),
                        ],
                        max_length=12,
                        verbose_name="reason",
                    ),
                ),
                ("until", models.DateTimeField(blank=True, null=True, verbose_name="until")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="created at"
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace"),
                ),
            ],
            options={
                "verbose_name": "suppression",
                "verbose_name_plural": "suppressions",
                "db_table": "suppression",
            },
        ),
        migrations.AddConstraint(
            model_name="erasure",
            constraint=models.UniqueConstraint(fields=("workspace", "key"), name="erasure_key_is_unique"),
        ),
        migrations.AddIndex(
            model_name="erasureorder",
            index=models.Index(
                condition=models.Q(("answer", "PENDING")), fields=["workspace"], name="erasure_order_pending"
            ),
        ),
        migrations.AddConstraint(
            model_name="erasureorder",
            constraint=models.UniqueConstraint(fields=("erasure", "destination_id"), name="erasure_order_is_unique"),
        ),
        migrations.AddConstraint(
            model_name="restriction",
            constraint=models.UniqueConstraint(
                condition=models.Q(("lifted_at", None)),
                fields=("workspace", "identifier_type", "identifier_digest", "kind", "denies"),
                name="restriction_is_open_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="suppressedday",
            constraint=models.UniqueConstraint(fields=("workspace", "day"), name="suppressed_day_is_unique"),
        ),
        migrations.AddConstraint(
            model_name="suppression",
            constraint=models.UniqueConstraint(
                fields=("workspace", "identifier_type", "identifier_digest"), name="suppression_is_unique"
            ),
        ),
        migrations.RunSQL(SUPPRESSION, migrations.RunSQL.noop),
        migrations.RunSQL(DENIALS, migrations.RunSQL.noop),
        migrations.RunSQL(ERASING, migrations.RunSQL.noop),
        *(erasure_rule(table, statement, place=place) for place, (table, statement) in enumerate(RULES.items(), 10)),
        row_security("suppression", "suppressed_day", "restriction", "erasure", "erasure_order"),
        *(grant("SELECT, INSERT, UPDATE, DELETE", "suppression", to=login) for login in ASKED_BY),
        *(
            grant("SELECT, INSERT, UPDATE", "restriction", "erasure", "erasure_mark", "suppressed_day", to=login)
            for login in ASKED_BY
        ),
        *(grant("SELECT", "erasure_order", to=login) for login in ASKED_BY),
        *(grant("SELECT", "erasure_mark", to=login) for login in PURPOSES_BY_LOGIN if login not in ASKED_BY),
        grant("SELECT (table_name)", "erasure_rule", to=OPERATOR),  # doctor names the tables without one
        grant("SELECT", "suppression", to=Purpose.COLLECTION),
        grant("SELECT (digest)", "identifier", to=Purpose.COLLECTION),
        grant("SELECT (id, workspace_id, type, digest, profile_id)", "identifier", to=RIGHTS),
        grant("SELECT, INSERT, UPDATE", "suppressed_day", to=Purpose.COLLECTION),
        grant("SELECT, UPDATE (answer, answered_at)", "erasure_order", to=Purpose.ADVERTISING),
        grant("SELECT, UPDATE (completed_at)", "erasure", to=Purpose.ADVERTISING),
        grant("DELETE", "audience_member", to=Purpose.ADVERTISING),
        *(
            migrations.RunSQL(f"GRANT EXECUTE ON FUNCTION core.erase_person TO {login}", migrations.RunSQL.noop)
            for login in ASKED_BY
        ),
    ]
