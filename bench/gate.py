"""What the gate costs: questions through the views of a purpose, and the same questions to the tables themselves.

Everybody permits, so that both sides find the same rows and the gate can save nothing. Row-level security by workspace
is on both sides. The two take turns at going first, which finds the pages cold, and the median of the rounds counts. GATE_PROFILES and GATE_EVENTS make it smaller.
"""

import os
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from psycopg import sql

from bench import harness

PROFILES = int(os.environ.get("GATE_PROFILES", "1000000"))
EVENTS = int(os.environ.get("GATE_EVENTS", "10000000"))
MOST_RATIO = 1.15
SLOW_ROUNDS = 5
QUICK_ROUNDS = 300
SLUG = "bench-gate"

ASKED = {"now": harness.NOW.replace(month=1, day=1)}
# `event` stands for the view of the purpose, or for the tables that it reads.
QUESTIONS = {
    "aggregate_30_days": """
SELECT count(*) FROM (
    SELECT profile_id FROM {event} AS e WHERE name = 'Order' AND occurred_at > %(now)s - interval '30 days'
    GROUP BY profile_id HAVING count(*) >= 2
) AS found
""",
    "aggregate_90_days": """
SELECT count(*) FROM (
    SELECT profile_id FROM {event} AS e WHERE name = 'Order' AND occurred_at > %(now)s - interval '90 days'
    GROUP BY profile_id HAVING count(*) >= 3
) AS found
""",
    "aggregate_all_time": """
SELECT count(*) FROM (SELECT profile_id FROM {event} AS e GROUP BY profile_id HAVING count(*) >= 10) AS found
""",
    "traits_of_profiles": """
SELECT count(*) FROM {profile} AS p JOIN {trait} AS t ON t.profile_id = p.id
WHERE t.name = 'country' AND t.value = '"FR"'
""",
    "events_of_1000_profiles": """
SELECT count(*), max(occurred_at) FROM {event} AS e WHERE profile_id = ANY(%(people)s)
""",
    "events_of_one_profile": "SELECT count(*), max(occurred_at) FROM {event} AS e WHERE profile_id = %(person)s",
    "one_profile": "SELECT count(*), max(created_at) FROM {profile} AS p WHERE id = %(person)s",
}
# A segment over everybody, as the compiler writes it: see `_segment`.
SEGMENT = 'trait "country" = "FR"'
# Both views ask the profile, and the question joins them: it is asked twice for what the segments need once. No segment,
# nor anything else of Tessera, asks so; it is measured to know what it would cost.
WITHOUT_A_BOUND = ("traits_of_profiles_ratio",)
SLOW = ("aggregate_30_days", "aggregate_90_days", "aggregate_all_time", "segment_scan", "traits_of_profiles")

GATED = {"event": "event", "profile": "profile", "trait": "trait"}
UNGATED = {
    "event": "(SELECT e.*, i.profile_id FROM core.event e JOIN core.identifier i ON i.id = e.identifier_id)",
    "profile": "(SELECT * FROM core.profile WHERE merged_into_id IS NULL)",
    "trait": "core.trait",
}

PEOPLE = """
INSERT INTO core.identifier (id, workspace_id, type, value, digest, profile_id, permitted)
SELECT n, %(workspace)s, 'user_id', 'u' || n, decode(md5(n::text), 'hex'), n, 127 FROM generate_series(1, %(people)s) AS n
"""
PROFILE_ROWS = """
INSERT INTO core.profile (id, workspace_id, permitted) SELECT n, %(workspace)s, 127 FROM generate_series(1, %(people)s) AS n
"""
TRAITS = """
INSERT INTO core.trait (workspace_id, profile_id, name, value, source_id, identifier_id, observed_at, confidence, rule)
SELECT %(workspace)s, n, 'country', to_jsonb((ARRAY['FR', 'DE', 'BE', 'AU'])[n %% 4 + 1]), 1, n, %(now)s, 1, 'RECENT'
FROM generate_series(1, %(people)s) AS n
"""
# One month, in the order of time as events come. The square makes some people busy and many quiet.
HAPPENINGS = """
INSERT INTO core.event (workspace_id, source_id, identifier_id, message_id, kind, name, occurred_at, received_at, seen_with,
                        properties, context)
SELECT %(workspace)s, 1, 1 + floor(%(people)s * power(random(), 2))::bigint, 'm' || n, 'track',
       CASE WHEN random() < 0.2 THEN 'Order' ELSE 'View' END, at, at, '{}', '{"amount": 19.9}', '{}'
FROM generate_series(1, %(events)s) AS n,
     LATERAL (SELECT %(first)s + n * (interval '28 days' / %(events)s::double precision) AS at) AS came
"""
MONTHS = 12
YEAR = harness.NOW.year - 1  # all of it lies in the past

Ask = Callable[[str, Mapping[str, Any]], object]


