"""Who enters and who leaves, exactly when: transitions and deadlines, written set-based.

A profile is evaluated from the log, never from what was computed before. Two things are remembered: the open
memberships, and for each profile the first deadline at which any of its answers could change though nothing happens,
with the segments that wait for it. When it comes, all are computed as of that instant, those segments are written, and
the next deadline is known. Past deadlines are caught up one by one, before the present is looked at. So a worker that
comes late writes the same history as one that is punctual.

Segments that refer to others are written after them, level by level, as of the same instant. Whoever changes in one is
so looked at again in those that refer to it, and in no others.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, Final

from django.db import connection

from cdp.kernel.arrays import bigints
from cdp.models import Cause, Stage
from cdp.models.outbox import PACK, hand_over
from consent.gate import Permit, Segmentation
from segments import ranks, references, serving
from segments.language import Node
from segments.language.compile import Asked, Query
from segments.looks import Look
from segments.models import Segment
from segments.queries import LiveVersion, live_versions
from segments.references import Order

Subjects = Mapping[int, Cause]
Live = Mapping[int, LiveVersion]
Given = dict[str, Any]
Instants = Mapping[int, datetime]
"""Of profiles."""
Change = tuple[int, int]
"""A segment, and the profile whose membership of it changed."""

DUE_AT_ONCE: Final = 1_000
SLICE: Final = 50_000
"""So many are looked at again at once, when a segment that others refer to is computed anew."""

# Activation looks at these whether or not a membership changed: its identifiers or permissions may have.
ALWAYS_TOLD = frozenset({Cause.CONSENT, Cause.MERGE, Cause.SPLIT})


def evaluate(permit: Permit[Segmentation], subjects: Subjects, *, now: datetime) -> Subjects:
    """Bring the memberships of these profiles up to `now` in all live segments.

    Returns whom activation must look at: whose membership changed, or whose consent or identity did.
    """
    take_turn(permit, is_alone=False)
    subjects = _followed(subjects)
    _touch(permit, subjects)
    are_all_seen = _tell_permissions(subjects, now)
    order = references.order_of(live_versions(permit.workspace_id))
    told = {profile: cause for profile, cause in subjects.items() if cause in ALWAYS_TOLD}
    looks = {profile: Look(now, cause) for profile, cause in subjects.items() if cause is not Cause.DEADLINE}
    late = _overdue(permit, subjects, now)
    changes = _compute(permit, order, {**looks, **late})
    if late:
        changes |= _catch_up_these(permit, order, late, now)
        changes |= _compute(permit, order, {profile: each for profile, each in looks.items() if profile in late})
    changed = {profile for _, profile in changes}
    if not are_all_seen:
        changed |= _end_of_unseen(permit, subjects, now)
    return {**{profile: subjects[profile] for profile in sorted(changed)}, **told}


def due(permit: Permit[Segmentation], *, now: datetime, most: int) -> Subjects:
    """Profiles with a deadline that has come, the oldest deadlines first. Few at a time, however many fall on one midnight:
    who arrives meanwhile waits for one slice of them only.
    """
    most = min(most, DUE_AT_ONCE)
    with connection.cursor() as cursor:
        cursor.execute("SELECT core.refresh_expired_permissions(%s)", [most])
        cursor.execute(_DUE, [permit.workspace_id, now, most])
        return {profile: Cause.DEADLINE for (profile,) in cursor.fetchall()}


def next_due(permit: Permit[Segmentation]) -> datetime | None:
    """The first deadline of all."""
    with connection.cursor() as cursor:
        cursor.execute(_NEXT_DUE, [permit.workspace_id])
        return next((due_at for (due_at,) in cursor.fetchall()), None)


def replace_version(
    permit: Permit[Segmentation], *, segment_id: int, version_id: int, tree: Node, now: datetime
) -> Mapping[str, int]:
    """Make the open memberships and deadlines of a segment those of a new version; tells activation. Counts."""
    slug = _slug_of(segment_id)
    query = ranks.compiled_anew(permit, {segment_id: serving.whole_of(permit, tree, slug)}, Asked.EVERYBODY, now=now)
    catch_up(permit, now)
    return _replace(permit, query, segment_id, version_id, now)


def replace_by_staged(
    permit: Permit[Segmentation], *, segment_id: int, version_id: int, now: datetime
) -> Mapping[str, int]:
    """Likewise, of a version whose answers are staged. They must be those of `now`."""
    catch_up(permit, now)
    return _replace(permit, Query(_STAGED, {"version": str(version_id)}), segment_id, version_id, now)


def end_segment(permit: Permit[Segmentation], *, segment_id: int, now: datetime) -> int:
    """Everybody leaves a segment that serves no longer; tells activation. Returns how many."""
    catch_up(permit, now)
    given: Given = {"workspace": permit.workspace_id, "segment": segment_id, "now": now}
    with connection.cursor() as cursor:
        cursor.execute(_END_SEGMENT, given)
        return int(cursor.fetchone()[0])


_TAKE_TURN = """
SELECT pg_advisory_xact_lock(hashtext('segments'), %(workspace)s),
       pg_advisory_xact_lock(hashtext('membership_change'), %(workspace)s)
