"""Destinations are told of people who were erased, and each time that one was told is kept."""

import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, RIGHTS, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant, row_security

# A webhook can be told; what others there are say so when they are made.
WEBHOOKS = "UPDATE core.destination SET erases = 'MEMBERS' WHERE kind = 'webhook'"


class Migration(migrations.Migration):
    dependencies = [
        ("activation", "0004_one_sender"),
        ("cdp", "0015_rights_scopes"),
        ("consent", "0010_register"),
    ]

    operations = [
        migrations.AddField(
            model_name="destination",
            name="erases",
            field=models.CharField(
                choices=[("NOBODY", "NOBODY"), ("MEMBERS", "MEMBERS"), ("EVERYBODY", "EVERYBODY")],
                db_default="NOBODY",
                default="NOBODY",
                help_text="whom it is told of when somebody is erased: as its kind says",
                max_length=9,
            ),
        ),
        migrations.CreateModel(
            name="ErasureAttempt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveSmallIntegerField(verbose_name="try")),
                ("tried_at", models.DateTimeField(verbose_name="at")),
                (
                    "reply",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="empty: none, or to come again",
                        max_length=12,
                        verbose_name="reply",
                    ),
                ),
                ("code", models.CharField(blank=True, default="", max_length=64, verbose_name="code")),
                (
                    "order",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attempts",
                        to="consent.erasureorder",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace"),
                ),
            ],
            options={
                "verbose_name": "notice of an erasure",
                "verbose_name_plural": "notices of erasures",
                "db_table": "erasure_attempt",
                "constraints": [models.UniqueConstraint(fields=("order", "number"), name="erasure_attempt_is_unique")],
            },
        ),
        migrations.RunSQL(WEBHOOKS, migrations.RunSQL.noop),
        row_security("erasure_attempt"),
        grant("SELECT, INSERT, UPDATE (reply, code)", "erasure_attempt", to=Purpose.ADVERTISING),
        *(grant("SELECT", "erasure_attempt", to=login) for login in (WEB, OPERATOR, RIGHTS)),
        grant("SELECT (erases)", "destination", to=RIGHTS),
    ]
