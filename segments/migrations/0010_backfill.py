"""A version of a segment is computed beside the one that serves: what is under way, its answers, and who was touched."""

from typing import Any

import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import erasure_rule, grant, row_security


def loose_key(to: str) -> "models.ForeignKey[Any, Any]":
    return models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, to=to)


class Migration(migrations.Migration):
    dependencies = [("segments", "0009_lists_and_ranks"), ("cdp", "0024_file_scope"), ("consent", "0022_consents_end")]

    operations = [
        migrations.CreateModel(
            name="Backfill",
            fields=[
                (
                    "version",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        serialize=False,
                        to="segments.segmentversion",
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
                (
                    "segment",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="backfill", to="segments.segment"
                    ),
                ),
                ("run", models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, to="cdp.run")),
            ],
            options={"db_table": "backfill"},
        ),
        migrations.CreateModel(
            name="StagedAnswer",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "version_id", "profile_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("is_in", models.BooleanField()),
                ("next_change_at", models.DateTimeField(null=True)),
                ("workspace", loose_key("cdp.workspace")),
                ("version", loose_key("segments.segmentversion")),
                ("profile", loose_key("cdp.profile")),
            ],
            options={
                "db_table": "staged_answer",
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_change_at__isnull", False)),
                        fields=["version", "next_change_at"],
                        name="staged_answer_by_time",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="BackfillTouch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("workspace", loose_key("cdp.workspace")),
                ("version", loose_key("segments.segmentversion")),
                ("profile", loose_key("cdp.profile")),
            ],
            options={
                "db_table": "backfill_touch",
                "indexes": [models.Index(fields=["version", "id"], name="backfill_touch_in_order")],
            },
        ),
        row_security("backfill", "staged_answer", "backfill_touch"),
        grant("SELECT, INSERT, UPDATE, DELETE", "backfill", "staged_answer", to=Purpose.SEGMENTATION),
        grant("SELECT, INSERT, DELETE", "backfill_touch", to=Purpose.SEGMENTATION),
        grant("SELECT", "backfill", to=WEB),
        erasure_rule("staged_answer", "DELETE FROM staged_answer WHERE profile_id = ANY($1 || $2)", place=21),
        erasure_rule("backfill_touch", "DELETE FROM backfill_touch WHERE profile_id = ANY($1 || $2)", place=21),
    ]
