"""Files that people give the console to load, and the place in its input at which a run goes on."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, WEB, WORKER_BY_QUEUE
from cdp.models.access import grant, row_security

WORKER = WORKER_BY_QUEUE["ingestion"]


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0012_quality"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="bookmark",
            field=models.JSONField(
                db_default={}, default=dict, help_text="the place in its input that this position is"
            ),
        ),
        migrations.CreateModel(
            name="Upload",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("RECORDS", "records: rows of a source system"),
                            ("EVENTS", "events: facts with a time"),
                        ],
                        max_length=10,
                        verbose_name="kind",
                    ),
                ),
                ("name", models.CharField(max_length=255, verbose_name="file")),
                ("stored_as", models.CharField(help_text="its name below UPLOAD_DIR", max_length=80)),
                ("size", models.BigIntegerField(verbose_name="bytes")),
                (
                    "survey",
                    models.JSONField(default=dict, help_text="encoding and digest: the file is read through once"),
                ),
                ("mapping", models.TextField(blank=True, verbose_name="mapping")),
                (
                    "claimed_until",
                    models.DateTimeField(help_text="so long a worker is at it, or was killed at it", null=True),
                ),
                ("uploaded_at", models.DateTimeField(verbose_name="uploaded at")),
                (
                    "run",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        to="cdp.run",
                        verbose_name="run",
                    ),
                ),
                (
                    "source",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, to="cdp.source", verbose_name="source"
                    ),
                ),
                (
                    "uploaded_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="uploaded by",
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={"verbose_name": "file", "verbose_name_plural": "files", "db_table": "upload"},
        ),
        row_security("upload"),
        *(grant("SELECT, INSERT, UPDATE, DELETE", "upload", to=login) for login in (WEB, OPERATOR)),
        grant("SELECT, UPDATE (claimed_until), DELETE", "upload", to=WORKER),
    ]
