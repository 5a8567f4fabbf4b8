"""Tracking plans: versions that never change, which one holds, and how often events broke it."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import append_only, grant, row_security

# The plan of a source is one of its own. Checked at commit, so that a workspace can be closed in any order.
LIVE_PLAN = """
ALTER TABLE core.source ADD CONSTRAINT source_live_plan_is_its_own
    FOREIGN KEY (live_plan_id, id) REFERENCES core.tracking_plan_version (id, source_id)
    DEFERRABLE INITIALLY DEFERRED
"""


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0010_webhooks"),
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
                        ("quarantine:read", "read the quarantine"),
                        ("quarantine:write", "mend, replay and discard quarantined items"),
                    ],
                    max_length=40,
                ),
                size=None,
                verbose_name="scopes",
            ),
        ),
        migrations.CreateModel(
            name="TrackingPlanVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField(verbose_name="version")),
                ("document", models.JSONField(verbose_name="plan")),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                (
                    "author",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="author",
                    ),
                ),
                (
                    "source",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="plan_versions",
                        to="cdp.source",
                        verbose_name="source",
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "tracking plan",
                "verbose_name_plural": "tracking plans",
                "db_table": "tracking_plan_version",
                "constraints": [
                    models.UniqueConstraint(fields=("source", "number"), name="tracking_plan_version_is_unique"),
                    models.UniqueConstraint(fields=("id", "source"), name="tracking_plan_version_has_one_source"),
                ],
            },
        ),
        migrations.CreateModel(
            name="PlanViolation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(verbose_name="day")),
                ("event", models.TextField(verbose_name="event")),
                ("path", models.TextField(blank=True, verbose_name="place")),
                ("keyword", models.CharField(max_length=40, verbose_name="rule")),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("BLOCK", "refuse the event"),
                            ("OMIT", "leave the properties out"),
                            ("WARN", "keep and count"),
                        ],
                        max_length=5,
                        verbose_name="what happened",
                    ),
                ),
                ("slot", models.PositiveSmallIntegerField()),
                ("events", models.PositiveBigIntegerField(verbose_name="events")),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="violations",
                        to="cdp.trackingplanversion",
                    ),
                ),
            ],
            options={
                "verbose_name": "violation of a plan",
                "verbose_name_plural": "violations of plans",
                "db_table": "plan_violation",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("version", "day", "event", "path", "keyword", "action", "slot"),
                        name="plan_violation_is_counted_once",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="source",
            name="live_plan",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="cdp.trackingplanversion",
                verbose_name="live tracking plan",
            ),
        ),
        migrations.RunSQL(LIVE_PLAN, "ALTER TABLE core.source DROP CONSTRAINT source_live_plan_is_its_own"),
        row_security("tracking_plan_version", "plan_violation"),
        append_only("tracking_plan_version"),
        *(grant("SELECT, INSERT", "tracking_plan_version", to=login) for login in (WEB, OPERATOR)),
        *(grant("SELECT, INSERT, UPDATE", "plan_violation", to=login) for login in (WEB, OPERATOR)),
        # Files and streams are checked where they are stored.
        grant("SELECT", "tracking_plan_version", to=Purpose.COLLECTION),
        grant("SELECT, INSERT, UPDATE", "plan_violation", to=Purpose.COLLECTION),
        # What a source sends, to propose a plan for it and to measure its quality: no identifier, no message id.
        grant(
            "SELECT (workspace_id, source_id, kind, name, occurred_at, received_at, properties)",
            "event",
            to=Purpose.COLLECTION,
        ),
    ]
