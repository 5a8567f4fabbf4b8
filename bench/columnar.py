"""The five questions of every comparison of databases for segments, over a year of events: rules of ours on DuckDB, beside
the SQL that a person would write for the same Parquet files; and, beside both, ClickHouse and Postgres by our rules.

What people are is exported once for all, as it is for every run; its time is told apart. All must find the same members.
BENCH_EVENTS tells another number of events than a million; there are twenty for each person.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg

from bench import harness
from bench.segments import _number

if TYPE_CHECKING:
    from consent.gate import Permit, Segmentation
    from segments.language import Node

EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
PROFILES = EVENTS // 20
SLUG = "bench-columnar"
TIMES = 3

RULES = {
    "three_purchases_in_30_days": 'count of "purchase" in last 30 days >= 3',
    "spent_300_in_90_days": 'sum of "amount" of "purchase" in last 90 days > 300',
    "viewers_who_never_bought": 'count of "product_view" >= 5 and not done "purchase"',
    "cart_and_no_purchase_within_a_day": "",
    "top_tenth_by_spending_in_a_year": "",
}

# Whose an event is by now, and what its time and amount are: as little as the files allow.
_WHOSE = "event JOIN who USING (identifier_id)"
_AMOUNT = "CAST(properties ->> '$.amount' AS DECIMAL(18, 2))"
BY_HAND = {
    "three_purchases_in_30_days": f"""
SELECT profile_id FROM {_WHOSE} WHERE name = 'purchase' AND micros > $now - 30 * $day AND micros <= $now
GROUP BY profile_id HAVING count(*) >= 3
""",
    "spent_300_in_90_days": f"""
SELECT profile_id FROM {_WHOSE} WHERE name = 'purchase' AND micros > $now - 90 * $day AND micros <= $now
GROUP BY profile_id HAVING sum({_AMOUNT}) > 300
""",
    "viewers_who_never_bought": f"""
SELECT profile_id FROM {_WHOSE} WHERE name IN ('product_view', 'purchase') AND micros <= $now
GROUP BY profile_id
HAVING count(*) FILTER (WHERE name = 'product_view') >= 5 AND count(*) FILTER (WHERE name = 'purchase') = 0
""",
    "cart_and_no_purchase_within_a_day": f"""
WITH carts AS (
    SELECT profile_id, micros FROM {_WHOSE} WHERE name = 'add_to_cart' AND micros > $now - 30 * $day AND micros <= $now
),
purchases AS (
    SELECT profile_id, micros FROM {_WHOSE} WHERE name = 'purchase' AND micros > $now - 30 * $day AND micros <= $now
)
SELECT DISTINCT profile_id FROM carts c WHERE micros + $day <= $now AND NOT EXISTS (
    SELECT 1 FROM purchases p
    WHERE p.profile_id = c.profile_id AND p.micros > c.micros AND p.micros < c.micros + $day
)
""",
    "top_tenth_by_spending_in_a_year": f"""
SELECT profile_id FROM {_WHOSE} WHERE name = 'purchase' AND micros > $now - 365 * $day AND micros <= $now
GROUP BY profile_id HAVING sum({_AMOUNT}) >= $last
""",
}

_PEOPLE = """
INSERT INTO core.identifier (id, workspace_id, type, value, digest, profile_id, permitted)
SELECT n, %(workspace)s, 'user_id', 'c' || n, decode(md5('c' || n::text), 'hex'), n, 127
FROM generate_series(%(first)s::bigint, %(last)s) AS n
"""
_PROFILES = """
INSERT INTO core.profile (id, workspace_id, permitted)
SELECT n, %(workspace)s, 127 FROM generate_series(%(first)s::bigint, %(last)s) AS n
"""
_HAPPENINGS = """
INSERT INTO core.event (workspace_id, source_id, identifier_id, message_id, kind, name, occurred_at, received_at,
                        seen_with, properties, context)
