"""ClickHouse within the test, which proves the dialect; the product itself does not run it."""

from collections.abc import Sequence
from pathlib import Path

from chdb import session as chdb_session

from segments.columnar.compile import Compiled
from segments.columnar.engines import Answers, event_view
from segments.columnar.relations import Relations

SETTINGS = "join_use_nulls = 1, aggregate_functions_null_for_empty = 1, transform_null_in = 0"


class ClickHouse:
    dialect = "clickhouse"

    def members(self, query: Compiled, files: Relations, directory: Path, rules: int) -> Answers:
        views = {name: _read(places) for name, places in files.items() if places} | {"event": event_view(files)}
        session = chdb_session.Session(str(directory / "chdb"))
        try:
            for name, view in views.items():
                session.query(f"CREATE VIEW {name} AS {view}")
            asked = f"SELECT * FROM ({query.sql}) AS answers SETTINGS {SETTINGS}"
            return _members(session.query(asked, "CSV", params=dict(query.parameters)), rules)
        finally:
            session.close()


def _read(places: Sequence[str]) -> str:
    return " UNION ALL ".join(f"SELECT * FROM file('{place}', Parquet)" for place in places)


def _members(result: object, rules: int) -> Answers:
    rows = [line.split(",") for line in str(result).splitlines()]
    return [sorted(int(row[0]) for row in rows if row[rule + 1] in {"true", "1"}) for rule in range(rules)]
