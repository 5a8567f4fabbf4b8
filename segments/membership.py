"""Who enters and who leaves, exactly when: transitions and deadlines, written set-based.

A profile is evaluated from the log, never from what was computed before. Two things are remembered: the open
memberships, and for each profile and segment the deadline at which its answer could next change though nothing
happens. Past deadlines are caught up one by one, each as of its own instant, before the present is looked at. So a
worker that comes late writes the same history as one that is punctual.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import connection

from cdp.kernel.arrays import bigints
from cdp.models import Cause
from consent.gate import Permit, Segmentation
from segments.language import Node, parse_json
from segments.language.compile import Asked, Query, chunks_of, compile_rules
from segments.queries import LiveVersion, live_versions, of_profiles

Subjects = Mapping[int, Cause]
Live = Mapping[int, LiveVersion]
Given = dict[str, Any]

# Activation looks at these whether or not a membership changed: its identifiers or permissions may have.
ALWAYS_TOLD = frozenset({Cause.CONSENT, Cause.MERGE, Cause.SPLIT})


def evaluate(permit: Permit[Segmentation], subjects: Subjects, *, now: datetime) -> Subjects:
    """Bring the memberships of these profiles up to `now` in all live segments.

    Returns whom activation must look at: whose membership changed, or whose consent or identity did.
    """
    take_turn(permit, is_alone=False)
    subjects = _followed(subjects)
    with connection.cursor() as cursor:
        cursor.execute(_TELL_PERMISSIONS, [list(subjects), now])
    live = live_versions(permit.workspace_id)
    told = {profile: cause for profile, cause in subjects.items() if cause in ALWAYS_TOLD}
    changed = _catch_up(permit, live, list(subjects), now)
    for cause, profiles in _by_cause(subjects).items():
        if cause is not Cause.DEADLINE:
            changed |= _write(permit, live, Asked.SOME, profiles, cause, now=now)
    changed |= _end_of_unseen(permit, subjects, now)
    return {**{profile: subjects[profile] for profile in sorted(changed)}, **told}


def due(permit: Permit[Segmentation], *, now: datetime, most: int) -> Subjects:
    """Profiles with a deadline that has come, the oldest deadlines first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT core.refresh_expired_permissions(%s)", [most])
        cursor.execute(_DUE, [permit.workspace_id, now, most])
        return {profile: Cause.DEADLINE for (profile,) in cursor.fetchall()}


def replace_version(
    permit: Permit[Segmentation], *, segment_id: int, version_id: int, tree: Node, now: datetime
) -> Mapping[str, int]:
    """Make the open memberships and deadlines of a segment those of a new version; tells activation. Counts."""
    _catch_up_segment(permit, segment_id, now)
    query = compile_rules({segment_id: tree}, Asked.EVERYBODY)
    given: Given = {"workspace": permit.workspace_id, "segments": [segment_id], "versions": [version_id], "now": now}
    with connection.cursor() as cursor:
        cursor.execute(_REPLACE.replace("{answers}", query.sql), {**query.parameters, **given})
        entered, left, members = cursor.fetchone()
    return {"entered": entered, "left": left, "members": members}


def end_segment(permit: Permit[Segmentation], *, segment_id: int, now: datetime) -> int:
    """Everybody leaves a segment that serves no longer; tells activation. Returns how many."""
    _catch_up_segment(permit, segment_id, now)
    given: Given = {"workspace": permit.workspace_id, "segment": segment_id, "now": now}
    with connection.cursor() as cursor:
        cursor.execute(_END_SEGMENT, given)
        return int(cursor.fetchone()[0])


_TAKE_TURN = "SELECT pg_advisory_xact_lock(hashtext('segments'), %s)"
_TAKE_TURN_TOGETHER = "SELECT pg_advisory_xact_lock_shared(hashtext('segments'), %s)"
_TAKE_TURN_OF_FEED = "SELECT pg_advisory_xact_lock(hashtext('membership_change'), %s)"
_TELL_PERMISSIONS = "SELECT core.tell_permissions(%s, %s)"


