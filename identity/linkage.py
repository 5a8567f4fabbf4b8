"""Batch record linkage: train on the records of a workspace; score them all, judge, and cluster."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max
from duckdb import DuckDBPyConnection

from cdp.kernel.arrays import bigints, floats, texts
from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import Run, RunState, planning
from cdp.models.tenancy import workspace_scope
from consent import gate
from consent.gate import Identity, Permit
from identity import aside, crowds, nearby, queries, records, registry, training, wholesale
from identity.aside import Begin, Work
from identity.glance import Numbers
from identity.live import index
from identity.matching import engine, features, scoring
from identity.matching.scoring import FrozenModel
from identity.models import LinkageModel, ReviewPair
from identity.scored import ASK, IS_JUDGED
from identity.undoing import KIND_OF_RUN

log = structlog.get_logger()

PAIRS_AT_ONCE = 100_000
SECONDS_BETWEEN_SIGNS: Final = 1.0  # of life

Pair = tuple[int, int]


@dataclass(slots=True)
class Counts:
    pairs: int = 0  # above the lower threshold
    judgements: int = 0  # written in this run
    review: int = 0  # waiting for a steward after it
    clusters: int = 0  # people behind the records


class RunCancelledError(TesseraError):
    """The run was cancelled. Whom it had written by then is whole: start it again for the others, or undo the run."""

    code = "run_cancelled"


class NotAtWorkError(TesseraError):
    """No such run of record linkage is at work: the console shows all of them under Runs."""

    code = "not_at_work"


class Progress:
    """The row of a run: how far it is, for all to see; and whether somebody has cancelled it, for the run to ask."""

    def __init__(self, run: Run, clock: Callable[[], datetime]) -> None:
        self.run, self.now = run, clock
        self.seconds: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self._began = time.perf_counter()
        self._lock = threading.Lock()
        self._is_cancelled = False

    @classmethod
    def begin(cls, workspace_id: int, clock: Callable[[], datetime]) -> "Progress":
        now = clock()
        with workspace_scope(workspace_id):
            run = Run.objects.create(workspace_id=workspace_id, kind=KIND_OF_RUN, started_at=now, heartbeat_at=now)
        return cls(run, clock)

    @contextmanager
    def told(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """While the block works, a thread tells again and again how far it is. Once somebody has cancelled the run, it
        calls `interrupt` as often, for what is at work then; what begins later asks `go_on`.
        """
        ended = threading.Event()
        teller = threading.Thread(target=self._tell_until, args=(ended, interrupt))
        teller.start()
        try:
            yield
        finally:
            ended.set()
            teller.join()

    def _tell_until(self, ended: threading.Event, interrupt: Callable[[], None]) -> None:
        try:
            while not ended.wait(SECONDS_BETWEEN_SIGNS):
                self._tell()
                if self._is_cancelled:
                    interrupt()
        finally:
            connection.close()  # which no other thread would take over

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
        self.go_on()

    def add(self, name: str, more: int) -> None:
        with self._lock:
            self.counts[name] = self.counts.get(name, 0) + more

    def go_on(self) -> None:
        """Raises `RunCancelledError` where that is known by now."""
        if self._is_cancelled:
            raise RunCancelledError(run=self.run.pk)

    def _tell(self) -> None:
        with workspace_scope(self.run.workspace_id):
            running = Run.objects.filter(pk=self.run.pk, state=RunState.RUNNING)
            self._is_cancelled = not running.update(heartbeat_at=self.now(), counts=dict(self.counts))

    def end(self, **changes: Any) -> None:
        now = self.now()
        state = {"position": self.run.position, "counts": self.counts, "finished_at": now, "heartbeat_at": now}
        with workspace_scope(self.run.workspace_id):
            Run.objects.filter(pk=self.run.pk).update(**{**state, **changes})

    def last_position(self) -> int:
        """Up to which value the last complete run has read."""
        done = Run.objects.filter(workspace_id=self.run.workspace_id, kind=KIND_OF_RUN, state=RunState.DONE)
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
    among each other and with all others. The same records once more write nothing.

    Nothing is written before all is scored, so a run that is cancelled before leaves the ledger as it was. Very many people
    are written by several transactions: of a run that is cancelled or fails then the next one writes what is missing. Within
    a transaction of the caller all is part of that one.
    """
    progress = Progress.begin(workspace_id, clock)
    try:
        counts = _resolve(workspace_id, progress, only_new=only_new)
    except (RunCancelledError, duckdb.InterruptException, KeyboardInterrupt) as error:
        progress.end(state=RunState.CANCELLED)
        raise RunCancelledError(run=progress.run.pk) from error
    except Exception as error:
        progress.end(state=RunState.FAILED, error=type(error).__name__)
        raise
    result = {name: getattr(counts, name) for name in Counts.__slots__}
    progress.end(state=RunState.DONE, counts={**progress.counts, **result})
    return {**result, "steps": progress.seconds, "seconds": round(sum(progress.seconds.values()), 3)}


