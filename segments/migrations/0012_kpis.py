"""Figures of segments: definitions, values, watches, alerts. They hold counts and sums, and nobody in particular."""

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import append_only, grant, row_security

ANALYTICS = Purpose.ANALYTICS


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0024_file_scope"),
        ("segments", "0011_changes"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Kpi",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(verbose_name="slug")),
                ("name", models.CharField(max_length=200, verbose_name="name")),
                ("archived_at", models.DateTimeField(blank=True, null=True, verbose_name="archived at")),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "figure",
                "verbose_name_plural": "figures",
                "db_table": "kpi",
            },
        ),
        migrations.CreateModel(
            name="KpiVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField(verbose_name="number")),
                ("definition", models.JSONField(verbose_name="definition")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="created at"
                    ),
                ),
                (
                    "author",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="author",
                    ),
                ),
                (
                    "kpi",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="versions", to="segments.kpi"
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "version of a figure",
                "verbose_name_plural": "versions of figures",
                "db_table": "kpi_version",
            },
        ),
        migrations.CreateModel(
            name="KpiValue",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("period_start", models.DateTimeField()),
                ("period_end", models.DateTimeField()),
                ("value", models.FloatField(null=True)),
                ("numerator", models.FloatField(null=True)),
                ("denominator", models.FloatField(null=True)),
                ("people", models.PositiveIntegerField(null=True)),
                ("is_withheld", models.BooleanField(default=False)),
                ("computed_at", models.DateTimeField()),
                (
                    "segment",
                    models.ForeignKey(
                        help_text="null: everybody",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="segments.segment",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace"),
                ),
                (
                    "version",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, to="segments.kpiversion"
                    ),
                ),
            ],
            options={
                "db_table": "kpi_value",
            },
        ),
        migrations.AddField(
            model_name="kpi",
            name="live_version",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="segments.kpiversion",
                verbose_name="live version",
            ),
        ),
        migrations.CreateModel(
            name="KpiWatch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "significance",
                    models.FloatField(
                        default=0.01,
                        help_text="the share of alerts that may be false",
                        validators=[
                            django.core.validators.MinValueValidator(1e-05),
                            django.core.validators.MaxValueValidator(0.5),
                        ],
                        verbose_name="significance",
                    ),
                ),
                (
                    "minimum_effect",
                    models.FloatField(
                        default=0.1,
                        help_text="as a share of what was expected: 0.1 is a tenth more or less",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(100),
                        ],
                        verbose_name="least change",
                    ),
                ),
                (
                    "periods",
                    models.PositiveSmallIntegerField(
                        default=12,
                        help_text="how many periods are compared with",
                        validators=[
                            django.core.validators.MinValueValidator(4),
                            django.core.validators.MaxValueValidator(60),
                        ],
                        verbose_name="periods before",
                    ),
                ),
                ("email", models.EmailField(blank=True, max_length=254, verbose_name="e-mail")),
                ("url", models.URLField(blank=True, max_length=500, verbose_name="webhook")),
                ("secrets", models.BinaryField(blank=True, null=True)),
                ("is_on", models.BooleanField(default=True, verbose_name="on")),
                ("checked_until", models.DateTimeField(blank=True, null=True, verbose_name="checked until")),
                (
                    "kpi",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="watches",
                        to="segments.kpi",
                        verbose_name="figure",
                    ),
                ),
                (
                    "segment",
                    models.ForeignKey(
                        blank=True,
                        help_text="empty: each segment",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="segments.segment",
                        verbose_name="segment",
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "watch over a figure",
                "verbose_name_plural": "watches over figures",
                "db_table": "kpi_watch",
            },
        ),
        migrations.CreateModel(
            name="KpiAlert",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("period_start", models.DateTimeField(verbose_name="period")),
                ("value", models.FloatField(verbose_name="value")),
                ("expected", models.FloatField(verbose_name="expected")),
                (
                    "test",
                    models.CharField(
                        choices=[
                            ("PROPORTIONS", "two-proportion z-test"),
                            ("LIMITS", "control limits (median and MAD)"),
                        ],
                        max_length=12,
                        verbose_name="test",
                    ),
                ),
                (
                    "p",
                    models.FloatField(
                        help_text="Benjamini–Hochberg, over all that was tested with it", verbose_name="adjusted p"
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("OPEN", "open"), ("SEEN", "seen"), ("CLOSED", "closed")],
                        default="OPEN",
                        max_length=8,
                        verbose_name="state",
                    ),
                ),
                ("created_at", models.DateTimeField(verbose_name="found at")),
                ("due_at", models.DateTimeField(blank=True, null=True)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("told_at", models.DateTimeField(blank=True, null=True, verbose_name="told at")),
                ("error", models.CharField(blank=True, max_length=64, verbose_name="error")),
                (
                    "segment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, to="segments.segment", verbose_name="segment"
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="segments.kpiversion"
                    ),
                ),
                (
                    "watch",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="alerts", to="segments.kpiwatch"
                    ),
                ),
            ],
            options={
                "verbose_name": "alert on a figure",
                "verbose_name_plural": "alerts on figures",
                "db_table": "kpi_alert",
            },
        ),
        migrations.AddConstraint(
            model_name="kpiversion",
            constraint=models.UniqueConstraint(fields=("kpi", "number"), name="kpi_version_is_unique"),
        ),
        migrations.AddConstraint(
            model_name="kpivalue",
            constraint=models.UniqueConstraint(
                fields=("version", "segment", "period_start"), name="kpi_value_is_unique", nulls_distinct=False
            ),
        ),
        migrations.AddConstraint(
            model_name="kpivalue",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("is_withheld", False),
                    models.Q(("denominator", None), ("numerator", None), ("people", None), ("value", None)),
                    _connector="OR",
                ),
                name="kpi_value_withheld_is_empty",
            ),
        ),
        migrations.AddConstraint(
            model_name="kpi",
            constraint=models.UniqueConstraint(fields=("workspace", "slug"), name="kpi_slug_is_unique"),
        ),
        migrations.AddConstraint(
            model_name="kpiwatch",
            constraint=models.UniqueConstraint(
                fields=("kpi", "segment"), name="kpi_watch_is_unique", nulls_distinct=False
            ),
        ),
        migrations.AddIndex(
            model_name="kpialert",
            index=models.Index(
                condition=models.Q(("due_at__isnull", False)), fields=["due_at"], name="kpi_alert_by_due"
            ),
        ),
        migrations.AddConstraint(
            model_name="kpialert",
            constraint=models.UniqueConstraint(fields=("watch", "segment", "period_start"), name="kpi_alert_is_unique"),
        ),
        row_security("kpi", "kpi_version", "kpi_value", "kpi_watch", "kpi_alert"),
        append_only("kpi_version"),
        *(
            grant("SELECT, INSERT, UPDATE", "kpi", "kpi_version", "kpi_watch", "kpi_alert", to=login)
            for login in (WEB, OPERATOR)
        ),
        *(grant("DELETE", "kpi_watch", "kpi_alert", to=login) for login in (WEB, OPERATOR)),
        *(grant("SELECT", "kpi_value", to=login) for login in (WEB, OPERATOR)),
        # Figures are computed, watched and told of under the purpose of statistics.
        grant("SELECT", "kpi", "kpi_version", to=ANALYTICS),
        grant("SELECT, UPDATE (checked_until)", "kpi_watch", to=ANALYTICS),
        grant("SELECT, INSERT, UPDATE", "kpi_value", "kpi_alert", to=ANALYTICS),
    ]
