"""Judgements, and what makes them: rules, trained models, pairs that a steward must look at."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from cdp.models import Identifier, Run, User, Workspace
from identity.relation_models import Refusal, Relation
from identity.resolver import DEFAULT_SHARED_AFTER

__all__ = [
    "Choice",
    "IdentityRules",
    "Judgement",
    "JudgementKind",
    "LinkageModel",
    "Refusal",
    "Relation",
    "ReviewPair",
    "SurvivorshipRule",
    "Verdict",
]


class Verdict(models.TextChoices):
    SAME = "SAME", _("same person")
    NOT_SAME = "NOT_SAME", _("not the same person")


class JudgementKind(models.TextChoices):
    DETERMINISTIC = "DETERMINISTIC", _("seen together")
    PROBABILISTIC = "PROBABILISTIC", _("record linkage")
    STEWARD = "STEWARD", _("data steward")


class Choice(models.TextChoices):
    """Of the values of a trait; the code is what `Trait.rule` says in small letters."""

    MOST_RECENT = "MOST_RECENT", _("the most recent")
    TRUSTED_SOURCE = "TRUSTED_SOURCE", _("from the most trusted source")
    MOST_FREQUENT = "MOST_FREQUENT", _("the most frequent")
    LONGEST = "LONGEST", _("the longest")


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


class ModelActivation(models.Model):
    """From here on this model is the one that links. Append-only: the latest row holds, and going back is another row."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    model = models.ForeignKey(LinkageModel, models.CASCADE, related_name="activations", verbose_name=_("model"))
    author = models.ForeignKey(User, models.PROTECT, null=True, blank=True, verbose_name=_("author"))
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        db_table = "model_activation"
        verbose_name = _("activation of a model")
        verbose_name_plural = _("activations of models")

    def __str__(self) -> str:
        return f"{self.model_id} from {self.created_at}"


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
    # Unchecked: a batch writes them by the million for one model and one run, of which nobody may delete either.
    model = models.ForeignKey(
        LinkageModel, models.PROTECT, null=True, blank=True, verbose_name=_("model"), db_constraint=False
    )
    run = models.ForeignKey(Run, models.PROTECT, null=True, blank=True, db_constraint=False)
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


