"""Records of a workspace as the matcher takes them, and its models as the ledger keeps them."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.db.models import Max

from consent.gate import Identity, Permit
from identity import plans, registry
from identity.matching import engine, features, training
from identity.matching.scoring import FrozenModel
from identity.models import LinkageModel
from identity.queries import Rules

SAMPLE = 200_000  # records to train on: scoring them all is quick, learning from them all is not
_ROWS_AT_ONCE = 10_000

# One row for each identifier that carries at least two of the traits; where sources differ, the newest value. What
# was bought is left out: a provider's guess about a person is no sign of who the person is.
_RECORDS: Final = """
WITH newest AS (
    SELECT DISTINCT ON (t.identifier_id, t.name) t.identifier_id, t.name, t.value #>> '{{}}' AS value
    FROM identifier_trait t JOIN source s ON s.id = t.source_id
    WHERE s.kind <> 'ENRICHMENT' AND t.name = ANY(%(traits)s)
    ORDER BY t.identifier_id, t.name, t.observed_at DESC, t.source_id
)
SELECT i.id, CASE WHEN i.type = ANY(%(unique_types)s) THEN i.type END, {columns}
FROM newest n JOIN identifier i ON i.id = n.identifier_id
GROUP BY i.id, i.type HAVING count(*) > 1
ORDER BY hashint8(i.id) LIMIT %(most)s
""".format(columns=", ".join(f"max(n.value) FILTER (WHERE n.name = '{name}')" for name in features.TRAITS))  # noqa: S608  # our own names of traits


def train(permit: Permit[Identity], rules: Rules, *, seed: int, now: datetime) -> LinkageModel:
    """Learn from the records of all who permit it, and keep the frozen model as the next version."""
    with engine.connect(memory_limit=settings.DUCKDB_MEMORY_LIMIT, threads=settings.DUCKDB_THREADS) as duck:
        engine.load(duck, records(rules, most=SAMPLE))
        engine.number_by_content(duck)
        frozen = training.train(duck, seed=seed)
    mine = LinkageModel.objects.filter(workspace_id=permit.workspace_id)
    return LinkageModel.objects.create(
        workspace_id=permit.workspace_id,
        version=(mine.aggregate(latest=Max("version"))["latest"] or 0) + 1,
        settings=dict(frozen.settings),
        frequencies={column: dict(known) for column, known in frozen.frequencies.items()},
        metadata=dict(frozen.metadata),
        created_at=now,
    )


def model_to_use(permit: Permit[Identity], rules: Rules, *, now: datetime) -> LinkageModel:
    """The one that links from now on, if none did so far: whatever is trained later is a candidate."""
    model = registry.active_model(permit.workspace_id) or train(permit, rules, seed=training.SEED, now=now)
    registry.keep_active(model, author=None, now=now)
    return model


def thawed(model: LinkageModel) -> FrozenModel:
    return FrozenModel(model.settings, model.frequencies, model.metadata)


def records(rules: Rules, *, most: int | None = None) -> Iterator[tuple[Any, ...]]:
    """In an order that mixes them, so that the first ones are a fair sample."""
    given = {
        "traits": list(features.TRAITS),
        "unique_types": [kind for kind, limit in rules.limits.items() if limit == 1],
        "most": most,
    }
    with connection.cursor() as cursor:
        with plans.in_bulk():
            cursor.execute(_RECORDS, given)
        while chunk := cursor.fetchmany(_ROWS_AT_ONCE):
            yield from chunk
