"""Segments over a whole population, beside the SQL that a person would write for each; and batches of touched people.

Both read the same views under the same purpose, so the gate costs them alike. The rules' side answers from the
definition; the hand's side knows each question. Both must find the same members.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from statistics import median
from typing import Any

import psycopg

from bench import harness

PROFILES = 100_000
EVENTS = 1_000_000
BATCH = 1_000
BATCHES = 5
SLUG = "bench-segments"

RULES = {
    "three_orders_in_30_days": 'count of "Order" in last 30 days >= 3',
    "spent_300_in_90_days": 'sum of "amount" of "Order" in last 90 days > 300',
    "viewers_in_france_who_never_bought": 'count of "View" >= 5 and not done "Order" and trait "country" = "FR"',
}

# A hundred conditions, no two alike, each a segment.
CONDITIONS = {
    f"batch-{name.lower()}-{days}-{number}": (name, days, number)
    for name, days, number in product(("Order", "View"), (1, 3, 7, 10, 14, 21, 30, 60, 90, 180), (1, 2, 3, 5, 8))
}
BY_HAND = {
    "three_orders_in_30_days": """
SELECT profile_id FROM event
WHERE name = 'Order' AND occurred_at > %(now)s - interval '720 hours' AND occurred_at <= %(now)s
GROUP BY profile_id HAVING count(*) >= 3 ORDER BY profile_id
""",
    "spent_300_in_90_days": """
SELECT profile_id FROM event
WHERE name = 'Order' AND occurred_at > %(now)s - interval '2160 hours' AND occurred_at <= %(now)s
AND jsonb_typeof(properties -> 'amount') = 'number'
GROUP BY profile_id HAVING sum((properties -> 'amount')::numeric) > 300 ORDER BY profile_id
""",
    "viewers_in_france_who_never_bought": """
SELECT profile_id FROM event WHERE name IN ('View', 'Order') AND occurred_at <= %(now)s
AND profile_id IN (SELECT profile_id FROM trait WHERE name = 'country' AND value = '"FR"')
GROUP BY profile_id HAVING count(*) FILTER (WHERE name = 'View') >= 5 AND count(*) FILTER (WHERE name = 'Order') = 0
ORDER BY profile_id
""",
}

# Everybody permits everything: the masks are written as the triggers would, which is not what is measured here.
PEOPLE = """
INSERT INTO core.identifier (id, workspace_id, type, value, digest, profile_id, permitted)
SELECT n, %(workspace)s, 'user_id', 'u' || n, decode(md5(n::text), 'hex'), n, 127
FROM generate_series(%(first)s::bigint, %(last)s) AS n;
"""
PROFILE_ROWS = """
INSERT INTO core.profile (id, workspace_id, permitted)
SELECT n, %(workspace)s, 127 FROM generate_series(%(first)s::bigint, %(last)s) AS n
"""
TRAITS = """
INSERT INTO core.trait (workspace_id, profile_id, name, value, source_id, identifier_id, observed_at, confidence, rule)
SELECT %(workspace)s, n, 'country', to_jsonb((ARRAY['FR', 'DE', 'BE', 'AU'])[n %% 4 + 1]), %(source)s, n, %(now)s, 1, 'RECENT'
FROM generate_series(%(first)s::bigint, %(last)s) AS n
"""
# A year of events in all shapes of people: the square makes some busy and many quiet.
HAPPENINGS = """
INSERT INTO core.event (workspace_id, source_id, identifier_id, message_id, kind, name, occurred_at, received_at,
                        seen_with, properties, context)
SELECT %(workspace)s, %(source)s, %(first)s + floor(%(people)s * power(random(), 2))::bigint, 'm' || n, 'track', name, at,
       at, '{}', jsonb_build_object('amount', n %% 97), '{}'
FROM generate_series(1, %(events)s) AS n,
     LATERAL (SELECT %(now)s - interval '365 days' * random() AS at,
                     CASE WHEN random() < 0.2 AND n > 0 THEN 'Order' ELSE 'View' END AS name) AS drawn
"""


def run() -> dict[str, Any]:
    from cdp.kernel.purposes import Purpose  # these need the settings that the harness gives
    from cdp.models import Workspace
    from consent import gate
    from segments import queries
    from segments.language import parse_text

    workspace_id = Workspace.objects.create(slug=SLUG, name=SLUG).pk
    _fill(workspace_id)
    trees = {name: parse_text(rule) for name, rule in RULES.items()}
    found: dict[str, Sequence[int]] = {}
    figures: dict[str, Any] = {"profiles": PROFILES, "events": EVENTS}
    baseline: dict[str, Any] = {}
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
        for name, tree in trees.items():
            found[name] = queries.matching(permit, tree, now=harness.NOW).members
            by_hand = _by_hand(BY_HAND[name])
            if found[name] != by_hand:
                raise AssertionError(f"{name}: {len(found[name])} members, by hand {len(by_hand)}")
            figures[f"{name}_members"] = len(by_hand)
            figures[f"{name}_seconds"] = round(
                harness.best_seconds(lambda rule=tree: queries.matching(permit, rule, now=harness.NOW)), 3
            )
            baseline[f"{name}_seconds"] = round(harness.best_seconds(lambda asked=name: _by_hand(BY_HAND[asked])), 3)
    told, by_hand = _batches(workspace_id)
    figures |= told
    baseline |= by_hand
    ours = sum(figures[f"{name}_seconds"] for name in RULES)
    hands = sum(baseline[f"{name}_seconds"] for name in RULES)
    figures["seconds"], baseline["seconds"] = round(ours, 3), round(hands, 3)
    return {"name": "segments", "figures": figures, "baseline": baseline, "ratio": round(ours / hands, 2)}


def _batches(workspace_id: int) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The pipeline's stage as it is, with what it reads to compare: people who were looked at before. By hand: one query
    that counts for each condition, and finds when that could next change.
    """
    from cdp.kernel.purposes import Purpose
    from cdp.models import Cause
    from consent import gate
    from segments import membership

    _serve(workspace_id)
    first = _first_profile(workspace_id)
    seconds: dict[str, list[float]] = {"known": [], "new": [], "by hand": []}
    for batch in range(BATCHES):
        profiles = [first + batch + place * 97 for place in range(BATCH)]
        for kind in ("new", "known"):
            with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit, harness.stopwatch() as watch:
                membership.evaluate(permit, dict.fromkeys(profiles, Cause.EVENT), now=harness.NOW)
            seconds[kind].append(watch.seconds)
        with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id), harness.stopwatch() as watch:
            _counted_by_hand(profiles)
        seconds["by hand"].append(watch.seconds)
    evaluations = BATCH * len(CONDITIONS)
    typical = {kind: median(each) for kind, each in seconds.items()}
    told = {
        "batch_of_1000_profiles_seconds": round(typical["known"], 4),
        "batch_of_1000_new_profiles_seconds": round(typical["new"], 4),
        "evaluations_per_second": round(evaluations / typical["known"]),
        "gib_for_a_million_profiles_in_50_segments": _gib_kept(50 * 1_000_000 / (BATCHES * evaluations)),
    }
    by_hand = {
        "batch_of_1000_profiles_seconds": round(typical["by hand"], 4),
        "evaluations_per_second": round(evaluations / typical["by hand"]),
    }
    return told, by_hand