def cancel(*, workspace_id: int, run: int, now: datetime) -> dict[str, Any]:
    """A run that is at work stops as soon as what it is at is whole."""
    with workspace_scope(workspace_id):
        if not Run.objects.filter(pk=run, kind=KIND_OF_RUN).cancel(now=now):
            raise NotAtWorkError(run=run)
    return {"cancelled": run}


def _resolve(workspace_id: int, progress: Progress, *, only_new: bool) -> Counts:
    """People are read and written under the purpose; between the two, where only numbers are at work, nothing is held."""
    is_alone = connection.get_autocommit()  # within a transaction: what others write would outlive its rollback
    with (
        aside.at_work(workspace_id, threads=1) as begin,
        engine.connect(
            memory_limit=settings.DUCKDB_MEMORY_LIMIT,
            threads=settings.DUCKDB_THREADS,
            spill_directory=settings.DUCKDB_SPILL_DIRECTORY,
        ) as duck,
        progress.told(interrupt=duck.interrupt) if is_alone else nullcontext(),
    ):
        with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id) as permit:
            model = registry.active_model(workspace_id)
            last = progress.last_position()  # read first: what comes meanwhile is new to the next run
            if only_new and model:
                arrivals, progress.run.position = _arrivals(last)
            else:  # to a first model everybody is new
                arrivals, progress.run.position = None, _position(last)
            loaded = _load(duck, model, arrivals, permit, begin if is_alone else partial(_now, permit))
            progress.lap("load", records=loaded)
            model = model or training.train_on(permit, duck, now=progress.now())
            registry.keep_active(model, author=None, now=progress.now())
        progress.step("train")
        if loaded:
            _score(duck, training.thawed(model), arrivals)
        scored = engine.evidence_above(duck, model.metadata["thresholds"]["lower"]) if loaded else engine.no_evidence()
        progress.step("score", pairs=scored.num_rows)
        with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id) as permit:
            compared = engine.records(duck) if loaded else np.array([], np.int64)
            writers = settings.DUCKDB_THREADS if is_alone else 1
            counts = _write(permit, progress, model, scored, compared, arrivals, writers)
        progress.lap("write")
    return counts


def _now(permit: Permit[Identity], work: Work) -> None:
    work(permit)


def _load(
    duck: DuckDBPyConnection,
    model: LinkageModel | None,
    arrivals: list[int] | None,
    permit: Permit[Identity],
    begin: Begin,
) -> int:
    """Everybody; with arrivals only those with whom they can be compared, where it is known who that is."""
    rules = queries.rules_of(permit.workspace_id)
    if arrivals is not None and not arrivals:
        return 0
    current = registry.current_index(permit.workspace_id)
    if arrivals is None or model is None or current is None or current.model_id != model.pk:
        return records.load(duck, rules, workspace_id=permit.workspace_id)

    def keep(keys: Mapping[str, str]) -> None:
        begin(lambda permit: index.replace_keys(arrivals, keys, workspace_id=permit.workspace_id))

    return nearby.load(duck, rules, current, training.thawed(model), arrivals, keep)


def _score(duck: DuckDBPyConnection, model: FrozenModel, arrivals: list[int] | None) -> None:
    if arrivals is None:
        scoring.score_batch(duck, model)
    else:
        scoring.score_arrivals(duck, model, arrivals)


