"""The keys of a person's messages are found by their digests."""

from django.db import migrations

RULE = """
UPDATE core.erasure_rule SET statement = 'DELETE FROM message m USING event e WHERE e.identifier_id = ANY($1)
    AND m.high = hashtextextended(e.message_id, e.source_id) AND m.low = hashtextextended(e.message_id, ~e.source_id)'
WHERE table_name = 'message'
"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0022_consents_end"), ("cdp", "0027_message_digests")]

    operations = [migrations.RunSQL(RULE)]
