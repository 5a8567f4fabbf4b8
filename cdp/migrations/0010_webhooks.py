"""Webhooks that only announce something: what is to be fetched, and the right of workers to take it in."""

import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant, row_security


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0009_connections_more"),
    ]

    operations = [
        migrations.CreateModel(
            name="Announcement",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(help_text="the sender's own id of the notification", max_length=100)),
                ("body", models.JSONField(help_text="the notification as it came: ids, no answers")),
                ("received_at", models.DateTimeField()),
                ("due_at", models.DateTimeField(null=True)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("error", models.CharField(blank=True, help_text="code of the last failure", max_length=64)),
                ("source", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.source")),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "db_table": "announcement",
                "indexes": [
                    models.Index(
                        condition=models.Q(("due_at__isnull", False)),
                        fields=["due_at"],
                        name="announcement_by_due_time",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("source", "key"), name="announcement_is_unique"),
                ],
            },
        ),
        row_security("announcement"),
        grant("SELECT, INSERT", "announcement", to=WEB),
        grant("SELECT, UPDATE (due_at, attempts, error)", "announcement", to=Purpose.COLLECTION),
        # What a worker fetches or reads from a stream goes in by the same door as a request.
        grant("INSERT", "inbox", to=Purpose.COLLECTION),
        migrations.RunSQL(
            f"GRANT EXECUTE ON FUNCTION core.append_to_inbox TO {Purpose.COLLECTION}", migrations.RunSQL.noop
        ),
    ]
