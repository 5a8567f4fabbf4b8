"""OpenDSR: the controllers that we are processor for, what they asked, and where they are called back."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from cdp.models import Workspace
from consent.opendsr.words import Status, Version


class DsrController(models.Model):
    """Who may send requests. Its slug is the `controller_id` of OpenDSR; of its token only the digest is stored."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    slug = models.SlugField(_("name"), help_text=_("the controller_id of OpenDSR"))
    digest = models.CharField(max_length=64)
    hint = models.CharField(_("begins with"), max_length=20)
    callback_hosts = ArrayField(
        models.CharField(max_length=255),
        verbose_name=_("hosts to call back"),
        default=list,
        blank=True,
        help_text=_("no other address is ever called: example.com or example.com:8443"),
    )
    email = models.EmailField(_("e-mail"), blank=True, help_text=_("told of refusals, for which OpenDSR has no word"))
    is_lenient = models.BooleanField(
        _("lenient"), default=False, help_text=_("accepts requests without a regulation, and overlooks unknown fields")
    )
    created_at = models.DateTimeField(_("created at"))
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True)

    class Meta:
        db_table = "dsr_controller"
        verbose_name = _("controller (OpenDSR)")
        verbose_name_plural = _("controllers (OpenDSR)")
        constraints = [
            models.UniqueConstraint(fields=["workspace", "slug"], name="dsr_controller_slug_is_unique"),
            models.UniqueConstraint(fields=["workspace", "digest"], name="dsr_controller_digest_is_unique"),
        ]

    def __str__(self) -> str:
        return self.slug


class DsrRequest(models.Model):
    """The cover of a request that came by OpenDSR. Who it is about, and how far it is, says the request itself.

    Of the body there is a keyed digest, to tell the same from another. `noted_step` is the last step of the request
    that the controller was told of, or need not be; `is_settled` when no further one comes.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    controller = models.ForeignKey(DsrController, models.PROTECT, related_name="requests")
    request = models.OneToOneField("consent.DataRequest", models.CASCADE, related_name="cover")
    subject_request_id = models.UUIDField()
    version = models.CharField(max_length=3, choices=[(each.value, each.value) for each in Version])
    regulation = models.CharField(max_length=4, blank=True)
    body_digest = models.BinaryField(max_length=32)
    received_at = models.DateTimeField()
    promised_at = models.DateTimeField(help_text="what the first answer said of when it would be done")
    callback_urls = ArrayField(models.CharField(max_length=2_000), default=list)
    noted_step = models.BigIntegerField(default=0)
    is_settled = models.BooleanField(default=False)
    link = models.BinaryField(default=bytes, help_text="the token of the results, under FIELD_ENCRYPTION_KEYS")

    class Meta:
        db_table = "dsr_request"
        constraints = [
            # Of two that come at once with one id the second finds the first.
            models.UniqueConstraint(fields=["controller", "subject_request_id"], name="dsr_request_id_is_unique")
        ]
        indexes = [
            models.Index(fields=["workspace"], condition=models.Q(is_settled=False), name="dsr_request_unsettled")
        ]

    def __str__(self) -> str:
        return str(self.subject_request_id)


class DsrCallback(models.Model):
    """One change that one address is to hear of: https, or mailto for what OpenDSR cannot say. Due until it is over."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    cover = models.ForeignKey(DsrRequest, models.CASCADE, related_name="callbacks")
    step = models.BigIntegerField(help_text="of the request: what happened")
    url = models.CharField(max_length=2_000)
    status = models.CharField(max_length=11, choices=[(each.value, each.value) for each in Status])
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(help_text="of the next attempt; also the lease of one that is under way")
    delivered_at = models.DateTimeField(null=True)
    over_at = models.DateTimeField(null=True, help_text="delivered, or given up")
    error = models.CharField(max_length=100, blank=True, help_text="code of the last failure")

    class Meta:
        db_table = "dsr_callback"
        constraints = [
            models.UniqueConstraint(fields=["cover", "step", "url"], name="dsr_callback_is_unique"),
            models.CheckConstraint(
                condition=models.Q(delivered_at=None) | models.Q(over_at__isnull=False),
                name="dsr_callback_delivered_is_over",
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "due_at"], condition=models.Q(over_at=None), name="dsr_callback_due")
        ]

    def __str__(self) -> str:
        return f"{self.status}: {self.attempts}"
