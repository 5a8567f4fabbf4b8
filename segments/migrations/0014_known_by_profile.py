"""Of each profile one deadline is kept, the first, with the segments that wait for it; and its memberships are found by it.

A row for each profile and segment was most of what an arrival wrote and read, of which hardly any was ever waited for.
"""

import django.db.models.deletion
from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

from cdp.kernel.logins import WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant, row_security

SET_ASIDE = """
CREATE TABLE core.first_deadline AS
SELECT profile_id, workspace_id, due_at, array_agg(segment_id) AS segments FROM (
    SELECT d.*, rank() OVER (PARTITION BY profile_id ORDER BY due_at) AS place FROM core.deadline d
) AS ranked WHERE place = 1 GROUP BY profile_id, workspace_id, due_at
"""
BRING_BACK = """
INSERT INTO core.deadline (profile_id, workspace_id, due_at, segments)
SELECT profile_id, workspace_id, due_at, segments FROM core.first_deadline;
DROP TABLE core.first_deadline
"""


class Migration(migrations.Migration):
    dependencies = [("cdp", "0026_source_time_zone"), ("segments", "0013_known")]

    operations = [
        migrations.RunSQL(SET_ASIDE, migrations.RunSQL.noop),
        migrations.DeleteModel("Deadline"),
        migrations.CreateModel(
            name="Deadline",
            fields=[
                (
                    "profile",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        serialize=False,
                        to="cdp.profile",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="cdp.workspace",
                    ),
                ),
                ("due_at", models.DateTimeField()),
                (
                    "segments",
                    ArrayField(
                        base_field=models.BigIntegerField(),
                        help_text="those that wait for it; what waits longer is found again then",
                    ),
                ),
            ],
            options={
                "db_table": "deadline",
                "indexes": [models.Index(fields=["workspace", "due_at"], name="deadline_by_time")],
            },
        ),
        row_security("deadline"),
        grant("SELECT, INSERT, UPDATE, DELETE", "deadline", to=Purpose.SEGMENTATION),
        grant("SELECT", "deadline", to=WEB),
        migrations.RunSQL(BRING_BACK, migrations.RunSQL.noop),
        migrations.AddIndex(
            "membership",
            models.Index(
                fields=["profile"],
                include=("segment", "id", "workspace"),
                condition=models.Q(left_at=None),
                name="membership_open_by_profile",
            ),
        ),
    ]
