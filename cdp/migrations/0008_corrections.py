"""Error dictionaries of workspaces, the mappings that records were read by, and under which version each record was."""

import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, PURPOSES_BY_LOGIN, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant, row_security


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0007_replay"),
    ]

    operations = [
        migrations.CreateModel(
            name="Correction",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("DOMAIN", "mail domain"), ("TOWN", "town")], max_length=10, verbose_name="kind"
                    ),
                ),
                ("wrong", models.CharField(max_length=200, verbose_name="wrong")),
                (
                    "key",
                    models.CharField(help_text="`wrong` as it is looked up, in any case and accent", max_length=200),
                ),
                ("right", models.CharField(max_length=200, verbose_name="right")),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created at")),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "correction",
                "verbose_name_plural": "corrections",
                "db_table": "correction",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "kind", "key"), name="correction_is_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="MappingText",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(max_length=32)),
                ("text", models.TextField()),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "db_table": "mapping_text",
                "constraints": [models.UniqueConstraint(fields=("workspace", "digest"), name="mapping_text_is_unique")],
            },
        ),
        # Defaults of the database: code that does not know these columns goes on writing records.
        migrations.AddField(
            model_name="record",
            name="normal_version",
            field=models.PositiveSmallIntegerField(
                db_default=1, default=1, help_text="of the normalisation that read `fields`"
            ),
        ),
        migrations.AddField(
            model_name="record",
            name="dictionary_digest",
            field=models.CharField(
                blank=True, db_default="", default="", help_text="of the corrections at that time", max_length=32
            ),
        ),
        migrations.AddField(
            model_name="record",
            name="mapping_digest",
            field=models.CharField(
                blank=True, db_default="", default="", help_text="of its mapping text; empty: not known", max_length=32
            ),
        ),
        row_security("correction", "mapping_text"),
        *(grant("SELECT, INSERT, UPDATE, DELETE", "correction", to=login) for login in (WEB, OPERATOR)),
        *(grant("SELECT", "correction", to=reader) for reader in (*PURPOSES_BY_LOGIN, *Purpose)),
        grant("SELECT, INSERT", "mapping_text", to=Purpose.COLLECTION),
    ]
