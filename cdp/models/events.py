"""What arrives: raw batches, events, records, and what could not be understood."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from cdp.models.identifiers import Identifier
from cdp.models.runs import Run
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
    """Every message ever stored. Events are partitioned by time, so they cannot hold this key.

    The key is a digest of source and message id (see cdp/ingestion/message_ledger.py).
    """

    pk = models.CompositePrimaryKey("high", "low")
    high = models.BigIntegerField()
    low = models.BigIntegerField()
    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)

    class Meta:
        db_table = "message"

    def __str__(self) -> str:
        return str(self.pk)


class Event(models.Model):
    """An immutable fact, partitioned by month of `occurred_at`. Its id is no key to find it by (see cdp/migrations)."""

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
    normal_version = models.PositiveSmallIntegerField(
        default=1, db_default=1, help_text="of the normalisation that read `fields`"
    )
    dictionary_digest = models.CharField(
        max_length=32, blank=True, default="", db_default="", help_text="of the corrections at that time"
    )
    mapping_digest = models.CharField(
        max_length=32, blank=True, default="", db_default="", help_text="of its mapping text; empty: not known"
    )
    deleted_at = models.DateTimeField(null=True, help_text="when the source was seen to have it no more")

    class Meta:
        db_table = "record"
        constraints = [models.UniqueConstraint(fields=["source", "key"], name="record_is_unique")]
        indexes = [models.Index(fields=["identifier"], name="record_by_identifier")]

    def __str__(self) -> str:
        return self.key


class QuarantineReading(models.Model):
    """How refused things were to be read: the path and envelope of a call, the mapping of a file. Kept once each."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    digest = models.BinaryField(max_length=32)
    body = models.JSONField()

    class Meta:
        db_table = "quarantine_reading"
        constraints = [
            models.UniqueConstraint(fields=["workspace", "digest"], name="quarantine_reading_is_unique"),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class QuarantinedItem(models.Model):
    """An event or a row that was refused: kept whole, with the reason, so that it can be mended and replayed."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    source = models.ForeignKey(Source, models.CASCADE, verbose_name=_("source"))
    received_at = models.DateTimeField(_("received at"))
    place = models.TextField(_("place"), help_text=_("file and line, or index in the batch"))
    code = models.CharField(_("code"), max_length=64)
    message = models.TextField(_("reason"))
    raw = models.TextField(_("as it came"))
    digest = models.BinaryField(max_length=32, help_text="of what came and how it was to be read: again is the same")
    reading = models.ForeignKey(QuarantineReading, models.PROTECT, null=True)
    replayed_at = models.DateTimeField(_("replayed at"), null=True, blank=True)
    discarded_at = models.DateTimeField(_("discarded at"), null=True, blank=True, help_text=_("its text is erased"))
    tried_at = models.DateTimeField(_("tried again at"), null=True, blank=True)
    tried_code = models.CharField(_("refused again with"), max_length=64, blank=True, db_default="")
    run = models.ForeignKey(Run, models.SET_NULL, null=True, blank=True, verbose_name=_("run"))

    class Meta:
        db_table = "quarantine"
        verbose_name = _("quarantined item")
        verbose_name_plural = _("quarantine")
        constraints = [
            models.UniqueConstraint(fields=["source", "digest", "code"], name="quarantine_is_unique"),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "code", "id"],
                condition=models.Q(replayed_at=None, discarded_at=None),
                name="quarantine_waiting",
            )
        ]

    def __str__(self) -> str:
        return f"{self.place}: {self.code}"


class OrderKind(models.TextChoices):
    REPLAY = "REPLAY", _("replay")
    DISCARD = "DISCARD", _("discard")


class QuarantineOrder(models.Model):
    """What a run does with quarantined items: which ones, mended how. The run has the progress.

    The items are those that waited when it was given: what came after `last_item` is not meant.
    """

    run = models.OneToOneField(Run, models.CASCADE, primary_key=True)
    workspace = models.ForeignKey(Workspace, models.CASCADE)
    kind = models.CharField(max_length=8, choices=OrderKind)
    chosen = models.JSONField(help_text="the filter")
    last_item = models.BigIntegerField()
    mend = models.JSONField(default=list)
    mapping = models.JSONField(null=True)
    reason = models.TextField(blank=True)

    class Meta:
        db_table = "quarantine_order"

    def __str__(self) -> str:
        return f"{self.kind} {self.run_id}"
