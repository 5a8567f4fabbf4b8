"""Quarantine that can be replayed: how each thing was to be read, what became of it, and what people ordered."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant, row_security

NEW = ("quarantine_reading", "quarantine_order")


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0006_door"),
    ]

    operations = [
        migrations.AlterField(
            model_name="apikey",
            name="scopes",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    choices=[
                        ("profiles:read", "read profiles"),
                        ("segments:read", "read segments and members"),
                        ("segments:write", "create and change segments"),
                        ("consents:read", "read consents"),
                        ("consents:write", "record consents"),
                        ("quarantine:read", "read the quarantine"),
                        ("quarantine:write", "mend, replay and discard quarantined items"),
                    ],
                    max_length=40,
                ),
                size=None,
                verbose_name="scopes",
            ),
        ),
        migrations.CreateModel(
            name="QuarantineReading",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.BinaryField(max_length=32)),
                ("body", models.JSONField()),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "db_table": "quarantine_reading",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "digest"), name="quarantine_reading_is_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="QuarantineOrder",
            fields=[
                (
                    "run",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        serialize=False,
                        to="cdp.run",
                    ),
                ),
                ("kind", models.CharField(choices=[("REPLAY", "replay"), ("DISCARD", "discard")], max_length=8)),
                ("chosen", models.JSONField(help_text="the filter")),
                ("last_item", models.BigIntegerField()),
                ("mend", models.JSONField(default=list)),
                ("mapping", models.JSONField(null=True)),
                ("reason", models.TextField(blank=True)),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={"db_table": "quarantine_order"},
        ),
        migrations.AlterField(
            model_name="quarantineditem",
            name="digest",
            field=models.BinaryField(
                help_text="of what came and how it was to be read: again is the same", max_length=32
            ),
        ),
        migrations.AddField(
            model_name="quarantineditem",
            name="reading",
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, to="cdp.quarantinereading"),
        ),
        migrations.AddField(
            model_name="quarantineditem",
            name="discarded_at",
            field=models.DateTimeField(
                blank=True, help_text="its text is erased", null=True, verbose_name="discarded at"
            ),
        ),
        migrations.AddField(
            model_name="quarantineditem",
            name="tried_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="tried again at"),
        ),
        migrations.AddField(
            model_name="quarantineditem",
            name="tried_code",
            field=models.CharField(blank=True, db_default="", max_length=64, verbose_name="refused again with"),
        ),
        migrations.AddField(
            model_name="quarantineditem",
            name="run",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                to="cdp.run",
                verbose_name="run",
            ),
        ),
        migrations.AddIndex(
            model_name="quarantineditem",
            index=models.Index(
                condition=models.Q(("discarded_at", None), ("replayed_at", None)),
                fields=["workspace", "code", "id"],
                name="quarantine_waiting",
            ),
        ),
        row_security(*NEW),
        grant("SELECT, INSERT", *NEW, to=WEB),
        grant("SELECT, INSERT", *NEW, to=OPERATOR),
        grant("SELECT, INSERT, DELETE", "quarantine_reading", to=Purpose.COLLECTION),
        grant("SELECT", "quarantine_order", to=Purpose.COLLECTION),
        # The console says before a replay what is a duplicate.
        grant("SELECT", "message", to=WEB),
    ]
