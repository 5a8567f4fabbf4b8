"""A profile is a connected set of identifiers, derived from judgements, and its golden record."""

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from cdp.models.identifiers import Identifier
from cdp.models.sources import Source
from cdp.models.workspaces import Workspace


class Profile(models.Model):
    """Every identifier founds a profile with its own id. Of merged ones the oldest stays and the others redirect.

    So an id follows from the set alone: it survives a re-run, and after an undo the old one is back.
    """

    id = models.BigIntegerField(primary_key=True)
    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    merged_into = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, db_index=False, verbose_name=_("merged into")
    )
    permitted = models.PositiveSmallIntegerField(default=0, db_default=0)
    permitted_until = models.DateTimeField(
        null=True, help_text="past this nothing is permitted until it is decided anew"
    )
    permitted_by_recipient = models.JSONField(
        null=True,
        help_text="of whoever named a recipient: a mask for each of those, and as an empty name for all others;"
        " `permitted` is what they have in common",
    )
    jurisdiction = models.CharField(
        max_length=6, null=True, help_text="where the person lives, as far as the decision knew: FR, US-CA"
    )
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        db_table = "profile"
        verbose_name = _("profile")
        verbose_name_plural = _("profiles")
        indexes = [
            models.Index(
                fields=["permitted_until"], condition=models.Q(permitted_until__isnull=False), name="profile_by_expiry"
            ),
            models.Index(fields=["workspace", "id"], condition=models.Q(merged_into=None), name="profile_live"),
            models.Index(fields=["merged_into"], condition=models.Q(merged_into__isnull=False), name="profile_merged"),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class Trait(models.Model):
    """A value of the golden record, and where it came from."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    profile = models.ForeignKey(Profile, models.CASCADE, related_name="traits", db_index=False)
    name = models.CharField(_("name"), max_length=128)
    value = models.JSONField(_("value"))
    source = models.ForeignKey(Source, models.CASCADE, db_constraint=False, db_index=False)
    identifier = models.ForeignKey(Identifier, models.CASCADE)
    observed_at = models.DateTimeField(_("observed at"))
    confidence = models.FloatField(_("confidence"))
    rule = models.CharField(_("rule"), max_length=20, help_text=_("why this value was chosen among the candidates"))

    class Meta:
        db_table = "trait"
        verbose_name = _("trait")
        verbose_name_plural = _("traits")
        constraints = [models.UniqueConstraint(fields=["profile", "name"], name="trait_is_unique")]
        indexes = [models.Index(fields=["workspace", "name"], name="trait_by_name")]

    def __str__(self) -> str:
        return self.name
