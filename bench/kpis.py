"""Figures of twenty segments over twelve months, beside the SQL that a person would write for one of them.

Both read the same views under the same purpose. The hand's query knows its question: the conversion of one segment, month by
month. The figure is asked for all segments at once and for everybody, and writes what it finds; the twenty hands are one
hand's time, twenty times. Both must find the same shares.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg

from bench import harness
from bench.segments import EVENTS, HAPPENINGS, PEOPLE, PROFILE_ROWS, PROFILES

SEGMENTS = 20
SLUG = "bench-kpis"
ORDERS = {"kind": "CONVERSION", "event": "Order"}
FIRST = datetime(2025, 2, 1, tzinfo=UTC)  # of twelve months; the last one runs until NOW

SEGMENT_ROWS = """
WITH made AS (
    INSERT INTO core.segment (workspace_id, slug, name, description)
    SELECT %(workspace)s, 'bench-' || n, 'bench', '' FROM generate_series(1, %(segments)s) AS n RETURNING id
), version AS (
    INSERT INTO core.segment_version (workspace_id, segment_id, number, definition)
    SELECT %(workspace)s, id, 1, '{}' FROM made RETURNING id
) SELECT count(*) FROM version
"""
KNOWN_FOR_LONG = "UPDATE core.profile SET created_at = %(now)s - interval '400 days' WHERE workspace_id = %(workspace)s"
# A fifth of all people are in each segment since some day of the year; half of them left it after 60 days.
MEMBERSHIPS = """
INSERT INTO core.membership (workspace_id, segment_id, profile_id, version_id, entered_at, entered_cause, left_at, left_cause)
SELECT %(workspace)s, v.segment_id, p.id, v.id, entered_at, 'EVENT',
       CASE WHEN has_left THEN entered_at + interval '60 days' END, CASE WHEN has_left THEN 'DEADLINE' ELSE '' END
FROM core.segment_version v JOIN core.profile p ON p.workspace_id = v.workspace_id AND (p.id + v.segment_id) %% 5 = 0,
     LATERAL (SELECT %(now)s - interval '1 day' * ((p.id * 7919 + v.segment_id * 104729) %% 349) AS entered_at) AS a,
     LATERAL (SELECT p.id %% 2 = 0 AND entered_at + interval '60 days' < %(now)s AS has_left) AS l
