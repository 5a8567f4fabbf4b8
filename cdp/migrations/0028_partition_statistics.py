"""A partition of events is born with what is known of every month: few names, many people, hardly a workspace but one.

Until it is analysed for the first time, which may be a minute, Postgres took the workspace for a rare one and read the
events of all people by their names to find those of a few: at the begin of a month each evaluation read the whole month.
The first ANALYZE puts in its place what it finds. Postgres 18 is the first that takes statistics.
"""

from django.db import migrations

ENSURE_PARTITION = """
CREATE OR REPLACE FUNCTION core.ensure_event_partition(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
    first date := date_trunc('month', month);
    partition text := format('event_%s', to_char(first, 'YYYY_MM'));
BEGIN
    IF to_regclass('core.' || partition) IS NOT NULL OR first < '1990-01-01' OR first > now() + interval '2 years' THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('core.ensure_event_partition'));
    EXECUTE format(
        'CREATE TABLE IF NOT EXISTS core.%I PARTITION OF core.event FOR VALUES FROM (%L) TO (%L)',
        partition, first, (first + interval '1 month')::date
    );{statistics}
END $$;
"""
STATISTICS = """
    IF current_setting('server_version_num')::integer >= 180000 THEN
        PERFORM pg_restore_attribute_stats(
            'schemaname', 'core', 'relname', partition, 'attname', guess.name, 'inherited', false,
            'null_frac', 0::real, 'avg_width', guess.width, 'n_distinct', guess.values
        ) FROM (VALUES ('workspace_id', 8, 1::real), ('name', 16, 3::real), ('identifier_id', 8, -0.1::real))
            AS guess (name, width, values);
    END IF;"""


def ensuring(statistics: str) -> str:
    return ENSURE_PARTITION.replace("{statistics}", statistics)


class Migration(migrations.Migration):
    dependencies = [("cdp", "0027_message_digests")]

    operations = [migrations.RunSQL(ensuring(STATISTICS), ensuring(""))]
