"""What rules need beside events and traits: lists by hand, computed traits, and where rankings end."""

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from cdp.models import Identifier, User, Workspace


class SegmentList(models.Model):
    """People chosen by hand. `+slug` and `-slug` are those of the segment `slug`: always in it, and never."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    slug = models.CharField(_("slug"), max_length=51)
    name = models.CharField(_("name"), max_length=200)
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        db_table = "segment_list"
        verbose_name = _("list of people")
        verbose_name_plural = _("lists of people")
        constraints = [models.UniqueConstraint(fields=["workspace", "slug"], name="segment_list_slug_is_unique")]

    def __str__(self) -> str:
        return self.slug


class ListEntry(models.Model):
    """An identifier on a list: half-open, `removed_at` null while it lasts. It is read as whoever has the identifier.

    So an entry follows its person through a merge, and an undone merge gives it back. A profile is entered by the
    identifier that founded it, whose id it has.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    list = models.ForeignKey(SegmentList, models.CASCADE, related_name="entries", verbose_name=_("list of people"))
    identifier = models.ForeignKey(Identifier, models.CASCADE, db_constraint=False, verbose_name=_("identifier"))
    author = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("author"))
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    added_at = models.DateTimeField(_("added at"))
    removed_at = models.DateTimeField(_("removed at"), null=True, blank=True)
    remover = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("removed by")
    )

    class Meta:
        db_table = "segment_list_entry"
        verbose_name = _("entry of a list")
        verbose_name_plural = _("entries of lists")
        constraints = [
            # Two who put the same one on at once make one entry.
            models.UniqueConstraint(
                fields=["list", "identifier"],
                condition=models.Q(removed_at=None),
                name="segment_list_entry_is_open_once",
            ),
            models.CheckConstraint(
                condition=models.Q(removed_at=None) | models.Q(removed_at__gte=models.F("added_at")),
                name="segment_list_entry_ends_after_it_begins",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.identifier_id} on {self.list_id}"


class ComputedTrait(models.Model):
    """A value that is made of what people did, under a name that rules can use. It is nowhere stored: see `computed`."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    slug = models.SlugField(_("slug"))
    name = models.CharField(_("name"), max_length=200)
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    archived_at = models.DateTimeField(_("archived at"), null=True, blank=True)

    class Meta:
        db_table = "computed_trait"
        verbose_name = _("computed trait")
        verbose_name_plural = _("computed traits")
        constraints = [models.UniqueConstraint(fields=["workspace", "slug"], name="computed_trait_slug_is_unique")]

    def __str__(self) -> str:
        return self.slug


class ComputedTraitVersion(models.Model):
    """How a computed trait is measured. Never changed: an edit is a new version, and the newest one counts."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    trait = models.ForeignKey(ComputedTrait, models.CASCADE, related_name="versions", verbose_name=_("computed trait"))
    number = models.PositiveIntegerField(_("number"))
    definition = models.JSONField(_("definition"))
    author = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("author"))
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        db_table = "computed_trait_version"
        verbose_name = _("version of a computed trait")
        verbose_name_plural = _("versions of computed traits")
        constraints = [
            models.UniqueConstraint(fields=["trait", "number"], name="computed_trait_version_is_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.trait_id} v{self.number}"


class RankThreshold(models.Model):
    """Where a ranking ends since `computed_at`: the value of the last one inside. It is found anew at `refresh_at`.

    `former_value` and `former_profile_id` are those before the last refresh, until everybody between the two was handed
    over: `is_spread` says that this was done.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_index=False)
    key = models.CharField(max_length=64, help_text="SHA-256 of the canonical form of the leaf")
    leaf = models.JSONField()
    value = models.DecimalField(max_digits=1000, decimal_places=500, null=True, help_text="of any precision")
    profile_id = models.BigIntegerField(
        null=True, help_text="who of equal values is the last one inside; null: all are"
    )
    population = models.BigIntegerField(_("how many were ranked"))
    computed_at = models.DateTimeField(_("computed at"))
    refresh_at = models.DateTimeField(_("is computed anew at"))
    former_value = models.DecimalField(max_digits=1000, decimal_places=500, null=True)
    former_profile_id = models.BigIntegerField(null=True)
    is_spread = models.BooleanField(default=True)

    class Meta:
        db_table = "rank_threshold"
        constraints = [models.UniqueConstraint(fields=["workspace", "key"], name="rank_threshold_is_unique")]
        indexes = [models.Index(fields=["workspace", "refresh_at"], name="rank_threshold_by_time")]

    def __str__(self) -> str:
        return self.key
