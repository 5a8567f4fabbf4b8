"""Segments, their immutable versions, who is in them since when, and groups that are learned."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from cdp.models import Cause, Profile, Run, User, Workspace
from segments.change_models import MembershipChange, PermissionChange, SegmentWebhook
from segments.columnar_models import ColumnarCopy, ColumnarFile, StaleEvent
from segments.kpi_models import AlertState, AlertTest, Kpi, KpiAlert, KpiValue, KpiVersion, KpiWatch
from segments.leaf_models import ComputedTrait, ComputedTraitVersion, ListEntry, RankThreshold, SegmentList

__all__ = [
    "AlertState",
    "AlertTest",
    "Backfill",
    "BackfillTouch",
    "ColumnarCopy",
    "ColumnarFile",
    "ComputedTrait",
    "ComputedTraitVersion",
    "Deadline",
    "Kpi",
    "KpiAlert",
    "KpiValue",
    "KpiVersion",
    "KpiWatch",
    "LearnedModel",
    "ListEntry",
    "Membership",
    "MembershipChange",
    "PermissionChange",
    "RankThreshold",
    "Score",
    "Segment",
    "SegmentList",
    "SegmentVersion",
    "SegmentWebhook",
    "StagedAnswer",
    "StaleEvent",
]


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
    computed = models.JSONField(null=True, help_text="how its computed traits were measured when it was published")
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
        indexes = [
            models.Index(fields=["profile"], name="membership_by_profile"),
            # What is known of people in one look: without it each segment would be searched for each of them.
            models.Index(
                fields=["profile"],
                include=["segment", "id", "workspace"],
                condition=models.Q(left_at=None),
                name="membership_open_by_profile",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.profile_id} in {self.segment_id}"


class Deadline(models.Model):
    """When the answers for a profile could next change if nothing happens. Early is allowed, late is not."""

    profile = models.OneToOneField(Profile, models.CASCADE, primary_key=True, db_constraint=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    due_at = models.DateTimeField()
    segments = ArrayField(
        models.BigIntegerField(), help_text="those that wait for it; what waits longer is found again then"
    )

    class Meta:
        db_table = "deadline"
        indexes = [models.Index(fields=["workspace", "due_at"], name="deadline_by_time")]

    def __str__(self) -> str:
        return str(self.due_at)


class Backfill(models.Model):
    """A version that is computed beside the one that serves. The row goes when it serves, or is given up."""

    version = models.OneToOneField(SegmentVersion, models.CASCADE, primary_key=True)
    workspace = models.ForeignKey(Workspace, models.CASCADE)
    # Two who publish at once: the later version takes the place of the other, whose answers nobody would wait for.
    segment = models.OneToOneField(Segment, models.CASCADE, related_name="backfill")
    run = models.OneToOneField(Run, models.CASCADE)

    class Meta:
        db_table = "backfill"

    def __str__(self) -> str:
        return str(self.version_id)


class StagedAnswer(models.Model):
    """What a version that does not serve yet says of a profile; no row: out, for ever. Holds until `next_change_at`."""

    pk = models.CompositePrimaryKey("version_id", "profile_id")
    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    version = models.ForeignKey(SegmentVersion, models.CASCADE, db_constraint=False, db_index=False)
    profile = models.ForeignKey(Profile, models.CASCADE, db_constraint=False, db_index=False)
    is_in = models.BooleanField()
    next_change_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "staged_answer"
        indexes = [
            models.Index(
                fields=["version", "next_change_at"],
                condition=models.Q(next_change_at__isnull=False),
                name="staged_answer_by_time",
            )
        ]

    def __str__(self) -> str:
        return f"{self.profile_id} {self.is_in}"


class BackfillTouch(models.Model):
    """A profile that was evaluated while a version was computed: that version must look at it again.

    Rows are only added by who evaluates, and only taken by who computes: so neither ever waits for the other.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    version = models.ForeignKey(SegmentVersion, models.CASCADE, db_constraint=False, db_index=False)
    profile = models.ForeignKey(Profile, models.CASCADE, db_constraint=False, db_index=False)

    class Meta:
        db_table = "backfill_touch"
        indexes = [models.Index(fields=["version", "id"], name="backfill_touch_in_order")]

    def __str__(self) -> str:
        return str(self.profile_id)


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
    """The group of a learned model that a profile belongs to, or the number that it gave: leaves of the rule language."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    model_slug = models.SlugField()
    profile = models.ForeignKey(Profile, models.CASCADE, db_constraint=False)
    group = models.CharField(max_length=64)
    value = models.DecimalField(max_digits=38, decimal_places=9, null=True)
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
