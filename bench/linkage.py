"""Record linkage of a million realistic rows: trained, scored, clustered and written to Postgres, then once more with the
frozen model, then with ten thousand new rows, then with a newer model; beside Splink called directly with the settings of
its documentation.

Every row is a record of a customer file that the pipeline has stored: an identifier, its values, the profile that it
founded and the golden record of that. The baseline gets the same rows as a table in DuckDB, and neither reads from nor
writes to Postgres. Both are scored by the same evaluator, over all true pairs, after clustering.
LINKAGE_ROWS sets another size; LINKAGE_SMALL and LINKAGE_LARGE further ones for the growth of the cost (5000000 takes long,
0 is none). Splink learns u from as many pairs as its documentation calls often adequate while models are tried out; for
LINKAGE_FINAL_PAIRS it learns once more (1e8 is its example for a final model, and takes four minutes).
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psutil

from bench import harness, people

ROWS = int(os.environ.get("LINKAGE_ROWS", "1000000"))
SMALL = int(os.environ.get("LINKAGE_SMALL", "100000"))
LARGE = int(os.environ.get("LINKAGE_LARGE", "0"))
FINAL_PAIRS = float(os.environ.get("LINKAGE_FINAL_PAIRS", "0"))
NEW: Final = 10_000
TRIAL_PAIRS: Final = 1e7
MEMORY, THREADS = "3GB", 2

_slugs = count(1)


def run() -> dict[str, Any]:
    measured = {rows: _alone(rows) for rows in sorted({ROWS, *filter(None, (min(SMALL, ROWS), LARGE))})}
    ours, baseline = measured[ROWS], _splink(ROWS, TRIAL_PAIRS)
    final = _splink(ROWS, FINAL_PAIRS) if FINAL_PAIRS else {}
    growth = {
        f"cost_per_row_{rows}_over_{min(measured)}": _per_row(rows, measured) / _per_row(min(measured), measured)
        for rows in measured
        if rows > min(measured)
    }
    by_keys = {
        f"{name}_beside_{SMALL}": figure for name, figure in measured[min(measured)].items() if "by_keys" in name
    }
    return {
        "name": "linkage",
        "what": f"{ROWS:,} rows about {round(ROWS * people.PEOPLE_PER_ROW):,} people; baseline: Splink's documented model",
        "figures": {"rows": ROWS, **ours, **growth, **by_keys},
        "baseline": {"rows": ROWS, **baseline, **{f"final_{name}": figure for name, figure in final.items()}},
        "ratio": round(ours["seconds"] / baseline["seconds"], 3),
    }


def _per_row(rows: int, measured: dict[int, dict[str, Any]]) -> float:
    return float(measured[rows]["seconds"]) / rows


# -- Tessera --------------------------------------------------------------------------------------------------------


def _alone(rows: int) -> dict[str, Any]:
    """In a process and a database of its own: what one size costs does not depend on which was measured before it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_linked, rows).result()


def _linked(rows: int) -> dict[str, Any]:
    harness.prepare()
    workspace_id = fill(rows)
    with _peak_memory() as memory:
        resolved = _resolve(workspace_id)  # trains the first model
    f1 = _pairwise(workspace_id, rows)
    _settle()
    again = _resolve(workspace_id)
    more = _more(workspace_id, first=rows)
    by_keys = {f"{NEW}_more_by_keys_seconds": _more_by_keys(workspace_id, first=rows + NEW)} if rows <= ROWS else {}
    newer = {"newer_model_seconds": _with_a_newer_model(workspace_id)} if rows == ROWS else {}
    return {
        "seconds": resolved["seconds"],
        **{f"{step}_seconds": seconds for step, seconds in resolved["steps"].items()},
        "mib": memory[0],
        "judgements": resolved["judgements"],
        "again_seconds": again["seconds"],
        f"{NEW}_more_seconds": more,
        **by_keys,
        **newer,
        **f1,
    }


def _more(workspace_id: int, *, first: int) -> float:
    from identity import linkage

    add(workspace_id, rows=NEW, first=first)
    with harness.stopwatch() as watch:
        linkage.resolve(workspace_id=workspace_id, clock=_clock, only_new=True)
    return round(watch.seconds, 3)