def _serve(workspace_id: int) -> None:
    """A hundred segments that serve, and of which nothing is computed yet."""
    from cdp.kernel.purposes import Purpose
    from consent import gate
    from segments.language import parse_text, to_json
    from segments.models import Segment, SegmentVersion

    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id):
        for slug, (name, days, number) in CONDITIONS.items():
            rule = to_json(parse_text(f'count of "{name}" in last {days} days >= {number}'))
            segment = Segment.objects.create(workspace_id=workspace_id, slug=slug, name=slug)
            segment.live_version = SegmentVersion.objects.create(
                workspace_id=workspace_id, segment=segment, number=1, definition=rule
            )
            segment.save()


def _gib_kept(scale: float) -> float:
    """What is kept of who is in which segment, since when and until when: tables and indexes, so many times as large."""
    with psycopg.connect(harness.address_of("postgres"), autocommit=True) as admin:
        sizes = admin.execute(
            "SELECT sum(pg_total_relation_size(format('core.%I', name)::regclass))::bigint"
            " FROM unnest(ARRAY['membership', 'deadline', 'membership_change']) AS name"
        )
        return round(sizes.fetchone()[0] * scale / 2**30, 2)  # type: ignore[index]  # an aggregate is one row


def _counted_by_hand(profiles: Sequence[int]) -> None:
    from django.db import connection

    columns = []
    for slug, (name, days, _) in CONDITIONS.items():
        happened = (
            f"name = '{name}' AND occurred_at > %(now)s - interval '{days * 24} hours' AND occurred_at <= %(now)s"
        )
        columns.append(f'count(*) FILTER (WHERE {happened}) AS "{slug}", min(occurred_at) FILTER (WHERE {happened})')
    query = f"SELECT profile_id, {', '.join(columns)} FROM event WHERE identifier_id = ANY(%(ids)s) GROUP BY profile_id"
    with connection.cursor() as cursor:
        cursor.execute(query, {"now": harness.NOW, "ids": list(profiles)})
        cursor.fetchall()


def _fill(workspace_id: int) -> None:
    with psycopg.connect(harness.address_of("postgres"), autocommit=True) as admin:
        fill(admin, workspace_id, people=PROFILES, events=EVENTS)


def fill(admin: psycopg.Connection[Any], workspace_id: int, *, people: int, events: int) -> None:
    """So many people who permit everything, and what they did within a year."""
    admin.execute("SET session_replication_role = replica")
    source = _number(
        admin,
        "INSERT INTO core.source (workspace_id, name, kind, default_region, trust, has_unique_people, is_enabled,"
        " created_at) VALUES (%s, 'shop', 'HTTP', '', 50, false, true, now()) RETURNING id",
        [workspace_id],
    )
    first = _number(admin, "SELECT COALESCE(max(id), 0) + 1 FROM core.identifier", [])
    given = {
        "workspace": workspace_id, "source": source, "first": first, "last": first + people - 1, "people": people,
        "events": events, "now": harness.NOW,
    }  # fmt: skip
    admin.execute(
        "SELECT core.ensure_event_partition(month::date) FROM generate_series(%(now)s - interval '13 months',"
        " %(now)s, interval '1 month') AS month",
        given,
    )
    admin.execute("SELECT setseed(0.5)")
    for statement in (PEOPLE, PROFILE_ROWS, TRAITS, HAPPENINGS):
        admin.execute(statement, given)
    admin.execute("SELECT setval(pg_get_serial_sequence('core.identifier', 'id'), %(last)s)", given)
    admin.execute("VACUUM ANALYZE core.identifier, core.profile, core.trait, core.event")


def _number(admin: psycopg.Connection[Any], statement: str, given: Sequence[object]) -> int:
    row = admin.execute(statement, given).fetchone()
    return int(row[0]) if row else 0


def _by_hand(statement: str) -> list[int]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, {"now": harness.NOW})
        return [profile for (profile,) in cursor.fetchall()]


def _first_profile(workspace_id: int) -> int:
    with psycopg.connect(harness.address_of("postgres"), autocommit=True) as admin:
        return _number(admin, "SELECT min(id) FROM core.profile WHERE workspace_id = %s", [workspace_id])
