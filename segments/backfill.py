"""A version is computed beside the one that serves, slice by slice, and takes its place in one transaction.

Of each profile the answer of the new version is staged. Whoever is evaluated meanwhile is noted in `backfill_touch`, in
the transaction that evaluates him, and the new version looks at him again; likewise at those whose staged answer time
has changed. When few are left their deadlines are written, slice by slice: an early one does no harm to the version that
serves. Then the new one is swapped in: while nobody evaluates, those few are looked at, and what the answers differ by
from the open memberships is written. So the result is what a computation at that instant would give.

Every turn is one transaction: its work, and how far it came. A worker that is killed leaves the turn before as it was,
and the next one goes on from there. What fails is tried again with half of the profiles, and after some times the run
says that it failed: it never hangs.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from django.db import connection

from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models import Run, RunState, User, planning
from consent import gate
from consent.gate import Permit, Segmentation
from segments import membership, ranks, serving
from segments.language.compile import Asked
from segments.models import Backfill, Segment, SegmentVersion
from segments.queries import EVERYBODY, of_profiles

log = structlog.get_logger()

Clock = Callable[[], datetime]

KIND: Final = "segments.publish"
AT_ONCE: Final = 20_000
"""Profiles of a workspace in which a version is computed and swapped before the answer."""
SLICE: Final = 2_000
"""Ids of a first turn. It is doubled and halved until a turn takes about `TURN_SECONDS`."""
SMALLEST_SLICE: Final = 50
LARGEST_SLICE: Final = 50_000
TURN_SECONDS: Final = 0.15
LEFT_FOR_THE_SWAP: Final = 1_000
"""So many may be looked at while everybody else waits."""
DEADLINES_AT_ONCE: Final = 10_000
"""Likewise, of deadlines that are written before."""
MOST_FAILURES: Final = 6
LONGEST_STATEMENT: Final = "60s"
CLEANED: Final = 20_000


def is_large(_: Permit[Segmentation]) -> bool:
    """Whether the workspace has more people than are computed before an answer."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM (SELECT 1 FROM profile LIMIT %s) AS few", [AT_ONCE + 1])
        return bool(cursor.fetchone()[0] > AT_ONCE)


def begin(permit: Permit[Segmentation], *, version: SegmentVersion, author: User | None, now: datetime) -> Run:
    """The version is computed from the commit of this transaction on: whoever is evaluated after it is noted. So is
    whoever comes after it, which is why it is enough to look at the ids that there are.
    """
    with connection.cursor() as cursor:
        cursor.execute(EVERYBODY)
        people, first, last = cursor.fetchone()
    run = Run.objects.create(
        workspace_id=permit.workspace_id, kind=KIND, subject=version.segment.slug, asked_by=author, started_at=now,
        heartbeat_at=now, position=first - 1, counts={"looked_at": 0, "people": people},
        bookmark={"version": version.pk, "last": last, "slice": SLICE, "failures": 0, "is_sliced": False, "waiting_to": 0},
    )  # fmt: skip
    Backfill.objects.create(version=version, workspace_id=permit.workspace_id, segment=version.segment, run=run)
    return run


def cancel(permit: Permit[Segmentation], *, segment: Segment, now: datetime) -> bool:
    """Give up the version that is being computed, if there is one: the one that serves goes on."""
    found = Backfill.objects.filter(workspace_id=permit.workspace_id, segment=segment).first()
    if found is None:
        return False
    run = Run.objects.select_for_update().get(pk=found.run_id)  # waits for a turn that may be the last one
    if run.state == RunState.RUNNING:
        _end(found, RunState.CANCELLED, now, run=run)
    return run.state == RunState.CANCELLED


def work(*, workspace_id: int, clock: Clock, seconds: float) -> int:
    """Turns of the oldest version under way, for so many seconds. Returns how many: 0 when nothing is left to do."""
    until, turns = time.monotonic() + seconds, 0
    while _turn(workspace_id, clock):
        turns += 1
        if time.monotonic() > until:
            break
    return turns


def finish(*, workspace_id: int, clock: Clock) -> None:
    """Work until no version is under way any more, or one fails."""
    while _turn(workspace_id, clock):
        pass


# -- one turn -------------------------------------------------------------------------------------------------------


def _turn(workspace_id: int, clock: Clock) -> bool:
    """False when there is nothing to do, another worker is at it, or it failed: the next sweep comes again."""
    under_way = None
    try:
        with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
            if not _takes_turn(permit):
                return False
            under_way = Backfill.objects.filter(workspace_id=workspace_id).order_by("pk").first()
            if under_way is None:
                return _forgets_old_answers(permit)
            _advance(permit, under_way, clock)
    except Exception as error:
        if under_way is None:
            raise
        _note_failure(under_way, error, clock())
        return False
    return True


_TAKE_TURN = "SELECT pg_try_advisory_xact_lock(hashtext('segments.backfill'), %s)"


