"""The ledger of work: which subject waits for which stage, and why. A task is only a wake-up (docs/adr/0005)."""

from collections.abc import Mapping

from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from cdp.kernel.arrays import bigints
from cdp.models.workspaces import Workspace


class Stage(models.TextChoices):
    INGESTION = "INGESTION", _("ingestion")
    IDENTITY = "IDENTITY", _("identity")
    ENRICHMENT = "ENRICHMENT", _("enrichment")
    SEGMENTS = "SEGMENTS", _("segments")
    ACTIVATION = "ACTIVATION", _("activation")


class Cause(models.TextChoices):
    """Why a subject is looked at again; the history of memberships shows it."""

    EVENT = "EVENT", _("an event or record arrived")
    LEARNT = "LEARNT", _("an identifier, a link or a value became known")
    MERGE = "MERGE", _("profiles were merged")
    SPLIT = "SPLIT", _("a merge was undone")
    CONSENT = "CONSENT", _("a consent changed")
    DEFINITION = "DEFINITION", _("the definition changed")
    LIST = "LIST", _("somebody was put on a list, or taken off")
    RANK = "RANK", _("a ranking was computed anew")
    REFERENCE = "REFERENCE", _("membership of another segment changed")
    DEADLINE = "DEADLINE", _("time passed")


class OutboxRow(models.Model):
    """Ids only, so no row-level security: a worker must find work before it knows the workspace.

    A row names one subject, or a pack of them: who writes by the million hands over packs, anybody else may write single
    rows. A subject is an inbox batch for INGESTION, an identifier for IDENTITY, and a profile for the stages after it. With
    EVENT the profile may be named by the identifier that founded it, wherever that has gone since: see `segments`.
    Claimed by FOR UPDATE SKIP LOCKED and deleted in the transaction of the work: a killed worker leaves it as it was.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    stage = models.CharField(max_length=12, choices=Stage)
    subject_id = models.BigIntegerField(null=True, help_text="one alone")
    subjects = ArrayField(models.BigIntegerField(), null=True, help_text="a pack: many at once, in the order given")
    cause = models.CharField(max_length=12, choices=Cause)
    created_at = models.DateTimeField(db_default=Now())
    failed_at = models.DateTimeField(null=True, help_text="set aside after an error, so that it holds up nobody else")
    error = models.TextField(blank=True, db_default="")

    class Meta:
        db_table = "outbox"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(subject_id=None) ^ models.Q(subjects=None), name="outbox_names_one_or_a_pack"
            ),
            # What failed was found alone; and code that is too old for packs can so neither work on them nor lose them.
            models.CheckConstraint(
                condition=models.Q(failed_at=None) | models.Q(subjects=None), name="outbox_set_aside_alone"
            ),
        ]
        indexes = [
            models.Index(
                fields=["stage", "workspace", "id"], condition=models.Q(failed_at=None), name="outbox_waiting"
            ),
            models.Index(
                fields=["stage", "workspace", "id"],
                condition=models.Q(failed_at=None, cause=Cause.CONSENT),
                name="outbox_consents_first",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.stage} {self.subject_id or self.subjects}"


# A row stays so below the 2 kB from which Postgres would compress it or keep it in another place, for a life of seconds.
PACK = 200

_HAND_OVER = """
INSERT INTO outbox (workspace_id, stage, cause, subjects)
SELECT %(workspace)s, %(stage)s, %(cause)s, ids[first : first + %(pack)s - 1]
FROM (SELECT %(ids)s::bigint[] AS ids) AS given, generate_series(1, cardinality(ids), %(pack)s) AS first
"""


def hand_over(subjects: Mapping[int, Cause], *, stage: Stage, workspace_id: int) -> None:
    """These subjects wait for this stage from now on: those of each cause in packs, in the order given."""
    by_cause: dict[Cause, list[int]] = {}
    for subject, cause in subjects.items():
        by_cause.setdefault(cause, []).append(subject)
    with connection.cursor() as cursor:
        for cause, ids in by_cause.items():
            cursor.execute(
                _HAND_OVER,
                {"workspace": workspace_id, "stage": stage, "cause": cause, "ids": bigints(ids), "pack": PACK},
            )
