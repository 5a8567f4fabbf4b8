"""Which identifier was asked about at which provider: a look-up is made once, and is itself a disclosure."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from cdp.models import Identifier, Source, Workspace


class Lookup(models.Model):
    """The values themselves are traits of the identifier, with the provider as their source."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    source = models.ForeignKey(Source, models.CASCADE, verbose_name=_("provider"))
    identifier = models.ForeignKey(Identifier, models.CASCADE)
    provider_version = models.CharField(_("version"), max_length=40)
    is_found = models.BooleanField(_("found"))
    cost = models.DecimalField(_("cost"), max_digits=12, decimal_places=6, default=0)
    looked_up_at = models.DateTimeField(_("looked up at"))

    class Meta:
        db_table = "lookup"
        verbose_name = _("look-up")
        verbose_name_plural = _("look-ups")
        constraints = [models.UniqueConstraint(fields=["source", "identifier"], name="lookup_is_unique")]

    def __str__(self) -> str:
        return f"{self.source_id} of {self.identifier_id}"
