"""More rules of identity, and rules for which value of a trait survives."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant, purpose_view, row_security

CHOICES = [
    ("MOST_RECENT", "the most recent"),
    ("TRUSTED_SOURCE", "from the most trusted source"),
    ("MOST_FREQUENT", "the most frequent"),
    ("LONGEST", "the longest"),
]

# The API shows the golden record with all its candidates, under the purpose of the key.
ASKED = (Purpose.SEGMENTATION, Purpose.ADVERTISING, Purpose.ANALYTICS)
OBSERVED = """
SELECT t.id, t.workspace_id, t.identifier_id, t.source_id, t.name, t.value, t.observed_at, t.confidence
FROM core.identifier_trait t
WHERE EXISTS (SELECT 1 FROM core.identifier i WHERE i.id = t.identifier_id AND {permitted:i})
"""


class Migration(migrations.Migration):
    dependencies = [("identity", "0005_undo"), ("cdp", "0021_identity_scopes"), ("consent", "0018_last_erasure")]

    operations = [
        migrations.AddField(
            "identityrules",
            "priority",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=64),
                blank=True,
                db_default=[],
                default=list,
                help_text="which type of identifier holds when a limit is hit: the most trusted first",
                size=None,
                verbose_name="priority of types",
            ),
        ),
        migrations.AddField(
            "identityrules",
            "windows",
            models.JSONField(
                blank=True,
                db_default={},
                default=dict,
                help_text='identifier type → {"most": how many new ones, "days": within how many days}',
                verbose_name="limits in time",
            ),
        ),
        migrations.AddField(
            "identityrules",
            "blocked_patterns",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.TextField(),
                blank=True,
                db_default=[],
                default=list,
                help_text=r"regular expressions for `type:value` in small letters, for example ^email:.*@example\.com$",
                size=None,
                verbose_name="blocked patterns",
            ),
        ),
        migrations.AddField(
            "identityrules",
            "has_role_addresses_blocked",
            models.BooleanField(
                db_default=True,
                default=True,
                help_text="info@, contact@, service-client@ and the like are read by several people",
                verbose_name="block role addresses",
            ),
        ),
        migrations.AddField(
            "identityrules",
            "shared_after",
            models.PositiveIntegerField(
                db_default=25,
                default=25,
                help_text="an address, telephone or device that was seen with more than so many identifiers of one type is nobody's",
                verbose_name="shared after",
            ),
        ),
        migrations.CreateModel(
            name="SurvivorshipRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("trait", models.CharField(max_length=128, verbose_name="trait")),
                ("choice", models.CharField(choices=CHOICES, max_length=20, verbose_name="choice")),
                (
                    "sources",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=64),
                        blank=True,
                        default=list,
                        help_text="of the choice by source: names, the most trusted first; the others follow by their own trust",
                        size=None,
                        verbose_name="sources",
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "survivorship rule",
                "verbose_name_plural": "survivorship rules",
                "db_table": "survivorship_rule",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "trait"), name="survivorship_rule_is_unique")
                ],
            },
        ),
        row_security("survivorship_rule"),
        *(
            grant("SELECT", "survivorship_rule", to=purpose)
            for purpose in (Purpose.IDENTITY, Purpose.ENRICHMENT, *ASKED)
        ),
        *(purpose_view(purpose, "identifier_trait", OBSERVED) for purpose in ASKED),
        *(grant("SELECT, INSERT, UPDATE, DELETE", "survivorship_rule", to=login) for login in (WEB, OPERATOR)),
        grant("UPDATE (source_id, seen_at)", "sighting", to=Purpose.COLLECTION),
    ]
