"""Systems that are read from: a CRM, a survey, a stream. One connection for each such source."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from cdp.models.runs import Run
from cdp.models.sources import Source
from cdp.models.workspaces import Workspace


class Connection(models.Model):
    """How to reach the system of a source, and how far it has been read.

    `cursor` moves in the transaction that stores what was read up to it: a reader that is killed reads again from
    where the last one left everything, and what comes twice is recognised.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    source = models.OneToOneField(Source, models.CASCADE, verbose_name=_("source"))
    config = models.JSONField(_("settings"), default=dict)
    secrets = models.BinaryField(blank=True, default=bytes, help_text="JSON under FIELD_ENCRYPTION_KEYS")
    cursor = models.JSONField(_("read up to"), default=dict)
    is_enabled = models.BooleanField(_("enabled"), default=True)
    every_seconds = models.PositiveIntegerField(_("seconds between two readings"), default=900)
    due_at = models.DateTimeField(_("due at"), null=True, blank=True, help_text=_("empty: it sends by itself"))
    failures = models.PositiveIntegerField(_("failures in a row"), default=0)
    error = models.TextField(_("last error"), blank=True)
    leased_until = models.DateTimeField(null=True, help_text="until then one process alone may read")
    paused_at = models.DateTimeField(_("paused at"), null=True, help_text=_("nothing is read until a person has acted"))
    run = models.ForeignKey(Run, models.SET_NULL, null=True, verbose_name=_("last reading"))
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        db_table = "connection"
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
        indexes = [models.Index(fields=["due_at"], name="connection_by_due_time")]

    def __str__(self) -> str:
        return str(self.source)
