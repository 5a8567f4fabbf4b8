"""API keys may load files."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0023_lean_traits"),
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
                        ("files:write", "load files and see how far they are"),
                        ("quarantine:read", "read the quarantine"),
                        ("quarantine:write", "mend, replay and discard quarantined items"),
                        ("review:read", "read pairs to review and statistics of stewards"),
                        ("review:write", "judge pairs in the name of a steward"),
                    ],
                    max_length=40,
                ),
                size=None,
                verbose_name="scopes",
            ),
        ),
    ]
