"""What arrives: raw batches, events, records, and what could not be understood."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from cdp.models.identifiers import Identifier
from cdp.models.sources import Source
from cdp.models.workspaces import Workspace


class InboxBatch(models.Model):
    """The body of a request as it was acknowledged. Deleted in the transaction that stores its events."""

    # Keys without constraints, here and below: each would cost every event a look-up in a table that never loses a row.
    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False)
    source = models.ForeignKey(Source, models.CASCADE, db_constraint=False)
    received_at = models.DateTimeField()
    body = models.BinaryField(
        help_text='a JSON object {"batch": [...], "sentAt": ...}: the accepted events as they came'
    )

    class Meta:
        db_table = "inbox"

    def __str__(self) -> str:
        return str(self.pk)


class Message(models.Model):
    """(source, message id) of every event ever stored. Events are partitioned by time, so they cannot hold this key."""

    pk = models.CompositePrimaryKey("source_id", "message_id")
    source = models.ForeignKey(Source, models.CASCADE, db_constraint=False, db_index=False)
    message_id = models.CharField(max_length=100)
    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)

    class Meta:
        db_table = "message"

    def __str__(self) -> str:
        return self.message_id


class Event(models.Model):
    """An immutable fact, partitioned by month of `occurred_at` (see cdp/migrations)."""

    workspace = models.ForeignKey(Workspace, models.DO_NOTHING, db_constraint=False)
    source = models.ForeignKey(Source, models.DO_NOTHING, db_constraint=False, verbose_name=_("source"))
    identifier = models.ForeignKey(Identifier, models.DO_NOTHING, db_constraint=False, verbose_name=_("identifier"))
    message_id = models.CharField(max_length=100)
    kind = models.CharField(_("kind"), max_length=10)
    name = models.TextField(_("name"))
    occurred_at = models.DateTimeField(_("occurred at"), help_text="corrected for the skew of the sender's clock")
    original_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    received_at = models.DateTimeField(_("received at"))
    seen_with = ArrayField(models.BigIntegerField(), help_text="the other identifiers that it came with")
    properties = models.JSONField(_("properties"))
    context = models.JSONField(_("context"))

    class Meta:
        db_table = "event"
        verbose_name = _("event")
        verbose_name_plural = _("events")

    def __str__(self) -> str:
        return self.name


class Record(models.Model):
    """A row of a source system, as it was last seen."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    source = models.ForeignKey(Source, models.CASCADE, db_constraint=False, db_index=False)
    key = models.TextField(help_text="the source's own key of the row")
    identifier = models.ForeignKey(Identifier, models.CASCADE, db_index=False)
    fields = models.JSONField(help_text="as they came, before normalising")
    digest = models.BinaryField(max_length=32, help_text="of `fields`: an unchanged row is a duplicate")
    loaded_at = models.DateTimeField()

    class Meta:
        db_table = "record"
        constraints = [models.UniqueConstraint(fields=["source", "key"], name="record_is_unique")]
        indexes = [models.Index(fields=["identifier"], name="record_by_identifier")]

    def __str__(self) -> str:
        return self.key


class QuarantinedItem(models.Model):
    """An event or a row that was refused: kept whole, with the reason, so that it can be mended and replayed."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    source = models.ForeignKey(Source, models.CASCADE, verbose_name=_("source"))
    received_at = models.DateTimeField(_("received at"))
    place = models.TextField(_("place"), help_text=_("file and line, or index in the batch"))
    code = models.CharField(_("code"), max_length=64)
    message = models.TextField(_("reason"))
    raw = models.TextField(_("as it came"))
    digest = models.BinaryField(max_length=32)
    replayed_at = models.DateTimeField(_("replayed at"), null=True, blank=True)

    class Meta:
        db_table = "quarantine"
        verbose_name = _("quarantined item")
        verbose_name_plural = _("quarantine")
        constraints = [
            models.UniqueConstraint(fields=["source", "digest", "code"], name="quarantine_is_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.code} at {self.place}"
