"""Judgements, and what makes them: rules, trained models, pairs that a steward must look at."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from cdp.models import Identifier, Run, User, Workspace


class Verdict(models.TextChoices):
    SAME = "SAME", _("same person")
    NOT_SAME = "NOT_SAME", _("not the same person")


class JudgementKind(models.TextChoices):
    DETERMINISTIC = "DETERMINISTIC", _("seen together")
    PROBABILISTIC = "PROBABILISTIC", _("record linkage")
    STEWARD = "STEWARD", _("data steward")


class LinkageModel(models.Model):
    """A trained model, frozen: parameters, term frequencies, versions and seed in one artefact."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    version = models.PositiveIntegerField(_("version"))
    settings = models.JSONField(help_text="the model as Splink saves it")
    frequencies = models.JSONField(help_text="column → {value: relative frequency}")
    metadata = models.JSONField(help_text="library versions, seed, rows, digest of the data, seconds, thresholds")
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        db_table = "linkage_model"
        verbose_name = _("linkage model")
        verbose_name_plural = _("linkage models")
        constraints = [models.UniqueConstraint(fields=["workspace", "version"], name="linkage_model_is_unique")]

    def __str__(self) -> str:
        return f"v{self.version}"


class Judgement(models.Model):
    """Two identifiers are, or are not, the same person. Append-only; a later row may retract an earlier one."""

    # Without an index: on tables that nobody has counted yet Postgres takes a workspace for a few rows, and reads them all.
    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    left = models.ForeignKey(Identifier, models.CASCADE, related_name="+", db_index=False)
    right = models.ForeignKey(Identifier, models.CASCADE, related_name="+", db_index=False)
    verdict = models.CharField(_("verdict"), max_length=10, choices=Verdict)
    kind = models.CharField(_("kind"), max_length=14, choices=JudgementKind)
    weight = models.FloatField(_("match weight"), help_text=_("log2 of the odds that the two are one person"))
    evidence = models.JSONField(_("evidence"), default=dict)
    model = models.ForeignKey(LinkageModel, models.PROTECT, null=True, blank=True, verbose_name=_("model"))
    run = models.ForeignKey(Run, models.PROTECT, null=True, blank=True)
    author = models.ForeignKey(User, models.PROTECT, null=True, blank=True, verbose_name=_("author"))
    retracts = models.OneToOneField(
        "self", models.CASCADE, null=True, blank=True, related_name="retraction", verbose_name=_("retracts")
    )
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        db_table = "judgement"
        verbose_name = _("judgement")
        verbose_name_plural = _("judgements")
        constraints = [
            models.CheckConstraint(condition=models.Q(left__lt=models.F("right")), name="judgement_is_ordered")
        ]
        indexes = [
            models.Index(fields=["left"], name="judgement_by_left"),
            models.Index(fields=["right"], name="judgement_by_right"),
        ]

    def __str__(self) -> str:
        return f"{self.left_id} {self.verdict} {self.right_id}"


class ReviewPair(models.Model):
    """A pair between the thresholds, waiting for a steward."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    left = models.ForeignKey(Identifier, models.CASCADE, related_name="+")
    right = models.ForeignKey(Identifier, models.CASCADE, related_name="+")
    weight = models.FloatField(_("match weight"))
    evidence = models.JSONField(_("evidence"), default=dict, help_text="match weight of each comparison")
    model = models.ForeignKey(LinkageModel, models.CASCADE)
    judgement = models.ForeignKey(Judgement, models.SET_NULL, null=True, blank=True, verbose_name=_("judged"))
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        db_table = "review_pair"
        verbose_name = _("pair to review")
        verbose_name_plural = _("pairs to review")
        constraints = [models.UniqueConstraint(fields=["left", "right"], name="review_pair_is_unique")]

    def __str__(self) -> str:
        return f"{self.left_id} and {self.right_id}"


class IdentityRules(models.Model):
    """How a workspace links identifiers that were seen together. Without a row, the defaults of identity.resolver."""

    workspace = models.OneToOneField(Workspace, models.CASCADE, primary_key=True)
    limits = models.JSONField(
        _("limits"), default=dict, blank=True, help_text=_("identifier type → how many of it one person may have")
    )
    blocked_values = ArrayField(models.TextField(), verbose_name=_("blocked values"), default=list, blank=True)

    class Meta:
        db_table = "identity_rules"
        verbose_name = _("identity rules")
        verbose_name_plural = _("identity rules")

    def __str__(self) -> str:
        return f"rules of {self.workspace_id}"


class BlockingIndex(models.Model):
    """For which model the keys of a workspace were made. As long as it is the latest, arrivals are compared at once."""

    workspace = models.OneToOneField(Workspace, models.CASCADE, primary_key=True)
    model = models.ForeignKey(LinkageModel, models.CASCADE, verbose_name=_("model"))
    is_day_first = models.BooleanField(help_text="how the batch reads a date that can be read in two ways")
    built_at = models.DateTimeField(_("built at"))

    class Meta:
        db_table = "blocking_index"

    def __str__(self) -> str:
        return f"index of {self.workspace_id}"


class BlockingKey(models.Model):
    """A keyed hash of what a record says, by which others find it. No foreign key to the identifier: a key whose record
    is gone finds nothing, and with one, whoever may write keys could probe who exists.
    """

    pk = models.CompositePrimaryKey("key", "identifier_id")
    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    identifier_id = models.BigIntegerField()
    key = models.BigIntegerField()

    class Meta:
        db_table = "blocking_key"
        indexes = [models.Index(fields=["identifier_id"], name="blocking_key_by_identifier")]

    def __str__(self) -> str:
        return f"key of {self.identifier_id}"
