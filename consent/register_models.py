"""What a workspace must be able to show: who is responsible, how long data is kept, what was deleted, what went wrong."""

from datetime import datetime, timedelta
from typing import Final

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from cdp.models import Identifier, Source, Workspace

TIME_TO_NOTIFY: Final = timedelta(hours=72)  # GDPR Art. 33(1)


class ControllerDetails(models.Model):
    """What the record of processing activities says and no table knows. GDPR Art. 30(1)."""

    workspace = models.OneToOneField(Workspace, models.CASCADE)
    controller = models.CharField(_("controller"), max_length=200)
    address = models.TextField(_("address"), blank=True)
    contact = models.CharField(_("contact"), max_length=200, blank=True)
    joint_controllers = models.TextField(_("joint controllers"), blank=True)
    representative = models.CharField(_("representative in the Union"), max_length=200, blank=True)
    dpo = models.CharField(_("data protection officer"), max_length=200, blank=True)
    dpo_contact = models.CharField(_("contact of the data protection officer"), max_length=200, blank=True)
    data_subjects = models.TextField(_("categories of people"), blank=True)
    internal_recipients = models.TextField(
        _("internal recipients"), blank=True, db_default="", help_text=_("services and people who may see the data")
    )
    subcontractors = models.TextField(
        _("subcontractors"), blank=True, db_default="", help_text=_("such as hosting and maintenance")
    )
    transfers = models.TextField(
        _("transfers to third countries"), blank=True, help_text=_("country, recipient and safeguards")
    )
    security_measures = models.TextField(_("security measures"), blank=True)

    class Meta:
        db_table = "controller_details"
        verbose_name = _("controller")
        verbose_name_plural = _("controller")

    def __str__(self) -> str:
        return self.controller


class RetentionPeriod(models.Model):
    """Another period than the declared one, for one schedule of `consent.schedules`."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    schedule = models.CharField(_("schedule"), max_length=40)
    days = models.PositiveIntegerField(_("days"), null=True, blank=True, help_text=_("empty: kept"))
    reason = models.TextField(_("reason"))

    class Meta:
        db_table = "retention_period"
        verbose_name = _("retention period")
        verbose_name_plural = _("retention periods")
        constraints = [
            models.UniqueConstraint(fields=["workspace", "schedule"], name="retention_period_is_unique"),
            models.CheckConstraint(
                condition=models.Q(days=None) | models.Q(days__gte=1), name="retention_period_is_a_day"
            ),
        ]

    def __str__(self) -> str:
        return self.schedule


class RetentionEvidence(models.Model):
    """A deletion: written in its transaction, never changed. It holds numbers and nobody's data."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    schedule = models.CharField(_("schedule"), max_length=40)
    table = models.CharField(_("table"), max_length=64)
    purpose = models.CharField(_("purpose"), max_length=20)
    days = models.PositiveIntegerField(_("days"))
    cutoff = models.DateTimeField(_("older than"))
    rows = models.BigIntegerField(_("rows"))
    partition = models.CharField(_("partition"), max_length=64, blank=True, help_text=_("that was dropped whole"))
    reason = models.TextField(_("reason"))
    deleted_at = models.DateTimeField(_("deleted at"))

    class Meta:
        db_table = "retention_evidence"
        verbose_name = _("deletion")
        verbose_name_plural = _("deletions")

    def __str__(self) -> str:
        return f"{self.schedule}: {self.rows}"


class BreachNature(models.TextChoices):
    CONFIDENTIALITY = "CONFIDENTIALITY", _("confidentiality")
    INTEGRITY = "INTEGRITY", _("integrity")
    AVAILABILITY = "AVAILABILITY", _("availability")


class Breach(models.Model):
    """Every breach is written down, also one that nobody need be told of. GDPR Art. 33(5)."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    nature = models.CharField(_("nature"), max_length=16, choices=BreachNature)
    facts = models.TextField(_("what happened"))
    effects = models.TextField(_("likely consequences"), blank=True)
    measures = models.TextField(_("measures taken"), blank=True)
    data_categories = models.TextField(_("categories of data"), blank=True)
    occurred_at = models.DateTimeField(_("occurred at"), null=True, blank=True)
    noticed_at = models.DateTimeField(_("noticed at"), help_text=_("the 72 hours run from here"))
    recorded_at = models.DateTimeField(_("recorded at"), db_default=Now())
    is_high_risk = models.BooleanField(_("high risk"), default=False, help_text=_("the people must be told, Art. 34"))
    authority_told_at = models.DateTimeField(_("authority told at"), null=True, blank=True)
    untold_reason = models.TextField(
        _("why the authority is told late or not"), blank=True, help_text=_("Art. 33(1): no risk to people is likely")
    )
    people_told_at = models.DateTimeField(_("people told at"), null=True, blank=True)

    class Meta:
        db_table = "breach"
        verbose_name = _("breach")
        verbose_name_plural = _("breaches")

    def __str__(self) -> str:
        return f"#{self.pk}"

    @property
    def due_at(self) -> datetime:
        return self.noticed_at + TIME_TO_NOTIFY


class BreachEvidence(models.Model):
    """Who was affected, as a query found them at one moment: ids alone. Never changed; asked again it is another row."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    breach = models.ForeignKey(Breach, models.CASCADE, related_name="evidence")
    query = models.JSONField(_("query"))
    people = models.PositiveBigIntegerField(_("people"))
    profile_ids = ArrayField(models.BigIntegerField())
    taken_at = models.DateTimeField(_("taken at"))

    class Meta:
        db_table = "breach_evidence"
        verbose_name = _("affected people")
        verbose_name_plural = _("affected people")

    def __str__(self) -> str:
        return f"{self.breach_id}: {self.people}"


class SourceNotice(models.Model):
    """Somebody was told that their data was got from a provider. GDPR Art. 14."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    identifier = models.ForeignKey(Identifier, models.CASCADE)
    source = models.ForeignKey(Source, models.CASCADE)
    told_at = models.DateTimeField()

    class Meta:
        db_table = "source_notice"
        constraints = [models.UniqueConstraint(fields=["source", "identifier"], name="source_notice_is_unique")]

    def __str__(self) -> str:
        return f"{self.source_id} to {self.identifier_id}"