def _write(
    permit: Permit[Identity], progress: Progress, model: LinkageModel, scored: pa.Table, compared: Numbers,
    arrivals: list[int] | None, writers: int,
) -> Counts:  # fmt: skip
    origin = {
        "workspace": permit.workspace_id, "model": model.pk, "run": progress.run.pk, "now": progress.now(),
        "scope": None if arrivals is None else bigints(arrivals),
    }  # fmt: skip
    alike = scored.filter(pc.field("weight") >= model.metadata["thresholds"]["upper"])
    given = {**origin, **_ends_of(alike)}
    with planning.in_bulk():
        outdated = records.table(_OUTDATED, given, _JUDGED)
    unjudged = _only(_executed(_UNJUDGED, {**given, "outdated": bigints(outdated["id"].to_pylist())}), alike)
    judge = partial(_judge, origin, progress)
    judgements = wholesale.link(permit, outdated, unjudged, judge, writers=writers, now=progress.now())
    seen = crowds.seen(compared)
    _ask(scored, seen, origin)
    review = ReviewPair.objects.filter(judgement=None).count()
    clusters = seen.people_behind(compared)
    return Counts(pairs=scored.num_rows, judgements=judgements, review=review, clusters=clusters)


def _judge(origin: Mapping[str, Any], progress: Progress, outdated: pa.Table, alike: pa.Table) -> None:
    progress.go_on()
    if outdated.num_rows:
        _written(_RETRACT, {**origin, "outdated": bigints(outdated["id"].to_pylist())})
    for some in _in_parts(alike):
        _written(_JUDGE, {**origin, **some})
    transaction.on_commit(partial(progress.add, "judgements", alike.num_rows))


def _ask(scored: pa.Table, seen: crowds.Seen, origin: Mapping[str, Any]) -> None:
    """When the identifiers are where they belong: of the scored pairs those that are two people still."""
    apart = scored.filter(seen.are_apart(scored["left_id"].to_numpy(), scored["right_id"].to_numpy()))
    questions = _only(_executed(_STILL_OPEN, {**origin, **_ends_of(apart)}), apart)
    _executed(_FORGET_ASKED, {**origin, **_ends_of(questions)})
    for some in _in_parts(questions):
        _written(_QUESTION + ASK, {**origin, **some})


def _only(chosen: Sequence[Pair], scored: pa.Table) -> pa.Table:
    """Of the scored pairs these, in the order of their ends."""
    if len(chosen) == scored.num_rows:
        return scored
    left, right = zip(*chosen, strict=True) if chosen else ((), ())
    ends = pa.table({"left_id": pa.array(left, pa.int64()), "right_id": pa.array(right, pa.int64())})
    order = [(name, "ascending") for name in ends.column_names]
    return scored.join(ends, ends.column_names, join_type="inner").sort_by(order)


# Values that came since; what a source corrected keeps its row, and is compared anew by the next run over all.
_ARRIVALS = """
SELECT identifier_id, bool_or(name = ANY(%s::varchar[])), max(id) FROM identifier_trait WHERE id > %s GROUP BY identifier_id
"""
# From the end, by the index: for the largest of all the view of a purpose would read all.
_POSITION = "SELECT id FROM identifier_trait WHERE id > %s ORDER BY id DESC LIMIT 1"


def _arrivals(last: int) -> tuple[list[int], int]:
    """Of whom something can be compared that came since, and the position after it."""
    with connection.cursor() as cursor:
        cursor.execute(_ARRIVALS, [list(features.TRAITS), last])
        found = cursor.fetchall()
    return [one for one, is_compared, _ in found if is_compared], max((newest for *_, newest in found), default=last)


def _position(last: int) -> int:
    """Up to which value there is something to read, after that of the last run."""
    with connection.cursor() as cursor:
        cursor.execute(_POSITION, [last])
        found = cursor.fetchone()
        return int(found[0]) if found else last


# -- what a run writes ----------------------------------------------------------------------------------------------

# A judgement of the machine stands as long as the latest model says the same.
_OUTDATED = """
COPY (
    SELECT j.id, j.left_id, j.right_id
    FROM judgement j
    JOIN identifier l ON l.id = j.left_id JOIN identifier r ON r.id = j.right_id
    LEFT JOIN unnest(%(left)s::bigint[], %(right)s::bigint[]) AS s (left_id, right_id)
        ON s.left_id = j.left_id AND s.right_id = j.right_id
    WHERE j.workspace_id = %(workspace)s AND j.kind = 'PROBABILISTIC' AND j.retracts_id IS NULL
      AND NOT EXISTS (SELECT 1 FROM judgement later WHERE later.retracts_id = j.id)
      AND (%(scope)s::bigint[] IS NULL OR j.left_id = ANY(%(scope)s::bigint[]) OR j.right_id = ANY(%(scope)s::bigint[]))
      AND (j.model_id <> %(model)s OR s.left_id IS NULL)
) TO STDOUT (FORMAT csv)
"""
_JUDGED: Final = pa.schema([(name, pa.int64()) for name in ("id", "left_id", "right_id")])

