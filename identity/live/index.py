"""The blocking keys of a workspace, and for which model they were made."""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import connection
from duckdb import DuckDBPyConnection

from cdp.kernel.arrays import bigints
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import planning
from cdp.models.digests import identifier_digest
from consent import gate
from identity import golden, queries, records, registry, training
from identity.matching import blocking, engine, features
from identity.matching.compiled import CompiledModel
from identity.matching.few import FewRecords
from identity.matching.rows.expressions import UnknownSQLError
from identity.matching.scoring import FrozenModel
from identity.models import BlockingIndex, LinkageModel

log = structlog.get_logger()

Progress = Callable[[int], None]
_KEYS_AT_ONCE: Final = 200_000
FEW: Final = 150  # records: from about so many on, DuckDB's way to set up a query pays off
_MODELS_AT_HAND: Final = 4  # in one process; each holds its frequencies in memory


class NoModelError(TesseraError):
    """There is no trained model yet: run `identity train` or `identity resolve` first."""

    code = "no_model"


def compiled(index: BlockingIndex, *, records: int) -> CompiledModel | FewRecords:
    """For about so many records. Made once in a process: models never change, so neither does what is made of them."""
    made = _few(index.workspace_id, index.model_id, index.is_day_first) if records <= FEW else None
    return made or _many(index.workspace_id, index.model_id, index.is_day_first)


def lower_threshold(index: BlockingIndex) -> float:
    return _thresholds(index.model_id)[0]


def upper_threshold(index: BlockingIndex) -> float:
    return _thresholds(index.model_id)[1]


@lru_cache(maxsize=_MODELS_AT_HAND)
def _thresholds(model_id: int) -> tuple[float, float]:
    metadata = LinkageModel.objects.values_list("metadata", flat=True).get(pk=model_id)
    return float(metadata["thresholds"]["lower"]), float(metadata["thresholds"]["upper"])


@lru_cache(maxsize=_MODELS_AT_HAND)
def _few(workspace_id: int, model_id: int, is_day_first: bool) -> FewRecords | None:  # noqa: FBT001  # a key of the cache
    """None for a model that only DuckDB understands: slower, and the same."""
    try:
        return FewRecords(_frozen(model_id), is_day_first=is_day_first, salt=salt_of(workspace_id))
    except UnknownSQLError:
        log.warning("model.not_read", workspace=workspace_id, model=model_id)
        return None


@lru_cache(maxsize=_MODELS_AT_HAND)
def _many(workspace_id: int, model_id: int, is_day_first: bool) -> CompiledModel:  # noqa: FBT001  # a key of the cache
    limit = settings.DUCKDB_MEMORY_LIMIT
    return CompiledModel(_frozen(model_id), is_day_first=is_day_first, salt=salt_of(workspace_id), memory_limit=limit)


@lru_cache(maxsize=_MODELS_AT_HAND)
def _frozen(model_id: int) -> FrozenModel:
    return training.thawed(LinkageModel.objects.get(pk=model_id))


def salt_of(workspace_id: int) -> str:
    """Without the pepper of the installation nobody can try out names against the hashes."""
    return identifier_digest("blocking", str(workspace_id)).hex()


# -- keys -----------------------------------------------------------------------------------------------------------

_KEEP_KEYS: Final = """
INSERT INTO blocking_key (workspace_id, key, identifier_id)
SELECT %(workspace)s, * FROM unnest(%(keys)s::bigint[], %(ones)s::bigint[]) ON CONFLICT DO NOTHING
"""
_REPLACE_KEYS: Final = f"""
WITH forgotten AS (
    DELETE FROM blocking_key WHERE identifier_id = ANY(%(ids)s::bigint[])
    AND (key, identifier_id) NOT IN (SELECT * FROM unnest(%(keys)s::bigint[], %(ones)s::bigint[]))
)
{_KEEP_KEYS}
"""  # noqa: S608  # our own constant


def replace_keys(identifier_ids: Iterable[int], keys: Mapping[str, str], *, workspace_id: int) -> None:
    """The keys that these have now, as `of_keys` makes them. What is unchanged is not written."""
    given: dict[str, Any] = {**keys, "ids": bigints(identifier_ids), "workspace": workspace_id}
    with planning.by_key(), connection.cursor() as cursor:
        cursor.execute(_REPLACE_KEYS, given)


def of_keys(keys: Iterable[tuple[int, int]]) -> dict[str, str]:
    """Of (record, key), in the order of the index."""
    pairs = sorted(keys, key=itemgetter(1))
    return {"ones": bigints(one for one, _ in pairs), "keys": bigints(key for _, key in pairs)}


# -- building it ----------------------------------------------------------------------------------------------------


def build_index(*, workspace_id: int, now: datetime, progress: Progress = lambda _: None) -> dict[str, Any]:
    """Make the keys of all records for the latest model. One transaction: until it ends the former index holds, and
    the pipeline's stage of this workspace waits.
    """
    began = time.perf_counter()
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id) as permit:
        golden.take_turn(permit)
        model = registry.active_model(workspace_id)
        if model is None:
            raise NoModelError
        found, keys = _build(model, now, progress)
    log.info("blocking_index.built", workspace=workspace_id, model=model.version, records=found, keys=keys)
    seconds = round(time.perf_counter() - began, 3)
    return {"model": model.version, "records": found, "keys": keys, "seconds": seconds}


def _build(model: LinkageModel, now: datetime, progress: Progress) -> tuple[int, int]:
    workspace_id = model.workspace_id
    with engine.connect(
        memory_limit=settings.DUCKDB_MEMORY_LIMIT,
        threads=settings.DUCKDB_THREADS,
        spill_directory=settings.DUCKDB_SPILL_DIRECTORY,
    ) as duck:
        found = records.load(duck, queries.rules_of(workspace_id), workspace_id=workspace_id)
        is_day_first = features.were_read_day_first(duck)
        _empty(workspace_id)
        total = 0
        made = duck.execute(blocking.kept_keys_sql(model.settings, salt=salt_of(workspace_id)))
        with ThreadPoolExecutor(1) as aside:  # while some are written, the next are made
            making = aside.submit(_next_keys, made)
            while keys := making.result():
                making = aside.submit(_next_keys, made)
                with connection.cursor() as cursor:
                    cursor.execute(_KEEP_KEYS, {**keys, "workspace": workspace_id})
                    total += cursor.rowcount
                progress(total)
    state = {"model": model, "is_day_first": is_day_first, "built_at": now}
    BlockingIndex.objects.update_or_create(workspace_id=workspace_id, defaults=state)
    return found, total


def _next_keys(made: DuckDBPyConnection) -> dict[str, str]:
    """As the statement takes them; nothing when there are no more."""
    keys = made.fetchmany(_KEYS_AT_ONCE)
    return of_keys(keys) if keys else {}


def _empty(workspace_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM blocking_key WHERE workspace_id = %s", [workspace_id])
