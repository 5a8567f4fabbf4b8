"""What a source promised to send, in versions, and how often it did not keep to it."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from cdp.models.sources import Source
from cdp.models.users import User
from cdp.models.workspaces import Workspace


class ViolationAction(models.TextChoices):
    """What becomes of an event that breaks its rule."""

    BLOCK = "BLOCK", _("refuse the event")
    OMIT = "OMIT", _("leave the properties out")
    WARN = "WARN", _("keep and count")


class TrackingPlanVersion(models.Model):
    """A plan as it was written; never changed. `Source.live_plan` says which version holds, if any."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    source = models.ForeignKey(Source, models.CASCADE, related_name="plan_versions", verbose_name=_("source"))
    number = models.PositiveIntegerField(_("version"))
    document = models.JSONField(_("plan"))
    author = models.ForeignKey(User, models.PROTECT, null=True, blank=True, verbose_name=_("author"))
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        db_table = "tracking_plan_version"
        verbose_name = _("tracking plan")
        verbose_name_plural = _("tracking plans")
        constraints = [
            # Two people who save at once get two numbers.
            models.UniqueConstraint(fields=["source", "number"], name="tracking_plan_version_is_unique"),
            # What `source_live_plan_is_its_own` refers to: a source lives by a plan of its own.
            models.UniqueConstraint(fields=["id", "source"], name="tracking_plan_version_has_one_source"),
        ]

    def __str__(self) -> str:
        return f"{self.source} v{self.number}"


class PlanViolation(models.Model):
    """How often events of a day broke one rule at one place. No values, and names of senders in bounded number.

    `slot` keeps writers apart: requests that count the same violation at once would wait for each other's commit.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    version = models.ForeignKey(TrackingPlanVersion, models.CASCADE, related_name="violations")
    day = models.DateField(_("day"))
    event = models.TextField(_("event"))
    path = models.TextField(_("place"), blank=True)
    keyword = models.CharField(_("rule"), max_length=40)
    action = models.CharField(_("what happened"), max_length=5, choices=ViolationAction)
    slot = models.PositiveSmallIntegerField()
    events = models.PositiveBigIntegerField(_("events"))

    class Meta:
        db_table = "plan_violation"
        verbose_name = _("violation of a plan")
        verbose_name_plural = _("violations of plans")
        constraints = [
            # Counting is an upsert on this key.
            models.UniqueConstraint(
                fields=["version", "day", "event", "path", "keyword", "action", "slot"],
                name="plan_violation_is_counted_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.path} {self.keyword}"
