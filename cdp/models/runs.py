"""Every long piece of work has a row: what it is, how far it got, what it counted, why it failed."""

from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _

from cdp.models.users import User
from cdp.models.workspaces import Workspace


class RunState(models.TextChoices):
    RUNNING = "RUNNING", _("running")
    DONE = "DONE", _("done")
    FAILED = "FAILED", _("failed")
    CANCELLED = "CANCELLED", _("cancelled")


class RunQuerySet(models.QuerySet["Run"]):
    def cancel(self, *, now: datetime) -> int:
        """Those of these that are at work stop as soon as what they are at is whole. Returns how many that are."""
        return self.filter(state=RunState.RUNNING).update(state=RunState.CANCELLED, finished_at=now)


class Run(models.Model):
    workspace = models.ForeignKey(Workspace, models.CASCADE)
    kind = models.CharField(_("kind"), max_length=40)
    state = models.CharField(_("state"), max_length=10, choices=RunState, default=RunState.RUNNING)
    subject = models.TextField(_("subject"), blank=True, help_text=_("what it works on: a file name, a segment"))
    position = models.BigIntegerField(_("position"), default=0, help_text=_("where it goes on when it is resumed"))
    bookmark = models.JSONField(default=dict, db_default={}, help_text="the place in its input that this position is")
    counts = models.JSONField(_("counts"), default=dict)
    error = models.TextField(_("error"), blank=True)
    asked_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, verbose_name=_("asked by"))
    started_at = models.DateTimeField(_("started at"))
    heartbeat_at = models.DateTimeField(_("last sign of life"))
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        db_table = "run"
        verbose_name = _("run")
        verbose_name_plural = _("runs")

    def __str__(self) -> str:
        return f"#{self.pk}"
