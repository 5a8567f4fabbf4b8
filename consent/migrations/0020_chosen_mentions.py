"""Of the rows that have an officer's words, those alone are changed that the officer ticked: a name has namesakes."""

from django.db import migrations

from cdp.kernel.logins import OPERATOR, RIGHTS, WEB

TEXTS = {"event": "properties", "record": "fields", "identifier_trait": "value"}  # a table and its column of JSON

FIND = """
            WHEN '{table}' THEN 'SELECT array_agg(id ORDER BY id) FROM {table}
                WHERE {column}::text ~* $1 AND core.redacted({column}, $1) <> {column} AND {is_meant}'"""
REDACT = """
            WHEN '{table}' THEN 'WITH changed AS (UPDATE {table} SET {column} = core.redacted({column}, $1)
                WHERE {column}::text ~* $1 AND core.redacted({column}, $1) <> {column} AND {is_meant}
                RETURNING *){told}
                SELECT array_agg(id ORDER BY id) FROM changed'"""
TOLD = """, told AS (INSERT INTO outbox (workspace_id, stage, subject_id, cause)
                SELECT DISTINCT workspace_id, ''IDENTITY'', identifier_id, ''LEARNT'' FROM changed)"""
IS_MEANT = "($2 IS NULL OR id = ANY($2))"  # planned with the ids that are given: by the index, or without the condition

FINDING = "".join(FIND.format(table=table, column=column, is_meant=IS_MEANT) for table, column in TEXTS.items())
REDACTING = "".join(
    REDACT.format(table=table, column=column, is_meant=IS_MEANT, told=TOLD if table == "identifier_trait" else "")
    for table, column in TEXTS.items()
)

# Without `among` it is every row that has the words. The old function stays for the code that is running still.
MENTIONS = f"""
CREATE FUNCTION core.mentions_in(place text, pattern text, redacts boolean, among bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    found bigint[];
BEGIN
    IF NOT redacts THEN
        EXECUTE CASE place {FINDING}
            WHEN 'quarantine' THEN 'SELECT array_agg(id ORDER BY id) FROM quarantine WHERE raw ~* $1 AND {IS_MEANT}'
        END INTO found USING pattern, among;
    ELSE
        EXECUTE CASE place {REDACTING}
            WHEN 'quarantine' THEN 'WITH gone AS (DELETE FROM quarantine WHERE raw ~* $1 AND {IS_MEANT} RETURNING id)
                SELECT array_agg(id ORDER BY id) FROM gone'
        END INTO found USING pattern, among;
    END IF;
    RETURN COALESCE(found, '{{}}');
END $$;
REVOKE ALL ON FUNCTION core.mentions_in(text, text, boolean, bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION core.mentions_in(text, text, boolean, bigint[]) TO {WEB}, {OPERATOR}, {RIGHTS};

CREATE OR REPLACE FUNCTION core.mentions_in(place text, pattern text, redacts boolean) RETURNS bigint[]
LANGUAGE sql SECURITY DEFINER SET search_path = core, pg_temp AS $$
    SELECT core.mentions_in(place, pattern, redacts, NULL)
$$;
"""  # noqa: S608  # text of our own


class Migration(migrations.Migration):
    dependencies = [("consent", "0019_officer")]

    operations = [migrations.RunSQL(MENTIONS, migrations.RunSQL.noop)]
