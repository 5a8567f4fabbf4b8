"""Whom people belong with, and which likenesses united nobody. New tables alone, which old code does not know."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from cdp.kernel.logins import RIGHTS, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import erasure_rule, grant, purpose_view, row_security, with_gate

IDENTITY = Purpose.IDENTITY

# Whoever objects to being recognised belongs with nobody, whatever else they permit; and each member by their own word.
RECOGNISED = with_gate("{permitted:p}", IDENTITY)
RELATION = f"""
SELECT r.id, r.workspace_id, r.profile_id, r.kind, r.rule, r.key, r.confidence, r.shared, r.since, r.until
FROM core.relation r
WHERE EXISTS (SELECT 1 FROM core.profile p WHERE p.id = r.profile_id AND {{permitted:p}} AND {RECOGNISED})
"""  # noqa: S608  # a condition of our own
# Of all that people do, the group that they were said to be of and no more.
GROUP_CALLS = """
SELECT e.workspace_id, i.profile_id, e.occurred_at, e.properties ->> 'groupId' AS group_id
FROM core.event e JOIN core.identifier i ON i.id = e.identifier_id
WHERE e.kind = 'group' AND e.properties ->> 'groupId' IS NOT NULL AND {permitted:i}
"""
SHOWN_TO = (Purpose.ENRICHMENT, Purpose.SEGMENTATION, Purpose.ADVERTISING, Purpose.ANALYTICS)


def key() -> "models.BigAutoField[int, int]":
    return models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


def workspace() -> "models.ForeignKey[object, object]":
    return models.ForeignKey(
        db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace"
    )


class Migration(migrations.Migration):
    dependencies = [
        ("identity", "0007_review"),
        ("consent", "0018_last_erasure"),
        ("cdp", "0020_lean_events"),
    ]

    operations = [
        migrations.CreateModel(
            name="Relation",
            fields=[
                ("id", key()),
                ("profile_id", models.BigIntegerField(verbose_name="profile")),
                (
                    "kind",
                    models.CharField(
                        choices=[("HOUSEHOLD", "household"), ("ORGANISATION", "organisation")],
                        max_length=12,
                        verbose_name="kind",
                    ),
                ),
                (
                    "rule",
                    models.CharField(
                        choices=[
                            ("ADDRESS_AND_SURNAME", "same address and surname"),
                            ("PHONE_AND_SURNAME", "same telephone and surname"),
                            ("ADDRESS", "same address"),
                            ("EMAIL_DOMAIN", "same domain of e-mail"),
                            ("ORGANISATION_NAME", "same organisation"),
                            ("GROUP_CALL", "group call"),
                        ],
                        max_length=20,
                        verbose_name="rule",
                    ),
                ),
                ("key", models.BinaryField(max_length=32)),
                ("confidence", models.FloatField(verbose_name="confidence")),
                ("shared", models.JSONField(help_text="names of the traits that they have in common")),
                (
                    "since",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), verbose_name="since"),
                ),
                ("until", models.DateTimeField(null=True, verbose_name="until")),
                ("workspace", workspace()),
            ],
            options={"db_table": "relation", "verbose_name": "relation", "verbose_name_plural": "relations"},
        ),
        migrations.CreateModel(
            name="Refusal",
            fields=[
                ("id", key()),
                ("left_id", models.BigIntegerField()),
                ("right_id", models.BigIntegerField()),
                ("reason", models.CharField(max_length=10, verbose_name="reason")),
                ("evidence", models.JSONField(default=dict, verbose_name="evidence")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="created at"
                    ),
                ),
                ("workspace", workspace()),
            ],
            options={"db_table": "refusal", "verbose_name": "refusal", "verbose_name_plural": "refusals"},
        ),
        migrations.AddIndex("relation", models.Index(fields=["key"], name="relation_by_key")),
        migrations.AddIndex("relation", models.Index(fields=["profile_id"], name="relation_by_profile")),
        migrations.AddConstraint(
            "relation",
            models.UniqueConstraint(
                condition=models.Q(("until", None)), fields=("profile_id", "rule", "key"), name="relation_is_unique"
            ),
        ),
        migrations.AddIndex("refusal", models.Index(fields=["right_id"], name="refusal_by_right")),
        migrations.AddConstraint(
            "refusal", models.UniqueConstraint(fields=("left_id", "right_id"), name="refusal_is_unique")
        ),
        row_security("relation", "refusal"),
        grant("SELECT, INSERT, UPDATE (until)", "relation", to=IDENTITY),
        grant("SELECT, INSERT, UPDATE, DELETE", "refusal", to=IDENTITY),
        grant("SELECT", "relation", "refusal", to=WEB),
        grant("SELECT", "relation", to=RIGHTS),
        *(purpose_view(purpose, "relation", RELATION) for purpose in SHOWN_TO),
        purpose_view(IDENTITY, "event", GROUP_CALLS),
        erasure_rule("relation", "DELETE FROM relation WHERE profile_id = ANY($1 || $2)"),
        erasure_rule("refusal", "DELETE FROM refusal WHERE left_id = ANY($1) OR right_id = ANY($1)"),
    ]
