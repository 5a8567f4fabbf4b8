"""Identifiers and what hangs on them. They are the atoms: a profile is a set of them, and none ever splits.

What hangs on an identifier refers to it by a foreign key. Workspace and source, which a batch has in common and nobody
deletes, are not checked row by row, and what a unique key begins with has no index beside it: both cost as much as the
row itself.
"""

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from cdp.models.sources import Source
from cdp.models.workspaces import Workspace


class Identifier(models.Model):
    """`permitted` is the decision for the *person*: the same on all identifiers of a profile. Of what is judged device by
    device an identifier of a device has its own.

    Triggers keep it true in the transaction that changes the ledger or `profile_id` (see consent/migrations).
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    type = models.CharField(_("type"), max_length=64)
    value = models.TextField(_("value"))
    digest = models.BinaryField(max_length=32, help_text="HMAC of type and value: the key of the consent ledger")
    profile_id = models.BigIntegerField(_("profile"), help_text="the id of the oldest identifier of the person")
    permitted = models.PositiveSmallIntegerField(default=0, db_default=0)
    permitted_until = models.DateTimeField(
        null=True, help_text="past this nothing is permitted until it is decided anew"
    )
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        db_table = "identifier"
        verbose_name = _("identifier")
        verbose_name_plural = _("identifiers")
        constraints = [models.UniqueConstraint(fields=["workspace", "type", "value"], name="identifier_is_unique")]
        indexes = [
            models.Index(fields=["profile_id"], name="identifier_by_profile"),
            models.Index(fields=["workspace", "type", "digest"], name="identifier_by_digest"),
        ]

    def __str__(self) -> str:
        return f"{self.type}:{self.value}"


class IdentifierTrait(models.Model):
    """A value that a source gave for an identifier. All are kept; the golden record chooses among them."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    identifier = models.ForeignKey(Identifier, models.CASCADE, db_index=False)
    source = models.ForeignKey(Source, models.CASCADE, db_constraint=False, db_index=False)
    name = models.CharField(_("name"), max_length=128)
    value = models.JSONField(_("value"))
    observed_at = models.DateTimeField(_("observed at"))
    confidence = models.FloatField(_("confidence"), default=1.0, db_default=1.0)

    class Meta:
        db_table = "identifier_trait"
        verbose_name = _("observed value")
        verbose_name_plural = _("observed values")
        constraints = [
            models.UniqueConstraint(fields=["identifier", "name", "source"], name="identifier_trait_is_unique")
        ]

    def __str__(self) -> str:
        return self.name


class Sighting(models.Model):
    """Two identifiers that came together in one event or record: what a deterministic judgement rests on."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    left = models.ForeignKey(Identifier, models.CASCADE, related_name="+", db_index=False)
    right = models.ForeignKey(Identifier, models.CASCADE, related_name="+", db_index=False)
    source = models.ForeignKey(Source, models.CASCADE, db_constraint=False, db_index=False)
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "sighting"
        constraints = [
            models.UniqueConstraint(fields=["left", "right"], name="sighting_is_unique"),
            models.CheckConstraint(condition=models.Q(left__lt=models.F("right")), name="sighting_is_ordered"),
        ]
        indexes = [models.Index(fields=["right"], name="sighting_by_right")]

    def __str__(self) -> str:
        return f"{self.left_id} with {self.right_id}"
