"""How good the data of a source was, load by load and day by day, and from where on that is an alert."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from cdp.models.runs import Run
from cdp.models.sources import Source
from cdp.models.workspaces import Workspace


class QualityReport(models.Model):
    """Of one load (`run`) or of what arrived on one `day`. Holds counts and statistics, and no value of a person."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    source = models.ForeignKey(Source, models.CASCADE, related_name="quality_reports", verbose_name=_("source"))
    run = models.OneToOneField(Run, models.CASCADE, null=True, blank=True, verbose_name=_("load"))
    day = models.DateField(_("day"), null=True, blank=True)
    created_at = models.DateTimeField(_("created at"))
    rows = models.PositiveBigIntegerField(_("rows"))
    body = models.JSONField(_("report"))
    samples = models.JSONField(
        default=dict,
        help_text="numbers of columns that name nobody, sorted each by itself: the next report's comparison",
    )
    alerts = models.JSONField(_("alerts"), default=list)

    class Meta:
        db_table = "quality_report"
        verbose_name = _("quality report")
        verbose_name_plural = _("quality reports")
        constraints = [
            # Two that measure a day at once write one report.
            models.UniqueConstraint(fields=["source", "day"], name="quality_report_is_one_a_day"),
            models.CheckConstraint(
                condition=models.Q(run=None) ^ models.Q(day=None), name="quality_report_is_of_a_load_or_a_day"
            ),
        ]
        indexes = [models.Index(fields=["source", "-id"], name="quality_report_newest")]

    def __str__(self) -> str:
        return f"{self.source} {self.day or self.created_at:%Y-%m-%d}"


class QualityThresholds(models.Model):
    """What is beyond one of these is an alert. A source without a row has the defaults."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    source = models.OneToOneField(Source, models.CASCADE, related_name="quality_thresholds", verbose_name=_("source"))
    missing_change = models.FloatField(
        _("missing values"), default=0.05, help_text=_("change of the share of missing values in a column")
    )
    ks_statistic = models.FloatField(
        _("distance of distributions"), default=0.1, help_text=_("Kolmogorov–Smirnov: how far numbers moved, 0 to 1")
    )
    ks_p = models.FloatField(
        _("chance of distance"), default=0.01, help_text=_("Kolmogorov–Smirnov: only if chance explains it less often")
    )
    category_change = models.FloatField(
        _("change of values"), default=0.1, help_text=_("share of rows with another value, or another format")
    )
    outlier_share = models.FloatField(
        _("outliers"), default=0.1, help_text=_("share of numbers beyond 1.5 interquartile ranges")
    )
    duplicate_share = models.FloatField(
        _("duplicates"), default=0.01, help_text=_("share of rows or keys that came more than once")
    )
    rows_change = models.FloatField(
        _("rows"), default=0.5, help_text=_("how many more or fewer rows than before, as a share")
    )

    class Meta:
        db_table = "quality_thresholds"
        verbose_name = _("quality thresholds")
        verbose_name_plural = _("quality thresholds")

    def __str__(self) -> str:
        return str(self.source)
