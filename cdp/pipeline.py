"""The page to read first: the stages in order, each with its purpose, and how work moves from one to the next.

    ingestion → identity → enrichment → segments → activation

A stage takes a batch of subjects (ids, each with the cause why it is looked at), writes its results, and returns the
subjects for the next stage. It knows no other stage. Here alone the order is known; the outbox is the ledger of what
waits. What a stage has nothing to do with goes past it, unless it waits there already: nobody overtakes himself.

Claim, work, result and hand-over are one transaction under the role of the stage's purpose, so a worker that
is killed leaves everything as it was, and whatever runs twice finds nothing left to do.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from django.db import OperationalError, connection

from activation import services as activation
from cdp.ingestion import services as ingestion
from cdp.kernel.arrays import bigints
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Stage, Workspace
from cdp.models.outbox import hand_over
from consent import gate
from enrichment import services as enrichment
from identity.live import stage as identity
from segments import services as segments

log = structlog.get_logger()

Subjects = Mapping[int, Cause]
NOTHING: Subjects = {}


def nothing_due(*_: object, **__: object) -> Subjects:
    return NOTHING


def never_due(*_: object, **__: object) -> None:
    """No time will come by itself."""


@dataclass(frozen=True)
class Step:
    """`process` works on claimed subjects; `due` names those whose time has come though nothing arrived, and `next_due`
    tells when the next one's will. Subjects with a cause that the stage `passes` are not brought to it at all.
    """

    purpose: Purpose
    process: Callable[..., Subjects]
    batch: int
    due: Callable[..., Subjects] = nothing_due
    next_due: Callable[..., datetime | None] = never_due
    passes: frozenset[Cause] = frozenset()


# An identifier that was only seen again is still whose it was, and there is nothing new to look up about it. Its id, which
# is also that of the profile it founded, goes on to the segments, where it is followed to whom it belongs by then.
NO_NEWS = frozenset({Cause.EVENT})

# Who arrives waits for the batch before his: that of the segments is no larger than makes each profile cheap.
STEPS: Mapping[Stage, Step] = {
    Stage.INGESTION: Step(Purpose.COLLECTION, ingestion.store, batch=400),
    Stage.IDENTITY: Step(Purpose.IDENTITY, identity.link, batch=10_000, passes=NO_NEWS),
    Stage.ENRICHMENT: Step(Purpose.ENRICHMENT, enrichment.enrich, batch=10_000, passes=NO_NEWS),
    Stage.SEGMENTS: Step(
        Purpose.SEGMENTATION, segments.evaluate, batch=5_000, due=segments.due, next_due=segments.next_due
    ),
    Stage.ACTIVATION: Step(Purpose.ADVERTISING, activation.reconcile, batch=5_000),
}
ORDER = tuple(STEPS)
ANOTHER_IS_AT_IT_SECONDS = 0.05


def nobody_waits(_: Stage) -> None:
    """Its worker finds the work by itself."""


def advance(stage: Stage, *, workspace_id: int, now: datetime, wake: Callable[[Stage], None] = nobody_waits) -> int:
    """Work one batch of a stage. Returns how many subjects it had: 0 when nothing waits or another worker is at it.

    Each stage that something was handed to is named to `wake` as soon as it is committed. A batch that fails is halved until
    it works, or one subject fails alone: that is set aside with its error.
    """
    most = STEPS[stage].batch
    while True:
        try:
            worked, heirs = _work(stage, most, workspace_id, now)
        except OperationalError:  # the database went away, or a deadlock: the batch is as it was, come again
            raise
        except Exception as error:
            log.exception("pipeline.batch_failed", stage=stage, workspace=workspace_id, most=most)
            if most == 1:
                return _set_aside(stage, workspace_id, now, error)
            most //= 2
        else:
            for heir in heirs:
                wake(heir)
            return worked


def next_due(stage: Stage, *, workspace_id: int) -> datetime | None:
    """When the stage has something to do though nothing arrives."""
    step = STEPS[stage]
    if step.next_due is never_due:
        return None
    with gate.permit(step.purpose, workspace_id=workspace_id) as permit:
        return step.next_due(permit)


def no_rest(_: float) -> None:
    """The next batch follows at once."""


def run_until_idle(
    stage: Stage,
    *,
    workspace_id: int,
    now: Callable[[], datetime],
    seconds: float = 30,
    wake: Callable[[Stage], None] = nobody_waits,
    rest: Callable[[float], None] = no_rest,
) -> int:
    """Advance a stage until nothing waits, or `seconds` have passed: others want their turn. `rest` after each batch: it is
    told how many seconds that one took.
    """
    began = time.monotonic()
    total, until = 0, began + seconds
    while worked := advance(stage, workspace_id=workspace_id, now=now(), wake=wake):
        total += worked
        rest(time.monotonic() - began)
        began = time.monotonic()
        if began > until:
            break
    return total


def drain(*, workspace_id: int, now: Callable[[], datetime], timeout: float) -> bool:
    """Run every stage, the versions of segments that are computed, and the sending, until nothing is left. False when `timeout` seconds did not do."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        worked = [run_until_idle(stage, workspace_id=workspace_id, now=now) for stage in ORDER]
        computed = segments.compute_versions(workspace_id=workspace_id, clock=now, seconds=until - time.monotonic())
        sent = activation.send_due(workspace_id=workspace_id, now=now())
        if not any(worked) and not computed and not sent:
            if not waiting(workspace_id):
                return True
            time.sleep(ANOTHER_IS_AT_IT_SECONDS)
    return False