WHERE v.workspace_id = %(workspace)s
"""
BY_HAND = """
WITH month AS (
    SELECT at AS starts, least(at + interval '1 month', %(now)s) AS ends
    FROM generate_series(%(first)s, %(now)s, interval '1 month') AS at
),
member AS (
    SELECT starts, ends, profile_id, entered_at, COALESCE(left_at, 'infinity') AS left_at
    FROM month JOIN membership ON entered_at < ends AND (left_at IS NULL OR left_at > starts)
    WHERE segment_id = %(segment)s
)
SELECT starts, (
    SELECT count(DISTINCT e.profile_id) FROM member m JOIN event e USING (profile_id)
    WHERE m.starts = month.starts AND e.name = 'Order' AND e.occurred_at >= greatest(m.entered_at, month.starts)
    AND e.occurred_at < least(m.left_at, month.ends) AND e.occurred_at >= month.starts AND e.occurred_at < month.ends
)::float / (SELECT count(DISTINCT profile_id) FROM member m WHERE m.starts = month.starts)
FROM month ORDER BY starts
"""


def run() -> dict[str, Any]:
    from cdp.models import Workspace  # these need the settings that the harness gives
    from segments.kpis import editing

    workspace_id = Workspace.objects.create(slug=SLUG, name=SLUG, time_zone="UTC").pk
    given = _fill(workspace_id)
    editing.create_kpi(workspace_id=workspace_id, slug="orders", name="", definition=ORDERS, author=None)
    seconds = _seconds_to_compute(workspace_id)
    with harness.stopwatch() as watch:
        by_hand = _by_hand(given)
    if _computed(given) != by_hand:
        raise AssertionError(f"by hand {by_hand}, computed {_computed(given)}")
    figures: dict[str, Any] = {
        "profiles": PROFILES, "events": EVENTS, "segments": SEGMENTS, "memberships": given["memberships"],
        "months": len(by_hand), "conversion_seconds": seconds, **_ready_made(workspace_id),
    }  # fmt: skip
    hands = round(watch.seconds * SEGMENTS, 3)
    baseline = {"conversion_of_one_segment_seconds": round(watch.seconds, 3), "conversion_seconds": hands}
    return {"name": "kpis", "figures": figures, "baseline": baseline, "ratio": round(seconds / hands, 2)}


def _seconds_to_compute(workspace_id: int) -> float:
    from segments.kpis import computing

    with harness.stopwatch() as watch:
        computing.compute(workspace_id=workspace_id, now=harness.NOW)
    return round(watch.seconds, 3)


def _ready_made(workspace_id: int) -> Mapping[str, float]:
    """Five kinds more over the whole year, and what an hour of running periods costs when all else is known."""
    from datetime import timedelta

    from segments.kpis import computing, editing

    money = {"event": "Order", "amount": "amount"}
    kinds = ({"kind": "SIZE"}, {"kind": "ENTRIES"}, {"kind": "RETENTION"}, {"kind": "AVERAGE", **money}, {"kind": "REVENUE", **money})  # fmt: skip
    for kind in kinds:
        editing.create_kpi(workspace_id=workspace_id, slug=kind["kind"].lower(), name="", definition=kind, author=None)
    five = _seconds_to_compute(workspace_id)
    with harness.stopwatch() as watch:
        computing.compute(workspace_id=workspace_id, now=harness.NOW + timedelta(hours=1))
    return {"five_other_kinds_seconds": five, "an_hour_later_six_kinds_seconds": round(watch.seconds, 3)}


def _computed(given: Mapping[str, Any]) -> list[tuple[datetime, float]]:
    from cdp.models.tenancy import workspace_scope
    from segments.models import KpiValue

    with workspace_scope(given["workspace"]):
        rows = KpiValue.objects.filter(segment=given["segment"], period_start__gte=FIRST).order_by("period_start")
        return list(rows.values_list("period_start", "value"))


def _by_hand(given: Mapping[str, Any]) -> list[tuple[datetime, float]]:
    from django.db import connection

    from cdp.kernel.purposes import Purpose
    from consent import gate

    with (
        gate.permit(Purpose.ANALYTICS, workspace_id=given["workspace"]),
        connection.cursor() as cursor,
    ):
        cursor.execute(BY_HAND, given)
        return list(cursor.fetchall())


def _fill(workspace_id: int) -> dict[str, Any]:
    with psycopg.connect(harness.address_of("postgres"), autocommit=True) as admin:
        admin.execute("SET session_replication_role = replica")
        source = _number(
            admin,
            "INSERT INTO core.source (workspace_id, name, kind, default_region, trust, has_unique_people, is_enabled,"
            " created_at) VALUES (%s, 'shop', 'HTTP', '', 50, false, true, now()) RETURNING id",
            [workspace_id],
        )
        first = _number(admin, "SELECT COALESCE(max(id), 0) + 1 FROM core.identifier", [])
        given = {
            "workspace": workspace_id, "source": source, "first": first, "last": first + PROFILES - 1,
            "people": PROFILES, "events": EVENTS, "now": harness.NOW, "segments": SEGMENTS,
        }  # fmt: skip
        admin.execute(
            "SELECT core.ensure_event_partition(month::date) FROM generate_series(%(now)s - interval '13 months',"
            " %(now)s, interval '1 month') AS month",
            given,
        )
        admin.execute("SELECT setseed(0.5)")
        for statement in (PEOPLE, PROFILE_ROWS, KNOWN_FOR_LONG, HAPPENINGS, SEGMENT_ROWS, MEMBERSHIPS):
            admin.execute(statement, given)
        admin.execute("SELECT setval(pg_get_serial_sequence('core.identifier', 'id'), %(last)s)", given)
        admin.execute("VACUUM ANALYZE core.identifier, core.profile, core.event, core.membership")
        segment = _number(admin, "SELECT min(id) FROM core.segment WHERE workspace_id = %s", [workspace_id])
        memberships = _number(admin, "SELECT count(*) FROM core.membership WHERE workspace_id = %s", [workspace_id])
    return {**given, "segment": segment, "memberships": memberships, "first": FIRST}


def _number(admin: psycopg.Connection[Any], statement: str, given: Any) -> int:  # noqa: ANN401  # psycopg's own
    row = admin.execute(statement, given).fetchone()
    return int(row[0]) if row else 0
