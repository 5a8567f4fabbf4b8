"""Files that people gave the console to load."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from cdp.models.runs import Run
from cdp.models.sources import Source
from cdp.models.users import User
from cdp.models.workspaces import Workspace


class UploadKind(models.TextChoices):
    RECORDS = "RECORDS", _("records: rows of a source system")
    EVENTS = "EVENTS", _("events: facts with a time")


class Upload(models.Model):
    """A file in UPLOAD_DIR with the mapping that it is loaded under. Its run says how far it is; without one it waits.

    The file goes when everything of it is loaded, or when the row goes.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    source = models.ForeignKey(Source, models.CASCADE, verbose_name=_("source"))
    kind = models.CharField(_("kind"), max_length=10, choices=UploadKind)
    name = models.CharField(_("file"), max_length=255)
    stored_as = models.CharField(max_length=80, help_text="its name below UPLOAD_DIR")
    size = models.BigIntegerField(_("bytes"))
    survey = models.JSONField(default=dict, help_text="encoding and digest: the file is read through once")
    mapping = models.TextField(_("mapping"), blank=True)
    run = models.OneToOneField(Run, models.SET_NULL, null=True, blank=True, verbose_name=_("run"))
    claimed_until = models.DateTimeField(null=True, help_text="so long a worker is at it, or was killed at it")
    uploaded_by = models.ForeignKey(User, models.SET_NULL, null=True, verbose_name=_("uploaded by"))
    uploaded_at = models.DateTimeField(_("uploaded at"))

    class Meta:
        db_table = "upload"
        verbose_name = _("file")
        verbose_name_plural = _("files")

    def __str__(self) -> str:
        return self.name
