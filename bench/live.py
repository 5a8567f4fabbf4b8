"""How soon a record that arrives is compared with LIVE_RECORDS others, judged and resolved: one by one, and in batches.

Baseline: Splink's own `predict_between` and `predict_within` for one record against the same records, with the same
model, its table of records already loaded. Ours includes reading the values, keeping the keys and writing the ledger.
"""

import os
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from bench import harness
from cdp.kernel import garbage

if TYPE_CHECKING:  # models need the settings that the harness gives
    from cdp.models import Source
    from identity.models import LinkageModel

RECORDS = int(os.environ.get("LIVE_RECORDS", "1000000"))
SINGLES = int(os.environ.get("LIVE_SINGLES", "200"))
BATCH = int(os.environ.get("LIVE_BATCH", "1000"))
AT_ONCE = 2  # connections that fill the tables
WARMING_UP = 7  # Postgres plans a statement five times for its parameters before it plans it for any
BASELINE_CALLS = 3
SLUG = "live"

# Seven people in ten records; common names are common by the square. A second record of a person has a typing error in
# the surname, or no e-mail address.
PEOPLE = """
INSERT INTO core.profile (id, workspace_id, permitted)
SELECT n, %(workspace)s, 127 FROM generate_series(%(first)s::bigint, %(last)s) AS n;
"""
IDENTIFIERS = """
INSERT INTO core.identifier (id, workspace_id, type, value, digest, profile_id, permitted)
SELECT n, %(workspace)s, 'crm:id', n, decode(md5(n::text), 'hex'), n, 127
FROM generate_series(%(first)s::bigint, %(last)s) AS n
"""
TRAITS = """
INSERT INTO core.identifier_trait (workspace_id, identifier_id, source_id, name, value, observed_at, confidence)
SELECT %(workspace)s, n, %(source)s, t.name, to_jsonb(t.value), %(now)s, 1
FROM generate_series(%(first)s::bigint, %(last)s) AS n,
LATERAL (SELECT n * 7919 %% (%(people)s * 7 / 10) AS p, n > %(people)s * 7 / 10 AS again) AS person,
LATERAL (SELECT ('x' || substr(md5('a' || p), 1, 7))::bit(28)::int / 268435456.0 AS a,
                ('x' || substr(md5('b' || p), 1, 7))::bit(28)::int / 268435456.0 AS b,
                ('x' || substr(md5('c' || p), 1, 7))::bit(28)::int / 268435456.0 AS c,
                ('x' || substr(md5('d' || p), 1, 7))::bit(28)::int / 268435456.0 AS d,
                ('x' || substr(md5('e' || p), 1, 7))::bit(28)::int / 268435456.0 AS e,
                ('x' || substr(md5('f' || p), 1, 7))::bit(28)::int / 268435456.0 AS f) AS random,
LATERAL (SELECT translate(md5('g' || floor(2000 * a * a)), '0123456789', 'ghijklmnop') AS given,
                translate(md5('s' || floor(40000 * b * b)), '0123456789', 'ghijklmnop') AS family,
                floor(400 * c * c)::int AS town) AS names,
LATERAL (VALUES
    ('given_name', left(given, 7)),
    ('surname', CASE WHEN again AND n %% 3 = 0 THEN left(family, 4) || 'z' || substr(family, 6, 3) ELSE left(family, 8) END),
    ('date_of_birth', (date '1940-01-01' + floor(25000 * d)::int + CASE WHEN again AND n %% 11 = 0 THEN 1 ELSE 0 END)::text),
    ('email', CASE WHEN NOT (again AND n %% 3 = 1) THEN left(given, 3) || '.' || left(family, 8) || p || '@example.com' END),
    ('street', floor(1 + 150 * e)::int || ' rue ' || translate(md5('r' || floor(9000 * f)), '0123456789', 'ghijklmnop')),
    ('city', CASE WHEN again AND n %% 5 = 0 THEN 'elsewhere' ELSE left(translate(md5('t' || town), '0123456789', 'ghijklmnop'), 9) END),
    ('postcode', (10000 + town * 7 + floor(f * 6)::int)::text)
) AS t (name, value)
WHERE t.value IS NOT NULL
"""


def run() -> dict[str, Any]:
    from identity.live import index  # needs the settings that the harness gives

    source = _source()
    with harness.stopwatch() as filling:
        _fill(source)
    model = _model(source)
    with _without_indexes("blocking_key"):
        built = index.build_index(workspace_id=source.workspace_id, now=harness.NOW)
    singles = _one_by_one(source)
    batch = _in_a_batch(source)
    baseline = _splink(source, model)
    hundredths = statistics.quantiles(singles, n=100)
    figures = {
        "one_p50_ms": round(hundredths[49], 1),
        "one_p99_ms": round(hundredths[98], 1),
        "batch_seconds": round(batch, 2),
        "batch_records_per_second": round(BATCH / batch),
        "index_seconds": built["seconds"],
        "keys": built["keys"],
        "filling_seconds": round(filling.seconds, 1),
    }
    return {
        "name": "live",
        "what": f"one record, and {BATCH} in a batch, against {RECORDS}; baseline: Splink's predict_between for one record",
        "figures": figures,
        "baseline": {"one_p50_ms": round(baseline, 1)},
        "ratio": round(figures["one_p50_ms"] / baseline, 4),
    }


