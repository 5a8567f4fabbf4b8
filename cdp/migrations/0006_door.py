"""The door in one statement, and keys of messages that cost no look-ups in other tables."""

import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, WEB

# With the rights of its caller. The workspace is set for the insertion alone, and given back afterwards.
APPEND = """
CREATE FUNCTION core.append_to_inbox(workspaces bigint[], sources bigint[], received timestamptz[], bodies bytea[])
RETURNS void LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
DECLARE
    before text := COALESCE(current_setting('tessera.workspace', true), '');
    batch bigint;
BEGIN
    FOR place IN 1 .. cardinality(bodies) LOOP
        PERFORM set_config('tessera.workspace', workspaces[place]::text, true);
        INSERT INTO inbox (workspace_id, source_id, received_at, body)
            VALUES (workspaces[place], sources[place], received[place], bodies[place]) RETURNING id INTO batch;
        INSERT INTO outbox (workspace_id, stage, subject_id, cause)
            VALUES (workspaces[place], 'INGESTION', batch, 'EVENT');
    END LOOP;
    PERFORM set_config('tessera.workspace', before, true);
END $$;
REVOKE ALL ON FUNCTION core.append_to_inbox FROM PUBLIC;
"""

# Bodies lie there for a second: to compress them costs more than to write them.
STORE_PLAIN = "ALTER TABLE core.inbox ALTER COLUMN body SET STORAGE EXTERNAL"


def key_without_constraint(to: str) -> models.ForeignKey:  # type: ignore[type-arg]  # has no parameters here
    return models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, to=to)


class Migration(migrations.Migration):
    dependencies = [("cdp", "0005_source_limits")]

    operations = [
        migrations.RunSQL(APPEND, "DROP FUNCTION core.append_to_inbox"),
        migrations.RunSQL(
            f"GRANT EXECUTE ON FUNCTION core.append_to_inbox TO {WEB}, {OPERATOR}", migrations.RunSQL.noop
        ),
        migrations.RunSQL(STORE_PLAIN, migrations.RunSQL.noop),
        migrations.AlterField("inboxbatch", "workspace", key_without_constraint("cdp.workspace")),
        migrations.AlterField("inboxbatch", "source", key_without_constraint("cdp.source")),
        migrations.AlterField("message", "workspace", key_without_constraint("cdp.workspace")),
        migrations.AlterField("message", "source", key_without_constraint("cdp.source")),
        migrations.AlterField("outboxrow", "workspace", key_without_constraint("cdp.workspace")),
        migrations.AlterField(
            "inboxbatch",
            "body",
            models.BinaryField(
                help_text='a JSON object {"batch": [...], "sentAt": ...}: the accepted events as they came'
            ),
        ),
        migrations.AlterField(
            "outboxrow",
            "cause",
            models.CharField(
                choices=[
                    ("EVENT", "an event or record arrived"),
                    ("LEARNT", "an identifier, a link or a value became known"),
                    ("MERGE", "profiles were merged"),
                    ("SPLIT", "a merge was undone"),
                    ("CONSENT", "a consent changed"),
                    ("DEFINITION", "the definition changed"),
                    ("DEADLINE", "time passed"),
                ],
                max_length=12,
            ),
        ),
    ]