# A steward may have been quicker.
_RETRACT = """
INSERT INTO judgement (workspace_id, left_id, right_id, verdict, kind, weight, evidence, model_id, run_id, retracts_id,
                       created_at)
SELECT workspace_id, left_id, right_id, verdict, kind, 0, '{}', %(model)s, %(run)s, id, %(now)s
FROM judgement WHERE id = ANY(%(outdated)s::bigint[])
ON CONFLICT (retracts_id) DO NOTHING
"""

# Of arrivals by key: of nearly all nothing was judged yet.
_UNJUDGED = f"""
WITH judged AS (
    SELECT * FROM judgement WHERE id <> ALL(%(outdated)s::bigint[]) AND (
        %(scope)s::bigint[] IS NULL OR left_id = ANY(%(scope)s::bigint[]) OR right_id = ANY(%(scope)s::bigint[])
    )
)
SELECT s.left_id, s.right_id FROM unnest(%(left)s::bigint[], %(right)s::bigint[]) AS s (left_id, right_id)
WHERE NOT {IS_JUDGED.format(judgements="judged")}
"""  # noqa: S608  # our own constant
_JUDGE = """
INSERT INTO judgement (workspace_id, left_id, right_id, verdict, kind, weight, evidence, model_id, run_id, created_at)
SELECT %(workspace)s, left_id, right_id, 'SAME', 'PROBABILISTIC', weight, parts::jsonb, %(model)s, %(run)s, %(now)s
FROM unnest(%(left)s::bigint[], %(right)s::bigint[], %(weight)s::float8[], %(parts)s::text[])
    AS s (left_id, right_id, weight, parts)
"""

# Between the thresholds, or refused by a guard; and no steward has said what they are.
_STILL_OPEN = """
SELECT s.left_id, s.right_id FROM unnest(%(left)s::bigint[], %(right)s::bigint[]) AS s (left_id, right_id)
WHERE NOT EXISTS (
    SELECT 1 FROM judgement j WHERE j.left_id = s.left_id AND j.right_id = s.right_id AND j.retracts_id IS NULL
    AND j.kind = 'STEWARD' AND NOT EXISTS (SELECT 1 FROM judgement later WHERE later.retracts_id = j.id)
)
"""

# What is no question any more is not asked; a pair that a steward has judged stays as a record.
_FORGET_ASKED = """
DELETE FROM review_pair p WHERE p.workspace_id = %(workspace)s AND p.judgement_id IS NULL
AND (%(scope)s::bigint[] IS NULL OR p.left_id = ANY(%(scope)s::bigint[]) OR p.right_id = ANY(%(scope)s::bigint[]))
AND NOT EXISTS (
    SELECT FROM unnest(%(left)s::bigint[], %(right)s::bigint[]) AS q (left_id, right_id)
    WHERE q.left_id = p.left_id AND q.right_id = p.right_id
)
RETURNING left_id, right_id
"""

_QUESTION = """
WITH question AS (
    SELECT * FROM unnest(%(left)s::bigint[], %(right)s::bigint[], %(weight)s::float8[], %(parts)s::text[])
        AS q (left_id, right_id, weight, parts)
)
"""


def _executed(statement: str, given: Mapping[str, Any]) -> list[Pair]:
    with planning.in_bulk(), connection.cursor() as cursor:
        cursor.execute(statement, given)
        rows: list[Pair] = cursor.fetchall()
        return rows


def _written(statement: str, given: Mapping[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, given)


def _ends_of(pairs: pa.Table) -> dict[str, Any]:
    return {"left": bigints(pairs["left_id"].to_pylist()), "right": bigints(pairs["right_id"].to_pylist())}


def _in_parts(pairs: pa.Table) -> Iterator[dict[str, Any]]:
    """With weight and evidence, which are long: so many at once."""
    for start in range(0, pairs.num_rows, PAIRS_AT_ONCE):
        some = pairs.slice(start, PAIRS_AT_ONCE)
        weights, parts = some["weight"].to_pylist(), some["parts"].to_pylist()
        yield {**_ends_of(some), "weight": floats(weights), "parts": texts(parts)}
