"""Who deletes what is past its period is the worker of rights, and no longer the one that stores what arrives.

The record of processing activities names internal recipients and subcontractors. A package shows what was refused and names
the person, an erasure takes values out of models that nobody else had, and an officer who knows the words has them looked
for in what others said.
"""

from importlib import import_module

from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, RIGHTS, WEB, WORKER_BY_QUEUE
from cdp.models.access import erasure_rule, grant

CHANGE: str = import_module("consent.migrations.0011_execution").CHANGE

# How text is searched for somebody: one pattern for addresses and keys, another for telephone numbers however they are
# grouped. NULL where there is nothing to look for.
PATTERNS = r"""
CREATE FUNCTION core.pattern_of_names(given text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = core, pg_temp AS $$
    SELECT '(?<![[:alnum:]._+-])(' || string_agg(regexp_replace(value, '([^[:alnum:]])', '\\\1', 'g'), '|')
           || ')(?!-?[[:alnum:]]|\.[[:alnum:]])' FROM unnest(given) AS value WHERE length(value) >= 6
$$;
CREATE FUNCTION core.pattern_of_telephones(given text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = core, pg_temp AS $$
    SELECT '(' || string_agg(regexp_replace(right(value, 9), '(\d)(?=\d)', '\1[ ./()-]{0,3}', 'g'), '|') || ')(?!\d)'
    FROM unnest(given) AS value WHERE value ~ '^\+\d{9,}$'
$$;
"""

# The function that erases takes them from there, so that both find the same.
BY_PATTERNS = CHANGE.format(
    function="core.erase_and_name(bigint,text[],bigint)",
    changes=r"""
        [$sql$    WITH known AS (
        SELECT value FROM identifier WHERE id = ANY(atoms) UNION SELECT unnest(named)
    )
    SELECT '(?<![[:alnum:]._+-])(' || string_agg(regexp_replace(value, '([^[:alnum:]])', '\\\1', 'g'), '|')
           || ')(?!-?[[:alnum:]]|\.[[:alnum:]])' INTO addresses
    FROM known WHERE length(value) >= 6;$sql$,
        $sql$    known := ARRAY(SELECT value FROM identifier WHERE id = ANY(atoms) UNION SELECT unnest(named));
    addresses := core.pattern_of_names(known);$sql$],
        [$sql$    WITH known AS (
        SELECT value FROM identifier WHERE id = ANY(atoms) UNION SELECT unnest(named)
    )
    SELECT '(' || string_agg(regexp_replace(right(value, 9), '(\d)(?=\d)', '\1[ ./()-]{0,3}', 'g'), '|') || ')(?!\d)'
    INTO telephones FROM known WHERE value ~ '^\+\d{9,}$';$sql$,
        $sql$    telephones := core.pattern_of_telephones(known);$sql$],
        ['    names jsonb;', '    names jsonb;
    known text[];']""",
)

# -- values that only one person had ----------------------------------------------------------------------------------

# A model of linkage keeps how often a value occurs, of those that two records share. Two may be the same person's: then it
# is a value that nobody else had. It counts as seen once from then on, as all that are not listed do.
RARE = r"""
CREATE FUNCTION core.words_of(given text) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = core, pg_temp AS $$
    SELECT NULLIF(trim(regexp_replace(
        lower(regexp_replace(normalize(given, NFD), '[\u0300-\u036f]', '', 'g')), '[^[:alnum:]]+', ' ', 'g'
    )), '')
$$;
-- The ways in which linkage may have written a value before it counted it.
CREATE FUNCTION core.forms_of(given text) RETURNS SETOF text LANGUAGE sql IMMUTABLE SET search_path = core, pg_temp AS $$
    SELECT form FROM (
        SELECT lower(trim(given)) AS form
        UNION SELECT core.words_of(given)
        UNION SELECT unnest(string_to_array(core.words_of(given), ' '))
        UNION SELECT core.words_of(split_part(given, '@', 1))
        UNION SELECT regexp_replace(given, '\D', '', 'g')
        UNION SELECT right(regexp_replace(given, '\D', '', 'g'), 9)
    ) AS forms WHERE form <> ''
$$;
CREATE FUNCTION core.without_values(frequencies jsonb, places text[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = core, pg_temp AS $$
DECLARE
    place text[];
BEGIN
    FOREACH place SLICE 1 IN ARRAY places LOOP
        frequencies := frequencies #- place;
    END LOOP;
    RETURN frequencies;
END $$;

-- A model is what it was trained to be, but for what somebody who is erased left in it, while they are.
CREATE FUNCTION core.refuse_change_but_forgetting() RETURNS trigger
LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND current_user = 'owner' AND current_setting('tessera.erasing', true) = 'yes'
       AND to_jsonb(NEW) - 'frequencies' = to_jsonb(OLD) - 'frequencies' THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE'
       AND EXISTS (SELECT 1 FROM core.workspace WHERE id = OLD.workspace_id AND closed_at IS NOT NULL) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is append-only: write a later row instead', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE OR REPLACE TRIGGER linkage_model_is_append_only BEFORE UPDATE OR DELETE ON core.linkage_model
    FOR EACH ROW EXECUTE FUNCTION core.refuse_change_but_forgetting();
"""
FORGOTTEN = """
WITH own AS (
    SELECT form, count(DISTINCT identifier_id) AS records FROM (
        SELECT id AS identifier_id, value FROM identifier WHERE id = ANY($1)
        UNION ALL SELECT identifier_id, value #>> '{}' FROM identifier_trait WHERE identifier_id = ANY($1)
        UNION ALL SELECT r.identifier_id, f.value FROM record r, jsonb_each_text(r.fields) AS f WHERE r.identifier_id = ANY($1)
    ) AS said, core.forms_of(value) AS form GROUP BY form
), alone AS (
    SELECT m.id, array_agg(ARRAY[c.key, o.form]) AS places
    FROM linkage_model m, jsonb_each(m.frequencies) AS c JOIN own o ON c.value ? o.form
    WHERE m.workspace_id = $5
      AND (c.value ->> o.form)::float8 < (o.records + 0.5) * (m.metadata -> 'rarest' ->> c.key)::float8
    GROUP BY m.id
)
UPDATE linkage_model m SET frequencies = core.without_values(m.frequencies, a.places) FROM alone a WHERE a.id = m.id"""

