"""Requests that come by OpenDSR, whom they come from, and whom to call back; and the worker of rights answers them."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, RIGHTS, WEB
from cdp.models.access import grant, row_security

# The work of a request is ordered when it begins. The table is younger than the migration that this one needs.
ORDER_WORK = f"""
DO $$ BEGIN
    IF to_regclass('core.request_work') IS NOT NULL THEN
        GRANT INSERT ON core.request_work TO {RIGHTS};
    END IF;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0015_rights_scopes"),
        ("consent", "0011_execution"),
    ]

    operations = [
        migrations.CreateModel(
            name="DsrController",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(help_text="the controller_id of OpenDSR", verbose_name="name")),
                ("digest", models.CharField(max_length=64)),
                ("hint", models.CharField(max_length=20, verbose_name="begins with")),
                (
                    "callback_hosts",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=255),
                        blank=True,
                        default=list,
                        help_text="no other address is ever called: example.com or example.com:8443",
                        size=None,
                        verbose_name="hosts to call back",
                    ),
                ),
                (
                    "email",
                    models.EmailField(
                        blank=True,
                        help_text="told of refusals, for which OpenDSR has no word",
                        max_length=254,
                        verbose_name="e-mail",
                    ),
                ),
                (
                    "is_lenient",
                    models.BooleanField(
                        default=False,
                        help_text="accepts requests without a regulation, and overlooks unknown fields",
                        verbose_name="lenient",
                    ),
                ),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                ("revoked_at", models.DateTimeField(blank=True, null=True, verbose_name="revoked at")),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "controller (OpenDSR)",
                "verbose_name_plural": "controllers (OpenDSR)",
                "db_table": "dsr_controller",
            },
        ),
        migrations.CreateModel(
            name="DsrRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("subject_request_id", models.UUIDField()),
                ("version", models.CharField(choices=[("2.0", "2.0"), ("1.0", "1.0")], max_length=3)),
                ("regulation", models.CharField(blank=True, max_length=4)),
                ("body_digest", models.BinaryField(max_length=32)),
                ("received_at", models.DateTimeField()),
                ("promised_at", models.DateTimeField(help_text="what the first answer said of when it would be done")),
                (
                    "callback_urls",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=2000), default=list, size=None
                    ),
                ),
                ("noted_step", models.BigIntegerField(default=0)),
                ("is_settled", models.BooleanField(default=False)),
                (
                    "link",
                    models.BinaryField(
                        default=bytes, help_text="the token of the results, under FIELD_ENCRYPTION_KEYS"
                    ),
                ),
                (
                    "controller",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="requests", to="consent.dsrcontroller"
                    ),
                ),
                (
                    "request",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="cover", to="consent.datarequest"
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "db_table": "dsr_request",
            },
        ),
        migrations.CreateModel(
            name="DsrCallback",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("step", models.BigIntegerField(help_text="of the request: what happened")),
                ("url", models.CharField(max_length=2000)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("in_progress", "in_progress"),
                            ("completed", "completed"),
                            ("cancelled", "cancelled"),
                        ],
                        max_length=11,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                (
                    "due_at",
                    models.DateTimeField(help_text="of the next attempt; also the lease of one that is under way"),
                ),
                ("delivered_at", models.DateTimeField(null=True)),
                ("over_at", models.DateTimeField(help_text="delivered, or given up", null=True)),
                ("error", models.CharField(blank=True, help_text="code of the last failure", max_length=100)),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
                (
                    "cover",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="callbacks", to="consent.dsrrequest"
                    ),
                ),
            ],
            options={
                "db_table": "dsr_callback",
            },
        ),
        migrations.AddConstraint(
            model_name="dsrcontroller",
            constraint=models.UniqueConstraint(fields=("workspace", "slug"), name="dsr_controller_slug_is_unique"),
        ),
        migrations.AddConstraint(
            model_name="dsrcontroller",
            constraint=models.UniqueConstraint(fields=("workspace", "digest"), name="dsr_controller_digest_is_unique"),
        ),
        migrations.AddIndex(
            model_name="dsrrequest",
            index=models.Index(
                condition=models.Q(("is_settled", False)), fields=["workspace"], name="dsr_request_unsettled"
            ),
        ),
        migrations.AddConstraint(
            model_name="dsrrequest",
            constraint=models.UniqueConstraint(
                fields=("controller", "subject_request_id"), name="dsr_request_id_is_unique"
            ),
        ),
        migrations.AddIndex(
            model_name="dsrcallback",
            index=models.Index(
                condition=models.Q(("over_at", None)), fields=["workspace", "due_at"], name="dsr_callback_due"
            ),
        ),
        migrations.AddConstraint(
            model_name="dsrcallback",
            constraint=models.UniqueConstraint(fields=("cover", "step", "url"), name="dsr_callback_is_unique"),
        ),
        migrations.AddConstraint(
            model_name="dsrcallback",
            constraint=models.CheckConstraint(
                condition=models.Q(("delivered_at", None), ("over_at__isnull", False), _connector="OR"),
                name="dsr_callback_delivered_is_over",
            ),
        ),
        row_security("dsr_controller", "dsr_request", "dsr_callback"),
        grant("SELECT, INSERT, UPDATE", "dsr_controller", "dsr_request", to=WEB),
        grant("SELECT", "dsr_callback", to=WEB),
        grant("SELECT, INSERT, UPDATE", "dsr_controller", to=OPERATOR),
        grant("SELECT", "dsr_controller", to=RIGHTS),
        grant("SELECT, UPDATE", "dsr_request", to=RIGHTS),
        grant("SELECT, INSERT, UPDATE", "dsr_callback", to=RIGHTS),
        # It begins and ends by itself what a controller vouched for.
        grant("UPDATE", "data_request", to=RIGHTS),
        grant("INSERT", "data_package", to=RIGHTS),
        migrations.RunSQL(ORDER_WORK, migrations.RunSQL.noop),
        grant("SELECT, UPDATE (ended_at)", "identity_doubt", to=RIGHTS),
    ]