"""
_TAKE_TURN_TOGETHER = _TAKE_TURN.replace("lock(", "lock_shared(", 1)


def take_turn(permit: Permit[Segmentation], *, is_alone: bool) -> None:
    """A version is swapped while nobody evaluates: else a profile that changes meanwhile would be in neither's view.

    The turn of the feed of changes is taken here too, and not by the first row that is locked: see migration 0011.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_TURN if is_alone else _TAKE_TURN_TOGETHER, {"workspace": permit.workspace_id})


_TELL_PERMISSIONS = """
SELECT core.tell_permissions(profiles, %s), (SELECT count(*) FROM profile WHERE id = ANY(profiles))
FROM (SELECT %s::bigint[]) AS subjects (profiles)
"""


def _tell_permissions(subjects: Subjects, now: datetime) -> bool:
    """The feed is told who came or went though no segment changed. Returns whether all of them live and permit it."""
    with connection.cursor() as cursor:
        cursor.execute(_TELL_PERMISSIONS, [now, bigints(subjects)])
        _, seen = cursor.fetchone()
    return bool(seen == len(subjects))


_WHOSE = "SELECT id, profile_id FROM identifier WHERE id = ANY(%s::bigint[])"


def _followed(subjects: Subjects) -> Subjects:
    """Profiles by the ids that they have now. An event names the profile that its identifier founded, which may have
    gone into another one since; who cannot be seen is left as he was named.
    """
    named = [profile for profile, cause in subjects.items() if cause is Cause.EVENT]
    with connection.cursor() as cursor:
        cursor.execute(_WHOSE, [bigints(named)])
        whose = dict(cursor.fetchall())
    others = {profile: cause for profile, cause in subjects.items() if cause is not Cause.EVENT}
    return {**{whose.get(profile, profile): Cause.EVENT for profile in named}, **others}


def _slug_of(segment_id: int) -> str:
    return Segment.objects.values_list("slug", flat=True).get(pk=segment_id)