SELECT %(workspace)s, %(source)s, %(first)s + floor(%(people)s * random())::bigint, 'm' || n, 'track',
       (ARRAY['page_view', 'page_view', 'page_view', 'page_view', 'product_view', 'product_view', 'product_view',
              'add_to_cart', 'add_to_cart', 'purchase'])[1 + floor(10 * random())::integer],
       %(now)s - interval '365 days' * random(), %(now)s, '{}',
       jsonb_build_object('amount', floor(10000 * random()) / 100), '{}'
FROM generate_series(1, %(events)s) AS n
"""


def run() -> dict[str, Any]:
    from django.conf import settings

    from cdp.kernel.purposes import Purpose
    from cdp.models import Workspace
    from consent import gate

    workspace_id = Workspace.objects.create(slug=SLUG, name=SLUG).pk
    figures: dict[str, Any] = {"events": EVENTS, "profiles": PROFILES}
    baseline: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="tessera-columnar-") as home:
        settings.COLUMNAR_DIR = Path(home)
        _fill(workspace_id)
        figures |= _copied(workspace_id)
        with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace_id) as permit:
            _ask(permit, figures, baseline)
    ours, hands = (sum(told[f"{name}_seconds"] for name in RULES) for told in (figures, baseline))
    figures["seconds"], baseline["seconds"] = round(ours, 3), round(hands, 3)
    return {"name": "columnar", "figures": figures, "baseline": baseline, "ratio": round(ours / hands, 2)}


def _copied(workspace_id: int) -> Mapping[str, Any]:
    from segments.columnar import copying
    from segments.columnar.files import files_of

    with harness.stopwatch() as watch:
        told = copying.copy_events(workspace_id=workspace_id, clock=lambda: harness.NOW, seconds=3600)
    size = sum(file.stat().st_size for file in files_of(workspace_id).iterdir())
    return {
        "copied_events_per_second": round(told.events / watch.seconds),
        "bytes_per_event": round(size / max(told.events, 1), 1),
    }


def _ask(permit: "Permit[Segmentation]", figures: dict[str, Any], baseline: dict[str, Any]) -> None:
    """Each question of each engine: once to see whom it finds, and then the shortest of several times."""
    from segments.columnar import compile as compiling
    from segments.columnar import relations
    from segments.columnar.draft import Needs
    from segments.columnar.engines import DuckDB, picked
    from segments.columnar.files import run_directory
    from segments.language.periods import EARLIEST
    from tests.factories.engines import ClickHouse

    trees = _trees()
    with run_directory(permit.workspace_id) as directory:
        needs = Needs(events={"product_view", "add_to_cart", "purchase"}, after=EARLIEST, until=harness.NOW)
        with harness.stopwatch() as watch:
            files = relations.gather(permit, needs, now=harness.NOW, zone=UTC, directory=directory)
        figures["people_exported_seconds"] = round(watch.seconds, 3)
        frozen = _ends(trees, files)
        duck, house = DuckDB.opened(files, directory), ClickHouse.opened(files, directory)
        given = {"now": _micros(), "day": 86_400_000_000, "last": _last(frozen)}
        for name, tree in trees.items():
            query = {
                dialect: compiling.compile_rules([tree], dialect=dialect, now=harness.NOW, frozen=frozen)
                for dialect in ("duckdb", "clickhouse")
            }
            work = {
                "": lambda q=query["duckdb"]: duck.execute(picked(0, q.sql), q.parameters).fetchnumpy(),
                "_clickhouse": lambda q=query["clickhouse"]: house.asked(picked(0, q.sql), q.parameters),
            }
            by_hand = _sorted(duck, BY_HAND[name], given)
            members = duck.execute(picked(0, query["duckdb"].sql), query["duckdb"].parameters).fetchnumpy()[
                "profile_id"
            ]
            others = [
                int(line) for line in house.asked(picked(0, query["clickhouse"].sql), query["clickhouse"].parameters)
            ]
            if not members.tolist() == by_hand == others == _by_postgres(tree, frozen):
                raise AssertionError(
                    f"{name}: {len(members)} members, by hand {len(by_hand)}, ClickHouse {len(others)}"
                )
            figures[f"{name}_members"] = len(by_hand)
            for engine, asked in work.items():
                figures[f"{name}{engine}_seconds"] = round(harness.best_seconds(asked, times=TIMES), 4)
            figures[f"{name}_postgres_seconds"] = round(
                harness.best_seconds(lambda t=tree: _by_postgres(t, frozen), times=1), 3
            )
            baseline[f"{name}_seconds"] = round(
                harness.best_seconds(lambda n=name: _sorted(duck, BY_HAND[n], given), times=TIMES), 4
            )
        house.close()
        duck.close()


def _trees() -> Mapping[str, Any]:
    from segments.language import parse_text
    from segments.language.tree import Aggregate, Measured, Of, Property, Rank, Sequence, Step, Top, Unit, Window

    day, month, year = Window(1, Unit.DAYS), Window(30, Unit.DAYS), Window(365, Unit.DAYS)
    cart = Sequence((Step("add_to_cart"),), within=day, then_not=Step("purchase"), period=month)
    spent = Measured("purchase", Aggregate(Of.SUM, Property("amount")), (), year)
    written = {name: parse_text(rule) for name, rule in RULES.items() if rule}
    trees = {
        "cart_and_no_purchase_within_a_day": cart,
        "top_tenth_by_spending_in_a_year": Rank(spent, Top(Decimal(10), is_percent=True)),
    }
    return {**written, **trees}


def _ends(trees: Mapping[str, Any], files: Mapping[str, Sequence[str]]) -> Mapping[str, Any]:
    """Where the highest tenth ends: found once, as it is kept for a day."""
    from segments.language import canonical
    from segments.language.ranks import Threshold

    rank = trees["top_tenth_by_spending_in_a_year"]
    with duckdb.connect() as duck:
        for name in ("copied", "who"):
            duck.read_parquet(list(files[name])).create_view(name)
        since = _micros() - timedelta(days=365) // timedelta(microseconds=1)
        [(last,)] = duck.execute(
            f"""
            WITH spent AS (
                SELECT profile_id, sum({_AMOUNT}) AS amount FROM copied JOIN who USING (identifier_id)
                WHERE name = 'purchase' AND micros > {since} AND micros <= {_micros()} GROUP BY profile_id
            )
            SELECT amount FROM spent ORDER BY amount DESC LIMIT 1
            OFFSET (SELECT CAST(ceil(count(*) / 10) AS BIGINT) - 1 FROM spent)
            """
        ).fetchall()
    return {canonical(rank): Threshold(Decimal(last), None, harness.NOW)}


def _last(frozen: Mapping[str, Any]) -> Decimal:
    [end] = frozen.values()
    found: Decimal = end.value
    return found


def _by_postgres(tree: "Node", frozen: Mapping[str, Any]) -> list[int]:
    from segments.language.compile.members import compile_members
    from segments.queries import _rows

    query = compile_members(tree, frozen)
    sql = f"SELECT profile_id FROM ({query.sql}) AS members ORDER BY profile_id"
    return [profile for (profile,) in _rows(sql, {**query.parameters, "now": harness.NOW})]


def _sorted(duck: duckdb.DuckDBPyConnection, statement: str, given: Mapping[str, Any]) -> list[int]:
    named = {name: value for name, value in given.items() if f"${name}" in statement}
    found: list[int] = duck.execute(f"{statement} ORDER BY profile_id", named).fetchnumpy()["profile_id"].tolist()
    return found


def _micros() -> int:
    from segments.columnar.instants import micros_of

    return micros_of(harness.NOW)


def _fill(workspace_id: int) -> None:
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
            "people": PROFILES, "events": EVENTS, "now": harness.NOW,
        }  # fmt: skip
        admin.execute(
            "SELECT core.ensure_event_partition(month::date) FROM generate_series(%(now)s - interval '13 months',"
            " %(now)s, interval '1 month') AS month",
            given,
        )
        admin.execute("SELECT setseed(0.5)")
        for statement in (_PEOPLE, _PROFILES, _HAPPENINGS):
            admin.execute(statement, given)
        admin.execute("SELECT setval(pg_get_serial_sequence('core.identifier', 'id'), %(last)s)", given)
        admin.execute("VACUUM ANALYZE core.identifier, core.profile, core.event")