class Look(models.TextChoices):
    """A large merge needs a second pair of eyes: where it stands."""

    NONE = "NONE", _("not needed so far")
    PROPOSED = "PROPOSED", _("waits for a second steward")
    CONFIRMED = "CONFIRMED", _("confirmed by a second steward")
    REFUSED = "REFUSED", _("refused by a second steward")


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
    priority = models.FloatField(_("priority"), default=0.0, db_default=0.0, help_text=_("what an answer is worth"))
    opinion = models.FloatField(_("second opinion"), null=True, blank=True, help_text=_("probability of one person"))
    opinion_basis = models.JSONField(default=dict, db_default={}, help_text="who says so: classifier, versions, seed")
    claimed_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+", db_index=False)
    claimed_until = models.DateTimeField(null=True, blank=True, help_text="until then the pair is nobody else's")
    look = models.CharField(_("second look"), max_length=9, choices=Look, default=Look.NONE, db_default=Look.NONE)
    proposed_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", db_index=False, verbose_name=_("proposed by")
    )
    second = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", db_index=False, verbose_name=_("second steward")
    )

    class Meta:
        db_table = "review_pair"
        verbose_name = _("pair to review")
        verbose_name_plural = _("pairs to review")
        constraints = [
            models.UniqueConstraint(fields=["left", "right"], name="review_pair_is_unique"),
            models.CheckConstraint(
                condition=models.Q(look="NONE", proposed_by=None, second=None)
                | models.Q(look="PROPOSED", proposed_by__isnull=False, second=None)
                | models.Q(look__in=["CONFIRMED", "REFUSED"], proposed_by__isnull=False, second__isnull=False),
                name="review_pair_look_has_its_stewards",
            ),
            models.CheckConstraint(
                condition=models.Q(second=None) | ~models.Q(second=models.F("proposed_by")),
                name="review_pair_second_is_another",
            ),
        ]
        indexes = [
            models.Index(
                "workspace", models.F("priority").desc(), "id",
                condition=models.Q(judgement=None), name="review_pair_queue",
            ),
            models.Index(
                fields=["claimed_by"],
                condition=models.Q(judgement=None, claimed_by__isnull=False), name="review_pair_claimed",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.left_id} and {self.right_id}"


class Answer(models.TextChoices):
    SAME = "SAME", _("same person")
    NOT_SAME = "NOT_SAME", _("not the same person")
    UNSURE = "UNSURE", _("unsure")


class ReviewVerdict(models.Model):
    """What one steward said about one pair. Stays when the pair is no question any more: it is counted."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_index=False)
    pair = models.ForeignKey(
        ReviewPair, models.DO_NOTHING, related_name="verdicts", db_constraint=False, db_index=False
    )
    author = models.ForeignKey(User, models.PROTECT, related_name="+", db_index=False)
    answer = models.CharField(_("answer"), max_length=10, choices=Answer)
    opinion = models.FloatField(null=True, help_text="the second opinion of that moment")
    judgement = models.ForeignKey(
        Judgement, models.DO_NOTHING, null=True, related_name="+", db_constraint=False, db_index=False,
        help_text="what it wrote to the ledger, if anything",
    )  # fmt: skip
    given_at = models.DateTimeField(_("given at"))
    withdrawn_at = models.DateTimeField(_("withdrawn at"), null=True)

    class Meta:
        db_table = "review_verdict"
        constraints = [
            models.UniqueConstraint(
                fields=["pair", "author"], condition=models.Q(withdrawn_at=None), name="review_verdict_is_one"
            )
        ]
        indexes = [models.Index("workspace", "author", models.F("id").desc(), name="review_verdict_newest")]

    def __str__(self) -> str:
        return f"{self.author_id}: {self.answer} on {self.pair_id}"


class ReviewRules(models.Model):
    """When one steward is not enough. Without a row, the defaults."""

    workspace = models.OneToOneField(Workspace, models.CASCADE, primary_key=True)
    largest_alone = models.PositiveIntegerField(
        _("largest profile"), default=50,
        help_text=_("one steward may make a profile of so many identifiers; a larger one waits for a second steward"),
    )  # fmt: skip
    most_audiences_alone = models.PositiveIntegerField(
        _("most audiences"), default=5,
        help_text=_("likewise for a merge that touches so many audiences at destinations"),
    )  # fmt: skip

    class Meta:
        db_table = "review_rules"
        verbose_name = _("review rules")
        verbose_name_plural = _("review rules")

    def __str__(self) -> str:
        return f"review rules of {self.workspace_id}"


class IdentityRules(models.Model):
    """How a workspace links identifiers that were seen together. Without a row, the defaults of identity.rules."""

    workspace = models.OneToOneField(Workspace, models.CASCADE, primary_key=True)
    priority = ArrayField(
        models.CharField(max_length=64),
        verbose_name=_("priority of types"),
        default=list,
        db_default=[],
        blank=True,
        help_text=_("which type of identifier holds when a limit is hit: the most trusted first"),
    )
    limits = models.JSONField(
        _("limits"), default=dict, blank=True, help_text=_("identifier type → how many of it one person may have")
    )
    windows = models.JSONField(
        _("limits in time"),
        default=dict,
        db_default={},
        blank=True,
        help_text=_('identifier type → {"most": how many new ones, "days": within how many days}'),
    )
    blocked_values = ArrayField(models.TextField(), verbose_name=_("blocked values"), default=list, blank=True)
    blocked_patterns = ArrayField(
        models.TextField(),
        verbose_name=_("blocked patterns"),
        default=list,
        db_default=[],
        blank=True,
        help_text=_(r"regular expressions for `type:value` in small letters, for example ^email:.*@example\.com$"),
    )
    has_role_addresses_blocked = models.BooleanField(
        _("block role addresses"),
        default=True,
        db_default=True,
        help_text=_("info@, contact@, service-client@ and the like are read by several people"),
    )
    shared_after = models.PositiveIntegerField(
        _("shared after"),
        default=DEFAULT_SHARED_AFTER,
        db_default=DEFAULT_SHARED_AFTER,
        help_text=_(
            "an address, telephone or device that was seen with more than so many identifiers of one type is nobody's"
        ),
    )

    class Meta:
        db_table = "identity_rules"
        verbose_name = _("identity rules")
        verbose_name_plural = _("identity rules")

    def __str__(self) -> str:
        return f"rules of {self.workspace_id}"


class SurvivorshipRule(models.Model):
    """How the value of one trait is chosen where sources differ. Without a row: the most recent."""

    workspace = models.ForeignKey(Workspace, models.CASCADE)
    trait = models.CharField(_("trait"), max_length=128)
    choice = models.CharField(_("choice"), max_length=20, choices=Choice)
    sources = ArrayField(
        models.CharField(max_length=64),
        verbose_name=_("sources"),
        default=list,
        blank=True,
        help_text=_("of the choice by source: names, the most trusted first; the others follow by their own trust"),
    )

    class Meta:
        db_table = "survivorship_rule"
        verbose_name = _("survivorship rule")
        verbose_name_plural = _("survivorship rules")
        constraints = [models.UniqueConstraint(fields=["workspace", "trait"], name="survivorship_rule_is_unique")]

    def __str__(self) -> str:
        return f"{self.trait}: {self.get_choice_display()}"


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