def _source() -> "Source":
    from cdp.ingestion.sources import create_source  # these need the settings that the harness gives
    from cdp.models.sources import SourceKind
    from cdp.models.tenancy import workspace_scope
    from consent import services as consent

    workspace = consent.open_workspace(slug=SLUG, name=SLUG, now=harness.NOW)
    with workspace_scope(workspace.pk):
        source, _ = create_source(workspace_id=workspace.pk, name="crm", kind=SourceKind.HTTP)
        return source


def _model(source: "Source") -> "LinkageModel":
    """Trained as a workspace trains it: what so many records can afford to compare follows from them."""
    from cdp.kernel.purposes import Purpose  # these need the settings that the harness gives
    from consent import gate
    from identity import linkage, registry
    from identity.matching import training

    linkage.train(workspace_id=source.workspace_id, seed=training.SEED, now=harness.NOW)
    with gate.permit(Purpose.IDENTITY, workspace_id=source.workspace_id):
        return registry.model_of(source.workspace_id, 1)


def _fill(source: "Source") -> None:
    """All records that are known before the first one comes, as the pipeline would have written them."""
    with _without_indexes("identifier_trait"), ThreadPoolExecutor(AT_ONCE) as workers:
        share = -(-RECORDS // AT_ONCE)
        parts = [(first, min(first + share - 1, RECORDS)) for first in range(1, RECORDS + 1, share)]
        list(workers.map(lambda part: _come(source, *part), parts))
    with psycopg.connect(harness.address_of("postgres"), autocommit=True) as admin:
        admin.execute("VACUUM (ANALYZE) core.identifier, core.identifier_trait, core.profile")


def _come(source: "Source", first: int, last: int) -> None:
    """As if they had been loaded long ago: no trigger, and everybody permits."""
    values = {
        "workspace": source.workspace_id, "source": source.pk, "now": harness.NOW, "first": first, "last": last,
        "people": RECORDS,
    }  # fmt: skip
    with psycopg.connect(harness.address_of("postgres")) as admin:
        admin.execute("SET session_replication_role = replica")
        for statement in (PEOPLE, IDENTIFIERS, TRAITS):
            admin.execute(statement, values)


_INDEXES = """
SELECT format('core.%%I', i.relname), format('core.%%I', t.relname), c.conname, pg_get_constraintdef(c.oid), pg_get_indexdef(x.indexrelid)
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
LEFT JOIN pg_constraint c ON c.conindid = i.oid AND c.contype IN ('p', 'u')
WHERE x.indrelid = ('core.' || %s)::regclass
"""


@contextmanager
def _without_indexes(table: str) -> Iterator[None]:
    """They are made anew at the end, which a million rows take a tenth of the time for; while it lasts the table is ours."""
    with psycopg.connect(harness.address_of("postgres"), autocommit=True) as admin:
        indexes = admin.execute(_INDEXES, [table]).fetchall()
        for index, on, constraint, _, _ in indexes:
            admin.execute(f"ALTER TABLE {on} DROP CONSTRAINT {constraint}" if constraint else f"DROP INDEX {index}")
        yield
        admin.execute("SET maintenance_work_mem = '1GB'")
        for _, on, constraint, condition, statement in indexes:
            admin.execute(f"ALTER TABLE {on} ADD CONSTRAINT {constraint} {condition}" if constraint else statement)


def _link(source: "Source", first: int, last: int) -> float:
    from cdp.kernel.purposes import Purpose  # these need the settings that the harness gives
    from cdp.models import Cause
    from consent import gate
    from identity.live import stage

    began = time.perf_counter()
    with gate.permit(Purpose.IDENTITY, workspace_id=source.workspace_id) as permit:
        stage.link(permit, dict.fromkeys(range(first, last + 1), Cause.LEARNT), now=harness.NOW)
    return time.perf_counter() - began


def _one_by_one(source: "Source") -> list[float]:
    """Milliseconds of each. The first ones, for which the model is made ready and statements are planned, are not counted:
    a worker does it once.
    """
    first = RECORDS + 1
    _come(source, first, first + SINGLES + WARMING_UP)
    for one in range(first, first + WARMING_UP):
        _link(source, one, one)
    garbage.settle()  # as a worker does before its first task
    return [_link(source, one, one) * 1000 for one in range(first + WARMING_UP, first + WARMING_UP + SINGLES)]


def _in_a_batch(source: "Source") -> float:
    first = RECORDS + SINGLES + WARMING_UP + 2
    _come(source, first, first + BATCH - 1)
    return _link(source, first, first + BATCH - 1)


def _splink(source: "Source", model: "LinkageModel") -> float:
    from django.conf import settings  # these need the settings that the harness gives

    from cdp.kernel.purposes import Purpose
    from consent import gate
    from identity import queries, records, training
    from identity.matching import engine
    from tests import splinks

    with (
        gate.permit(Purpose.IDENTITY, workspace_id=source.workspace_id),
        engine.connect(memory_limit=settings.DUCKDB_MEMORY_LIMIT, threads=settings.DUCKDB_THREADS) as duck,
    ):
        records.load(duck, queries.rules_of(source.workspace_id), workspace_id=source.workspace_id)
        frozen = training.thawed(model)
        return 1000 * harness.best_seconds(
            lambda: splinks.score_arrivals(duck, frozen, [RECORDS + 1]), times=BASELINE_CALLS
        )
