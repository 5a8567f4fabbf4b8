"""The ledger of work: which subject waits for which stage, and why. A task is only a wake-up (docs/adr/0005)."""

from collections.abc import Mapping

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
    DEADLINE = "DEADLINE", _("time passed")


class OutboxRow(models.Model):
    """Ids only, so no row-level security: a worker must find work before it knows the workspace.

    `subject_id` is an inbox batch for INGESTION, an identifier for IDENTITY, and a profile for the stages after it. With
    EVENT the profile may be named by the identifier that founded it, wherever that has gone since: see `segments`.
    Claimed by FOR UPDATE SKIP LOCKED and deleted in the transaction of the work: a killed worker leaves it as it was.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE, db_constraint=False, db_index=False)
    stage = models.CharField(max_length=12, choices=Stage)
    subject_id = models.BigIntegerField()
    cause = models.CharField(max_length=12, choices=Cause)
    created_at = models.DateTimeField(db_default=Now())
    failed_at = models.DateTimeField(null=True, help_text="set aside after an error, so that it holds up nobody else")
    error = models.TextField(blank=True, db_default="")

    class Meta:
        db_table = "outbox"
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
        return f"{self.stage} {self.subject_id}"


_HAND_OVER = """
INSERT INTO outbox (workspace_id, stage, subject_id, cause)
SELECT %s, %s, unnest(%s::bigint[]), %s
"""


def hand_over(subjects: Mapping[int, Cause], *, stage: Stage, workspace_id: int) -> None:
    """These subjects wait for this stage from now on."""
    with connection.cursor() as cursor:
        for cause in Cause:
            if ids := [subject for subject, its_cause in subjects.items() if its_cause is cause]:
                cursor.execute(_HAND_OVER, [workspace_id, stage, bigints(ids), cause])
