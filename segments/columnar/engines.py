"""Queries run by an engine: DuckDB within this process, or Spark."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

from django.conf import settings
from duckdb import DuckDBPyConnection

from cdp.kernel.errors import TesseraError
from consent.gate import Permit, Segmentation
from segments.columnar import relations
from segments.columnar.compile import Compiled, compile_rules
from segments.columnar.files import run_directory
from segments.columnar.relations import Relations
from segments.columnar.rewriting import within_limits
from segments.language.ranks import Threshold
from segments.language.tree import Node

Answers = Sequence[Sequence[int]]
"""The members of each rule, in order of id."""


class SparkMissingError(TesseraError):
    """The engine spark needs its libraries and Java 17: run `make spark` (see docs/segment-engines.md)."""

    code = "spark_missing"


class Engine(Protocol):
    dialect: str

    def members(self, query: Compiled, files: Relations, directory: Path, rules: int) -> Answers: ...


def members_of(
    permit: Permit[Segmentation],
    rules: Sequence[Node],
    *,
    engine: Engine,
    now: datetime,
    zone: tzinfo = UTC,
    frozen: Mapping[str, Threshold] | None = None,
) -> Answers:
    """Who is in each rule at `now`, of those whom the purpose may see at this moment."""
    query = compile_rules(rules, dialect=engine.dialect, now=now, workspace_zone=zone, frozen=frozen)
    with run_directory(permit.workspace_id) as directory:
        files = relations.gather(permit, query.needs, now=now, zone=zone, directory=directory)
        return engine.members(query, files, directory, len(rules))


def picked(rule: int, sql: str) -> str:
    """The members of one rule; `sql` has a column for each."""
    return f"SELECT profile_id FROM ({sql}) AS answers WHERE r{rule} ORDER BY profile_id"  # noqa: S608  # built by sqlglot


# Whether a file is one of the copy or of Postgres makes no difference to whoever reads `event`.
EVENT_OF_ALL: Final = "SELECT * FROM copied UNION ALL SELECT * FROM fresh"
EVENT_BUT_STALE: Final = "SELECT * FROM copied WHERE id NOT IN (SELECT id FROM stale) UNION ALL SELECT * FROM fresh"
EVENT_OF_POSTGRES: Final = "SELECT * FROM fresh"


def event_view(files: Relations) -> str:
    if not files["copied"]:
        return EVENT_OF_POSTGRES
    return EVENT_BUT_STALE if files["stale"] else EVENT_OF_ALL


# -- DuckDB ---------------------------------------------------------------------------------------------------------


class DuckDB:
    """Within the memory limit of the settings; what does not fit lies in the directory of the run."""

    dialect = "duckdb"

    def members(self, query: Compiled, files: Relations, directory: Path, rules: int) -> Answers:
        with self.opened(files, directory) as duck:
            if rules == 1:
                return [_first_column(duck.execute(picked(0, query.sql), query.parameters))]
            duck.execute(f"CREATE TABLE answers AS {query.sql}", query.parameters)
            return [_first_column(duck.execute(picked(rule, "FROM answers"))) for rule in range(rules)]

    @staticmethod
    def opened(files: Relations, directory: Path) -> DuckDBPyConnection:
        """With a view of each relation."""
        duck = within_limits(spill=directory)
        for name, places in files.items():
            if places:
                duck.read_parquet(list(places)).create_view(name)
        duck.execute(f"CREATE VIEW event AS {event_view(files)}")
        return duck


def _first_column(result: Any) -> list[int]:  # noqa: ANN401  # DuckDB has no types
    found: list[int] = result.fetchnumpy()["profile_id"].tolist()
    return found


# -- Spark ----------------------------------------------------------------------------------------------------------


class Spark:
    """On a session that is given, or on one that is begun and ended, where SPARK_MASTER says."""

    dialect = "spark"

    def __init__(self, session: Any = None) -> None:  # noqa: ANN401  # of an optional library
        self.session = session

    def members(self, query: Compiled, files: Relations, directory: Path, rules: int) -> Answers:  # noqa: ARG002  # Spark has its own place to spill
        with _spark(self.session) as session:
            for name, places in files.items():
                if places:
                    session.read.parquet(*places).createOrReplaceTempView(name)
            session.sql(event_view(files)).createOrReplaceTempView("event")
            if rules == 1:
                return [_asked(session, picked(0, query.sql), query)["profile_id"].to_pylist()]
            answers = _asked(session, query.sql, query)
        return [sorted(answers.filter(answers[f"r{rule}"])["profile_id"].to_pylist()) for rule in range(rules)]


def _asked(session: Any, sql: str, query: Compiled) -> Any:  # noqa: ANN401  # of an optional library
    return session.sql(sql, args=dict(query.parameters)).toArrow()


@contextmanager
def _spark(given: Any) -> Iterator[Any]:  # noqa: ANN401  # of an optional library
    session = given or _start()()
    try:
        yield session
    finally:
        if given is None:
            session.stop()


@lru_cache(maxsize=1)
def _start() -> Callable[[], Any]:
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415  # an extra, and slow to load
    except ImportError as error:
        raise SparkMissingError from error
    return lambda: _session(SparkSession.builder)


def _session(builder: Any) -> Any:  # noqa: ANN401  # of an optional library
    try:
        builder = builder.appName("tessera-segments").master(settings.SPARK_MASTER).config(map=_SETTINGS)
        session = (builder.config(map=_LOCAL) if settings.SPARK_MASTER.startswith("local") else builder).getOrCreate()
    except Exception as error:  # pyspark's own error for no Java, or one that it raises when Java fails
        if "JAVA" in str(error).upper():
            raise SparkMissingError from error
        raise
    session.sparkContext.setLogLevel("ERROR")
    return session


_SETTINGS: Final = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
}
_LOCAL: Final = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
