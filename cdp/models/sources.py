"""Where data comes from."""

from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from cdp.kernel.assertions import PublicKeyError, public_keys_in
from cdp.models.workspaces import Workspace


def check_time_zone(name: str) -> None:
    if name not in available_timezones():
        raise ValidationError(_("A time zone has a name such as Europe/Paris."), code="unknown_time_zone")


def check_public_keys(pem: str) -> None:
    try:
        public_keys_in(pem)
    except PublicKeyError as error:
        raise ValidationError(_("An RSA key of at least 2048 bits in PEM is wanted."), code=error.code) from None


class SourceKind(models.TextChoices):
    HTTP = "HTTP", _("tracking API")
    FILE = "FILE", _("files")
    ENRICHMENT = "ENRICHMENT", _("enrichment")
    STEWARD = "STEWARD", _("data steward")
    WEBHOOK = "WEBHOOK", _("signed webhook")
    TYPEFORM = "TYPEFORM", "Typeform"
    SURVEYMONKEY = "SURVEYMONKEY", "SurveyMonkey"
    SALESFORCE = "SALESFORCE", "Salesforce"
    HUBSPOT = "HUBSPOT", "HubSpot"
    GA4 = "GA4", "Google Analytics 4"
    KAFKA = "KAFKA", "Kafka"
    STREAM = "STREAM", _("Valkey or Redis stream")


class Source(models.Model):
    workspace = models.ForeignKey(Workspace, models.CASCADE)
    name = models.SlugField(_("name"))
    kind = models.CharField(_("kind"), max_length=20, choices=SourceKind)
    default_region = models.CharField(_("default region"), max_length=2, blank=True)
    time_zone = models.CharField(
        _("time zone"),
        max_length=64,
        blank=True,
        default="",
        db_default="",
        validators=[check_time_zone],
        help_text=_("of people who gave none, where a value of theirs comes from here; empty: that of the workspace"),
    )
    trust = models.PositiveSmallIntegerField(
        _("trust"), default=50, help_text=_("of two values of the same time, the more trusted source wins")
    )
    has_unique_people = models.BooleanField(
        _("has each person once"), default=False, help_text=_("two records of this source are never the same person")
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)
    events_per_second = models.PositiveIntegerField(
        _("events per second"), null=True, blank=True, help_text=_("empty: as the installation says; 0: no limit")
    )
    burst = models.PositiveIntegerField(
        _("events at once"), null=True, blank=True, help_text=_("empty: those of one second")
    )
    public_keys = models.TextField(
        _("public keys"),
        blank=True,
        default="",
        db_default="",
        validators=[check_public_keys],
        help_text=_("RSA, in PEM, one or several: then only calls with an access token are taken"),
    )
    live_plan = models.ForeignKey(
        "cdp.TrackingPlanVersion", models.SET_NULL, null=True, blank=True, related_name="+",
        db_constraint=False, verbose_name=_("live tracking plan"),
    )  # fmt: skip  # its key is composite, by a migration: the plan of no other source
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        db_table = "source"
        verbose_name = _("source")
        verbose_name_plural = _("sources")
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="source_name_is_unique")]

    def __str__(self) -> str:
        return self.name
