"""Memberships and deadlines carry only the indexes and checks that somebody needs, as what ingestion writes does.

Who is in a segment is read by the unique key of open memberships, the deadlines of a segment by their primary key.
"""

from typing import Any

import django.db.models.deletion
from django.db import migrations, models


def key(to: str, **options: Any) -> "models.ForeignKey[Any, Any]":
    return models.ForeignKey(
        db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, to=to, **options
    )


class Migration(migrations.Migration):
    dependencies = [("segments", "0004_cause_learnt")]

    operations = [
        migrations.AlterField("membership", "workspace", key("cdp.workspace")),
        migrations.AlterField(
            "membership", "segment", key("segments.segment", related_name="memberships", verbose_name="segment")
        ),
        migrations.AlterField("membership", "profile", key("cdp.profile", verbose_name="profile")),
        migrations.AlterField("membership", "version", key("segments.segmentversion", verbose_name="version")),
        migrations.AlterField("deadline", "workspace", key("cdp.workspace")),
        migrations.AlterField("deadline", "segment", key("segments.segment")),
    ]
