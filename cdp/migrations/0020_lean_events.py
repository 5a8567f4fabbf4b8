"""What an event costs when it is stored: a narrower index, and a ledger of messages that is not swept for nothing.

Events are looked up by whose they are and by when; of one person there are few, and their names tell themselves apart
without an index. The names made it twice as large, and a fifth of what storing an event cost. Messages are read by their
key alone and never changed: sweeping them a second time, when they have doubled, is soon enough.
"""

from django.db import migrations

INDEX = """
DROP INDEX core.event_by_identifier;
CREATE INDEX event_by_identifier ON core.event (identifier_id, occurred_at);
"""
BACK = """
DROP INDEX core.event_by_identifier;
CREATE INDEX event_by_identifier ON core.event (identifier_id, name, occurred_at);
"""


class Migration(migrations.Migration):
    dependencies = [("cdp", "0019_packs")]

    operations = [
        migrations.RunSQL(INDEX, BACK),
        migrations.RunSQL(
            "ALTER TABLE core.message SET (autovacuum_vacuum_insert_scale_factor = 1)",
            "ALTER TABLE core.message RESET (autovacuum_vacuum_insert_scale_factor)",
        ),
    ]
