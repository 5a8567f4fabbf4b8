"""Systems that are read from: their settings, their secrets, and how far each has been read."""

import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, WEB, WORKER_BY_QUEUE
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant, row_security

WORKER = WORKER_BY_QUEUE["ingestion"]


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0003_console_access"),
    ]

    operations = [
        migrations.AlterField(
            model_name="source",
            name="kind",
            field=models.CharField(
                choices=[
                    ("HTTP", "tracking API"),
                    ("FILE", "files"),
                    ("ENRICHMENT", "enrichment"),
                    ("STEWARD", "data steward"),
                    ("WEBHOOK", "signed webhook"),
                    ("TYPEFORM", "Typeform"),
                    ("SURVEYMONKEY", "SurveyMonkey"),
                    ("SALESFORCE", "Salesforce"),
                    ("HUBSPOT", "HubSpot"),
                    ("GA4", "Google Analytics 4"),
                    ("KAFKA", "Kafka"),
                    ("STREAM", "Valkey or Redis stream"),
                ],
                max_length=20,
                verbose_name="kind",
            ),
        ),
        migrations.CreateModel(
            name="Connection",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("config", models.JSONField(default=dict, verbose_name="settings")),
                (
                    "secrets",
                    models.BinaryField(blank=True, default=bytes, help_text="JSON under FIELD_ENCRYPTION_KEYS"),
                ),
                ("cursor", models.JSONField(default=dict, verbose_name="read up to")),
                ("is_enabled", models.BooleanField(default=True, verbose_name="enabled")),
                (
                    "every_seconds",
                    models.PositiveIntegerField(default=900, verbose_name="seconds between two readings"),
                ),
                (
                    "due_at",
                    models.DateTimeField(
                        blank=True, help_text="empty: it sends by itself", null=True, verbose_name="due at"
                    ),
                ),
                ("failures", models.PositiveIntegerField(default=0, verbose_name="failures in a row")),
                ("error", models.TextField(blank=True, verbose_name="last error")),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created at")),
                (
                    "source",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, to="cdp.source", verbose_name="source"
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "connection",
                "verbose_name_plural": "connections",
                "db_table": "connection",
                "indexes": [models.Index(fields=["due_at"], name="connection_by_due_time")],
            },
        ),
        row_security("connection"),
        *(grant("SELECT, INSERT, UPDATE, DELETE", "connection", to=login) for login in (WEB, OPERATOR)),
        *(
            grant("SELECT, UPDATE (cursor, due_at, failures, error)", "connection", to=reader)
            for reader in (WORKER, Purpose.COLLECTION)
        ),
    ]