def _more_by_keys(workspace_id: int, *, first: int) -> float:
    """Where real time keeps the keys of all records. They are made here at once, which for a million takes a minute or two."""
    from identity.live import index

    index.build_index(workspace_id=workspace_id, now=harness.NOW)
    return _more(workspace_id, first=first)


def _with_a_newer_model(workspace_id: int) -> float:
    """Which was learnt from another sample: all that the older one had judged is retracted and judged anew."""
    from cdp.kernel.purposes import Purpose
    from consent import gate
    from identity import linkage, registry

    version = linkage.train(workspace_id=workspace_id, seed=2, now=harness.NOW)["model"]
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace_id):
        registry.keep_active(registry.model_of(workspace_id, version), author=None, now=harness.NOW)
    _settle()
    return float(_resolve(workspace_id)["seconds"])


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
    """Further records, nearly all about people who are known."""
    from cdp.models import Source
    from cdp.models.tenancy import workspace_scope

    with workspace_scope(workspace_id):
        source_id = Source.objects.get(workspace_id=workspace_id).pk
    _store(workspace_id, source_id, rows=rows, first=first)


_IDENTIFIER: Final = """
COPY (SELECT $start + unique_id, $workspace, 'crm:id', unique_id, '\\x' || md5(unique_id::VARCHAR), $start + unique_id, $silent
      FROM paper ORDER BY 1) TO '{path}'
"""
_PROFILE: Final = "COPY (SELECT $start + unique_id, $workspace, $silent FROM paper ORDER BY 1) TO '{path}'"
_VALUES: Final = f"""
COPY (SELECT $workspace, $start + unique_id AS id, $source, name, to_json(value), $moment, $start + unique_id
      FROM (UNPIVOT paper ON {", ".join(people.COLUMNS)} INTO NAME name VALUE value) ORDER BY id, name) TO '{{path}}'
"""
# Nobody has said anything. With another mask than theirs, everybody who moves would be written once more for it.
_SILENT: Final = "SELECT bit_or(bit) FROM core.purpose WHERE workspace_id = %s AND legal_basis <> 'CONSENT'"
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
    "CREATE UNLOGGED TABLE arrived (workspace_id bigint, id bigint, source_id bigint, name text, value jsonb,"
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
        path = Path(directory) / "rows.csv"
        postgres.execute("SET session_replication_role = replica")
        (silent,) = postgres.execute(_SILENT, [workspace_id]).fetchone()
        given = {"start": workspace_id * 100_000_000, "workspace": workspace_id, "source": source_id,
                 "moment": harness.NOW.isoformat(), "silent": silent}  # fmt: skip
        for query, target, _ in _COPIES[:2]:
            _copy(duck, postgres, query, target, given, path)
        postgres.execute(_ARRIVED)
        _copy(duck, postgres, _VALUES, "arrived", given, path)
        with ThreadPoolExecutor() as both:
            list(both.map(_insert, _COPIES[2:]))
        postgres.execute("DROP TABLE arrived")
    _settle()


def _settle() -> None:
    """What Postgres does of its own within minutes after much was written, and well before anybody runs again."""
    import psycopg

    with psycopg.connect(harness.address_of("postgres"), autocommit=True) as postgres:
        postgres.execute("VACUUM (ANALYZE)")
        postgres.execute("CHECKPOINT")


def _insert(copy: tuple[str, str, str]) -> None:
    import psycopg

    _, target, columns = copy
    with psycopg.connect(harness.address_of("postgres"), autocommit=True) as postgres:
        postgres.execute("SET session_replication_role = replica")
        postgres.execute(f"INSERT INTO {target} SELECT {columns} FROM arrived ORDER BY id, name")


def _copy(duck: Any, postgres: Any, query: str, target: str, given: dict[str, Any], path: Path) -> None:  # noqa: ANN401  # loaded later
    asked = {name: value for name, value in given.items() if f"${name}" in query}
    duck.execute(query.format(path=path).rstrip() + " (FORMAT csv, HEADER false)", asked)
    with path.open("rb") as file, postgres.cursor().copy(f"COPY {target} FROM STDIN (FORMAT csv)") as copy:
        while block := file.read(1 << 20):
            copy.write(block)


_TRUTH: Final = """
CREATE OR REPLACE TABLE link AS SELECT p.entity, c.cluster FROM paper p JOIN cluster c ON c.id = p.unique_id
"""
_PAIRS_OF: Final = "SELECT COALESCE(sum(n * (n - 1) // 2), 0) FROM (SELECT count(*) AS n FROM link GROUP BY {key})"


