"""What another system told us about without sending it: the ledger of what is still to be fetched."""

from django.db import models

from cdp.models.sources import Source
from cdp.models.workspaces import Workspace


class Announcement(models.Model):
    """A webhook that names a thing, such as the answer to a survey, which a worker then fetches.

    Fetched, or given up into quarantine, when `due_at` is empty. The row stays: the same webhook again is known.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    source = models.ForeignKey(Source, models.CASCADE)
    key = models.CharField(max_length=100, help_text="the sender's own id of the notification")
    body = models.JSONField(help_text="the notification as it came: ids, no answers")
    received_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=64, blank=True, help_text="code of the last failure")

    class Meta:
        db_table = "announcement"
        constraints = [models.UniqueConstraint(fields=["source", "key"], name="announcement_is_unique")]
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(due_at__isnull=False), name="announcement_by_due_time")
        ]

    def __str__(self) -> str:
        return self.key