def run() -> dict[str, Any]:
    from cdp.kernel.purposes import Purpose  # these need the settings that the harness gives
    from cdp.models import Workspace
    from consent import gate

    workspace_id = Workspace.objects.create(slug=SLUG, name=SLUG).pk
    with harness.stopwatch() as filling:
        _fill(workspace_id)
    with (
        gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id),
        psycopg.connect(harness.address_of("owner"), prepare_threshold=None) as bare,
    ):
        bare.execute("SELECT set_config('tessera.workspace', %s, false)", [str(workspace_id)])
        segment, values = _segment()
        measured = {
            name: _measure(name, question, values, _gated(), _ungated(bare))
            for name, question in {**QUESTIONS, "segment_scan": segment}.items()
        }
    figures = {f"{name}_ms": ours for name, (ours, _) in measured.items()}
    baseline = {f"{name}_ms": bare for name, (_, bare) in measured.items()}
    ratios = {f"{name}_ratio": round(ours / bare, 2) for name, (ours, bare) in measured.items()}
    return {
        "name": "gate",
        "what": f"{PROFILES} profiles, {EVENTS} events; baseline: the tables, without the gate; at most {MOST_RATIO}",
        "figures": figures | ratios | {"filling_seconds": round(filling.seconds)},
        "baseline": baseline,
        "ratio": max(ratio for name, ratio in ratios.items() if name not in WITHOUT_A_BOUND),
    }


def _segment() -> tuple[str, Mapping[str, str]]:
    """How many are in the segment, and the values that the question travels with."""
    from segments.language import parse_text  # these need the settings that the harness gives
    from segments.language.compile import Asked, compile_rules

    query = compile_rules({1: parse_text(SEGMENT)}, Asked.EVERYBODY)
    answers = query.sql.replace("profile AS p", "{profile} AS p").replace("trait AS t", "{trait} AS t")
    return f"SELECT count(*) FROM ({answers}) AS answers WHERE is_in", query.parameters  # values travel beside it


def _measure(name: str, question: str, values: Mapping[str, str], gated: Ask, ungated: Ask) -> tuple[float, float]:
    """Milliseconds of both sides, each the median of its rounds. Both must find the same."""
    ours: list[float] = []
    bare: list[float] = []
    for number in range(SLOW_ROUNDS if name in SLOW else QUICK_ROUNDS if "one" in name else QUICK_ROUNDS // 10):
        asked = {**ASKED, **values, "person": 1 + number * 7919 % PROFILES, "people": _thousand(number)}
        turns = [(gated, GATED, ours), (ungated, UNGATED, bare)]
        found = [
            _timed(ask, question.format(**tables), asked, spent) for ask, tables, spent in turns[:: (-1) ** number]
        ]
        if found[0] != found[1]:
            raise AssertionError(f"{name}: {found} through the gate and without, or the other way round")
    return tuple(round(1000 * statistics.median(each[1:]), 3) for each in (ours, bare))  # type: ignore[return-value]  # two


def _timed(ask: Ask, question: str, asked: Mapping[str, Any], spent: list[float]) -> object:
    started = time.perf_counter()
    found = ask(question, asked)
    spent.append(time.perf_counter() - started)
    return found


def _thousand(number: int) -> list[int]:
    return [1 + (number * 131 + place * 97) % PROFILES for place in range(1000)]


def _gated() -> Ask:
    """On the connection of the gate, without Django's wrappers, which the other side has not either."""
    from django.db import connection

    inner: Any = connection.connection
    return lambda question, asked: inner.cursor().execute(question, asked).fetchone()


def _ungated(bare: psycopg.Connection[Any]) -> Ask:
    return lambda question, asked: bare.execute(question, asked).fetchone()  # type: ignore[arg-type]  # written above


# -- the people and what they did -------------------------------------------------------------------------------------


def _fill(workspace_id: int) -> None:
    """Two months at a time, without indexes meanwhile: they are built over what lies there, which is much quicker."""
    given = {"workspace": workspace_id, "people": PROFILES, "now": harness.NOW}
    with _superuser() as admin:
        indexes = _without_indexes(admin)
        for month in range(1, MONTHS + 1):
            admin.execute("SELECT core.ensure_event_partition(make_date(%s, %s, 1))", [YEAR, month])
        for statement in (PEOPLE, PROFILE_ROWS, TRAITS):
            admin.execute(statement, given)
    lanes = [threading.Thread(target=_fill_months, args=(range(lane, MONTHS + 1, 2), given)) for lane in (1, 2)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    with _superuser() as admin:
        admin.execute("SET maintenance_work_mem = '512MB'")
        for index in indexes:
            admin.execute(index)
        admin.execute("VACUUM ANALYZE core.identifier, core.profile, core.trait, core.event")


def _fill_months(months: range, given: Mapping[str, Any]) -> None:
    with _superuser() as admin:
        for month in months:
            first = harness.NOW.replace(YEAR, month, 1)
            admin.execute("SELECT setseed(%s)", [month / MONTHS])
            admin.execute(HAPPENINGS, {**given, "first": first, "events": EVENTS // MONTHS})


def _without_indexes(admin: psycopg.Connection[Any]) -> list[Any]:
    found = admin.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'core' AND tablename = 'event'"
        " AND indexname IN ('event_by_identifier', 'event_by_name')"
    ).fetchall()
    for name, _ in found:
        admin.execute(sql.SQL("DROP INDEX core.{}").format(sql.Identifier(name)))
    return [definition.replace(" ON ONLY ", " ON ") for _, definition in found]


def _superuser() -> psycopg.Connection[Any]:
    admin = psycopg.connect(harness.address_of("postgres"), autocommit=True)
    admin.execute("SET session_replication_role = replica")
    admin.execute("SET synchronous_commit = off")
    return admin