def _pairwise(workspace_id: int, rows: int) -> dict[str, float]:
    import duckdb
    import psycopg
    from psycopg import sql

    with TemporaryDirectory(dir=os.environ.get("DATA_DIR") or None) as directory, duckdb.connect() as duck:
        path = Path(directory) / "clusters.csv"
        query = sql.SQL(
            "COPY (SELECT id - workspace_id * 100000000, profile_id FROM core.identifier WHERE workspace_id = {})"
            " TO STDOUT (FORMAT csv)"
        ).format(workspace_id)
        with (
            psycopg.connect(harness.address_of("postgres")) as postgres,
            postgres.cursor().copy(query) as copy,
            path.open("wb") as file,
        ):
            file.writelines(copy)
        people.make(duck, rows=rows)
        duck.execute("CREATE TABLE cluster AS SELECT column0 AS id, column1 AS cluster FROM read_csv(?)", [str(path)])
        return _score(duck)


def _score(duck: Any) -> dict[str, float]:  # noqa: ANN401  # loaded later
    """Of tables `paper` (unique_id, entity) and `cluster` (id, cluster)."""
    duck.execute(_TRUTH)
    true, found, right = (
        int(duck.execute(_PAIRS_OF.format(key=key)).fetchone()[0]) for key in ("entity", "cluster", "entity, cluster")
    )
    precision, recall = right / max(found, 1), right / max(true, 1)
    f1 = 2 * right / max(found + true, 1)
    return {name: round(value, 4) for name, value in (("precision", precision), ("recall", recall), ("f1", f1))}


@contextmanager
def _peak_memory() -> Iterator[list[int]]:
    """MiB of this process at its highest, looked at ten times a second."""
    peak, done = [0], threading.Event()
    process = psutil.Process()

    def look() -> None:
        while not done.wait(0.1):
            peak[0] = max(peak[0], process.memory_info().rss >> 20)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


# -- the baseline ---------------------------------------------------------------------------------------------------


def _splink(rows: int, pairs: float) -> dict[str, Any]:
    """Splink's tutorial for linking people, with the settings that its documentation recommends for a million rows:
    the comparisons of its library, u from so many random pairs, EM on two blocks, clusters at a probability of 0.95.
    """
    import duckdb
    import splink.comparison_library as cl
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    settings = SettingsCreator(
        link_type="dedupe_only",
        comparisons=[
            cl.ForenameSurnameComparison("given_name", "surname"),
            cl.DateOfBirthComparison("date_of_birth", input_is_string=True),
            cl.EmailComparison("email"),
            cl.DamerauLevenshteinAtThresholds("phone", [1, 2]),
            cl.ExactMatch("city").configure(term_frequency_adjustments=True),
        ],
        blocking_rules_to_generate_predictions=[
            block_on("given_name", "surname", "city"),
            block_on("surname", "date_of_birth"),
            block_on("given_name", "date_of_birth"),
            block_on("email"),
            block_on("phone"),
            block_on("postcode", "surname", "given_name"),
        ],
    )
    with duckdb.connect(config={"threads": THREADS, "memory_limit": MEMORY}) as duck:
        people.make(duck, rows=rows)
        with _peak_memory() as memory, harness.stopwatch() as watch:
            linker = Linker(DuckDBAPI(duck).register("paper", dataset_display_name="paper"), settings, log_level=None)
            training = linker.training
            training.estimate_probability_two_random_records_match(
                [block_on("given_name", "surname", "date_of_birth"), block_on("email")], recall=0.7
            )
            training.estimate_u_using_random_sampling(max_pairs=pairs, seed=1)
            training.estimate_parameters_using_expectation_maximisation(block_on("date_of_birth"))
            training.estimate_parameters_using_expectation_maximisation(block_on("given_name", "surname"))
            predicted = linker.inference.predict(threshold_match_probability=0.5)
            clustered = linker.clustering.cluster_pairwise_predictions_at_threshold(
                predicted, threshold_match_probability=0.95
            )
        duck.execute(
            f"CREATE TABLE cluster AS SELECT unique_id AS id, cluster_id AS cluster FROM {clustered.physical_name}"
        )
        return {"seconds": round(watch.seconds, 3), "mib": memory[0], **_score(duck)}