# -- what others said ---------------------------------------------------------------------------------------------------

# The words are an officer's. They are looked for in what is written, and not in the names of fields; a text of which
# they are a part keeps the rest of it.
MENTIONS = r"""
CREATE FUNCTION core.redacted(given jsonb, pattern text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = core, pg_temp AS $$
BEGIN
    RETURN CASE jsonb_typeof(given)
        WHEN 'string' THEN to_jsonb(regexp_replace(given #>> '{}', pattern, '[…]', 'gi'))
        WHEN 'array' THEN (
            SELECT COALESCE(jsonb_agg(core.redacted(value, pattern) ORDER BY place), '[]')
            FROM jsonb_array_elements(given) WITH ORDINALITY AS item (value, place)
        )
        WHEN 'object' THEN (
            SELECT COALESCE(jsonb_object_agg(key, core.redacted(value, pattern)), '{}') FROM jsonb_each(given)
        )
        ELSE given
    END;
END $$;

-- Ids alone go out: who may call this sees nobody. One table at a time, and of this workspace.
CREATE FUNCTION core.mentions_in(place text, pattern text, redacts boolean) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    found bigint[];
BEGIN
    IF NOT redacts THEN
        EXECUTE CASE place
            WHEN 'event' THEN 'SELECT array_agg(id ORDER BY id) FROM event
                WHERE properties::text ~* $1 AND core.redacted(properties, $1) <> properties'
            WHEN 'record' THEN 'SELECT array_agg(id ORDER BY id) FROM record
                WHERE fields::text ~* $1 AND core.redacted(fields, $1) <> fields'
            WHEN 'identifier_trait' THEN 'SELECT array_agg(id ORDER BY id) FROM identifier_trait
                WHERE value::text ~* $1 AND core.redacted(value, $1) <> value'
            WHEN 'quarantine' THEN 'SELECT array_agg(id ORDER BY id) FROM quarantine WHERE raw ~* $1'
        END INTO found USING pattern;
    ELSE
        EXECUTE CASE place
            WHEN 'event' THEN 'WITH changed AS (UPDATE event SET properties = core.redacted(properties, $1)
                WHERE properties::text ~* $1 AND core.redacted(properties, $1) <> properties RETURNING id)
                SELECT array_agg(id ORDER BY id) FROM changed'
            WHEN 'record' THEN 'WITH changed AS (UPDATE record SET fields = core.redacted(fields, $1)
                WHERE fields::text ~* $1 AND core.redacted(fields, $1) <> fields RETURNING id)
                SELECT array_agg(id ORDER BY id) FROM changed'
            WHEN 'identifier_trait' THEN 'WITH changed AS (UPDATE identifier_trait SET value = core.redacted(value, $1)
                WHERE value::text ~* $1 AND core.redacted(value, $1) <> value RETURNING id, workspace_id, identifier_id),
                told AS (INSERT INTO outbox (workspace_id, stage, subject_id, cause)
                SELECT DISTINCT workspace_id, ''IDENTITY'', identifier_id, ''LEARNT'' FROM changed)
                SELECT array_agg(id ORDER BY id) FROM changed'
            WHEN 'quarantine' THEN 'WITH gone AS (DELETE FROM quarantine WHERE raw ~* $1 RETURNING id)
                SELECT array_agg(id ORDER BY id) FROM gone'
        END INTO found USING pattern;
    END IF;
    RETURN COALESCE(found, '{}');
END $$;
REVOKE ALL ON FUNCTION core.mentions_in FROM PUBLIC;
"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0018_last_erasure"), ("identity", "0008_households")]

    operations = [
        *(
            migrations.AddField(
                model_name="controllerdetails",
                name=name,
                field=models.TextField(blank=True, db_default="", help_text=help_text, verbose_name=verbose_name),
            )
            for name, verbose_name, help_text in (
                ("internal_recipients", "internal recipients", "services and people who may see the data"),
                ("subcontractors", "subcontractors", "such as hosting and maintenance"),
            )
        ),
        migrations.RunSQL(PATTERNS, migrations.RunSQL.noop),
        migrations.RunSQL(BY_PATTERNS, migrations.RunSQL.noop),
        migrations.RunSQL(RARE, migrations.RunSQL.noop),
        erasure_rule("linkage_model", FORGOTTEN, place=5),
        migrations.RunSQL(MENTIONS, migrations.RunSQL.noop),
        *(
            migrations.RunSQL(f"GRANT EXECUTE ON FUNCTION core.mentions_in TO {login}", migrations.RunSQL.noop)
            for login in (WEB, OPERATOR, RIGHTS)
        ),
        grant("SELECT", "quarantine", to=RIGHTS),
        grant("SELECT", "retention_period", to=RIGHTS),
        migrations.RunSQL(
            f"REVOKE ALL ON core.retention_period FROM {WORKER_BY_QUEUE['ingestion']}", migrations.RunSQL.noop
        ),
    ]
