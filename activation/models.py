"""Where audiences go, and the ledger of exactly what was sent."""

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from activation.destination import Erases
from cdp.models import Profile, Workspace
from consent.models import ErasureOrder
from consent.services import RECIPIENT
from segments.models import Segment

ERASES = [(each.value, each.value) for each in Erases]


class Destination(models.Model):
    workspace = models.ForeignKey(Workspace, models.CASCADE)
    slug = models.SlugField(_("slug"))
    kind = models.CharField(_("kind"), max_length=40)
    recipient = models.CharField(
        _("recipient"),
        max_length=64,
        blank=True,
        default="",
        db_default="",
        validators=[RegexValidator(RECIPIENT)],
        help_text=_("whom people permit or refuse by this name, such as meta; empty: the kind"),
    )
    config = models.JSONField(_("configuration"), default=dict, help_text=_("what is not secret"))
    secrets = models.BinaryField(help_text="JSON, encrypted with FIELD_ENCRYPTION_KEYS")
    erases = models.CharField(
        max_length=9,
        choices=ERASES,
        default=Erases.NOBODY.value,
        db_default=Erases.NOBODY.value,
        help_text="whom it is told of when somebody is erased: as its kind says",
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)
    paused_until = models.DateTimeField(_("paused until"), null=True, blank=True)
    failure = models.TextField(_("last failure"), blank=True)
    leased_until = models.DateTimeField(
        null=True,
        editable=False,
        help_text="one sender at a time: what was removed must not be added by an older request",
    )

    class Meta:
        db_table = "destination"
        verbose_name = _("destination")
        verbose_name_plural = _("destinations")
        constraints = [models.UniqueConstraint(fields=["workspace", "slug"], name="destination_slug_is_unique")]

    def __str__(self) -> str:
        return self.slug


class Audience(models.Model):
    """A segment kept in step on a destination."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    destination = models.ForeignKey(Destination, models.CASCADE, verbose_name=_("destination"))
    segment = models.ForeignKey(Segment, models.PROTECT, verbose_name=_("segment"))
    external_id = models.CharField(_("name at the destination"), max_length=200)
    identifier_types = ArrayField(models.CharField(max_length=64), verbose_name=_("identifiers sent"))
    is_enabled = models.BooleanField(_("enabled"), default=True)

    class Meta:
        db_table = "audience"
        verbose_name = _("audience")
        verbose_name_plural = _("audiences")
        constraints = [models.UniqueConstraint(fields=["destination", "segment"], name="audience_is_unique")]

    def __str__(self) -> str:
        return self.external_id


class MemberState(models.TextChoices):
    ADDING = "ADDING", _("to be added")
    PRESENT = "PRESENT", _("present")
    REMOVING = "REMOVING", _("to be removed")
    REMOVED = "REMOVED", _("removed")
    REJECTED = "REJECTED", _("rejected")


class SyncRun(models.Model):
    """One request to a destination."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    audience = models.ForeignKey(Audience, models.CASCADE, verbose_name=_("audience"))
    operation = models.CharField(_("operation"), max_length=6, choices=[("ADD", _("add")), ("REMOVE", _("remove"))])
    key = models.CharField(max_length=64, unique=True, help_text="idempotency key of the request")
    members = models.PositiveIntegerField(_("members"))
    rejected = models.PositiveIntegerField(_("rejected"), default=0)
    error = models.TextField(_("error"), blank=True)
    started_at = models.DateTimeField(_("started at"))
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    class Meta:
        db_table = "sync_run"
        verbose_name = _("sync run")
        verbose_name_plural = _("sync runs")
        indexes = [models.Index(fields=["audience"], condition=models.Q(finished_at=None), name="sync_run_open")]

    def __str__(self) -> str:
        return self.key


class AudienceMember(models.Model):
    """One row per key sent: the mirror of what the destination holds. The key is the hash, never the address."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    audience = models.ForeignKey(Audience, models.CASCADE, related_name="members", verbose_name=_("audience"))
    profile = models.ForeignKey(Profile, models.CASCADE, db_constraint=False, verbose_name=_("profile"))
    identifier_type = models.CharField(_("identifier type"), max_length=64)
    key = models.CharField(_("key sent"), max_length=64)
    state = models.CharField(_("state"), max_length=10, choices=MemberState)
    reason = models.CharField(_("reason"), max_length=64, blank=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0, db_default=0)
    due_at = models.DateTimeField(help_text="when the next attempt may be made; also the lease of one under way")
    run = models.ForeignKey(SyncRun, models.SET_NULL, null=True, blank=True)
    changed_at = models.DateTimeField(_("changed at"))

    class Meta:
        db_table = "audience_member"
        verbose_name = _("audience member")
        verbose_name_plural = _("audience members")
        constraints = [
            # Two profiles may share a key: it leaves only with the last of them.
            models.UniqueConstraint(fields=["audience", "profile", "key"], name="audience_member_is_unique")
        ]
        indexes = [
            models.Index(
                fields=["audience", "state", "due_at"],
                condition=models.Q(state__in=["ADDING", "REMOVING"]),
                name="audience_member_due",
            ),
            models.Index(fields=["profile"], name="audience_member_by_profile"),
            models.Index(fields=["audience", "key"], name="audience_member_by_key"),
        ]

    def __str__(self) -> str:
        return f"{self.key[:8]} {self.state}"


class ErasureAttempt(models.Model):
    """One time that a destination was told of somebody erased. Without a reply it is under way, or its sender died."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_index=False)
    order = models.ForeignKey(ErasureOrder, models.CASCADE, related_name="attempts", db_index=False)
    number = models.PositiveSmallIntegerField(_("try"))
    tried_at = models.DateTimeField(_("at"))
    reply = models.CharField(
        _("reply"), max_length=12, blank=True, default="", help_text="empty: none, or to come again"
    )
    code = models.CharField(_("code"), max_length=64, blank=True, default="")

    class Meta:
        db_table = "erasure_attempt"
        verbose_name = _("notice of an erasure")
        verbose_name_plural = _("notices of erasures")
        constraints = [models.UniqueConstraint(fields=["order", "number"], name="erasure_attempt_is_unique")]

    def __str__(self) -> str:
        return f"#{self.order_id}: {self.number}"
