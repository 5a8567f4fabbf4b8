"""The consent ledger: purposes, notices, and what people said. Rows are never changed."""

import re
from typing import Final

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from cdp.kernel.purposes import Purpose
from cdp.models import Source, Workspace
from consent.register_models import (
    Breach,
    BreachEvidence,
    BreachNature,
    ControllerDetails,
    RetentionEvidence,
    RetentionPeriod,
    SourceNotice,
)

__all__ = [
    "Breach",
    "BreachEvidence",
    "BreachNature",
    "ConsentRecord",
    "ConsentState",
    "ControllerDetails",
    "LegalBasis",
    "Notice",
    "PurposePolicy",
    "RetentionEvidence",
    "RetentionPeriod",
    "SourceNotice",
]

JURISDICTION: Final = re.compile(r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")  # ISO 3166


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


class Regime(models.TextChoices):
    """What silence means where the person lives."""

    OPT_IN = "OPT_IN", _("opt-in: silence is no")
    OPT_OUT = "OPT_OUT", _("opt-out: silence is yes until an objection")


class PurposePolicy(models.Model):
    """On what ground a workspace pursues a purpose. Under consent nothing known means no; otherwise it means yes.

    A trigger counts `version`, computes `fingerprint` and keeps each version as a `PurposeRule`.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    purpose = models.CharField(_("purpose"), max_length=20, choices=[(p.value, p.value) for p in Purpose])
    bit = models.PositiveSmallIntegerField()
    legal_basis = models.CharField(_("legal basis"), max_length=20, choices=LegalBasis)
    description = models.TextField(_("description"), blank=True)
    is_special = models.BooleanField(
        _("special categories"), default=False, db_default=False, help_text=_("data of GDPR Art. 9, such as health")
    )
    data_categories = ArrayField(
        models.CharField(max_length=64), verbose_name=_("data categories"), default=list, db_default=[], blank=True
    )
    retention_days = models.PositiveIntegerField(
        _("retention in days"), null=True, blank=True, validators=[MinValueValidator(1)]
    )
    regimes = models.JSONField(
        _("regimes"),
        default=dict,
        db_default={},
        blank=True,
        help_text=_('by jurisdiction, such as {"US-CA": "OPT_OUT"}; the longest code that fits holds'),
    )
    version = models.PositiveIntegerField(_("version"), default=1, db_default=1, editable=False)
    fingerprint = models.CharField(max_length=64, default="", db_default="", editable=False)

    class Meta:
        db_table = "purpose"
        verbose_name = _("purpose")
        verbose_name_plural = _("purposes")
        constraints = [models.UniqueConstraint(fields=["workspace", "purpose"], name="purpose_is_unique")]

    def __str__(self) -> str:
        return self.purpose

    def clean(self) -> None:
        """What the policy cannot read it takes as opt-in: nobody should find that out afterwards."""
        given = self.regimes.items() if isinstance(self.regimes, dict) else [("", "")]
        if not all(JURISDICTION.fullmatch(place) and regime in Regime.values for place, regime in given):
            raise ValidationError(
                {"regimes": _("Write a regime for each jurisdiction: OPT_IN or OPT_OUT, for FR or US-CA.")}
            )


class PurposeRule(models.Model):
    """What a version of a purpose said: records of the ledger name it by its fingerprint. Append-only."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    purpose = models.CharField(_("purpose"), max_length=20)
    version = models.PositiveIntegerField(_("version"))
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the rule as Postgres writes it")
    rule = models.JSONField(_("rule"))
    recorded_at = models.DateTimeField(_("recorded at"), db_default=Now())

    class Meta:
        db_table = "purpose_rule"
        verbose_name = _("version of a purpose")
        verbose_name_plural = _("versions of purposes")
        constraints = [
            models.UniqueConstraint(fields=["workspace", "purpose", "version"], name="purpose_rule_is_unique")
        ]

    def __str__(self) -> str:
        return f"{self.purpose} {self.version}"


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
    recipient = models.CharField(
        _("recipient"),
        max_length=64,
        default="",
        db_default="",
        blank=True,
        help_text=_("the platform or channel that alone is meant; empty: the purpose as a whole"),
    )
    jurisdiction = models.CharField(_("jurisdiction"), max_length=6, default="", db_default="", blank=True)
    rule = models.CharField(
        max_length=64, default="", db_default="", help_text="fingerprint of the purpose's rule when it was recorded"
    )
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


class ConsentLink(models.Model):
    """The place of a record in the hash chain of its workspace: SHA-256 of the previous link and of the record.

    Written by a trigger alone. No foreign keys: a link must outlive a record that somebody deletes, and the record
    beside it was checked already.
    """

    record_id = models.BigIntegerField(primary_key=True)
    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    position = models.BigIntegerField()
    hash = models.BinaryField(max_length=32)

    class Meta:
        db_table = "consent_link"
        constraints = [
            # Two transactions that did not wait for each other would fork the chain.
            models.UniqueConstraint(fields=["workspace", "position"], name="consent_link_position_is_taken_once")
        ]

    def __str__(self) -> str:
        return str(self.position)


class ConsentSettings(models.Model):
    """How a workspace asks. Without a row the defaults hold."""

    workspace = models.OneToOneField(Workspace, models.CASCADE, primary_key=True)
    keeps_addresses = models.BooleanField(
        _("keeps IP addresses"), default=False, help_text=_("of who asks and who confirms, as evidence")
    )
    confirmation_hours = models.PositiveIntegerField(
        _("hours to confirm"), default=72, validators=[MinValueValidator(1)]
    )

    class Meta:
        db_table = "consent_settings"
        verbose_name = _("consent settings")
        verbose_name_plural = _("consent settings")

    def __str__(self) -> str:
        return str(self.workspace)


class Confirmation(models.Model):
    """A double opt-in: asked for, and open until its token is used, runs out, or the person refuses meanwhile."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    token_digest = models.CharField(max_length=64)
    identifier_type = models.CharField(max_length=64)
    identifier_digest = models.BinaryField(max_length=32)
    purpose = models.CharField(max_length=20, choices=[(p.value, p.value) for p in Purpose])
    recipient = models.CharField(max_length=64, default="", blank=True)
    jurisdiction = models.CharField(max_length=6, default="", blank=True)
    notice = models.ForeignKey(Notice, models.PROTECT, null=True)
    requested_at = models.DateTimeField(_("requested at"))
    requested_from = models.GenericIPAddressField(_("requested from"), null=True)
    expires_at = models.DateTimeField(_("expires at"))
    confirmed_at = models.DateTimeField(_("confirmed at"), null=True)
    confirmed_from = models.GenericIPAddressField(_("confirmed from"), null=True)

    class Meta:
        db_table = "confirmation"
        verbose_name = _("double opt-in")
        verbose_name_plural = _("double opt-ins")
        constraints = [
            models.UniqueConstraint(fields=["workspace", "token_digest"], name="confirmation_token_is_unique"),
            models.CheckConstraint(
                condition=models.Q(expires_at__gt=models.F("requested_at")),
                name="confirmation_expires_after_it_is_requested",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} {self.requested_at:%Y-%m-%d}"


class SigningKey(models.Model):
    """An Ed25519 key that signs receipts and heads of the ledger. Old ones stay, so that old receipts can be checked."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    kid = models.CharField(max_length=43, help_text="thumbprint of the public key, RFC 7638")
    public = models.BinaryField(max_length=32)
    private = models.BinaryField(help_text="encrypted under FIELD_ENCRYPTION_KEYS")
    created_at = models.DateTimeField()

    class Meta:
        db_table = "signing_key"
        constraints = [models.UniqueConstraint(fields=["workspace", "kid"], name="signing_key_is_unique")]

    def __str__(self) -> str:
        return self.kid
