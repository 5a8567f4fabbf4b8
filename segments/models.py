"""Segments, their immutable versions, who is in them since when, and groups that are learned."""

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from cdp.models import Cause, Profile, User, Workspace
from segments.kpi_models import AlertState, AlertTest, Kpi, KpiAlert, KpiValue, KpiVersion, KpiWatch

__all__ = [
    "AlertState", "AlertTest", "Deadline", "Kpi", "KpiAlert", "KpiValue", "KpiVersion", "KpiWatch", "LearnedModel",
    "Membership", "Score", "Segment", "SegmentVersion",
]  # fmt: skip


class Segment(models.Model):
    workspace = models.ForeignKey(Workspace, models.CASCADE)
    slug = models.SlugField(_("slug"))
    name = models.CharField(_("name"), max_length=200)
    description = models.TextField(_("description"), blank=True)
    live_version = models.ForeignKey(
        "SegmentVersion", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("live version")
    )
    computed_at = models.DateTimeField(_("computed at"), null=True, blank=True)
    archived_at = models.DateTimeField(_("archived at"), null=True, blank=True)

    class Meta:
        db_table = "segment"
        verbose_name = _("segment")
        verbose_name_plural = _("segments")
        constraints = [models.UniqueConstraint(fields=["workspace", "slug"], name="segment_slug_is_unique")]

    def __str__(self) -> str:
        return self.slug


class SegmentVersion(models.Model):
    """A definition. Never changed: an edit is a new version."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    segment = models.ForeignKey(Segment, models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField(_("number"))
    definition = models.JSONField(_("definition"))
    author = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, verbose_name=_("author"))
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        db_table = "segment_version"
        verbose_name = _("segment version")
        verbose_name_plural = _("segment versions")
        constraints = [models.UniqueConstraint(fields=["segment", "number"], name="segment_version_is_unique")]

    def __str__(self) -> str:
        return f"{self.segment_id} v{self.number}"


class Membership(models.Model):
    """A period in which a profile was in a segment: half-open, `left_at` null while it lasts."""

    # Keys without constraints and indexes, here and below: both are written with every entry, for rows that nobody deletes.
    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    segment = models.ForeignKey(
        Segment,
        models.CASCADE,
        related_name="memberships",
        db_constraint=False,
        db_index=False,
        verbose_name=_("segment"),
    )
    profile = models.ForeignKey(Profile, models.CASCADE, db_constraint=False, db_index=False, verbose_name=_("profile"))
    version = models.ForeignKey(
        SegmentVersion, models.CASCADE, db_constraint=False, db_index=False, verbose_name=_("version")
    )
    entered_at = models.DateTimeField(_("entered at"))
    entered_cause = models.CharField(_("why it entered"), max_length=12, choices=Cause)
    left_at = models.DateTimeField(_("left at"), null=True, blank=True)
    left_cause = models.CharField(_("why it left"), max_length=12, choices=Cause, blank=True)

    class Meta:
        db_table = "membership"
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [
            models.UniqueConstraint(
                fields=["segment", "profile"], condition=models.Q(left_at=None), name="membership_is_open_once"
            ),
            models.CheckConstraint(
                condition=models.Q(left_at=None) | models.Q(left_at__gte=models.F("entered_at")),
                name="membership_ends_after_it_begins",
            ),
        ]
        indexes = [models.Index(fields=["profile"], name="membership_by_profile")]

    def __str__(self) -> str:
        return f"{self.profile_id} in {self.segment_id}"


class Deadline(models.Model):
    """When the answer for a profile could next change if nothing happens. Early is allowed, late is not."""

    pk = models.CompositePrimaryKey("segment_id", "profile_id")
    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    segment = models.ForeignKey(Segment, models.CASCADE, db_constraint=False, db_index=False)
    profile = models.ForeignKey(Profile, models.CASCADE, db_constraint=False)
    due_at = models.DateTimeField()

    class Meta:
        db_table = "deadline"
        indexes = [models.Index(fields=["workspace", "due_at"], name="deadline_by_time")]

    def __str__(self) -> str:
        return str(self.due_at)


class LearnedModel(models.Model):
    """A clustering: its specification, what was tried and chosen, and the groups in words."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    slug = models.SlugField(_("slug"))
    version = models.PositiveIntegerField(_("version"))
    specification = models.JSONField(_("specification"))
    result = models.JSONField(_("result"), help_text="centres, chosen k, criteria of every k, groups, seed, versions")
    plot = models.TextField(_("plot"), blank=True, help_text="SVG")
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        db_table = "learned_model"
        verbose_name = _("learned model")
        verbose_name_plural = _("learned models")
        constraints = [models.UniqueConstraint(fields=["workspace", "slug", "version"], name="learned_model_is_unique")]

    def __str__(self) -> str:
        return f"{self.slug} v{self.version}"


class Score(models.Model):
    """The group of a learned model that a profile belongs to: a leaf of the rule language like any other."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    model_slug = models.SlugField()
    profile = models.ForeignKey(Profile, models.CASCADE, db_constraint=False)
    group = models.CharField(max_length=64)
    model = models.ForeignKey(LearnedModel, models.CASCADE)
    computed_at = models.DateTimeField()

    class Meta:
        db_table = "score"
        constraints = [
            models.UniqueConstraint(fields=["workspace", "model_slug", "profile"], name="score_is_unique"),
        ]
        indexes = [models.Index(fields=["profile"], name="score_by_profile")]

    def __str__(self) -> str:
        return f"{self.model_slug} {self.group}"
