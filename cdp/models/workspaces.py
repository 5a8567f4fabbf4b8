"""A workspace is a tenant. Every row has one, and no query crosses it."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Workspace(models.Model):
    slug = models.SlugField(_("slug"), unique=True)
    name = models.CharField(_("name"), max_length=200)
    default_region = models.CharField(
        _("default region"), max_length=2, default="FR", help_text=_("ISO 3166 code, for phone numbers and postcodes")
    )
    time_zone = models.CharField(_("time zone"), max_length=64, default="Europe/Paris")
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    closed_at = models.DateTimeField(
        _("closed at"), null=True, blank=True, help_text=_("once closed, its rows may be deleted, ledgers included")
    )

    class Meta:
        db_table = "workspace"
        verbose_name = _("workspace")
        verbose_name_plural = _("workspaces")

    def __str__(self) -> str:
        return self.slug
