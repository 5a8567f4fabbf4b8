"""The consent ledger, whose rows are never changed, and the requests of people."""

import re
import uuid
from collections.abc import Mapping
from typing import Final

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from cdp.kernel.purposes import Purpose
from cdp.models import Source, Workspace
from consent.opendsr_models import DsrCallback, DsrController, DsrRequest
from consent.register_models import (
    Breach,
    BreachEvidence,
    BreachNature,
    ControllerDetails,
    RetentionEvidence,
    RetentionPeriod,
    SourceNotice,
)
from consent.request_states import WITHOUT_VERIFICATION, RequestState, Verification
from consent.rights import Right
from consent.schedules import PURPOSES_THAT_KEEP
from consent.signals.bits import LARGEST_ID
from consent.signals.strings import OPT_OUTS, TCF_PURPOSES

__all__ = [
    "Breach",
    "BreachEvidence",
    "BreachNature",
    "ConsentRecord",
    "ConsentState",
    "ControllerDetails",
    "DsrCallback",
    "DsrController",
    "DsrRequest",
    "LegalBasis",
    "Notice",
    "PurposePolicy",
    "RetentionEvidence",
    "RetentionPeriod",
    "SourceNotice",
]

JURISDICTION: Final = re.compile(r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")  # ISO 3166
LONGEST_CONSENT: Final = 36_500  # days


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


class Scope(models.TextChoices):
    """Whose word counts for a purpose. Cookies are agreed to in a browser, and for that browser."""

    PERSON = "PERSON", _("the person: all identifiers together")
    DEVICE = "DEVICE", _("each device by itself")


# They only read. What the others write is about the person as a whole.
BY_DEVICE: Final = (Purpose.ADVERTISING, Purpose.ANALYTICS)


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
    consent_days = models.PositiveIntegerField(
        _("consent ends after, in days"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_CONSENT)],
        help_text=_("of consents that are given from now on; empty: until they are withdrawn"),
    )
    regimes = models.JSONField(
        _("regimes"),
        default=dict,
        db_default={},
        blank=True,
        help_text=_('by jurisdiction, such as {"US-CA": "OPT_OUT"}; the longest code that fits holds'),
    )
    scope = models.CharField(
        _("scope"),
        max_length=6,
        choices=Scope,
        default=Scope.PERSON,
        db_default=Scope.PERSON,
        help_text=_("whose word counts; device by device only what cookies are for: advertising and analytics"),
    )
    version = models.PositiveIntegerField(_("version"), default=1, db_default=1, editable=False)
    fingerprint = models.CharField(max_length=64, default="", db_default="", editable=False)

    class Meta:
        db_table = "purpose"
        verbose_name = _("purpose")
        verbose_name_plural = _("purposes")
        constraints = [
            models.UniqueConstraint(fields=["workspace", "purpose"], name="purpose_is_unique"),
            models.CheckConstraint(
                condition=models.Q(scope=Scope.PERSON) | models.Q(purpose__in=[each.value for each in BY_DEVICE]),
                name="purpose_by_device_only_reads",
            ),
            # Where silence permits, a yes that ran out would permit less than no word at all.
            models.CheckConstraint(
                condition=models.Q(consent_days=None)
                | models.Q(legal_basis=LegalBasis.CONSENT, consent_days__range=(1, LONGEST_CONSENT)),
                name="purpose_ends_consents_alone",
            ),
        ]

    def __str__(self) -> str:
        return self.purpose

    def clean(self) -> None:
        """What the policy cannot read it takes as opt-in: nobody should find that out afterwards."""
        if self.scope == Scope.DEVICE and self.purpose not in BY_DEVICE:
            raise ValidationError({"scope": _("Only advertising and analytics can be judged device by device.")})
        if self.consent_days is not None and self.legal_basis != LegalBasis.CONSENT:
            raise ValidationError({"consent_days": _("Only what rests on consent has consents that end.")})
        if self.retention_days is not None and self.purpose not in PURPOSES_THAT_KEEP:
            raise ValidationError(
                {"retention_days": _("Nothing is kept for this purpose alone: say it of the purpose “collection”.")}
            )
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

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    identifier_type = models.CharField(_("identifier type"), max_length=64)
    identifier_digest = models.BinaryField(max_length=32)
    purpose = models.CharField(_("purpose"), max_length=20, choices=[(p.value, p.value) for p in Purpose])
    state = models.CharField(_("state"), max_length=12, choices=ConsentState)
    occurred_at = models.DateTimeField(_("occurred at"))
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    is_verified = models.BooleanField(
        _("verified"), default=False, help_text=_("the person was logged in, or confirmed by double opt-in")
    )
    source = models.ForeignKey(Source, models.PROTECT, null=True, verbose_name=_("source"), db_index=False)
    notice = models.ForeignKey(Notice, models.PROTECT, null=True, verbose_name=_("notice"), db_index=False)
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
            ),
            # For whoever deletes a source or a notice, and for nothing else: most records name neither.
            models.Index(fields=["source"], condition=models.Q(source__isnull=False), name="consent_record_by_source"),
            models.Index(fields=["notice"], condition=models.Q(notice__isnull=False), name="consent_record_by_notice"),
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
    vendor_id = models.PositiveIntegerField(
        _("vendor number"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(LARGEST_ID)],
        help_text=_("of the Global Vendor List: whom TC strings must name; without one they say nothing"),
    )
    jurisdiction_trait = models.CharField(
        _("trait of the jurisdiction"),
        max_length=128,
        blank=True,
        default="",
        db_default="",
        help_text=_("whose value is where the person lives, as FR or US-CA; empty: not known of anybody"),
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


class DataRequest(models.Model):
    """What a person asks for under the GDPR, and how far the answer is.

    Who asks is stored encrypted, beside the keyed digests by which it is found. Constraints and triggers hold the life
    of a request (see migration 0008): no state is skipped, and nothing is done before somebody was verified. Each
    change says what it was in `step`, `stepped_at`, `stepped_by` and `note`; a trigger keeps them all as `RequestStep`.
    """

    class Kind(models.TextChoices):
        ACCESS = Right.ACCESS.value, _("access (Art. 15)")
        RECTIFICATION = Right.RECTIFICATION.value, _("rectification (Art. 16)")
        ERASURE = Right.ERASURE.value, _("erasure (Art. 17)")
        RESTRICTION = Right.RESTRICTION.value, _("restriction (Art. 18)")
        PORTABILITY = Right.PORTABILITY.value, _("portability (Art. 20)")
        OBJECTION = Right.OBJECTION.value, _("objection (Art. 21)")
        HUMAN_REVIEW = Right.HUMAN_REVIEW.value, _("review by a human (Art. 22)")
        WITHDRAWAL = Right.WITHDRAWAL.value, _("withdrawal of consent (Art. 7(3))")

    class State(models.TextChoices):
        RECEIVED = RequestState.RECEIVED.value, _("received")
        IN_PROGRESS = RequestState.IN_PROGRESS.value, _("in progress")
        COMPLETED = RequestState.COMPLETED.value, _("completed")
        REFUSED = RequestState.REFUSED.value, _("refused")
        DUPLICATE = RequestState.DUPLICATE.value, _("duplicate")
        TAKEN_BACK = RequestState.TAKEN_BACK.value, _("taken back")

    class Locale(models.TextChoices):
        EN = "en", _("English")
        FR = "fr", _("French")

    class Level(models.TextChoices):
        NONE = Verification.NONE.value, _("not verified")
        MANUAL = Verification.MANUAL.value, _("by hand")
        CODE = Verification.CODE.value, _("by a code")
        CODE_AND_IDENTIFIER = Verification.CODE_AND_IDENTIFIER.value, _("by a code and a second identifier")
        LOGGED_IN = Verification.LOGGED_IN.value, _("logged in")

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    kind = models.CharField(_("kind"), max_length=20, choices=Kind)
    state = models.CharField(_("state"), max_length=20, choices=State, default=RequestState.RECEIVED.value)
    key = models.CharField(
        max_length=100, blank=True, help_text="of the sender: the same key again is the same request"
    )
    identifiers = models.BinaryField(help_text="who asks, as JSON under FIELD_ENCRYPTION_KEYS")
    digests = ArrayField(models.BinaryField(max_length=32), help_text="of the identifiers, keyed")
    details = models.BinaryField(null=True, help_text="which purposes or values it is about, likewise encrypted")
    locale = models.CharField(_("language of the person"), max_length=2, choices=Locale, default="en", db_default="en")
    verification = models.CharField(_("verification"), max_length=20, choices=Level, blank=True, default="")
    verified_at = models.DateTimeField(_("verified at"), null=True)
    received_at = models.DateTimeField(_("received at"))
    first_due_at = models.DateTimeField(_("first date"), help_text=_("for a refusal or the notice of an extension"))
    due_at = models.DateTimeField(_("due at"))
    notified_at = models.DateTimeField(_("extension told at"), null=True)
    extension_reason = models.TextField(_("reason of the extension"), blank=True, default="")
    refusal_reason = models.TextField(_("reason of the refusal"), blank=True, default="")
    duplicate_of = models.ForeignKey("self", models.CASCADE, null=True, verbose_name=_("duplicate of"))
    closed_at = models.DateTimeField(_("closed at"), null=True)
    step = models.CharField(_("last step"), max_length=30)
    stepped_at = models.DateTimeField(_("at"))
    stepped_by = models.CharField(_("by"), max_length=40, help_text="user:ID, key:ID, or system")
    note = models.TextField(_("note"), blank=True, default="")

    class Meta:
        db_table = "data_request"
        verbose_name = _("request of a person")
        verbose_name_plural = _("requests of people")
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "key"], condition=~models.Q(key=""), name="data_request_key_is_unique"
            ),
            # The one that closed another as its duplicate would else have let somebody in unseen.
            models.CheckConstraint(
                condition=~models.Q(verification="")
                | models.Q(state__in=sorted(state.value for state in WITHOUT_VERIFICATION)),
                name="data_request_is_verified_first",
            ),
            models.CheckConstraint(
                condition=models.Q(verification="", verified_at=None)
                | (~models.Q(verification="") & models.Q(verified_at__isnull=False)),
                name="data_request_verification_has_its_time",
            ),
            models.CheckConstraint(
                condition=models.Q(notified_at=None)
                | (models.Q(notified_at__lte=models.F("first_due_at")) & ~models.Q(extension_reason="")),
                name="data_request_extension_was_told_in_time",
            ),
            models.CheckConstraint(
                condition=models.Q(notified_at__isnull=False) | models.Q(due_at=models.F("first_due_at")),
                name="data_request_is_due_later_only_if_told",
            ),
            models.CheckConstraint(
                condition=~models.Q(state="REFUSED")
                | (models.Q(closed_at__lte=models.F("first_due_at")) & ~models.Q(refusal_reason="")),
                name="data_request_refusal_was_told_in_time",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=["RECEIVED", "IN_PROGRESS"], closed_at=None)
                | (~models.Q(state__in=["RECEIVED", "IN_PROGRESS"]) & models.Q(closed_at__isnull=False)),
                name="data_request_closed_has_its_time",
            ),
            models.CheckConstraint(
                condition=models.Q(state="DUPLICATE", duplicate_of__isnull=False)
                | (~models.Q(state="DUPLICATE") & models.Q(duplicate_of=None)),
                name="data_request_duplicate_names_the_other",
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=[right.value for right in Right]), name="data_request_kind_is_known"
            ),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "due_at"], condition=models.Q(closed_at=None), name="data_request_open_by_due"
            )
        ]

    def __str__(self) -> str:
        return f"#{self.pk}"


