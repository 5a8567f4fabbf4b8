"""Records of a workspace as the matcher takes them, and its models as the ledger keeps them."""

from dataclasses import asdict
from datetime import datetime

import numpy as np
from django.conf import settings
from django.db.models import Max
from duckdb import DuckDBPyConnection

from cdp.kernel.errors import TesseraError
from consent.gate import Identity, Permit
from identity import records, registry
from identity.matching import engine, thresholds, training
from identity.matching.scoring import FrozenModel
from identity.models import LinkageModel, ReviewPair, Verdict
from identity.queries import Rules

SAMPLE = 200_000  # records to train on: scoring them all is quick, learning from them all is not


def train(permit: Permit[Identity], rules: Rules, *, seed: int, now: datetime) -> LinkageModel:
    """Learn from the records of all who permit it, and keep the frozen model as the next version."""
    with engine.connect(
        memory_limit=settings.DUCKDB_MEMORY_LIMIT,
        threads=settings.DUCKDB_THREADS,
        spill_directory=settings.DUCKDB_SPILL_DIRECTORY,
    ) as duck:
        population = records.load_sample(duck, rules, workspace_id=permit.workspace_id, size=SAMPLE)
        return _learned(permit, duck, population, seed, now)


def train_on(permit: Permit[Identity], duck: DuckDBPyConnection, *, now: datetime) -> LinkageModel:
    """The same from all records, where they are loaded already: they stay as they are."""
    with engine.sampled(duck, size=SAMPLE) as sample:
        return _learned(permit, sample, len(engine.records(duck)), training.SEED, now)


def _learned(
    permit: Permit[Identity], duck: DuckDBPyConnection, population: int, seed: int, now: datetime
) -> LinkageModel:
    engine.number_by_content(duck)
    return _kept(permit, training.train(duck, seed=seed, population=population), now)


JUDGED_FOR_CALIBRATION = 50


class TooFewJudgementsError(TesseraError):
    """Thresholds are calibrated from 50 pairs or more that stewards judged under the active model, some the same, some not."""

    code = "too_few_judgements"


def calibrate(permit: Permit[Identity], *, now: datetime) -> LinkageModel:
    """The active model once more, as the next version, with thresholds that agree with what stewards judged of its pairs."""
    active = registry.active_model(permit.workspace_id)
    pairs = ReviewPair.objects.filter(workspace_id=permit.workspace_id, model=active).exclude(judgement=None)
    judged = list(pairs.values_list("weight", "judgement__verdict")) if active else []
    is_same = np.array([verdict == Verdict.SAME for _, verdict in judged], dtype=np.bool_)
    if active is None or is_same.size < JUDGED_FOR_CALIBRATION or is_same.all() or not is_same.any():
        raise TooFewJudgementsError(judged=is_same.size)
    slope, shift = thresholds.calibrated(np.array([weight for weight, _ in judged]), is_same)
    if slope <= 0:
        raise TooFewJudgementsError(judged=is_same.size)
    found = thresholds.moved(thresholds.Thresholds(**active.metadata["thresholds"]), slope, shift)
    calibrated = {"judged": is_same.size, "slope": round(slope, 3), "shift": round(shift, 3), "model": active.version}
    metadata = {**active.metadata, "thresholds": asdict(found), "calibrated": calibrated}
    return _kept(permit, FrozenModel(active.settings, active.frequencies, metadata), now)


def _kept(permit: Permit[Identity], frozen: FrozenModel, now: datetime) -> LinkageModel:
    mine = LinkageModel.objects.filter(workspace_id=permit.workspace_id)
    model = LinkageModel.objects.create(
        workspace_id=permit.workspace_id,
        version=(mine.aggregate(latest=Max("version"))["latest"] or 0) + 1,
        settings=dict(frozen.settings),
        frequencies={column: dict(known) for column, known in frozen.frequencies.items()},
        metadata=dict(frozen.metadata),
        created_at=now,
    )
    registry.watch_drift(model)
    return model


def thawed(model: LinkageModel) -> FrozenModel:
    return FrozenModel(model.settings, model.frequencies, model.metadata)
