"""What signals in events mean to a workspace, and the right of the store to write what they say into the ledger."""

import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant, row_security


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0014_lean_keys"),
        ("consent", "0005_silent_until_heard"),
    ]

    operations = [
        migrations.CreateModel(
            name="SignalMapping",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("CATEGORY", "category of a consent banner"), ("GPC", "Global Privacy Control")],
                        max_length=8,
                        verbose_name="signal",
                    ),
                ),
                ("category", models.CharField(blank=True, max_length=100, verbose_name="category")),
                (
                    "purpose",
                    models.CharField(
                        choices=[
                            ("collection", "collection"),
                            ("identity", "identity"),
                            ("enrichment", "enrichment"),
                            ("segmentation", "segmentation"),
                            ("learning", "learning"),
                            ("advertising", "advertising"),
                            ("analytics", "analytics"),
                        ],
                        max_length=20,
                        verbose_name="purpose",
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "signal",
                "verbose_name_plural": "signals",
                "db_table": "signal_mapping",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("workspace", "kind", "category", "purpose"), name="signal_mapping_is_unique"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("category", ""), ("kind", "GPC")),
                            models.Q(("kind", "CATEGORY"), models.Q(("category", ""), _negated=True)),
                            _connector="OR",
                        ),
                        name="signal_mapping_names_a_category",
                    ),
                ],
            },
        ),
        row_security("signal_mapping"),
        *(grant("SELECT, INSERT, DELETE", "signal_mapping", to=login) for login in (WEB, OPERATOR)),
        grant("SELECT", "signal_mapping", to=Purpose.COLLECTION),
        # The one purpose that writes the ledger: what the event of a person says is stored with the event.
        grant("SELECT, INSERT", "consent_record", to=Purpose.COLLECTION),
    ]
