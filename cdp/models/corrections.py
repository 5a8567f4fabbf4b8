"""What the reading of raw values depends on: a workspace's own error dictionary, and the mappings that files came with."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from cdp.models.workspaces import Workspace


class CorrectionKind(models.TextChoices):
    DOMAIN = "DOMAIN", _("mail domain")
    TOWN = "TOWN", _("town")


class Correction(models.Model):
    """A misspelling that people of this workspace meet. It goes before what is built in."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    kind = models.CharField(_("kind"), max_length=10, choices=CorrectionKind)
    wrong = models.CharField(_("wrong"), max_length=200)
    key = models.CharField(max_length=200, help_text="`wrong` as it is looked up, in any case and accent")
    right = models.CharField(_("right"), max_length=200)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        db_table = "correction"
        verbose_name = _("correction")
        verbose_name_plural = _("corrections")
        constraints = [models.UniqueConstraint(fields=["workspace", "kind", "key"], name="correction_is_unique")]

    def __str__(self) -> str:
        return f"{self.wrong} → {self.right}"


class MappingText(models.Model):
    """A mapping that records were read by: names of columns, as JSON, under its digest."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    digest = models.CharField(max_length=32)
    text = models.TextField()

    class Meta:
        db_table = "mapping_text"
        constraints = [models.UniqueConstraint(fields=["workspace", "digest"], name="mapping_text_is_unique")]

    def __str__(self) -> str:
        return self.digest
