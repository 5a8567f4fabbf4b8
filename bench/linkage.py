"""Record linkage of a million realistic rows: trained, scored, clustered and written to Postgres, then once more with the
frozen model, then with ten thousand new rows; beside Splink called directly with the settings of its documentation.

Every row is a record of a customer file that the pipeline has stored: an identifier, its values, the profile that it
founded and the golden record of that. The baseline gets the same rows as a table in DuckDB, and neither reads from nor
writes to Postgres. Both are scored by the same evaluator, over all true pairs, after clustering.
LINKAGE_ROWS sets another size; LINKAGE_LARGE a further, larger one for the growth of the cost (5000000, which takes long).
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psutil

from bench import harness, people

ROWS = int(os.environ.get("LINKAGE_ROWS", "1000000"))
SMALL: Final = 100_000
LARGE = int(os.environ.get("LINKAGE_LARGE", "0"))
NEW: Final = 10_000
EVERYTHING: Final = 127  # everybody permits every purpose: how the gate decides is measured elsewhere
MEMORY, THREADS = "3GB", 2

_slugs = count(1)


def run() -> dict[str, Any]:
    measured = {rows: _linked(rows) for rows in sorted({min(SMALL, ROWS), ROWS, *([LARGE] if LARGE else [])})}
    ours, baseline = measured[ROWS], _splink(ROWS)
    growth = {
        f"cost_per_row_{rows}_over_{min(measured)}": _per_row(rows, measured) / _per_row(min(measured), measured)
        for rows in measured
        if rows > min(measured)
    }
    return {
        "name": "linkage",
        "what": f"{ROWS:,} rows about {round(ROWS * people.PEOPLE_PER_ROW):,} people; baseline: Splink's documented model",
        "figures": {"rows": ROWS, **ours, **growth},
        "baseline": {"rows": ROWS, **baseline},
        "ratio": round(ours["seconds"] / baseline["seconds"], 3),
    }


def _per_row(rows: int, measured: dict[int, dict[str, Any]]) -> float:
    return float(measured[rows]["seconds"]) / rows


# -- Tessera --------------------------------------------------------------------------------------------------------


def _linked(rows: int) -> dict[str, Any]:
    from identity import linkage

    workspace_id = fill(rows)
    with _peak_memory() as memory:
        trained = linkage.train(workspace_id=workspace_id, seed=1, now=harness.NOW)
        resolved = _resolve(workspace_id)
    f1 = _pairwise(workspace_id)
    again = _resolve(workspace_id)
    add(workspace_id, rows=NEW, first=rows)
    with harness.stopwatch() as incremental:
        linkage.resolve(workspace_id=workspace_id, clock=_clock, only_new=True)
    return {
        "seconds": trained["seconds"] + resolved["seconds"],
        "train_seconds": trained["seconds"],
        **{f"{step}_seconds": seconds for step, seconds in resolved["steps"].items()},
        "mib": memory[0],
        "judgements": resolved["judgements"],
        "again_seconds": again["seconds"],
        f"{NEW}_more_seconds": round(incremental.seconds, 3),
        **f1,
    }


def _resolve(workspace_id: int) -> dict[str, Any]:
    from identity import linkage

    return linkage.resolve(workspace_id=workspace_id, clock=_clock)


def _clock() -> datetime:
    return harness.NOW


def fill(rows: int) -> int:
    """A workspace with so many records; its id."""
    from bench import events

    source, _ = events.source(f"linkage-{next(_slugs)}-{rows}")
    _store(source.workspace_id, source.pk, rows=rows, first=0)
    return int(source.workspace_id)


def add(workspace_id: int, *, rows: int, first: int) -> None:
    """Records about people of whom some are known, others are not."""
    from cdp.models import Source
    from cdp.models.tenancy import workspace_scope

    with workspace_scope(workspace_id):
        source_id = Source.objects.get(workspace_id=workspace_id).pk
    _store(workspace_id, source_id, rows=rows, first=first)


_IDENTIFIER: Final = """
COPY (SELECT $start + unique_id, $workspace, 'crm:id', unique_id, '\\x' || md5(unique_id::VARCHAR), $start + unique_id, 127
      FROM paper ORDER BY 1) TO '{path}'
"""
_PROFILE: Final = "COPY (SELECT $start + unique_id, $workspace, 127 FROM paper ORDER BY 1) TO '{path}'"
_VALUES: Final = f"""
COPY (SELECT $workspace, $start + unique_id AS id, $source, name, to_json(value), $moment, $start + unique_id
      FROM (UNPIVOT paper ON {", ".join(people.COLUMNS)} INTO NAME name VALUE value) ORDER BY id, name) TO '{{path}}'
"""
# Not what is measured: triggers and references are left out, and the masks are written as they would be.
_COPIES: Final = (
    (_IDENTIFIER, "core.identifier (id, workspace_id, type, value, digest, profile_id, permitted)", "*"),
    (_PROFILE, "core.profile (id, workspace_id, permitted)", "*"),
    (
        _VALUES,
        "core.identifier_trait (workspace_id, identifier_id, source_id, name, value, observed_at, confidence)",
        "workspace_id, id, source_id, name, value, at, 1",
    ),
    (
        _VALUES,
        "core.trait (workspace_id, profile_id, name, value, source_id, identifier_id, observed_at, confidence, rule)",
        "workspace_id, id, name, value, source_id, id, at, 1, 'most_recent'",
    ),
)
_ARRIVED: Final = (
    "CREATE TEMPORARY TABLE arrived (workspace_id bigint, id bigint, source_id bigint, name text, value jsonb,"
    " at timestamptz, profile_id bigint)"
)


def _store(workspace_id: int, source_id: int, *, rows: int, first: int) -> None:
    import duckdb
    import psycopg

    with (
        TemporaryDirectory(dir=os.environ.get("DATA_DIR") or None) as directory,
        duckdb.connect(config={"threads": THREADS, "temp_directory": directory}) as duck,
        psycopg.connect(harness.address_of("postgres"), autocommit=True) as postgres,
    ):
        people.make(duck, rows=rows, first=first)
        given = {"start": workspace_id * 100_000_000, "workspace": workspace_id, "source": source_id,
                 "moment": harness.NOW.isoformat()}  # fmt: skip
        path = Path(directory) / "rows.csv"
        postgres.execute("SET session_replication_role = replica")
        for query, target, _ in _COPIES[:2]:
            _copy(duck, postgres, query, target, given, path)
        postgres.execute(_ARRIVED)
        _copy(duck, postgres, _VALUES, "arrived", given, path)
        for _, target, columns in _COPIES[2:]:
            postgres.execute(f"INSERT INTO {target} SELECT {columns} FROM arrived ORDER BY id, name")
        postgres.execute("ANALYZE")


def _copy(duck: Any, postgres: Any, query: str, target: str, given: dict[str, Any], path: Path) -> None:  # noqa: ANN401  # loaded later
    asked = {name: value for name, value in given.items() if f"${name}" in query}
    duck.execute(query.format(path=path).rstrip() + " (FORMAT csv, HEADER false)", asked)
    with path.open("rb") as file, postgres.cursor().copy(f"COPY {target} FROM STDIN (FORMAT csv)") as copy:
        while block := file.read(1 << 20):
            copy.write(block)
