"""What is known of the columnar copy of the event log: how far it goes, its files, and what it may no longer be asked."""

from django.db import models

from cdp.models import Workspace


class ColumnarCopy(models.Model):
    """How far the copy of a workspace goes: every event up to this id is in its files, or is stale, or is no more."""

    workspace = models.OneToOneField(Workspace, models.CASCADE, primary_key=True)
    copied_to = models.BigIntegerField(default=0, help_text="id of an event")
    horizon = models.BigIntegerField(default=0, help_text="up to here nothing will come any more, once …")
    waits_for = models.JSONField(default=list, help_text="… these transactions have ended")
    copied_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "columnar_copy"

    def __str__(self) -> str:
        return str(self.workspace_id)


class ColumnarFile(models.Model):
    """A file of the copy: whole and durable. What lies beside these is left from a writer that was killed."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    month = models.IntegerField(help_text="of its events: year * 12 + month - 1")
    name = models.CharField(max_length=100)
    rows = models.BigIntegerField()
    first_id = models.BigIntegerField()
    last_id = models.BigIntegerField()
    written_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True, help_text="others took its place; kept until its last reader is done")

    class Meta:
        db_table = "columnar_file"
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="columnar_file_name_is_unique")]

    def __str__(self) -> str:
        return self.name


class StaleEvent(models.Model):
    """An event that changed or went after it may have been copied; without id, all of a month. Readers ask Postgres."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False)
    month = models.IntegerField()
    event_id = models.BigIntegerField(null=True)
    is_gone = models.BooleanField()

    class Meta:
        db_table = "stale_event"

    def __str__(self) -> str:
        return f"{self.month} {self.event_id}"
