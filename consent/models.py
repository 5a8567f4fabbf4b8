"""The consent ledger: purposes, notices, and what people said. Rows are never changed."""

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from cdp.kernel.purposes import Purpose
from cdp.models import Source, Workspace


class LegalBasis(models.TextChoices):
    """GDPR Art. 6(1). A purpose has exactly one."""

    CONSENT = "CONSENT", _("consent")
    CONTRACT = "CONTRACT", _("contract")
    LEGAL_OBLIGATION = "LEGAL_OBLIGATION", _("legal obligation")
    VITAL_INTERESTS = "VITAL_INTERESTS", _("vital interests")
    PUBLIC_INTEREST = "PUBLIC_INTEREST", _("public interest")
    LEGITIMATE_INTEREST = "LEGITIMATE_INTEREST", _("legitimate interest")


class ConsentState(models.TextChoices):
    """The ten states of ISO/IEC TS 27560:2023. Only the first two permit."""

    GIVEN = "GIVEN", _("given")
    RENEWED = "RENEWED", _("renewed")
    UNKNOWN = "UNKNOWN", _("unknown")
    REQUESTED = "REQUESTED", _("requested")
    DEFERRED = "DEFERRED", _("request deferred")
    REFUSED = "REFUSED", _("refused")
    WITHDRAWN = "WITHDRAWN", _("withdrawn")
    EXPIRED = "EXPIRED", _("expired")
    TERMINATED = "TERMINATED", _("terminated")
    INVALIDATED = "INVALIDATED", _("invalidated")


class PurposePolicy(models.Model):
    """On what ground a workspace pursues a purpose. Under consent nothing known means no; otherwise it means yes."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    purpose = models.CharField(_("purpose"), max_length=20, choices=[(p.value, p.value) for p in Purpose])
    bit = models.PositiveSmallIntegerField()
    legal_basis = models.CharField(_("legal basis"), max_length=20, choices=LegalBasis)
    description = models.TextField(_("description"), blank=True)

    class Meta:
        db_table = "purpose"
        verbose_name = _("purpose")
        verbose_name_plural = _("purposes")
        constraints = [models.UniqueConstraint(fields=["workspace", "purpose"], name="purpose_is_unique")]

    def __str__(self) -> str:
        return self.purpose


class Notice(models.Model):
    """What people were shown when they decided: one immutable text per version and language."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    key = models.SlugField(_("key"))
    version = models.PositiveIntegerField(_("version"))
    locale = models.CharField(_("language"), max_length=10)
    text = models.TextField(_("text"))
    digest = models.CharField(max_length=64, help_text="SHA-256 of the text")
    valid_from = models.DateTimeField(_("valid from"))

    class Meta:
        db_table = "notice"
        verbose_name = _("notice")
        verbose_name_plural = _("notices")
        constraints = [
            models.UniqueConstraint(fields=["workspace", "key", "version", "locale"], name="notice_is_unique")
        ]

    def __str__(self) -> str:
        return f"{self.key} {self.version} ({self.locale})"


class ConsentRecord(models.Model):
    """One thing that one identifier said about one purpose.

    Keyed by the digest of the identifier and not by a profile: consent may come before the profile, and a merge
    rewrites nothing. Append-only, by grant and by trigger.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    identifier_type = models.CharField(_("identifier type"), max_length=64)
    identifier_digest = models.BinaryField(max_length=32)
    purpose = models.CharField(_("purpose"), max_length=20, choices=[(p.value, p.value) for p in Purpose])
    state = models.CharField(_("state"), max_length=12, choices=ConsentState)
    occurred_at = models.DateTimeField(_("occurred at"))
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    is_verified = models.BooleanField(
        _("verified"), default=False, help_text=_("the person was logged in, or confirmed by double opt-in")
    )
    source = models.ForeignKey(Source, models.PROTECT, null=True, verbose_name=_("source"))
    notice = models.ForeignKey(Notice, models.PROTECT, null=True, verbose_name=_("notice"))
    key = models.CharField(max_length=100, help_text="of the sender: the same key again records nothing")
    recorded_at = models.DateTimeField(_("recorded at"), db_default=Now())

    class Meta:
        db_table = "consent_record"
        verbose_name = _("consent record")
        verbose_name_plural = _("consent ledger")
        constraints = [
            models.UniqueConstraint(fields=["workspace", "key"], name="consent_record_key_is_unique"),
            models.CheckConstraint(
                condition=models.Q(expires_at=None) | models.Q(expires_at__gt=models.F("occurred_at")),
                name="consent_record_expires_after_it_occurs",
            ),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "identifier_type", "identifier_digest", "purpose"],
                name="consent_record_by_identifier",
            )
        ]

    def __str__(self) -> str:
        return f"{self.purpose} {self.state}"


class SignalKind(models.TextChoices):
    CATEGORY = "CATEGORY", _("category of a consent banner")
    GPC = "GPC", _("Global Privacy Control")


class SignalMapping(models.Model):
    """Which purpose a signal in an event speaks of. A signal that is not here says nothing."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    kind = models.CharField(_("signal"), max_length=8, choices=SignalKind)
    category = models.CharField(_("category"), max_length=100, blank=True)
    purpose = models.CharField(_("purpose"), max_length=20, choices=[(p.value, p.value) for p in Purpose])

    class Meta:
        db_table = "signal_mapping"
        verbose_name = _("signal")
        verbose_name_plural = _("signals")
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "kind", "category", "purpose"], name="signal_mapping_is_unique"
            ),
            models.CheckConstraint(
                condition=models.Q(kind="GPC", category="") | (models.Q(kind="CATEGORY") & ~models.Q(category="")),
                name="signal_mapping_names_a_category",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.category or self.kind} → {self.purpose}"
