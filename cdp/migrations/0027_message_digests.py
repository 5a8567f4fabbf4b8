"""The ledger of messages keeps digests: half of the bytes, a level of its index less, and of what a sender wrote nothing.

The table is rewritten once, in place. What the digests were made of is not there any more, so there is no way back.
"""

from django.db import migrations, models

# Both are computed of a row as it was.
DIGEST = """
ALTER TABLE core.message
    ALTER COLUMN source_id TYPE bigint USING hashtextextended(message_id, source_id),
    ALTER COLUMN message_id TYPE bigint USING hashtextextended(message_id, ~source_id);
ALTER TABLE core.message RENAME COLUMN source_id TO high;
ALTER TABLE core.message RENAME COLUMN message_id TO low;
"""


class Migration(migrations.Migration):
    dependencies = [("cdp", "0026_source_time_zone")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(DIGEST)],
            state_operations=[
                migrations.DeleteModel("message"),
                migrations.CreateModel(
                    name="Message",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "high", "low", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("high", models.BigIntegerField()),
                        ("low", models.BigIntegerField()),
                        (
                            "workspace",
                            models.ForeignKey(
                                db_constraint=False, db_index=False, on_delete=models.CASCADE, to="cdp.workspace"
                            ),
                        ),
                    ],
                    options={"db_table": "message"},
                ),
            ],
        ),
    ]