class RequestStep(models.Model):
    """One thing that happened to a request. Append-only; written by a trigger, so nothing happens without a trace."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    request = models.ForeignKey(DataRequest, models.CASCADE, related_name="steps")
    step = models.CharField(_("step"), max_length=30)
    from_state = models.CharField(_("from"), max_length=20, blank=True)
    to_state = models.CharField(_("to"), max_length=20, choices=DataRequest.State)
    stepped_at = models.DateTimeField(_("at"))
    stepped_by = models.CharField(_("by"), max_length=40)
    note = models.TextField(_("note"), blank=True)

    class Meta:
        db_table = "data_request_step"
        verbose_name = _("step of a request")
        verbose_name_plural = _("steps of requests")
        indexes = [models.Index(fields=["request", "id"], name="data_request_step_by_request")]

    def __str__(self) -> str:
        return self.step


class IdentityDoubt(models.Model):
    """While it was doubted who asks, the clock stood still."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    request = models.ForeignKey(DataRequest, models.CASCADE, related_name="doubts")
    started_at = models.DateTimeField(_("from"))
    ended_at = models.DateTimeField(_("to"), null=True)
    reason = models.TextField(_("reason"))

    class Meta:
        db_table = "identity_doubt"
        constraints = [
            models.UniqueConstraint(
                fields=["request"], condition=models.Q(ended_at=None), name="identity_doubt_one_at_a_time"
            ),
            models.CheckConstraint(
                condition=models.Q(ended_at=None) | models.Q(ended_at__gte=models.F("started_at")),
                name="identity_doubt_ends_after_it_starts",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d}"


class VerificationCode(models.Model):
    """The code that was last sent for a request. Only its digest is stored; the next one replaces it."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    request = models.OneToOneField(DataRequest, models.CASCADE, related_name="code")
    digest = models.BinaryField(max_length=32)
    expires_at = models.DateTimeField()
    tries = models.PositiveSmallIntegerField(default=0, db_default=0)
    codes_sent = models.PositiveSmallIntegerField(default=1, db_default=1)

    class Meta:
        db_table = "verification_code"
        constraints = [
            # Whoever guesses in parallel is counted one by one: the sixth is refused by the row itself.
            models.CheckConstraint(condition=models.Q(tries__lte=5), name="verification_code_has_five_tries"),
            models.CheckConstraint(condition=models.Q(codes_sent__lte=5), name="verification_code_is_sent_five_times"),
        ]

    def __str__(self) -> str:
        return f"#{self.request_id}"


class DataPackage(models.Model):
    """The file with everything held about the person of a request: encrypted, with a link that ends and is counted."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    request = models.OneToOneField(DataRequest, models.CASCADE, related_name="package")
    secrets = models.BinaryField(help_text="the key of the file, under FIELD_ENCRYPTION_KEYS")
    stored_as = models.CharField(max_length=80, blank=True, default="", help_text="its name below PACKAGE_DIR")
    counts = models.JSONField(default=dict, help_text="rows by section")
    size = models.BigIntegerField(_("bytes"), default=0)
    failures = models.PositiveSmallIntegerField(default=0, db_default=0)
    error = models.CharField(max_length=100, blank=True, default="", help_text="class of the last failure")
    ordered_at = models.DateTimeField(_("ordered at"))
    built_at = models.DateTimeField(_("built at"), null=True)
    link_digest = models.CharField(max_length=64, blank=True, default="", db_index=True)
    link_expires_at = models.DateTimeField(_("link ends at"), null=True)
    downloads_left = models.PositiveSmallIntegerField(_("downloads left"), default=0)

    class Meta:
        db_table = "data_package"
        verbose_name = _("package")
        verbose_name_plural = _("packages")

    def __str__(self) -> str:
        return f"#{self.request_id}"


class RequestWork(models.Model):
    """What is done for a request that no package answers: ordered when it begins, and done once, by the login `rights`.

    Work by hand has no step of a machine: it is done when the officer has noted what came of it. A request is completed
    only when its work is done or its package is built: a trigger of the database says so to whoever writes.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_index=False)
    request = models.OneToOneField(DataRequest, models.CASCADE, related_name="work")
    kind = models.CharField(max_length=20, choices=DataRequest.Kind, help_text="of the request")
    is_by_hand = models.BooleanField(_("by hand"), default=False)
    outcome = models.TextField(_("outcome"), blank=True, default="", help_text="of work by hand")
    counts = models.JSONField(_("done"), default=dict, help_text="what → how often: ids and names of ours, no values")
    erasure = models.ForeignKey("Erasure", models.PROTECT, null=True, verbose_name=_("erasure"))
    failures = models.PositiveIntegerField(_("failures"), default=0, db_default=0)
    error = models.CharField(_("error"), max_length=100, blank=True, default="", help_text="class of the last failure")
    ordered_at = models.DateTimeField(_("ordered at"))
    due_at = models.DateTimeField(help_text="when the next try may be made")
    claimed_until = models.DateTimeField(null=True, help_text="a worker is at it")
    done_at = models.DateTimeField(_("done at"), null=True)

    class Meta:
        db_table = "request_work"
        verbose_name = _("work on a request")
        verbose_name_plural = _("work on requests")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(done_at=None) | ~models.Q(kind="ERASURE") | models.Q(erasure__isnull=False),
                name="request_work_erasure_has_its_certificate",
            ),
            models.CheckConstraint(
                condition=models.Q(is_by_hand=False) | models.Q(done_at=None) | ~models.Q(outcome=""),
                name="request_work_by_hand_has_an_outcome",
            ),
            models.CheckConstraint(
                condition=models.Q(is_by_hand=True) | ~models.Q(kind="HUMAN_REVIEW"),
                name="request_work_of_a_human_is_by_hand",
            ),
            models.CheckConstraint(
                condition=models.Q(is_by_hand=False) | models.Q(kind__in=["HUMAN_REVIEW", "RECTIFICATION"]),
                name="request_work_of_a_machine_is_not_by_hand",
            ),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "due_at"],
                condition=models.Q(done_at=None, is_by_hand=False),
                name="request_work_waiting",
            )
        ]

    def __str__(self) -> str:
        return f"#{self.request_id}"


class SignalKind(models.TextChoices):
    CATEGORY = "CATEGORY", _("category of a consent banner")
    GPC = "GPC", _("Global Privacy Control")
    TCF = "TCF", _("purpose of TCF, by consent")
    OPT_OUT = "OPT_OUT", _("opt-out under a law of the United States")


# What may stand as the category of each kind; None: any text.
CATEGORIES_OF_SIGNALS: Final[Mapping[str, tuple[str, ...] | None]] = {
    SignalKind.CATEGORY: None,
    SignalKind.GPC: ("",),
    SignalKind.TCF: tuple(str(purpose) for purpose in TCF_PURPOSES),
    SignalKind.OPT_OUT: OPT_OUTS,
}


class SignalMapping(models.Model):
    """Which purpose a signal in an event speaks of. A signal that is not here says nothing."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    kind = models.CharField(_("signal"), max_length=8, choices=SignalKind)
    category = models.CharField(
        _("category"),
        max_length=100,
        blank=True,
        help_text=_(
            "as the banner writes it; the number of a purpose of TCF; sale, sharing, targeted_advertising or gpc of an opt-out"
        ),
    )
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
                condition=models.Q(kind="GPC", category="") | (~models.Q(kind="GPC") & ~models.Q(category="")),
                name="signal_mapping_names_a_category",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.category or self.kind} → {self.purpose}"

    def clean(self) -> None:
        known = CATEGORIES_OF_SIGNALS.get(self.kind)
        if self.kind == SignalKind.CATEGORY and not self.category:
            raise ValidationError({"category": _("Write the category as the consent banner does.")})
        if known is not None and self.category not in known:
            told = _("Of this signal it is one of: %(known)s.") % {"known": ", ".join(known) or "–"}
            raise ValidationError({"category": told})


