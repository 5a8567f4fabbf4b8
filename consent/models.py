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


# -- rights of people -----------------------------------------------------------------------------------------------


class SuppressionReason(models.TextChoices):
    ERASURE = "ERASURE", _("erased at their request")
    REQUEST = "REQUEST", _("asked not to be stored")
    OPERATOR = "OPERATOR", _("entered by an operator")


class Suppression(models.Model):
    """Whoever has this identifier is not stored, whatever brings them: SDK, file, webhook, replay or restored backup.

    It holds the digest and never the value: a list of those who want to be forgotten must not remember them.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_index=False)
    identifier_type = models.CharField(_("identifier type"), max_length=64)
    identifier_digest = models.BinaryField(max_length=32)
    pepper_id = models.CharField(max_length=8, help_text="under which pepper the digest was made")
    reason = models.CharField(_("reason"), max_length=12, choices=SuppressionReason)
    until = models.DateTimeField(_("until"), null=True, blank=True)
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        db_table = "suppression"
        verbose_name = _("suppression")
        verbose_name_plural = _("suppressions")
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "identifier_type", "identifier_digest"], name="suppression_is_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.identifier_type} {self.reason}"


class SuppressedDay(models.Model):
    """How much of suppressed people arrived and was dropped: a number a day, and nothing about whom."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_index=False)
    day = models.DateField(_("day"))
    dropped = models.PositiveBigIntegerField(_("dropped"))

    class Meta:
        db_table = "suppressed_day"
        constraints = [models.UniqueConstraint(fields=["workspace", "day"], name="suppressed_day_is_unique")]

    def __str__(self) -> str:
        return f"{self.day}: {self.dropped}"


class RestrictionKind(models.TextChoices):
    RESTRICTION = "RESTRICTION", _("restriction (Art. 18)")
    OBJECTION = "OBJECTION", _("objection (Art. 21)")


class Restriction(models.Model):
    """The person of this identifier is shown to no purpose of `denies`, whatever they consented to, until it is lifted."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_index=False)
    identifier_type = models.CharField(_("identifier type"), max_length=64)
    identifier_digest = models.BinaryField(max_length=32)
    kind = models.CharField(_("kind"), max_length=12, choices=RestrictionKind)
    denies = models.PositiveSmallIntegerField(help_text="the bits of the purposes")
    created_at = models.DateTimeField(_("created at"))
    lifted_at = models.DateTimeField(_("lifted at"), null=True, blank=True)

    class Meta:
        db_table = "restriction"
        verbose_name = _("restriction")
        verbose_name_plural = _("restrictions")
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "identifier_type", "identifier_digest", "kind", "denies"],
                condition=models.Q(lifted_at=None),
                name="restriction_is_open_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.identifier_type}"


class Erasure(models.Model):
    """That a person was erased: the certificate, which says how many rows of which tables and nothing about whom."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    key = models.CharField(max_length=100, help_text="of the one who asked: the same key again erases nothing")
    number = models.BigIntegerField(help_text="its line in the ledger outside of the database")
    rows = models.JSONField(_("rows"), help_text="table → rows that were erased or emptied")
    erased_at = models.DateTimeField(_("erased at"))
    completed_at = models.DateTimeField(
        _("completed at"), null=True, blank=True, help_text=_("all destinations answered")
    )

    class Meta:
        db_table = "erasure"
        verbose_name = _("erasure")
        verbose_name_plural = _("erasures")
        constraints = [models.UniqueConstraint(fields=["workspace", "key"], name="erasure_key_is_unique")]

    def __str__(self) -> str:
        return self.key


class ErasureAnswer(models.TextChoices):
    PENDING = "PENDING", _("pending")
    ACKNOWLEDGED = "ACKNOWLEDGED", _("acknowledged")
    REFUSED = "REFUSED", _("refused")
    UNSUPPORTED = "UNSUPPORTED", _("unsupported")


class ErasureOrder(models.Model):
    """What a destination was told about an erased person, and what it answered. The profile id leads to nobody any more."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_index=False)
    erasure = models.ForeignKey(Erasure, models.CASCADE, related_name="orders")
    destination_id = models.BigIntegerField()
    destination = models.CharField(_("destination"), max_length=50, help_text=_("its name at that time"))
    profile_id = models.BigIntegerField()
    answer = models.CharField(_("answer"), max_length=12, choices=ErasureAnswer, default=ErasureAnswer.PENDING)
    answered_at = models.DateTimeField(_("answered at"), null=True, blank=True)

    class Meta:
        db_table = "erasure_order"
        constraints = [models.UniqueConstraint(fields=["erasure", "destination_id"], name="erasure_order_is_unique")]
        indexes = [
            models.Index(fields=["workspace"], condition=models.Q(answer="PENDING"), name="erasure_order_pending")
        ]

    def __str__(self) -> str:
        return f"{self.destination}: {self.answer}"


class ErasureMark(models.Model):
    """Up to which line of the ledger of erasures this database has done what it says. One row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    number = models.BigIntegerField()

    class Meta:
        db_table = "erasure_mark"
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="erasure_mark_is_one")]

    def __str__(self) -> str:
        return str(self.number)
