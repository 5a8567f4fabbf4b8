"""What others are told of memberships: the feed of entries and exits, and whom it is pushed to."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Workspace


class MembershipChange(models.Model):
    """Somebody entered or left a segment, or may be seen there by other purposes than before. Written by triggers.

    `told_before` and `told_after` are masks of purposes: to those in the second alone it is an entry, to those in the first
    alone an exit. Ids of a workspace are in the order in which the changes became visible (see migration 0011).
    """

    pk = models.CompositePrimaryKey("workspace_id", "id")
    id = models.BigIntegerField()
    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    segment_id = models.BigIntegerField()
    profile_id = models.BigIntegerField()
    told_before = models.SmallIntegerField()
    told_after = models.SmallIntegerField()
    at = models.DateTimeField()
    cause = models.CharField(max_length=12, choices=Cause)
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "membership_change"

    def __str__(self) -> str:
        return f"{self.profile_id} in {self.segment_id}: {self.told_before} → {self.told_after}"


class PermissionChange(models.Model):
    """What a profile permits has changed, and those who were told of its memberships do not know yet."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    profile_id = models.BigIntegerField()
    before = models.SmallIntegerField()

    class Meta:
        db_table = "permission_change"
        indexes = [models.Index(fields=["profile_id"], name="permission_change_by_profile")]

    def __str__(self) -> str:
        return f"{self.profile_id}: {self.before}"


class SegmentWebhook(models.Model):
    """An address that is told who enters and leaves, as far as they permit `purpose`.

    It has heard everything up to `position`. What is on its way ends at `sending_to`, so that another try sends the same.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    url = models.CharField(_("address"), max_length=2_000)
    purpose = models.CharField(_("purpose"), max_length=20, choices=[(p.value, p.value) for p in Purpose])
    segments = ArrayField(models.SlugField(), verbose_name=_("segments"), default=list, blank=True)
    secret = models.BinaryField(help_text="under FIELD_ENCRYPTION_KEYS")
    position = models.BigIntegerField(default=0)
    position_at = models.DateTimeField()
    sending_to = models.BigIntegerField(null=True)
    due_at = models.DateTimeField(help_text="of the next attempt; also the lease of one that is under way")
    attempts = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(_("failing since"), null=True)
    error = models.CharField(_("error"), max_length=100, blank=True, help_text="code of the last failure")
    delivered_at = models.DateTimeField(_("delivered at"), null=True)
    created_at = models.DateTimeField(_("created at"))
    disabled_at = models.DateTimeField(_("disabled at"), null=True)

    class Meta:
        db_table = "segment_webhook"
        verbose_name = _("webhook of segments")
        verbose_name_plural = _("webhooks of segments")
        indexes = [
            models.Index(
                fields=["workspace", "due_at"], condition=models.Q(disabled_at=None), name="segment_webhook_due"
            )
        ]

    def __str__(self) -> str:
        return f"{self.pk}"
