"""Records of a workspace as the matcher takes them, and its models as the ledger keeps them."""

from datetime import datetime

from django.conf import settings
from django.db.models import Max

from consent.gate import Identity, Permit
from identity import records, registry
from identity.matching import engine, training
from identity.matching.scoring import FrozenModel
from identity.models import LinkageModel
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
        engine.number_by_content(duck)
        frozen = training.train(duck, seed=seed, population=population)
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


def model_to_use(permit: Permit[Identity], rules: Rules, *, now: datetime) -> LinkageModel:
    """The one that links from now on, if none did so far: whatever is trained later is a candidate."""
    model = registry.active_model(permit.workspace_id) or train(permit, rules, seed=training.SEED, now=now)
    registry.keep_active(model, author=None, now=now)
    return model


def thawed(model: LinkageModel) -> FrozenModel:
    return FrozenModel(model.settings, model.frequencies, model.metadata)