def _takes_turn(permit: Permit[Segmentation]) -> bool:
    """One version after the other: many that are asked for at once are many times as long, not as many times as slow."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_TURN, [permit.workspace_id])
        return bool(cursor.fetchone()[0])


def _advance(permit: Permit[Segmentation], under_way: Backfill, clock: Clock) -> None:
    """The next thing to do of this version. Who cancels its run waits for this turn, and the next one finds it."""
    run = Run.objects.select_for_update().get(pk=under_way.run_id)
    if run.state != RunState.RUNNING:
        under_way.delete()
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [LONGEST_STATEMENT])
    if not run.bookmark["is_sliced"]:
        _look_at_slice(permit, under_way, run, clock())
    elif _are_many_left(under_way, clock()):
        _look_again(permit, under_way, run, clock())
    else:
        membership.take_turn(permit, is_alone=True)
        if not (_write_deadlines(permit, under_way, run, clock()) or _are_many_late(permit, clock())):
            _swap(permit, under_way, run, clock)


# By the ends of a range: a view gives no order of its index on, so the first so many ids would be sought among all.
_NEXT = "SELECT id FROM profile WHERE id > %s AND id <= %s"


def _look_at_slice(permit: Permit[Segmentation], under_way: Backfill, run: Run, now: datetime) -> None:
    began, ends = time.monotonic(), run.position + run.bookmark["slice"]
    profiles = _ids(_NEXT, [run.position, ends])
    _stage(permit, under_way.version, profiles, now)
    run.position = ends
    run.counts["looked_at"] += len(profiles)
    run.bookmark["is_sliced"] = ends >= run.bookmark["last"]
    run.bookmark["slice"] = _next_size(run.bookmark["slice"], time.monotonic() - began)
    _save_progress(run, now)


def _next_size(size: int, took: float) -> int:
    if took > 2 * TURN_SECONDS:
        return max(size // 2, SMALLEST_SLICE)
    return min(2 * size, LARGEST_SLICE) if took < TURN_SECONDS / 2 else size


# Those who were touched before their slice was looked at need no second look, but there are few of them.
_TOUCHED = """
DELETE FROM backfill_touch WHERE id = ANY(ARRAY(
    SELECT id FROM backfill_touch WHERE version_id = %s ORDER BY id LIMIT %s
)) RETURNING profile_id
"""
_CHANGED = """
SELECT profile_id FROM staged_answer WHERE version_id = %s AND next_change_at <= %s ORDER BY next_change_at LIMIT %s
"""
_LEFT = """
SELECT count(*) FROM (
    (SELECT 1 FROM backfill_touch WHERE version_id = %(version)s LIMIT %(most)s)
    UNION ALL
    (SELECT 1 FROM staged_answer WHERE version_id = %(version)s AND next_change_at <= %(now)s LIMIT %(most)s)
) AS waiting
"""


def _are_many_left(under_way: Backfill, now: datetime) -> bool:
    given = {"version": under_way.pk, "now": now, "most": LEFT_FOR_THE_SWAP + 1}
    with connection.cursor() as cursor:
        cursor.execute(_LEFT, given)
        return bool(cursor.fetchone()[0] > LEFT_FOR_THE_SWAP)


def _look_again(permit: Permit[Segmentation], under_way: Backfill, run: Run, now: datetime) -> int:
    """At those who were touched, and those whose answer was another one by now. Returns how many."""
    most = run.bookmark["slice"]
    touched = _ids(_TOUCHED, [under_way.pk, most])
    profiles = {*touched, *_ids(_CHANGED, [under_way.pk, now, most])}
    _stage(permit, under_way.version, sorted(profiles), now)
    _save_progress(run, now)
    return len(profiles)


# Nobody evaluates meanwhile: who does writes the same rows, in an order of his own. Of whom is looked at again later, the
# deadline is written at the swap.
_WRITE_DEADLINES = """
WITH slice AS MATERIALIZED (
    SELECT profile_id, next_change_at FROM staged_answer
    WHERE version_id = %(version)s AND next_change_at IS NOT NULL AND profile_id > %(after)s
    ORDER BY profile_id LIMIT %(most)s
),
waiting AS (
    INSERT INTO deadline (profile_id, workspace_id, due_at, segments)
    SELECT profile_id, %(workspace)s, next_change_at, ARRAY[%(segment)s::bigint] FROM slice
    {sooner}
)
SELECT max(profile_id) FROM slice
""".replace("{sooner}", membership.SOONER)


def _write_deadlines(permit: Permit[Segmentation], under_way: Backfill, run: Run, now: datetime) -> bool:
    """The next of them; False when all are. What is written at the swap itself keeps everybody waiting."""
    given = {
        "workspace": permit.workspace_id, "segment": under_way.segment_id, "version": under_way.pk,
        "after": run.bookmark.get("waiting_to", 0), "most": DEADLINES_AT_ONCE,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_WRITE_DEADLINES, given)
        [last] = cursor.fetchone()
    if last is not None:
        run.bookmark["waiting_to"] = last
        _save_progress(run, now)
    return last is not None


def _are_many_late(permit: Permit[Segmentation], now: datetime) -> bool:
    """Catches up with some of them, so that at a midnight too the swap has few left."""
    return membership.catch_up(permit, now, most=LEFT_FOR_THE_SWAP) == LEFT_FOR_THE_SWAP


def _swap(permit: Permit[Segmentation], under_way: Backfill, run: Run, clock: Clock) -> None:
    """The new version serves. Nobody evaluates meanwhile, so nothing is added to what is left."""
    now, version = clock(), under_way.version
    membership.catch_up(permit, now)  # what is due in segments that it refers to touches whom it concerns
    while _look_again(permit, under_way, run, now):
        pass
    counts = membership.replace_by_staged(permit, segment_id=version.segment_id, version_id=version.pk, now=now)
    Segment.objects.filter(pk=version.segment_id).update(live_version=version, computed_at=now, archived_at=None)
    run.counts |= counts
    _end(under_way, RunState.DONE, now, run=run)
    log.info("segment.published", workspace=permit.workspace_id, segment=version.segment_id, version=version.pk)


# -- staged answers -------------------------------------------------------------------------------------------------

# Who is out for ever needs no row: of most rules that is nearly everybody.
_STAGE = """
WITH answer AS MATERIALIZED ({answers}),
telling AS (SELECT * FROM answer WHERE is_in OR next_change_at IS NOT NULL),
gone AS (
    DELETE FROM staged_answer s WHERE s.version_id = %(version)s AND s.profile_id = ANY(%(profiles)s::bigint[])
    AND NOT EXISTS (SELECT 1 FROM telling t WHERE t.profile_id = s.profile_id)
)
INSERT INTO staged_answer (workspace_id, version_id, profile_id, is_in, next_change_at)
SELECT %(workspace)s, %(version)s, profile_id, is_in, next_change_at FROM telling
ON CONFLICT (version_id, profile_id) DO UPDATE SET is_in = excluded.is_in, next_change_at = excluded.next_change_at
"""

_FORGET = """
DELETE FROM staged_answer WHERE (version_id, profile_id) IN (
    SELECT version_id, profile_id FROM staged_answer s
    WHERE workspace_id = %(workspace)s AND NOT EXISTS (SELECT 1 FROM backfill b WHERE b.version_id = s.version_id)
    LIMIT %(most)s
)
"""
_FORGET_TOUCHES = """
DELETE FROM backfill_touch t
WHERE workspace_id = %(workspace)s AND NOT EXISTS (SELECT 1 FROM backfill b WHERE b.version_id = t.version_id)
"""


def _stage(permit: Permit[Segmentation], version: SegmentVersion, profiles: Sequence[int], now: datetime) -> None:
    if not profiles:
        return
    rule = serving.whole_of_version(permit, version)
    query = ranks.compiled_anew(permit, {version.segment_id: rule}, Asked.SOME, now=now)
    about = {"workspace": permit.workspace_id, "version": version.pk, "now": now}
    given: dict[str, Any] = {**of_profiles(profiles), **about}
    with planning.in_bulk(), connection.cursor() as cursor:
        cursor.execute(_STAGE.replace("{answers}", query.sql), {**query.parameters, **given})


def _forgets_old_answers(permit: Permit[Segmentation]) -> bool:
    """Of versions that serve by now or were given up: so many at a time that it disturbs nobody."""
    given = {"workspace": permit.workspace_id, "most": CLEANED}
    with connection.cursor() as cursor:
        cursor.execute(_FORGET_TOUCHES, given)
        cursor.execute(_FORGET, given)
        return bool(cursor.rowcount > 0)


# -- the run --------------------------------------------------------------------------------------------------------


def _save_progress(run: Run, now: datetime) -> None:
    run.bookmark["failures"] = 0
    run.error, run.heartbeat_at = "", now
    run.save(update_fields=["position", "counts", "bookmark", "error", "heartbeat_at"])


def _end(under_way: Backfill, state: RunState, now: datetime, *, run: Run, error: str = "") -> None:
    run.state, run.error, run.heartbeat_at, run.finished_at = state, error, now, now
    run.save(update_fields=["state", "counts", "error", "heartbeat_at", "finished_at"])
    under_way.delete()


def _note_failure(under_way: Backfill, error: Exception, now: datetime) -> None:
    """It is tried again with half of the profiles. After some times the run fails, and says so on its segment."""
    told = error.code if isinstance(error, TesseraError) else type(error).__name__
    log.warning("segment.backfill_failed", version=under_way.pk, error=told)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=under_way.workspace_id):
        run = Run.objects.select_for_update().get(pk=under_way.run_id)
        run.bookmark["failures"] += 1
        run.bookmark["slice"] = max(run.bookmark["slice"] // 2, SMALLEST_SLICE)
        run.error = told
        run.save(update_fields=["bookmark", "error"])
        if run.bookmark["failures"] >= MOST_FAILURES and run.state == RunState.RUNNING:
            _end(under_way, RunState.FAILED, now, run=run, error=told)


def _ids(statement: str, parameters: Sequence[Any]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [found for (found,) in cursor.fetchall()]
