"""API keys may be for the rules of identity."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0020_lean_events"),
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
                        ("plans:read", "read tracking plans and quality reports"),
                        ("plans:write", "write tracking plans and alert thresholds"),
                        ("consents:read", "read consents"),
                        ("consents:write", "record consents"),
                        ("rights:read", "read requests of people"),
                        ("rights:write", "receive, verify and answer requests of people"),
                        ("identity:read", "read rules of identity and of the golden record"),
                        ("identity:write", "change rules of identity and of the golden record"),
                        ("quarantine:read", "read the quarantine"),
                        ("quarantine:write", "mend, replay and discard quarantined items"),
                    ],
                    max_length=40,
                ),
                size=None,
                verbose_name="scopes",
            ),
        ),
    ]