_WAITING = """
SELECT stage, sum(COALESCE(cardinality(subjects), 1))::bigint FROM outbox
WHERE workspace_id = %s AND failed_at IS NULL GROUP BY stage ORDER BY stage
"""


def waiting(workspace_id: int) -> Mapping[str, int]:
    """How many subjects wait, by stage; nothing for a stage for which none does."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, [workspace_id])
        return dict(cursor.fetchall())


def totals(workspace_id: int) -> dict[str, int]:
    """How much there is now of what the stages make."""
    with gate.permit(Purpose.ANALYTICS, workspace_id=workspace_id), connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM profile), (SELECT count(*) FROM membership)"
        )
        events, profiles, memberships = cursor.fetchone()
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM judgement")
        (judgements,) = cursor.fetchone()
    return {"events": events, "profiles": profiles, "judgements": judgements, "memberships": memberships}


def open_workspaces() -> list[int]:
    return list(Workspace.objects.filter(closed_at=None).order_by("pk").values_list("pk", flat=True))


# -- one batch ------------------------------------------------------------------------------------------------------

# One worker at a time for each stage of a workspace: what two would do to one person at once need never be asked.
_TAKE_TURN = "SELECT pg_try_advisory_xact_lock(%s, %s)"

_WAITING_IN_ORDER = """(
    SELECT id, cause, COALESCE(subjects, ARRAY[subject_id]) AS subjects FROM outbox
    WHERE stage = %(stage)s AND workspace_id = %(workspace)s AND failed_at IS NULL AND {which}
    ORDER BY id FOR UPDATE SKIP LOCKED
)"""
# The first so many subjects, in a look at two indexes that ends with the last of them: what people said comes before all
# that waits longer, however much that is. Of a pack that exceeds the batch only its beginning is taken: the rest waits on
# in its place, under the same id.
_CLAIM = f"""
WITH taken AS MATERIALIZED (
    SELECT id, cause, unnest(subjects) AS subject FROM (
        SELECT * FROM {_WAITING_IN_ORDER.format(which="cause = 'CONSENT'")} AS said
        UNION ALL SELECT * FROM {_WAITING_IN_ORDER.format(which="cause <> 'CONSENT'")} AS others
    ) AS waiting LIMIT %(most)s
),
last AS (
    SELECT id, count(*)::integer AS number FROM taken
    WHERE id = (SELECT id FROM taken ORDER BY cause = 'CONSENT', id DESC LIMIT 1) GROUP BY id
),
gone AS (
    DELETE FROM outbox WHERE id = ANY(ARRAY(SELECT DISTINCT id FROM taken)) RETURNING *
),
rest AS (
    INSERT INTO outbox (id, workspace_id, stage, subjects, cause, created_at)
    SELECT id, workspace_id, stage, subjects[number + 1 :], cause, created_at
    FROM gone JOIN last USING (id) WHERE number < cardinality(subjects)
)
SELECT cause, array_agg(subject) FROM taken GROUP BY cause
"""  # noqa: S608  # our own words

# Also those that another worker has claimed and not yet finished: until it commits they still wait.
_WAITING_ALREADY = """
SELECT subject FROM (
    SELECT unnest(COALESCE(subjects, ARRAY[subject_id])) AS subject FROM outbox
    WHERE stage = %s AND workspace_id = %s AND failed_at IS NULL
) AS waiting WHERE subject = ANY(%s::bigint[])
"""

_SET_ASIDE = """
INSERT INTO outbox (workspace_id, stage, subject_id, cause, failed_at, error) VALUES (%s, %s, %s, %s, %s, %s)
"""

# When one subject has several causes, the one that tells most about what may have changed.
_WEIGHTIEST = (
    Cause.SPLIT, Cause.MERGE, Cause.CONSENT, Cause.DEFINITION, Cause.LIST, Cause.RANK, Cause.REFERENCE, Cause.DEADLINE,
    Cause.LEARNT, Cause.EVENT,
)  # fmt: skip


def _work(stage: Stage, most: int, workspace_id: int, now: datetime) -> tuple[int, Sequence[Stage]]:
    """How many subjects there were, and the stages that something was handed to."""
    step, began = STEPS[stage], time.monotonic()
    heirs: Sequence[Stage] = ()
    with gate.permit(step.purpose, workspace_id=workspace_id) as permit:
        if not _takes_turn(stage, workspace_id):
            return 0, ()
        subjects = {**step.due(permit, now=now, most=most), **_claim(stage, most, workspace_id)}
        if subjects:
            onward = step.process(permit, subjects, now=now)
            heirs = tuple(_hand_on(stage, workspace_id, onward))
    if subjects:
        seconds = round(time.monotonic() - began, 3)
        log.info("pipeline.advanced", stage=stage, workspace=workspace_id, subjects=len(subjects), seconds=seconds)
    return len(subjects), heirs


def _takes_turn(stage: Stage, workspace_id: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_TURN, [ORDER.index(stage), workspace_id])
        return bool(cursor.fetchone()[0])


def _claim(stage: Stage, most: int, workspace_id: int) -> dict[int, Cause]:
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"stage": stage, "workspace": workspace_id, "most": most})
        taken: list[tuple[str, list[int]]] = cursor.fetchall()
    lightest_first = sorted(taken, key=lambda row: -_WEIGHTIEST.index(row[0]))
    return {subject: Cause(cause) for cause, subjects in lightest_first for subject in subjects}


def _hand_on(stage: Stage, workspace_id: int, subjects: Subjects) -> Iterator[Stage]:
    """Each to the first stage after this one that has something to do with it. Yields those that got something."""
    for after in ORDER[ORDER.index(stage) + 1 :]:
        going = _going_past(after, workspace_id, subjects)
        if staying := {subject: cause for subject, cause in subjects.items() if subject not in going}:
            hand_over(staying, stage=after, workspace_id=workspace_id)
            yield after
        subjects = going


def _going_past(stage: Stage, workspace_id: int, subjects: Subjects) -> Subjects:
    going = {subject: cause for subject, cause in subjects.items() if cause in STEPS[stage].passes}
    if not going:
        return NOTHING
    with connection.cursor() as cursor:
        cursor.execute(_WAITING_ALREADY, [stage, workspace_id, bigints(going)])
        already = {subject for (subject,) in cursor.fetchall()}
    return {subject: cause for subject, cause in going.items() if subject not in already}


def _set_aside(stage: Stage, workspace_id: int, now: datetime, error: Exception) -> int:
    """Only the class of the error is kept: its text may hold personal data."""
    with gate.permit(STEPS[stage].purpose, workspace_id=workspace_id), connection.cursor() as cursor:
        claimed = _claim(stage, 1, workspace_id)
        for subject, cause in claimed.items():
            cursor.execute(_SET_ASIDE, [workspace_id, stage, subject, cause, now, type(error).__name__])
    return len(claimed)