def _replace(
    permit: Permit[Segmentation], answers: Query, segment_id: int, version_id: int, now: datetime
) -> Mapping[str, int]:
    order = references.order_of(live_versions(permit.workspace_id))
    given: Given = {
        "workspace": permit.workspace_id, "segments": [segment_id], "versions": [version_id], "now": now,
        "is_referred_to": segment_id in order.followers, "pack": PACK,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(
            _REPLACE.replace("{answers}", answers.sql).replace("{sooner}", SOONER), {**answers.parameters, **given}
        )
        entered, left, members, changed = cursor.fetchone()
    _cascade(permit, order, segment_id, changed or (), now)
    return {"entered": entered, "left": left, "members": members}


# -- the steps of an evaluation -------------------------------------------------------------------------------------


def _touch(permit: Permit[Segmentation], profiles: Iterable[int]) -> None:
    """Versions that are being computed must look at these again: they may have looked before this became known."""
    with connection.cursor() as cursor:
        cursor.execute(_TOUCH, [bigints(profiles), permit.workspace_id])


def _catch_up_these(permit: Permit[Segmentation], order: Order, profiles: Iterable[int], now: datetime) -> set[Change]:
    """Every deadline up to `now` in its order: a profile goes from one to the next, many profiles at a time."""
    changes: set[Change] = set()
    while overdue := _overdue(permit, profiles, now):
        profiles = overdue
        changes |= _compute(permit, order, overdue)
    return changes


def _overdue(permit: Permit[Segmentation], profiles: Iterable[int], now: datetime) -> Mapping[int, Look]:
    """Takes the deadlines that have come: when they are computed, the next ones are known."""
    with connection.cursor() as cursor:
        cursor.execute(_OVERDUE, {"workspace": permit.workspace_id, "profiles": bigints(profiles), "now": now})
        rows = cursor.fetchall()
    return {profile: Look(due_at, Cause.DEADLINE, frozenset(segments)) for profile, due_at, segments in rows}


def _compute(permit: Permit[Segmentation], order: Order, looks: Mapping[int, Look]) -> set[Change]:
    """Each profile as of its instant. Who waited for it is looked at in the segments that did, and in those that refer to
    what changed; all others in every segment.
    """
    changes: set[Change] = set()
    at = {profile: each.at for profile, each in looks.items() if each.waiting is not None}
    for level in order.levels:
        written = _write(permit, level, looks)
        changes |= written | _follow(permit, order, level, changes, at)
    return changes


def _follow(
    permit: Permit[Segmentation], order: Order, level: Live, changes: Iterable[Change], at: Instants
) -> set[Change]:
    """Who changed in a segment is looked at, as of that instant, in those of this level that refer to it.

    In no others: they may have been computed as of a later instant already. One that refers to it cannot, for before
    anybody is evaluated, what is due is caught up in all that his segments refer to.
    """
    touched: dict[int, set[int]] = defaultdict(set)
    for segment, profile in changes:
        if profile in at:
            for follower in order.followers.get(segment, ()):
                touched[follower].add(profile)
    found: set[Change] = set()
    for follower in touched.keys() & level.keys():
        looks = {profile: Look(at[profile], Cause.REFERENCE) for profile in sorted(touched[follower])}
        found |= _write(permit, {follower: level[follower]}, looks)
    return found


def _cascade(
    permit: Permit[Segmentation], order: Order, segment_id: int, changed: Iterable[int], now: datetime
) -> None:
    """Whoever changed in this segment is looked at in those that refer to it, and in those that refer to these."""
    waiting = iter(changed)
    while profiles := list(islice(waiting, SLICE)):
        _touch(permit, profiles)
        changes = {(segment_id, profile) for profile in profiles}
        for level in order.levels:
            changes |= _follow(permit, order, level, changes, dict.fromkeys(profiles, now))
        _tell(permit, Cause.REFERENCE, {profile for segment, profile in changes if segment != segment_id})


def catch_up(permit: Permit[Segmentation], now: datetime, *, most: int | None = None) -> int:
    """Who left by the old definition did so then, and not because of the new one. Likewise in all other segments: of a
    profile only the first deadline is known, and behind it may be one of this segment. Returns how many were late.
    """
    order = references.order_of(live_versions(permit.workspace_id))
    with connection.cursor() as cursor:
        cursor.execute(_DUE, [permit.workspace_id, now, most])
        overdue = [profile for (profile,) in cursor.fetchall()]
    changes = _catch_up_these(permit, order, overdue, now)
    _tell(permit, Cause.DEADLINE, {profile for _, profile in changes})
    return len(overdue)


def _tell(permit: Permit[Segmentation], cause: Cause, profiles: set[int]) -> None:
    """Activation looks at these; and versions under way, which may refer to what changed."""
    _touch(permit, profiles)
    hand_over(dict.fromkeys(sorted(profiles), cause), stage=Stage.ACTIVATION, workspace_id=permit.workspace_id)


def _write(permit: Permit[Segmentation], live: Live, looks: Mapping[int, Look]) -> set[Change]:
    """Evaluate each profile as of its instant, write what changed, and return which memberships did."""
    from segments import arrays  # noqa: PLC0415  # loads numpy, which only they need who evaluate

    changes: set[Change] = set()
    for news in arrays.news(permit, live, looks):
        with connection.cursor() as cursor:
            cursor.execute(_WRITE, {"workspace": permit.workspace_id, **news})
            changes.update(cursor.fetchall())
    return changes


def _end_of_unseen(permit: Permit[Segmentation], subjects: Subjects, now: datetime) -> set[int]:
    """Who withdrew, or was merged into another profile, leaves everything and waits for nothing."""
    given: Given = {
        "workspace": permit.workspace_id,
        "profiles": list(subjects),
        "causes": [cause if cause in ALWAYS_TOLD else Cause.CONSENT for cause in subjects.values()],
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(_END_OF_UNSEEN, given)
        return {profile for (profile,) in cursor.fetchall()}


# -- SQL ------------------------------------------------------------------------------------------------------------

_NEXT_DUE = "SELECT due_at FROM deadline WHERE workspace_id = %s ORDER BY due_at LIMIT 1"

_DUE = "SELECT profile_id FROM deadline WHERE workspace_id = %s AND due_at <= %s ORDER BY due_at LIMIT %s"

# Deadlines of profiles that are not seen any more are left to _END_OF_UNSEEN. Mostly nothing at all is due, which one look
# at the times tells.
_OVERDUE = """
DELETE FROM deadline d
WHERE EXISTS (SELECT FROM deadline WHERE workspace_id = %(workspace)s AND due_at <= %(now)s)
  AND d.profile_id = ANY(%(profiles)s::bigint[]) AND d.due_at <= %(now)s
  AND d.profile_id IN (SELECT id FROM profile WHERE id = ANY(%(profiles)s::bigint[]))
RETURNING d.profile_id, d.due_at, d.segments
"""

_TOUCH = """
INSERT INTO backfill_touch (workspace_id, version_id, profile_id)
SELECT workspace_id, version_id, profile_id FROM backfill, unnest(%s::bigint[]) AS touched (profile_id)
WHERE workspace_id = %s
"""

# A deadline that is there is only ever written sooner: when it comes, nothing has changed perhaps, and the next one is
# found. Who does something every day is so written down once a window instead of every time.
SOONER = """
ON CONFLICT (profile_id) DO UPDATE SET due_at = excluded.due_at, segments = excluded.segments || CASE
    WHEN deadline.due_at = excluded.due_at THEN deadline.segments ELSE '{}' END
WHERE excluded.due_at < deadline.due_at
   OR excluded.due_at = deadline.due_at AND NOT deadline.segments @> excluded.segments
"""

# `news` is what differs from what is known: mostly that is little. Who has a membership leaves. Its instants are
# microseconds since 2000.
# The conflict clauses say what the turns already ensure: whatever runs twice finds nothing to do.
_WRITE = f"""
WITH news AS MATERIALIZED (
    SELECT n.segment_id, n.profile_id, n.version_id, n.membership_id,
           timestamptz '2000-01-01Z' + n.at * interval '1 microsecond' AS at, n.cause
    FROM unnest(
        %(segments)s::bigint[], %(profiles)s::bigint[], %(versions)s::bigint[], %(memberships)s::bigint[],
        %(at)s::bigint[], %(causes)s::text[]
    ) AS n (segment_id, profile_id, version_id, membership_id, at, cause)
),
waiting AS (
    INSERT INTO deadline (profile_id, workspace_id, due_at, segments)
    SELECT profile_id, %(workspace)s, timestamptz '2000-01-01Z' + min(due) * interval '1 microsecond',
           array_agg(segment_id)
    FROM unnest(%(who_waits)s::bigint[], %(where)s::bigint[], %(due)s::bigint[]) AS w (profile_id, segment_id, due)
    GROUP BY profile_id {SOONER}
),
leaving AS (
    UPDATE membership m SET left_at = greatest(n.at, m.entered_at), left_cause = n.cause
    FROM news n WHERE m.id = n.membership_id RETURNING m.segment_id, m.profile_id
),
coming AS MATERIALIZED (
    SELECT segment_id, profile_id, at, version_id, cause FROM news WHERE membership_id IS NULL
),
-- An undone merge gives back what the merge ended, as if it had not been.
returning_after_split AS (
    UPDATE membership m SET left_at = NULL, left_cause = ''
    FROM coming c CROSS JOIN LATERAL (
        SELECT id, left_cause FROM membership
        WHERE segment_id = c.segment_id AND profile_id = c.profile_id ORDER BY left_at DESC, id DESC LIMIT 1
    ) AS last
    WHERE c.cause = 'SPLIT' AND last.left_cause = 'MERGE' AND m.id = last.id
    RETURNING m.segment_id, m.profile_id
),
entering AS (
    INSERT INTO membership (workspace_id, segment_id, profile_id, version_id, entered_at, entered_cause, left_cause)
    SELECT %(workspace)s, segment_id, profile_id, version_id, at, cause, '' FROM coming c
    WHERE NOT EXISTS (
        SELECT 1 FROM returning_after_split r WHERE (r.segment_id, r.profile_id) = (c.segment_id, c.profile_id)
    )
    ON CONFLICT (segment_id, profile_id) WHERE left_at IS NULL DO NOTHING RETURNING segment_id, profile_id
)
SELECT * FROM leaving UNION ALL SELECT * FROM entering UNION ALL SELECT * FROM returning_after_split
"""  # noqa: S608  # text of our own

# Those who are seen are looked up by their ids: asked the other way round, everybody would be gone through.
_END_OF_UNSEEN = """
WITH seen AS MATERIALIZED (SELECT id FROM profile WHERE id = ANY(%(profiles)s::bigint[])),
unseen AS MATERIALIZED (
    SELECT * FROM unnest(%(profiles)s::bigint[], %(causes)s::text[]) AS subject (profile_id, cause)
    WHERE NOT EXISTS (SELECT FROM seen WHERE seen.id = subject.profile_id)
),
settled AS (
    DELETE FROM deadline d USING unseen u WHERE d.profile_id = u.profile_id AND d.workspace_id = %(workspace)s
)
UPDATE membership m SET left_at = greatest(%(now)s, m.entered_at), left_cause = u.cause
FROM unseen u WHERE m.profile_id = u.profile_id AND m.left_at IS NULL AND m.workspace_id = %(workspace)s
RETURNING m.profile_id
"""

# Who withdrew since is none of those whom the purpose sees: that is asked last of all.
_STAGED = """
SELECT s.profile_id, s.is_in, s.next_change_at FROM staged_answer s JOIN profile p ON p.id = s.profile_id
WHERE s.version_id = %(version)s::bigint
"""

# Nobody else writes meanwhile, so nothing is asked of conflicts: for a hundred thousand that takes as long as the writing.
# In the order of their ids those who enter find their places in the indexes side by side.
_REPLACE = """
WITH answer AS MATERIALIZED ({answers}),
version AS (SELECT unnest(%(segments)s::bigint[]) AS segment_id, unnest(%(versions)s::bigint[]) AS id),
open AS MATERIALIZED (
    SELECT id, profile_id FROM membership WHERE left_at IS NULL AND segment_id = ANY(%(segments)s)
),
leaving AS (
    UPDATE membership m SET left_at = greatest(%(now)s, m.entered_at), left_cause = 'DEFINITION'
    FROM open o WHERE m.id = o.id
    AND NOT EXISTS (SELECT 1 FROM answer a WHERE a.profile_id = o.profile_id AND a.is_in)
    RETURNING m.profile_id
),
entering AS (
    INSERT INTO membership (workspace_id, segment_id, profile_id, version_id, entered_at, entered_cause, left_cause)
    SELECT %(workspace)s, v.segment_id, a.profile_id, v.id, %(now)s, 'DEFINITION', '' FROM answer a CROSS JOIN version v
    WHERE a.is_in AND NOT EXISTS (SELECT 1 FROM open o WHERE o.profile_id = a.profile_id) ORDER BY a.profile_id
    RETURNING profile_id
),
waiting AS (
    INSERT INTO deadline (profile_id, workspace_id, due_at, segments)
    SELECT a.profile_id, %(workspace)s, a.next_change_at, ARRAY[v.segment_id] FROM answer a CROSS JOIN version v
    WHERE a.next_change_at IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM deadline d WHERE d.profile_id = a.profile_id AND d.due_at < a.next_change_at
    )
    {sooner}
),
changed AS (SELECT profile_id FROM leaving UNION ALL SELECT profile_id FROM entering),
told AS (
    INSERT INTO outbox (workspace_id, stage, cause, subjects)
    SELECT %(workspace)s, 'ACTIVATION', 'DEFINITION', array_agg(profile_id)
    FROM (SELECT profile_id, (row_number() OVER () - 1) / %(pack)s AS pack FROM changed) AS packed GROUP BY pack
)
SELECT (SELECT count(*) FROM entering), (SELECT count(*) FROM leaving), (SELECT count(*) FROM answer WHERE is_in),
       CASE WHEN %(is_referred_to)s THEN ARRAY(SELECT profile_id FROM changed) END
"""

_END_SEGMENT = """
WITH leaving AS (
    UPDATE membership SET left_at = greatest(%(now)s, entered_at), left_cause = 'DEFINITION'
    WHERE segment_id = %(segment)s AND left_at IS NULL RETURNING profile_id
),
told AS (
    INSERT INTO outbox (workspace_id, stage, subject_id, cause)
    SELECT %(workspace)s, 'ACTIVATION', profile_id, 'DEFINITION' FROM leaving
)
SELECT count(*) FROM leaving
"""
