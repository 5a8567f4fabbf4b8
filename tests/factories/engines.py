"""ClickHouse within the test, which proves the dialect; the product itself does not run it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chdb import session as chdb_session

from segments.columnar.compile import Compiled
from segments.columnar.engines import Answers, event_view
from segments.columnar.relations import Relations

# ClickHouse reads the values of parameters as those of its tab-separated format.
ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
SETTINGS = "join_use_nulls = 1, aggregate_functions_null_for_empty = 1, transform_null_in = 0"


class ClickHouse:
    dialect = "clickhouse"

    def __init__(self, session: Any = None) -> None:
        self.session = session

    @classmethod
    def opened(cls, files: Relations, directory: Path) -> "ClickHouse":
        """With a view of each relation; to be closed."""
        session = chdb_session.Session(str(directory / "chdb"))
        views = {name: _read(places) for name, places in files.items() if places} | {"event": event_view(files)}
        for name, view in views.items():
            session.query(f"CREATE VIEW {name} AS {view}")
        return cls(session)

    def members(self, query: Compiled, files: Relations, directory: Path, rules: int) -> Answers:
        opened = self.opened(files, directory)
        try:
            rows = [line.split(",") for line in opened.asked(f"SELECT * FROM ({query.sql}) AS a", query.parameters)]
        finally:
            opened.close()
        return [sorted(int(row[0]) for row in rows if row[rule + 1] in {"true", "1"}) for rule in range(rules)]

    def asked(self, sql: str, parameters: Mapping[str, str]) -> list[str]:
        """The lines of the answer."""
        given = {name: value.translate(ESCAPED) for name, value in parameters.items()}
        return str(self.session.query(f"{sql} SETTINGS {SETTINGS}", "CSV", params=given)).splitlines()

    def close(self) -> None:
        self.session.close()


def _read(places: Sequence[str]) -> str:
    return " UNION ALL ".join(f"SELECT * FROM file('{place}', Parquet)" for place in places)
