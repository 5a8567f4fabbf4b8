"""Records of a workspace as the matcher takes them, and its models as the ledger keeps them."""

from datetime import datetime

from django.conf import settings
from django.db.models import Max

from consent.gate import Identity, Permit
from identity import records
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
    return LinkageModel.objects.create(
        workspace_id=permit.workspace_id,
        version=(mine.aggregate(latest=Max("version"))["latest"] or 0) + 1,
        settings=dict(frozen.settings),
        frequencies={column: dict(known) for column, known in frozen.frequencies.items()},
        metadata=dict(frozen.metadata),
        created_at=now,
    )


def latest_model(workspace_id: int) -> LinkageModel | None:
    return LinkageModel.objects.filter(workspace_id=workspace_id).order_by("-version").first()


def thawed(model: LinkageModel) -> FrozenModel:
    return FrozenModel(model.settings, model.frequencies, model.metadata)
