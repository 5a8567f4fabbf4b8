"""Take back what a run of record linkage, or every run of one model, has judged: by later rows of the ledger.

What it judged is retracted, and what it had taken back as outdated is said again, so that the ledger says what it said
without it. All is written by two statements, whatever their number; the worker then resolves the identifiers anew.
A retraction that names a model stands against that model alone: a better one may judge the same pair again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import structlog
from django.db import connection

from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Run, Stage, User, outbox
from cdp.models.tenancy import workspace_scope
from consent import gate
from identity import registry, services
from identity.models import Judgement

log = structlog.get_logger()

KIND_OF_RUN: Final = "identity.resolve"


class Scope(StrEnum):
    """What is undone: one judgement, all of a run of record linkage, or all that one version of the model judged."""

    JUDGEMENT = "judgement"
    RUN = "run"
    MODEL = "model"


class UnknownJudgementError(TesseraError):
    """There is no such judgement in this workspace."""

    code = "unknown_judgement"


class UnknownRunError(TesseraError):
    """There is no such run of record linkage in this workspace: only `identity resolve` makes judgements in a run."""

    code = "unknown_run"


@dataclass(frozen=True, slots=True)
class Undoing:
    """How many judgements were retracted, how many that it had outdated are said again, and whom it is about."""

    retracted: int
    restored: int
    identifiers: int


def undo(*, workspace_id: int, scope: Scope, number: int, author: User | None, now: datetime) -> Undoing:
    """Twice is once: what is retracted is not retracted again. `number` is the version where `scope` is a model."""
    with workspace_scope(workspace_id):
        if scope is Scope.JUDGEMENT:
            return _undo_judgement(workspace_id, number, author, now)
        condition, key = _origin(workspace_id, scope, number)
        retracted = _written(_RETRACT, condition, key, workspace_id, author, now)
        restored = _written(_RESTORE, condition, key, workspace_id, author, now)
        subjects = _hand_over(workspace_id, retracted, restored)
    log.info("identity.undone", workspace=workspace_id, scope=scope, number=number, retracted=len(retracted))
    return Undoing(len(retracted), len(restored), subjects)


def undo_as_operator(*, workspace_id: int, scope: Scope, number: int, now: datetime) -> Undoing:
    """The same for a login that by itself may read nothing of people: under the purpose that judges."""
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id):
        return undo(workspace_id=workspace_id, scope=scope, number=number, author=None, now=now)


def _undo_judgement(workspace_id: int, judgement_id: int, author: User | None, now: datetime) -> Undoing:
    if not Judgement.objects.filter(workspace_id=workspace_id, pk=judgement_id).exists():
        raise UnknownJudgementError(judgement=judgement_id)
    was_retracted = Judgement.objects.filter(retracts=judgement_id).exists()
    services.retract(workspace_id=workspace_id, judgement_id=judgement_id, author=author, now=now)
    return Undoing(0, 0, 0) if was_retracted else Undoing(1, 0, 2)


def _origin(workspace_id: int, scope: Scope, number: int) -> tuple[str, int]:
    if scope is Scope.MODEL:
        return "model_id", registry.model_of(workspace_id, number).pk
    if not Run.objects.filter(workspace_id=workspace_id, pk=number, kind=KIND_OF_RUN).exists():
        raise UnknownRunError(run=number)
    return "run_id", number


# -- what is written ------------------------------------------------------------------------------------------------

# The unique key on `retracts_id` is the lock: of two who undo the same at once, one finds the other's rows.
_RETRACT: Final = """
INSERT INTO judgement (workspace_id, left_id, right_id, verdict, kind, weight, evidence, model_id, author_id,
                       retracts_id, created_at)
SELECT j.workspace_id, j.left_id, j.right_id, j.verdict, 'STEWARD', 0, %(why)s::jsonb, j.model_id, %(author)s, j.id,
       %(now)s
FROM judgement j
WHERE j.workspace_id = %(workspace)s AND j.{origin} = %(key)s AND j.kind = 'PROBABILISTIC' AND j.retracts_id IS NULL
ORDER BY j.id
ON CONFLICT (retracts_id) DO NOTHING
RETURNING left_id, right_id, verdict
"""

# A retraction cannot be retracted: what it took back is said again, with all that stood in it, once. What has the same
# pair judged by a machine at present needs no other row.
_RESTORE: Final = """
INSERT INTO judgement (workspace_id, left_id, right_id, verdict, kind, weight, evidence, model_id, run_id, created_at)
SELECT was.workspace_id, was.left_id, was.right_id, was.verdict, was.kind, was.weight,
       was.evidence || jsonb_build_object('restores', was.id), was.model_id, was.run_id, %(now)s
FROM judgement j JOIN judgement was ON was.id = j.retracts_id
WHERE j.workspace_id = %(workspace)s AND j.{origin} = %(key)s AND j.kind = 'PROBABILISTIC'
  AND was.{origin} IS DISTINCT FROM %(key)s
  AND NOT EXISTS (
    SELECT FROM judgement other WHERE other.left_id = was.left_id AND other.right_id = was.right_id
    AND other.kind = 'PROBABILISTIC' AND other.retracts_id IS NULL
    AND (other.evidence ->> 'restores' = was.id::text
         OR NOT EXISTS (SELECT FROM judgement later WHERE later.retracts_id = other.id))
)
ORDER BY was.id
RETURNING left_id, right_id, verdict
"""

Pair = tuple[int, int, str]


def _written(
    statement: str, origin: str, key: int, workspace_id: int, author: User | None, now: datetime
) -> list[Pair]:
    given: Mapping[str, Any] = {
        "workspace": workspace_id,
        "key": key,
        "author": author.pk if author else None,
        "why": f'{{"undone": "{origin.removesuffix("_id")}"}}',
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement.replace("{origin}", origin), given)
        rows: list[Pair] = cursor.fetchall()
        return rows


def _hand_over(workspace_id: int, retracted: Iterable[Pair], restored: Iterable[Pair]) -> int:
    """Every end once. What was taken back may split; what is said again may merge."""
    subjects = {end: Cause.MERGE for left, right, _ in restored for end in (left, right)}
    subjects |= {end: Cause.SPLIT for left, right, _ in retracted for end in (left, right)}
    outbox.hand_over(subjects, stage=Stage.IDENTITY, workspace_id=workspace_id)
    return len(subjects)
