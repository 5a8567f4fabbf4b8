"""Figures of segments: their definitions, their values, and who is told when one strays."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from cdp.models import User, Workspace


class Kpi(models.Model):
    """A figure that every segment has. What it means is said by its live version."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    slug = models.SlugField(_("slug"))
    name = models.CharField(_("name"), max_length=200)
    live_version = models.ForeignKey(
        "KpiVersion", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("live version")
    )
    archived_at = models.DateTimeField(_("archived at"), null=True, blank=True)

    class Meta:
        db_table = "kpi"
        verbose_name = _("figure")
        verbose_name_plural = _("figures")
        constraints = [models.UniqueConstraint(fields=["workspace", "slug"], name="kpi_slug_is_unique")]

    def __str__(self) -> str:
        return self.name


class KpiVersion(models.Model):
    """A definition. Never changed: an edit is a new version, with a series of its own; the old one stays readable."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    kpi = models.ForeignKey(Kpi, models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField(_("number"))
    definition = models.JSONField(_("definition"))
    author = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, verbose_name=_("author"))
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        db_table = "kpi_version"
        verbose_name = _("version of a figure")
        verbose_name_plural = _("versions of figures")
        # Two who edit at once: the second begins anew from what the first wrote.
        constraints = [models.UniqueConstraint(fields=["kpi", "number"], name="kpi_version_is_unique")]

    def __str__(self) -> str:
        return f"{self.kpi_id} v{self.number}"


class KpiValue(models.Model):
    """A figure of a segment, or of everybody, in one period. It holds no person: counts, sums, and of how many people.

    `people` is n. Where it is above 0 and below the least number, nothing is kept but that it was withheld.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_index=False)
    version = models.ForeignKey(KpiVersion, models.CASCADE, db_index=False)
    segment = models.ForeignKey("segments.Segment", models.CASCADE, null=True, help_text="null: everybody")
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    value = models.FloatField(null=True)
    numerator = models.FloatField(null=True)
    denominator = models.FloatField(null=True)
    people = models.PositiveIntegerField(null=True)
    is_withheld = models.BooleanField(default=False)
    computed_at = models.DateTimeField()

    class Meta:
        db_table = "kpi_value"
        constraints = [
            # Two that compute the same period write one value.
            models.UniqueConstraint(
                fields=["version", "segment", "period_start"], nulls_distinct=False, name="kpi_value_is_unique"
            ),
            models.CheckConstraint(
                condition=models.Q(is_withheld=False)
                | models.Q(value=None, numerator=None, denominator=None, people=None),
                name="kpi_value_withheld_is_empty",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version_id} {self.period_start:%Y-%m-%d}"


class KpiWatch(models.Model):
    """Somebody wants to hear when a figure strays: from what on, and where."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    kpi = models.ForeignKey(Kpi, models.CASCADE, related_name="watches", verbose_name=_("figure"))
    segment = models.ForeignKey(
        "segments.Segment",
        models.CASCADE,
        null=True,
        blank=True,
        verbose_name=_("segment"),
        help_text=_("empty: each segment"),
    )
    significance = models.FloatField(
        _("significance"),
        default=0.01,
        validators=[MinValueValidator(0.00001), MaxValueValidator(0.5)],
        help_text=_("the share of alerts that may be false"),
    )
    minimum_effect = models.FloatField(
        _("least change"),
        default=0.1,
        validators=[MinValueValidator(0), MaxValueValidator(100)],
        help_text=_("as a share of what was expected: 0.1 is a tenth more or less"),
    )
    periods = models.PositiveSmallIntegerField(
        _("periods before"),
        default=12,
        validators=[MinValueValidator(4), MaxValueValidator(60)],
        help_text=_("how many periods are compared with"),
    )
    email = models.EmailField(_("e-mail"), blank=True)
    url = models.URLField(_("webhook"), blank=True, max_length=500)
    secrets = models.BinaryField(null=True, blank=True)
    is_on = models.BooleanField(_("on"), default=True)
    checked_until = models.DateTimeField(_("checked until"), null=True, blank=True)

    class Meta:
        db_table = "kpi_watch"
        verbose_name = _("watch over a figure")
        verbose_name_plural = _("watches over figures")
        constraints = [
            models.UniqueConstraint(fields=["kpi", "segment"], nulls_distinct=False, name="kpi_watch_is_unique")
        ]

    def __str__(self) -> str:
        return str(self.kpi)


class AlertState(models.TextChoices):
    OPEN = "OPEN", _("open")
    SEEN = "SEEN", _("seen")
    CLOSED = "CLOSED", _("closed")


class AlertTest(models.TextChoices):
    PROPORTIONS = "PROPORTIONS", _("two-proportion z-test")
    LIMITS = "LIMITS", _("control limits (median and MAD)")


class KpiAlert(models.Model):
    """A value that strayed. It is told until it is taken or given up; `due_at` is empty when that is over."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    watch = models.ForeignKey(KpiWatch, models.CASCADE, related_name="alerts")
    version = models.ForeignKey(KpiVersion, models.CASCADE, related_name="+")
    segment = models.ForeignKey("segments.Segment", models.CASCADE, verbose_name=_("segment"))
    period_start = models.DateTimeField(_("period"))
    value = models.FloatField(_("value"))
    expected = models.FloatField(_("expected"))
    test = models.CharField(_("test"), max_length=12, choices=AlertTest)
    p = models.FloatField(_("adjusted p"), help_text=_("Benjamini–Hochberg, over all that was tested with it"))
    state = models.CharField(_("state"), max_length=8, choices=AlertState, default=AlertState.OPEN)
    created_at = models.DateTimeField(_("found at"))
    due_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    told_at = models.DateTimeField(_("told at"), null=True, blank=True)
    error = models.CharField(_("error"), max_length=64, blank=True)

    class Meta:
        db_table = "kpi_alert"
        verbose_name = _("alert on a figure")
        verbose_name_plural = _("alerts on figures")
        constraints = [
            # A value is alerted once, however often it is computed.
            models.UniqueConstraint(fields=["watch", "segment", "period_start"], name="kpi_alert_is_unique"),
        ]
        indexes = [models.Index(fields=["due_at"], condition=models.Q(due_at__isnull=False), name="kpi_alert_by_due")]

    def __str__(self) -> str:
        return f"{self.watch_id} {self.period_start:%Y-%m-%d}"
