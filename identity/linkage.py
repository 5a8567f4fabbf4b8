"""Batch record linkage: train on the records of a workspace; score them all, judge, and cluster."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import structlog
from django.conf import settings
from django.db import connection
from django.db.models import Max
from duckdb import DuckDBPyConnection

from cdp.kernel.arrays import bigints
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Run, RunState, Stage, outbox
from cdp.models.tenancy import workspace_scope
from consent import gate
from consent.gate import Identity, Permit
from identity import plans, queries, records, services, training
from identity.matching import engine, features, scoring
from identity.matching.scoring import FrozenModel
from identity.models import LinkageModel, ReviewPair
from identity.scored import ASK, IS_JUDGED

log = structlog.get_logger()

KIND = "identity.resolve"
IDENTIFIERS_AT_ONCE = 20_000

Evidence = dict[str, list[Any]]  # left_id, right_id, weight, and parts: the weight of each comparison, as JSON


@dataclass(slots=True)
class Counts:
    pairs: int = 0  # above the lower threshold
    judgements: int = 0  # written in this run
    review: int = 0  # waiting for a steward after it
    clusters: int = 0  # people behind the records


class RunCancelledError(TesseraError):
    """The run was cancelled: nothing of it was written. Start it again when it suits."""

    code = "run_cancelled"


class Progress:
    """The row of a run, told of each step as it ends; asked at the same time whether somebody has cancelled it."""

    def __init__(self, run: Run, clock: Callable[[], datetime]) -> None:
        self.run, self.now = run, clock
        self.seconds: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self._began = time.perf_counter()

    @classmethod
    def begin(cls, workspace_id: int, clock: Callable[[], datetime]) -> "Progress":
        now = clock()
        with workspace_scope(workspace_id):
            run = Run.objects.create(workspace_id=workspace_id, kind=KIND, started_at=now, heartbeat_at=now)
        return cls(run, clock)

    def lap(self, name: str, **counts: int) -> None:
        """`name` is done."""
        ended = time.perf_counter()
        self.seconds[name], self._began = round(ended - self._began, 3), ended
        self.counts.update(counts)
        log.info("linkage.step_done", run=self.run.pk, step=name, seconds=self.seconds[name], **counts)

    def step(self, name: str, **counts: int) -> None:
        """The same, and all may see it: between the transactions that see people."""
        self.lap(name, **counts)
        self._tell()

    def _tell(self) -> None:
        with workspace_scope(self.run.workspace_id):
            running = Run.objects.filter(pk=self.run.pk, state=RunState.RUNNING)
            if not running.update(heartbeat_at=self.now(), counts=self.counts):
                raise RunCancelledError(run=self.run.pk)

    def end(self, **changes: Any) -> None:
        now = self.now()
        changes = {"position": self.run.position, **changes, "finished_at": now, "heartbeat_at": now}
        with workspace_scope(self.run.workspace_id):
            Run.objects.filter(pk=self.run.pk).update(**changes)

    def last_position(self) -> int:
        """Up to which value the last complete run has read."""
        done = Run.objects.filter(workspace_id=self.run.workspace_id, kind=KIND, state=RunState.DONE)
        return int(done.aggregate(last=Max("position"))["last"] or 0)


def train(*, workspace_id: int, seed: int, now: datetime) -> dict[str, Any]:
    began = time.perf_counter()
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id) as permit:
        model = training.train(permit, queries.rules_of(workspace_id), seed=seed, now=now)
    log.info("linkage_model.trained", workspace=workspace_id, version=model.version)
    return {
        "model": model.version,
        "rows": model.metadata["rows"],
        "thresholds": model.metadata["thresholds"],
        "seconds": round(time.perf_counter() - began, 3),
    }


def resolve(*, workspace_id: int, clock: Callable[[], datetime], only_new: bool = False) -> dict[str, Any]:
    """Link all records with the active model, training the first one; or only those whose values came since the last run,
    among each other and with all others. What is written is one transaction: a run that fails or is cancelled leaves the
    ledger as it was, and the same records once more write nothing.
    """
    progress = Progress.begin(workspace_id, clock)
    try:
        counts = _resolve(workspace_id, progress, only_new=only_new)
    except RunCancelledError:
        progress.end(state=RunState.CANCELLED)
        raise
    except Exception as error:
        progress.end(state=RunState.FAILED, error=type(error).__name__)
        raise
    result = {name: getattr(counts, name) for name in Counts.__slots__}
    progress.end(state=RunState.DONE, counts={**progress.counts, **result})
    return {**result, "steps": progress.seconds, "seconds": round(sum(progress.seconds.values()), 3)}


def _resolve(workspace_id: int, progress: Progress, *, only_new: bool) -> Counts:
    """People are read and written under the purpose; between the two, where only numbers are at work, nothing is held."""
    with engine.connect(
        memory_limit=settings.DUCKDB_MEMORY_LIMIT,
        threads=settings.DUCKDB_THREADS,
        spill_directory=settings.DUCKDB_SPILL_DIRECTORY,
    ) as duck:
        with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id) as permit:
            rules = queries.rules_of(workspace_id)
            model = training.model_to_use(permit, rules, now=progress.now())
            progress.lap("train")
            loaded = records.load(duck, rules, workspace_id=workspace_id)
            arrivals = _arrivals(progress.last_position()) if only_new else None
            progress.run.position = _position()
        progress.step("load", records=loaded)
        if loaded:
            _score(duck, training.thawed(model), arrivals)
        scored = engine.evidence_above(duck, model.metadata["thresholds"]["lower"]) if loaded else engine.no_evidence()
        progress.step("score", pairs=len(scored["weight"]))
        with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id) as permit:
            counts = _write(permit, progress, model, scored, arrivals)
            counts.clusters = _people_behind(engine.records(duck)) if loaded else 0
        progress.lap("write")
    return counts


def _score(duck: DuckDBPyConnection, model: FrozenModel, arrivals: list[int] | None) -> None:
    if arrivals is None:
        scoring.score_batch(duck, model)
    else:
        scoring.score_arrivals(duck, model, arrivals)


def _write(
    permit: Permit[Identity], progress: Progress, model: LinkageModel, scored: Evidence, arrivals: list[int] | None
) -> Counts:
    upper = model.metadata["thresholds"]["upper"]
    origin = {
        "workspace": permit.workspace_id, "model": model.pk, "run": progress.run.pk, "now": progress.now(),
        "scope": None if arrivals is None else bigints(arrivals),
    }  # fmt: skip
    alike = _from_weight(scored, upper)
    outdated = _written(_RETRACT_OUTDATED, alike, origin)
    judged = _written(_JUDGE, alike, origin)
    _link(permit, {end for pair in outdated + judged for end in pair}, progress.now())
    _written(_FORGET_ASKED, scored, origin)
    _written(ASK, scored, origin)
    review = ReviewPair.objects.filter(judgement=None).count()
    return Counts(pairs=len(scored["weight"]), judgements=len(judged), review=review)


def _from_weight(scored: Evidence, least: float) -> Evidence:
    places = [place for place, weight in enumerate(scored["weight"]) if weight >= least]
    return {name: [values[place] for place in places] for name, values in scored.items()}


def _link(permit: Permit[Identity], identifier_ids: Collection[int], now: datetime) -> None:
    """By the same code as the pipeline's stage; the profiles go on to the stage after it."""
    touched: dict[int, Cause] = {}
    for chunk in _chunks(sorted(identifier_ids), IDENTIFIERS_AT_ONCE):
        touched.update(services.link(permit, dict.fromkeys(chunk, Cause.LEARNT), now=now))
    outbox.hand_over(touched, stage=Stage.ENRICHMENT, workspace_id=permit.workspace_id)


