"""Batch record linkage: train on the records of a workspace; score them all, judge, and cluster."""

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import structlog
from django.conf import settings
from django.db import connection

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier, Run, RunState, Stage, outbox
from cdp.models.tenancy import workspace_scope
from consent import gate
from consent.gate import Identity, Permit
from identity import plans, queries, services, training
from identity.matching import engine, scoring
from identity.models import LinkageModel, ReviewPair

log = structlog.get_logger()

IDENTIFIERS_AT_ONCE = 20_000

Pair = tuple[int, int, float, dict[str, float]]


@dataclass(slots=True)
class Counts:
    pairs: int = 0  # above the lower threshold
    judgements: int = 0  # written in this run
    review: int = 0  # waiting for a steward after it
    clusters: int = 0  # people behind the records


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


def resolve(*, workspace_id: int, clock: Callable[[], datetime]) -> dict[str, Any]:
    """Link all records with the active model, training the first one. All of it is one transaction: a run that
    fails leaves the ledger as it was, and the same records once more write nothing.
    """
    began = time.perf_counter()
    with workspace_scope(workspace_id):
        run = _begin(workspace_id, clock())
    try:
        with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id) as permit:
            counts = _resolve(permit, run, clock())
    except Exception as error:
        with workspace_scope(workspace_id):
            _finish(run, clock(), state=RunState.FAILED, error=type(error).__name__)
        raise
    result = {name: getattr(counts, name) for name in Counts.__slots__}
    with workspace_scope(workspace_id):
        _finish(run, clock(), state=RunState.DONE, counts=result)
    return {**result, "seconds": round(time.perf_counter() - began, 3)}


def _begin(workspace_id: int, now: datetime) -> Run:
    return Run.objects.create(workspace_id=workspace_id, kind="identity.resolve", started_at=now, heartbeat_at=now)


def _finish(run: Run, now: datetime, **changes: Any) -> None:
    Run.objects.filter(pk=run.pk).update(finished_at=now, heartbeat_at=now, **changes)


def _resolve(permit: Permit[Identity], run: Run, now: datetime) -> Counts:
    rules = queries.rules_of(permit.workspace_id)
    model = training.model_to_use(permit, rules, now=now)
    thresholds = model.metadata["thresholds"]
    scored, records = _scored(model, rules, thresholds["lower"])
    alike = [pair for pair in scored if pair[2] >= thresholds["upper"]]
    origin = {"workspace": permit.workspace_id, "model": model.pk, "run": run.pk, "now": now}
    outdated = _written(_RETRACT_OUTDATED, alike, origin)
    judged = _written(_JUDGE, alike, origin)
    _link(permit, {end for pair in outdated + judged for end in pair}, now)
    _written(_FORGET_ASKED, scored, origin)
    _written(_ASK, scored, origin)
    return Counts(
        pairs=len(scored),
        judgements=len(judged),
        review=ReviewPair.objects.filter(judgement=None).count(),
        clusters=_people_behind(records),
    )


def _scored(model: LinkageModel, rules: queries.Rules, lower: float) -> tuple[list[Pair], list[int]]:
    with engine.connect(memory_limit=settings.DUCKDB_MEMORY_LIMIT, threads=settings.DUCKDB_THREADS) as duck:
        if not engine.load(duck, training.records(rules)):
            return [], []
        scoring.score_batch(duck, training.thawed(model))
        return engine.pairs_above(duck, lower), engine.records(duck)


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


def _people_behind(records: Sequence[int]) -> int:
    return Identifier.objects.filter(pk__in=records).values("profile_id").distinct().count()


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
  AND (j.model_id <> %(model)s
       OR (j.left_id, j.right_id) NOT IN (SELECT left_id, right_id FROM scored))
RETURNING left_id, right_id
"""

# Not where it is written already, nor where a steward has said something: what a steward took back stays so. Who took
# back all that one model had judged said so of that model alone.
_JUDGE = """
INSERT INTO judgement (workspace_id, left_id, right_id, verdict, kind, weight, evidence, model_id, run_id, created_at)
SELECT %(workspace)s, s.left_id, s.right_id, 'SAME', 'PROBABILISTIC', s.weight, s.parts::jsonb, %(model)s, %(run)s,
       %(now)s
FROM scored s
WHERE NOT EXISTS (
    SELECT 1 FROM judgement j LEFT JOIN judgement later ON later.retracts_id = j.id
    WHERE j.left_id = s.left_id AND j.right_id = s.right_id AND j.retracts_id IS NULL
      AND (j.kind = 'PROBABILISTIC' AND (later.id IS NULL OR later.kind = 'STEWARD'
                                      AND COALESCE(later.model_id, %(model)s) = %(model)s)
           OR j.kind = 'STEWARD' AND later.id IS NULL)
)
RETURNING left_id, right_id
"""

# What is no question any more is not asked; a pair that a steward has judged stays as a record.
_FORGET_ASKED = """
DELETE FROM review_pair p WHERE p.workspace_id = %(workspace)s AND p.judgement_id IS NULL
AND (p.left_id, p.right_id) NOT IN (SELECT left_id, right_id FROM question)
RETURNING left_id, right_id
"""
_ASK = """
INSERT INTO review_pair (workspace_id, left_id, right_id, weight, evidence, model_id, created_at)
SELECT %(workspace)s, left_id, right_id, weight, parts::jsonb, %(model)s, %(now)s FROM question
ON CONFLICT (left_id, right_id) DO UPDATE
    SET weight = excluded.weight, evidence = excluded.evidence, model_id = excluded.model_id
    WHERE review_pair.judgement_id IS NULL
RETURNING left_id, right_id
"""


def _written(statement: str, pairs: Sequence[Pair], origin: dict[str, Any]) -> list[tuple[int, int]]:
    given = {
        **origin,
        "left": [pair[0] for pair in pairs],
        "right": [pair[1] for pair in pairs],
        "weight": [pair[2] for pair in pairs],
        "parts": [json.dumps(pair[3]) for pair in pairs],
    }
    with plans.in_bulk(), connection.cursor() as cursor:
        cursor.execute(_SCORED + statement, given)
        rows: list[tuple[int, int]] = cursor.fetchall()
        return rows
