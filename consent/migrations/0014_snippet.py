"""Consent strings of events: whose vendor a workspace is, what they answered, and signals that speak of them."""

import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import RETENTION, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant, row_security


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0015_rights_scopes"),
        ("consent", "0013_speeds"),
    ]

    operations = [
        migrations.CreateModel(
            name="ConsentString",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("tcString", "TC string"), ("gppString", "GPP string")],
                        max_length=9,
                        verbose_name="string",
                    ),
                ),
                (
                    "digest",
                    models.BinaryField(help_text="SHA-256 of the text and of the sections in force", max_length=32),
                ),
                ("vendor_id", models.PositiveIntegerField(null=True, verbose_name="vendor number")),
                (
                    "purposes",
                    models.JSONField(
                        help_text="number of the purpose of TCF → may the vendor pursue it", verbose_name="purposes"
                    ),
                ),
                ("opt_outs", models.JSONField(help_text="name → did the person opt out", verbose_name="opt-outs")),
                (
                    "faults",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=40), default=list, size=None, verbose_name="faults"
                    ),
                ),
                (
                    "unreadable",
                    models.CharField(blank=True, default="", max_length=200, verbose_name="unreadable because"),
                ),
                ("times_seen", models.PositiveBigIntegerField(verbose_name="events")),
                ("first_seen_at", models.DateTimeField(verbose_name="first seen at")),
                ("last_seen_at", models.DateTimeField(verbose_name="last seen at")),
            ],
            options={
                "verbose_name": "consent string",
                "verbose_name_plural": "consent strings",
                "db_table": "consent_string",
            },
        ),
        migrations.RemoveConstraint(
            model_name="signalmapping",
            name="signal_mapping_names_a_category",
        ),
        migrations.AddField(
            model_name="consentsettings",
            name="vendor_id",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="of the Global Vendor List: whom TC strings must name; without one they say nothing",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(65535),
                ],
                verbose_name="vendor number",
            ),
        ),
        migrations.AlterField(
            model_name="signalmapping",
            name="kind",
            field=models.CharField(
                choices=[
                    ("CATEGORY", "category of a consent banner"),
                    ("GPC", "Global Privacy Control"),
                    ("TCF", "purpose of TCF, by consent"),
                    ("OPT_OUT", "opt-out under a law of the United States"),
                ],
                max_length=8,
                verbose_name="signal",
            ),
        ),
        migrations.AddConstraint(
            model_name="signalmapping",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("category", ""), ("kind", "GPC")),
                    models.Q(models.Q(("kind", "GPC"), _negated=True), models.Q(("category", ""), _negated=True)),
                    _connector="OR",
                ),
                name="signal_mapping_names_a_category",
            ),
        ),
        migrations.AddField(
            model_name="consentstring",
            name="workspace",
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace"),
        ),
        migrations.AddConstraint(
            model_name="consentstring",
            constraint=models.UniqueConstraint(fields=("workspace", "kind", "digest"), name="consent_string_is_unique"),
        ),
        migrations.AlterField(
            model_name="signalmapping",
            name="category",
            field=models.CharField(
                blank=True,
                help_text="as the banner writes it; the number of a purpose of TCF; sale, sharing, targeted_advertising or gpc of an opt-out",
                max_length=100,
                verbose_name="category",
            ),
        ),
        row_security("consent_string"),
        grant("SELECT, INSERT, UPDATE", "consent_string", to=Purpose.COLLECTION),
        grant("SELECT", "consent_string", to=WEB),
        grant("SELECT (id, workspace_id, last_seen_at), DELETE", "consent_string", to=RETENTION),
        grant("SELECT (workspace_id, vendor_id)", "consent_settings", to=Purpose.COLLECTION),
    ]