def _chunks(ids: Iterable[int], size: int) -> Iterator[list[int]]:
    remaining = iter(ids)
    while chunk := list(islice(remaining, size)):
        yield chunk


# Values that came since; what a source corrected keeps its row, and is compared anew by the next run over all.
_ARRIVALS = "SELECT DISTINCT identifier_id FROM identifier_trait WHERE id > %s AND name = ANY(%s::varchar[])"
_POSITION = "SELECT COALESCE(max(id), 0) FROM identifier_trait"


def _arrivals(position: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(_ARRIVALS, [position, list(features.TRAITS)])
        return [one for (one,) in cursor.fetchall()]


def _position() -> int:
    with connection.cursor() as cursor:
        cursor.execute(_POSITION)
        return int(cursor.fetchone()[0])


_PEOPLE = "SELECT count(DISTINCT profile_id) FROM identifier WHERE id = ANY(%s::bigint[])"


def _people_behind(identifier_ids: Sequence[int]) -> int:
    with plans.in_bulk(), connection.cursor() as cursor:
        cursor.execute(_PEOPLE, [bigints(identifier_ids)])
        return int(cursor.fetchone()[0])


# -- what a run writes ----------------------------------------------------------------------------------------------

# The scored pairs, and those among them that are still two people: between the thresholds, or refused by a guard.
_SCORED = """
WITH scored AS (
    SELECT * FROM unnest(%(left)s::bigint[], %(right)s::bigint[], %(weight)s::float8[], %(parts)s::text[])
        AS s (left_id, right_id, weight, parts)
),
question AS (
    SELECT s.* FROM scored s
    JOIN identifier l ON l.id = s.left_id JOIN identifier r ON r.id = s.right_id
    WHERE l.profile_id <> r.profile_id AND NOT EXISTS (
        SELECT 1 FROM judgement j WHERE j.left_id = s.left_id AND j.right_id = s.right_id AND j.retracts_id IS NULL
        AND j.kind = 'STEWARD' AND NOT EXISTS (SELECT 1 FROM judgement later WHERE later.retracts_id = j.id)
    )
)
"""

# A judgement of the machine stands as long as the latest model says the same.
_RETRACT_OUTDATED = """
INSERT INTO judgement (workspace_id, left_id, right_id, verdict, kind, weight, evidence, model_id, run_id, retracts_id,
                       created_at)
SELECT j.workspace_id, j.left_id, j.right_id, j.verdict, j.kind, 0, '{}', %(model)s, %(run)s, j.id, %(now)s
FROM judgement j
JOIN identifier l ON l.id = j.left_id JOIN identifier r ON r.id = j.right_id
WHERE j.workspace_id = %(workspace)s AND j.kind = 'PROBABILISTIC' AND j.retracts_id IS NULL
  AND NOT EXISTS (SELECT 1 FROM judgement later WHERE later.retracts_id = j.id)
  AND (%(scope)s::bigint[] IS NULL OR j.left_id = ANY(%(scope)s::bigint[]) OR j.right_id = ANY(%(scope)s::bigint[]))
  AND (j.model_id <> %(model)s
       OR (j.left_id, j.right_id) NOT IN (SELECT left_id, right_id FROM scored))
RETURNING left_id, right_id
"""

_JUDGE = f"""
INSERT INTO judgement (workspace_id, left_id, right_id, verdict, kind, weight, evidence, model_id, run_id, created_at)
SELECT %(workspace)s, s.left_id, s.right_id, 'SAME', 'PROBABILISTIC', s.weight, s.parts::jsonb, %(model)s, %(run)s,
       %(now)s
FROM scored s
JOIN identifier l ON l.id = s.left_id JOIN identifier r ON r.id = s.right_id
WHERE NOT {IS_JUDGED.format(judgements="judgement")}
RETURNING left_id, right_id
"""  # noqa: S608  # our own constant

# What is no question any more is not asked; a pair that a steward has judged stays as a record.
_FORGET_ASKED = """
DELETE FROM review_pair p WHERE p.workspace_id = %(workspace)s AND p.judgement_id IS NULL
AND (%(scope)s::bigint[] IS NULL OR p.left_id = ANY(%(scope)s::bigint[]) OR p.right_id = ANY(%(scope)s::bigint[]))
AND (p.left_id, p.right_id) NOT IN (SELECT left_id, right_id FROM question)
RETURNING left_id, right_id
"""


def _written(statement: str, pairs: Evidence, origin: dict[str, Any]) -> list[tuple[int, int]]:
    given = {
        **origin,
        "left": bigints(pairs["left_id"]),
        "right": bigints(pairs["right_id"]),
        "weight": pairs["weight"],
        "parts": pairs["parts"],
    }
    with plans.in_bulk(), connection.cursor() as cursor:
        cursor.execute(_SCORED + statement, given)
        rows: list[tuple[int, int]] = cursor.fetchall()
        return rows
