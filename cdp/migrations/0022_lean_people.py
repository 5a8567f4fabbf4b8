"""Somebody new is written into no index that holds only the few: those whose permission ends, and those who were merged.

That a row is of a workspace which exists, row-level security says already, as it does for what hangs on an identifier.
"""

from typing import Any

import django.db.models.deletion
from django.db import migrations, models

EXPIRING = models.Q(permitted_until__isnull=False)
MERGED = models.Q(merged_into__isnull=False)


def key(to: str, **options: Any) -> "models.ForeignKey[Any, Any]":
    return models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to=f"cdp.{to}", **options)


class Migration(migrations.Migration):
    dependencies = [("cdp", "0021_identity_scopes")]

    operations = [
        migrations.AlterField("identifier", "workspace", key("workspace", db_constraint=False)),
        migrations.AlterField("profile", "workspace", key("workspace", db_constraint=False)),
        migrations.AlterField(
            "profile", "merged_into", key("profile", null=True, blank=True, verbose_name="merged into")
        ),
        migrations.RemoveIndex("profile", "profile_by_expiry"),
        migrations.AddIndex(
            "profile", models.Index(fields=["permitted_until"], condition=EXPIRING, name="profile_by_expiry")
        ),
        migrations.AddIndex("profile", models.Index(fields=["merged_into"], condition=MERGED, name="profile_merged")),
    ]
