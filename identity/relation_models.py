"""What stands beside profiles: whom a person belongs with, and which likenesses united nobody."""

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from cdp.models import Workspace


class RelationKind(models.TextChoices):
    HOUSEHOLD = "HOUSEHOLD", _("household")
    ORGANISATION = "ORGANISATION", _("organisation")


class RelationRule(models.TextChoices):
    ADDRESS_AND_SURNAME = "ADDRESS_AND_SURNAME", _("same address and surname")
    PHONE_AND_SURNAME = "PHONE_AND_SURNAME", _("same telephone and surname")
    ADDRESS = "ADDRESS", _("same address")
    EMAIL_DOMAIN = "EMAIL_DOMAIN", _("same domain of e-mail")
    ORGANISATION_NAME = "ORGANISATION_NAME", _("same organisation")
    GROUP_CALL = "GROUP_CALL", _("group call")


class Relation(models.Model):
    """A person belongs to the group of all who have the same key under the same rule. Nobody is merged by it.

    The key is a keyed digest; with the period it is kept as a history. Somebody who is alone with a key is no household.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    # No foreign key: it would tell who exists to whoever may write here.
    profile_id = models.BigIntegerField(_("profile"))
    kind = models.CharField(_("kind"), max_length=12, choices=RelationKind)
    rule = models.CharField(_("rule"), max_length=20, choices=RelationRule)
    key = models.BinaryField(max_length=32)
    confidence = models.FloatField(_("confidence"))
    shared = models.JSONField(help_text="names of the traits that they have in common")
    since = models.DateTimeField(_("since"), db_default=Now())
    until = models.DateTimeField(_("until"), null=True)

    class Meta:
        db_table = "relation"
        verbose_name = _("relation")
        verbose_name_plural = _("relations")
        constraints = [
            # Of two workers who look at one person at once, one finds the other's row.
            models.UniqueConstraint(
                fields=["profile_id", "rule", "key"], condition=models.Q(until=None), name="relation_is_unique"
            )
        ]
        indexes = [
            models.Index(fields=["key"], name="relation_by_key"),
            models.Index(fields=["profile_id"], name="relation_by_profile"),
        ]

    def __str__(self) -> str:
        return f"{self.profile_id} {self.rule}"


class Refusal(models.Model):
    """A judgement that united nothing, with the reason and its numbers: why these two are not one."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    left_id = models.BigIntegerField()
    right_id = models.BigIntegerField()
    reason = models.CharField(_("reason"), max_length=10)
    evidence = models.JSONField(_("evidence"), default=dict)
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        db_table = "refusal"
        verbose_name = _("refusal")
        verbose_name_plural = _("refusals")
        constraints = [models.UniqueConstraint(fields=["left_id", "right_id"], name="refusal_is_unique")]
        indexes = [models.Index(fields=["right_id"], name="refusal_by_right")]

    def __str__(self) -> str:
        return f"{self.left_id} {self.reason} {self.right_id}"