class ConsentString(models.Model):
    """What a consent string said for the vendor of the workspace, and how often it came. The string itself stays in its
    events, as it came: here is its SHA-256, so that nobody is remembered by it.
    """

    class Kind(models.TextChoices):
        TCF = "tcString", _("TC string")
        GPP = "gppString", _("GPP string")

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_index=False)
    kind = models.CharField(_("string"), max_length=9, choices=Kind)
    digest = models.BinaryField(max_length=32, help_text="SHA-256 of the text and of the sections in force")
    vendor_id = models.PositiveIntegerField(_("vendor number"), null=True)
    purposes = models.JSONField(_("purposes"), help_text=_("number of the purpose of TCF → may the vendor pursue it"))
    opt_outs = models.JSONField(_("opt-outs"), help_text=_("name → did the person opt out"))
    faults = ArrayField(models.CharField(max_length=40), verbose_name=_("faults"), default=list)
    unreadable = models.CharField(_("unreadable because"), max_length=200, blank=True, default="")
    times_seen = models.PositiveBigIntegerField(_("events"))
    first_seen_at = models.DateTimeField(_("first seen at"))
    last_seen_at = models.DateTimeField(_("last seen at"))

    class Meta:
        db_table = "consent_string"
        verbose_name = _("consent string")
        verbose_name_plural = _("consent strings")
        constraints = [models.UniqueConstraint(fields=["workspace", "kind", "digest"], name="consent_string_is_unique")]

    def __str__(self) -> str:
        return f"{self.kind} {bytes(self.digest).hex()[:12]}"


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
    code = models.CharField(_("code"), max_length=64, blank=True, default="", db_default="")
    reference = models.UUIDField(
        default=uuid.uuid4, db_default=RandomUUID(), help_text="by which the destination knows it"
    )
    tries = models.PositiveSmallIntegerField(_("tries"), default=0, db_default=0)
    due_at = models.DateTimeField(null=True, help_text="when it may be told again; also the lease of a try under way")
    promised_at = models.DateTimeField(null=True, help_text="it took the notice and answers later")

    class Meta:
        db_table = "erasure_order"
        constraints = [
            models.UniqueConstraint(fields=["erasure", "destination_id", "profile_id"], name="erasure_order_is_unique")
        ]
        indexes = [
            models.Index(fields=["workspace"], condition=models.Q(answer="PENDING"), name="erasure_order_pending")
        ]

    def __str__(self) -> str:
        return f"{self.destination}: {self.answer}"


class ErasureSubject(models.Model):
    """Who was erased, for a destination that must be told whom to erase: encrypted, and gone when it has answered."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    order = models.OneToOneField(ErasureOrder, models.CASCADE, related_name="subject")
    identifiers = models.BinaryField(help_text="as JSON under FIELD_ENCRYPTION_KEYS")

    class Meta:
        db_table = "erasure_subject"

    def __str__(self) -> str:
        return f"#{self.order_id}"


class ErasureMark(models.Model):
    """Up to which line of the ledger of erasures this database has done what it says. One row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    number = models.BigIntegerField()

    class Meta:
        db_table = "erasure_mark"
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="erasure_mark_is_one")]

    def __str__(self) -> str:
        return str(self.number)
