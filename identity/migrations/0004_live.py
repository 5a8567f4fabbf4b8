"""Blocking keys: hashes by which a record that arrives finds the records that it may be the same person as."""

import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.purposes import Purpose
from cdp.models.access import erasure_rule, grant, row_security

IDENTITY = Purpose.IDENTITY


class Migration(migrations.Migration):
    dependencies = [("identity", "0003_lean_keys"), ("consent", "0018_last_erasure")]

    operations = [
        migrations.CreateModel(
            name="BlockingIndex",
            fields=[
                (
                    "workspace",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        serialize=False,
                        to="cdp.workspace",
                    ),
                ),
                (
                    "is_day_first",
                    models.BooleanField(help_text="how the batch reads a date that can be read in two ways"),
                ),
                ("built_at", models.DateTimeField(verbose_name="built at")),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, to="identity.linkagemodel", verbose_name="model"
                    ),
                ),
            ],
            options={"db_table": "blocking_index"},
        ),
        migrations.CreateModel(
            name="BlockingKey",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "key", "identifier_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("identifier_id", models.BigIntegerField()),
                ("key", models.BigIntegerField()),
                (
                    "workspace",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="cdp.workspace",
                    ),
                ),
            ],
            options={
                "db_table": "blocking_key",
                "indexes": [models.Index(fields=["identifier_id"], name="blocking_key_by_identifier")],
            },
        ),
        row_security("blocking_index", "blocking_key"),
        grant("SELECT, INSERT, UPDATE", "blocking_index", to=IDENTITY),
        grant("SELECT, INSERT, DELETE", "blocking_key", to=IDENTITY),
        erasure_rule("blocking_key", "DELETE FROM blocking_key WHERE identifier_id = ANY($1)", place=8),
    ]