def take_turn(permit: Permit[Segmentation], *, is_alone: bool) -> None:
    """A version is swapped while nobody evaluates: else a profile that changes meanwhile would be in neither's view.

    The turn of the feed of changes is taken here too, and not by the first row that is locked: see migration 0011.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_TURN if is_alone else _TAKE_TURN_TOGETHER, [permit.workspace_id])
        cursor.execute(_TAKE_TURN_OF_FEED, [permit.workspace_id])


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


# -- the steps of an evaluation -------------------------------------------------------------------------------------


def _catch_up(permit: Permit[Segmentation], live: Live, profiles: list[int], now: datetime) -> set[int]:
    """Every deadline up to `now` in its order: a profile goes from one to the next, many profiles at a time."""
    changed: set[int] = set()
    while overdue := _overdue(list(live), profiles, now):
        profiles, instants = list(overdue), list(overdue.values())
        changed |= _write(permit, live, Asked.EACH_AT_ITS_INSTANT, profiles, Cause.DEADLINE, instants=instants)
    return changed


def _catch_up_segment(permit: Permit[Segmentation], segment_id: int, now: datetime) -> None:
    """Who left by the old definition did so then, and not because of the new one."""
    live = {key: version for key, version in live_versions(permit.workspace_id).items() if key == segment_id}
    with connection.cursor() as cursor:
        cursor.execute(_WAITING_FOR, [segment_id, now])
        overdue = [profile for (profile,) in cursor.fetchall()]
    changed = _catch_up(permit, live, overdue, now)
    with connection.cursor() as cursor:
        cursor.execute(_TELL, [permit.workspace_id, Cause.DEADLINE, sorted(changed)])


def _overdue(segments: list[int], profiles: list[int], now: datetime) -> Mapping[int, datetime]:
    with connection.cursor() as cursor:
        cursor.execute(_OVERDUE, [segments, bigints(profiles), now])
        return dict(cursor.fetchall())


def _by_cause(subjects: Subjects) -> Mapping[Cause, list[int]]:
    profiles: dict[Cause, list[int]] = defaultdict(list)
    for profile, cause in subjects.items():
        profiles[cause].append(profile)
    return profiles


def _write(
    permit: Permit[Segmentation], live: Live, asked: Asked, profiles: list[int], cause: Cause, **moments: object
) -> set[int]:
    """Evaluate each profile as of its moment, write what changed, and return whose memberships did."""
    changed: set[int] = set()
    given: Given = {"workspace": permit.workspace_id, **of_profiles(profiles), "cause": cause, **moments}
    for segments, query in _compiled(tuple((key, version.definition) for key, version in live.items()), asked):
        versions = {"segments": list(segments), "versions": [live[segment].id for segment in segments]}
        with connection.cursor() as cursor:
            cursor.execute(_WRITE.replace("{answers}", query.sql), {**query.parameters, **given, **versions})
            changed |= {profile for (profile,) in cursor.fetchall()}
    return changed


@lru_cache(maxsize=256)
def _compiled(definitions: tuple[tuple[int, str], ...], asked: Asked) -> Sequence[tuple[Sequence[int], Query]]:
    """Queries that evaluate these segments. Kept, as a batch comes every moment and definitions seldom change."""
    rules = {segment: parse_json(definition) for segment, definition in definitions}
    return [(list(chunk), compile_rules(chunk, asked)) for chunk in chunks_of(rules)]


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

_DUE = """
SELECT profile_id FROM (
    SELECT d.profile_id, d.due_at FROM deadline d JOIN segment s ON s.id = d.segment_id
    WHERE d.workspace_id = %s AND d.due_at <= %s AND s.archived_at IS NULL AND s.live_version_id IS NOT NULL
    ORDER BY d.due_at LIMIT %s
) AS waiting GROUP BY profile_id ORDER BY min(due_at)
"""

# Deadlines of profiles that are not seen any more are left to _END_OF_UNSEEN: nothing would ever move them on. Found
# before it is asked who is seen: else the long array may be gone through again for each profile.
_OVERDUE = """
WITH overdue AS MATERIALIZED (
    SELECT profile_id, min(due_at) AS due_at FROM deadline
    WHERE segment_id = ANY(%s) AND profile_id = ANY(%s::bigint[]) AND due_at <= %s GROUP BY profile_id
)
SELECT o.profile_id, o.due_at FROM overdue o JOIN profile p ON p.id = o.profile_id
"""

_WAITING_FOR = "SELECT profile_id FROM deadline WHERE segment_id = %s AND due_at <= %s"

_TELL = """
INSERT INTO outbox (workspace_id, stage, subject_id, cause)
SELECT %s, 'ACTIVATION', subject, %s FROM unnest(%s::bigint[]) AS changed (subject)
"""

# `news` is what differs from what is known; mostly that is little, and everything after it costs little.
# A deadline that would move into the future stays: when it comes, nothing has changed, and it is set anew. Who does
# something every day is so written down once a window instead of every time. Never is one left that would be late.
# Of a profile whose deadline came, only the segments that waited for it are written: another one may have been
# computed as of a later instant already.
# The conflict clauses say what the turns already ensure: whatever runs twice finds nothing to do.
_WRITE = """
WITH open AS MATERIALIZED (
    SELECT id, segment_id, profile_id FROM membership
    WHERE left_at IS NULL AND profile_id = ANY(%(profiles)s::bigint[]) AND segment_id = ANY(%(segments)s)
),
awaited AS MATERIALIZED (
    SELECT segment_id, profile_id, due_at FROM deadline
    WHERE profile_id = ANY(%(profiles)s::bigint[]) AND segment_id = ANY(%(segments)s)
),
news AS MATERIALIZED (
    SELECT f.rule AS segment_id, f.profile_id, f.at, f.is_in, f.next_change_at, o.id AS membership_id, w.due_at
    FROM ({answers}) AS f
    LEFT JOIN open o ON (o.segment_id, o.profile_id) = (f.rule, f.profile_id)
    LEFT JOIN awaited w ON (w.segment_id, w.profile_id) = (f.rule, f.profile_id)
    WHERE (%(cause)s <> 'DEADLINE' OR w.due_at <= f.at) AND (
        f.is_in <> (o.id IS NOT NULL)
        OR (f.next_change_at IS NULL) <> (w.due_at IS NULL) OR f.next_change_at < w.due_at OR w.due_at <= f.at
    )
),
leaving AS (
    UPDATE membership m SET left_at = greatest(n.at, m.entered_at), left_cause = %(cause)s
    FROM news n WHERE m.id = n.membership_id AND NOT n.is_in RETURNING m.profile_id
),
version AS (SELECT unnest(%(segments)s::bigint[]) AS segment_id, unnest(%(versions)s::bigint[]) AS id),
coming AS MATERIALIZED (
    SELECT n.segment_id, n.profile_id, n.at, v.id AS version_id
    FROM news n JOIN version v ON v.segment_id = n.segment_id WHERE n.is_in AND n.membership_id IS NULL
),
-- An undone merge gives back what the merge ended, as if it had not been.
returning_after_split AS (
    UPDATE membership m SET left_at = NULL, left_cause = ''
    FROM coming c CROSS JOIN LATERAL (
        SELECT id, left_cause FROM membership
        WHERE segment_id = c.segment_id AND profile_id = c.profile_id ORDER BY left_at DESC, id DESC LIMIT 1
    ) AS last
    WHERE %(cause)s = 'SPLIT' AND last.left_cause = 'MERGE' AND m.id = last.id
    RETURNING m.segment_id, m.profile_id
),
entering AS (
    INSERT INTO membership (workspace_id, segment_id, profile_id, version_id, entered_at, entered_cause, left_cause)
    SELECT %(workspace)s, segment_id, profile_id, version_id, at, %(cause)s, '' FROM coming c
    WHERE NOT EXISTS (
        SELECT 1 FROM returning_after_split r WHERE (r.segment_id, r.profile_id) = (c.segment_id, c.profile_id)
    )
    ON CONFLICT (segment_id, profile_id) WHERE left_at IS NULL DO NOTHING RETURNING profile_id
),
waiting AS (
    INSERT INTO deadline (segment_id, profile_id, workspace_id, due_at)
    SELECT segment_id, profile_id, %(workspace)s, next_change_at FROM news
    WHERE next_change_at < COALESCE(due_at, 'infinity') OR due_at <= at AND next_change_at IS NOT NULL
    ON CONFLICT (segment_id, profile_id) DO UPDATE SET due_at = excluded.due_at
),
settled AS (
    DELETE FROM deadline d USING news n
    WHERE (d.segment_id, d.profile_id) = (n.segment_id, n.profile_id) AND n.next_change_at IS NULL
)
SELECT profile_id FROM leaving UNION SELECT profile_id FROM entering
UNION SELECT profile_id FROM returning_after_split
"""

_END_OF_UNSEEN = """
WITH unseen AS MATERIALIZED (
    SELECT * FROM (
        SELECT unnest(%(profiles)s::bigint[]) AS profile_id, unnest(%(causes)s::text[]) AS cause
    ) AS subject
    WHERE NOT EXISTS (SELECT 1 FROM profile p WHERE p.id = subject.profile_id)
),
settled AS (
    DELETE FROM deadline d USING unseen u WHERE d.profile_id = u.profile_id AND d.workspace_id = %(workspace)s
)
UPDATE membership m SET left_at = greatest(%(now)s, m.entered_at), left_cause = u.cause
FROM unseen u WHERE m.profile_id = u.profile_id AND m.left_at IS NULL AND m.workspace_id = %(workspace)s
RETURNING m.profile_id
"""

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
    WHERE a.is_in AND NOT EXISTS (SELECT 1 FROM open o WHERE o.profile_id = a.profile_id)
    ON CONFLICT (segment_id, profile_id) WHERE left_at IS NULL DO NOTHING RETURNING profile_id
),
settled AS (
    DELETE FROM deadline d WHERE d.segment_id = ANY(%(segments)s)
    AND NOT EXISTS (SELECT 1 FROM answer a WHERE a.profile_id = d.profile_id AND a.next_change_at IS NOT NULL)
),
waiting AS (
    INSERT INTO deadline (segment_id, profile_id, workspace_id, due_at)
    SELECT v.segment_id, a.profile_id, %(workspace)s, a.next_change_at FROM answer a CROSS JOIN version v
    WHERE a.next_change_at IS NOT NULL
    ON CONFLICT (segment_id, profile_id) DO UPDATE SET due_at = excluded.due_at
    WHERE deadline.due_at <> excluded.due_at
),
told AS (
    INSERT INTO outbox (workspace_id, stage, subject_id, cause)
    SELECT %(workspace)s, 'ACTIVATION', profile_id, 'DEFINITION'
    FROM (SELECT profile_id FROM leaving UNION SELECT profile_id FROM entering) AS changed
)
SELECT (SELECT count(*) FROM entering), (SELECT count(*) FROM leaving), (SELECT count(*) FROM answer WHERE is_in)
"""

_END_SEGMENT = """
WITH settled AS (DELETE FROM deadline WHERE segment_id = %(segment)s),
leaving AS (
    UPDATE membership SET left_at = greatest(%(now)s, entered_at), left_cause = 'DEFINITION'
    WHERE segment_id = %(segment)s AND left_at IS NULL RETURNING profile_id
),
told AS (
    INSERT INTO outbox (workspace_id, stage, subject_id, cause)
    SELECT %(workspace)s, 'ACTIVATION', profile_id, 'DEFINITION' FROM leaving
)
SELECT count(*) FROM leaving
"""
