"""Somebody new is written into no index that holds only the few: those whose permission ends, and those who were merged.

That a row is of a workspace which exists, row-level security says already, as it does for what hangs on an identifier.
"""

import django.db.models.deletion
from django.db import migrations, models

CASCADE = django.db.models.deletion.CASCADE
EXPIRING = models.Q(permitted_until__isnull=False)
MERGED = models.Q(merged_into__isnull=False)
WORKSPACE = models.ForeignKey(to="cdp.workspace", on_delete=CASCADE, db_constraint=False, db_index=False)
MERGED_INTO = models.ForeignKey(
    to="cdp.profile", on_delete=CASCADE, null=True, blank=True, db_index=False, verbose_name="merged into"
)


class Migration(migrations.Migration):
    dependencies = [("cdp", "0021_identity_scopes")]

    operations = [
        migrations.AlterField("identifier", "workspace", WORKSPACE),
        migrations.AlterField("profile", "workspace", WORKSPACE),
        migrations.AlterField("profile", "merged_into", MERGED_INTO),
        migrations.RemoveIndex("profile", "profile_by_expiry"),
        migrations.AddIndex(
            "profile", models.Index(fields=["permitted_until"], condition=EXPIRING, name="profile_by_expiry")
        ),
        migrations.AddIndex("profile", models.Index(fields=["merged_into"], condition=MERGED, name="profile_merged")),
    ]
