"""Quality reports and their alert thresholds."""

import django.db.models.deletion
from django.db import migrations, models

from cdp.kernel.logins import OPERATOR, WEB
from cdp.kernel.purposes import Purpose
from cdp.models.access import grant, row_security


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0011_tracking_plans"),
    ]

    operations = [
        migrations.CreateModel(
            name="QualityThresholds",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "missing_change",
                    models.FloatField(
                        default=0.05,
                        help_text="change of the share of missing values in a column",
                        verbose_name="missing values",
                    ),
                ),
                (
                    "ks_statistic",
                    models.FloatField(
                        default=0.1,
                        help_text="Kolmogorov–Smirnov: how far numbers moved, 0 to 1",
                        verbose_name="distance of distributions",
                    ),
                ),
                (
                    "ks_p",
                    models.FloatField(
                        default=0.01,
                        help_text="Kolmogorov–Smirnov: only if chance explains it less often",
                        verbose_name="chance of distance",
                    ),
                ),
                (
                    "category_change",
                    models.FloatField(
                        default=0.1,
                        help_text="share of rows with another value, or another format",
                        verbose_name="change of values",
                    ),
                ),
                (
                    "outlier_share",
                    models.FloatField(
                        default=0.1,
                        help_text="share of numbers beyond 1.5 interquartile ranges",
                        verbose_name="outliers",
                    ),
                ),
                (
                    "duplicate_share",
                    models.FloatField(
                        default=0.01,
                        help_text="share of rows or keys that came more than once",
                        verbose_name="duplicates",
                    ),
                ),
                (
                    "rows_change",
                    models.FloatField(
                        default=0.5,
                        help_text="how many more or fewer rows than before, as a share",
                        verbose_name="rows",
                    ),
                ),
                (
                    "source",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="quality_thresholds",
                        to="cdp.source",
                        verbose_name="source",
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "quality thresholds",
                "verbose_name_plural": "quality thresholds",
                "db_table": "quality_thresholds",
            },
        ),
        migrations.CreateModel(
            name="QualityReport",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(blank=True, null=True, verbose_name="day")),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                ("rows", models.PositiveBigIntegerField(verbose_name="rows")),
                ("body", models.JSONField(verbose_name="report")),
                (
                    "samples",
                    models.JSONField(
                        default=dict,
                        help_text="numbers of columns that name nobody, sorted each by itself: the next report's comparison",
                    ),
                ),
                ("alerts", models.JSONField(default=list, verbose_name="alerts")),
                (
                    "run",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="cdp.run",
                        verbose_name="load",
                    ),
                ),
                (
                    "source",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="quality_reports",
                        to="cdp.source",
                        verbose_name="source",
                    ),
                ),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="cdp.workspace")),
            ],
            options={
                "verbose_name": "quality report",
                "verbose_name_plural": "quality reports",
                "db_table": "quality_report",
                "indexes": [models.Index(fields=["source", "-id"], name="quality_report_newest")],
                "constraints": [
                    models.UniqueConstraint(fields=("source", "day"), name="quality_report_is_one_a_day"),
                    models.CheckConstraint(
                        condition=models.Q(("run", None), ("day", None), _connector="XOR"),
                        name="quality_report_is_of_a_load_or_a_day",
                    ),
                ],
            },
        ),
        row_security("quality_report", "quality_thresholds"),
        # They are measured where data is stored; the console and the API show them.
        grant("SELECT, INSERT, UPDATE", "quality_report", to=Purpose.COLLECTION),
        grant("SELECT", "quality_thresholds", to=Purpose.COLLECTION),
        *(grant("SELECT", "quality_report", to=login) for login in (WEB, OPERATOR)),
        *(grant("SELECT, INSERT, UPDATE", "quality_thresholds", to=login) for login in (WEB, OPERATOR)),
    ]
