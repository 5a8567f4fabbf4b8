"""Keys of machines: write keys for tracking, API keys with scopes for everything else. Only digests are stored."""

import hashlib
import secrets

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from cdp.kernel.purposes import Purpose
from cdp.models.sources import Source
from cdp.models.workspaces import Workspace


class Scope(models.TextChoices):
    PROFILES_READ = "profiles:read", _("read profiles")
    SEGMENTS_READ = "segments:read", _("read segments and members")
    SEGMENTS_WRITE = "segments:write", _("create and change segments")
    PLANS_READ = "plans:read", _("read tracking plans and quality reports")
    PLANS_WRITE = "plans:write", _("write tracking plans and alert thresholds")
    CONSENTS_READ = "consents:read", _("read consents")
    CONSENTS_WRITE = "consents:write", _("record consents")
    RIGHTS_READ = "rights:read", _("read requests of people")
    RIGHTS_WRITE = "rights:write", _("receive, verify and answer requests of people")
    IDENTITY_READ = "identity:read", _("read rules of identity and of the golden record")
    IDENTITY_WRITE = "identity:write", _("change rules of identity and of the golden record")
    FILES_WRITE = "files:write", _("load files and see how far they are")
    QUARANTINE_READ = "quarantine:read", _("read the quarantine")
    QUARANTINE_WRITE = "quarantine:write", _("mend, replay and discard quarantined items")
    REVIEW_READ = "review:read", _("read pairs to review and statistics of stewards")
    REVIEW_WRITE = "review:write", _("judge pairs in the name of a steward")


def digest_of(secret: str) -> str:
    """Keys are long and random, so a plain SHA-256 suffices and costs the hot path nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_secret(prefix: str) -> str:
    return f"{prefix}_{secrets.token_urlsafe(24)}"


class WriteKey(models.Model):
    source = models.ForeignKey(Source, models.CASCADE, related_name="write_keys")
    digest = models.CharField(max_length=64, unique=True)
    hint = models.CharField(_("begins with"), max_length=12)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True)

    class Meta:
        db_table = "write_key"
        verbose_name = _("write key")
        verbose_name_plural = _("write keys")

    def __str__(self) -> str:
        return f"{self.hint}…"


class ApiKey(models.Model):
    """Reads people only as far as they permit `purpose`."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    name = models.CharField(_("name"), max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    hint = models.CharField(_("begins with"), max_length=12)
    scopes = ArrayField(models.CharField(max_length=40, choices=Scope), verbose_name=_("scopes"))
    purpose = models.CharField(
        _("purpose"), max_length=20, choices=[(p.value, p.value) for p in Purpose], default=Purpose.ANALYTICS
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True)

    class Meta:
        db_table = "api_key"
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")

    def __str__(self) -> str:
        return self.name
