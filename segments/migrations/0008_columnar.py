"""The columnar copy of the event log: how far it goes, its files, and the events that it may no longer be asked about.

What changes or goes of the log is written down in the transaction in which it does, so that a reader of the copy knows it
at once, whoever did it and by whichever way. The lock that the triggers share is taken alone by whoever copies: an event
is copied before it changes, and is then stale, or after.
"""

import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, RETENTION, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant, row_security

STALE = """
CREATE FUNCTION core.month_number(at timestamptz) RETURNS integer LANGUAGE sql IMMUTABLE
RETURN (12 * extract(year FROM at AT TIME ZONE 'UTC') + extract(month FROM at AT TIME ZONE 'UTC') - 1)::integer;

CREATE FUNCTION core.events_went_stale() RETURNS trigger
LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
DECLARE
    own bigint;
BEGIN
    FOR own IN SELECT DISTINCT workspace_id FROM stale LOOP
        PERFORM pg_advisory_xact_lock_shared(4713, own::integer);
    END LOOP;
    INSERT INTO stale_event (workspace_id, month, event_id, is_gone)
    SELECT s.workspace_id, core.month_number(s.occurred_at), s.id, TG_OP = 'DELETE'
    FROM stale s JOIN columnar_copy c ON c.workspace_id = s.workspace_id WHERE s.id <= c.copied_to;
    RETURN NULL;
END $$;
CREATE TRIGGER event_goes_stale AFTER DELETE ON core.event
    REFERENCING OLD TABLE AS stale FOR EACH STATEMENT EXECUTE FUNCTION core.events_went_stale();
CREATE TRIGGER event_turns_stale AFTER UPDATE ON core.event
    REFERENCING NEW TABLE AS stale FOR EACH STATEMENT EXECUTE FUNCTION core.events_went_stale();
"""
BACK = """
DROP TRIGGER event_goes_stale ON core.event;
DROP TRIGGER event_turns_stale ON core.event;
DROP FUNCTION core.events_went_stale;
DROP FUNCTION core.month_number;
"""

# A partition that is dropped fires no trigger. The function is changed where it stands.
DROPPED = """
DO $do$
DECLARE
    said text := pg_get_functiondef('core.drop_event_partition(date)'::regprocedure);
    place constant text := $text$    EXECUTE format('DROP TABLE core.%I', partition);$text$;
BEGIN
    IF strpos(said, place) = 0 THEN
        RAISE EXCEPTION 'core.drop_event_partition is not as it was expected';
    END IF;
    EXECUTE replace(said, place, place || $text$
    PERFORM pg_advisory_xact_lock_shared(4713, own::integer);
    INSERT INTO stale_event (workspace_id, month, is_gone)
    SELECT workspace_id, core.month_number(first::timestamp AT TIME ZONE 'UTC'), true FROM columnar_copy
    WHERE workspace_id = own;$text$);
END $do$;
"""

COLLECTION, SEGMENTATION = Purpose.COLLECTION, Purpose.SEGMENTATION
COPIED = "id, workspace_id, source_id, identifier_id, message_id, name, occurred_at, properties"


class Migration(migrations.Migration):
    dependencies = [("segments", "0007_rules"), ("consent", "0022_consents_end"), ("cdp", "0024_file_scope")]

    operations = [
        migrations.CreateModel(
            name="ColumnarCopy",
            fields=[
                (
                    "workspace",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        serialize=False,
                        to="cdp.workspace",
                    ),
                ),
                ("copied_to", models.BigIntegerField(default=0, help_text="id of an event")),
                (
                    "horizon",
                    models.BigIntegerField(default=0, help_text="up to here nothing will come any more, once …"),
                ),
                ("waits_for", models.JSONField(default=list, help_text="… these transactions have ended")),
                ("copied_at", models.DateTimeField(null=True)),
            ],
            options={"db_table": "columnar_copy"},
        ),
        migrations.CreateModel(
            name="ColumnarFile",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("month", models.IntegerField(help_text="of its events: year * 12 + month - 1")),
                ("name", models.CharField(max_length=100)),
                ("rows", models.BigIntegerField()),
                ("first_id", models.BigIntegerField()),
                ("last_id", models.BigIntegerField()),
                ("written_at", models.DateTimeField()),
                (
                    "retired_at",
                    models.DateTimeField(
                        null=True, help_text="others took its place; kept until its last reader is done"
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace"),
                ),
            ],
            options={
                "db_table": "columnar_file",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "name"), name="columnar_file_name_is_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="StaleEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("month", models.IntegerField()),
                ("event_id", models.BigIntegerField(null=True)),
                ("is_gone", models.BooleanField()),
                (
                    "workspace",
                    models.ForeignKey(
                        db_constraint=False, on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace"
                    ),
                ),
            ],
            options={"db_table": "stale_event"},
        ),
        row_security("columnar_copy", "columnar_file", "stale_event"),
        grant(f"SELECT ({COPIED})", "event", to=COLLECTION),
        grant("SELECT, INSERT, UPDATE", "columnar_copy", to=COLLECTION),
        grant("SELECT, INSERT, UPDATE, DELETE", "columnar_file", to=COLLECTION),
        grant("SELECT, DELETE", "stale_event", to=COLLECTION),
        grant("SELECT", "columnar_copy", "columnar_file", "stale_event", to=SEGMENTATION),
        *(grant("SELECT", "columnar_copy", "columnar_file", to=login) for login in (WEB, OPERATOR)),
        grant("SELECT", "columnar_copy", to=RETENTION),
        grant("INSERT", "stale_event", to=RETENTION),
        migrations.RunSQL(STALE, BACK),
        migrations.RunSQL(DROPPED, migrations.RunSQL.noop),
    ]
