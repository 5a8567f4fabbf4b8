"""The server as production runs it: granian, and the database login `web`. And a look at what it stored."""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from cdp.embedded import CHECKOUT, default_stack
from cdp.models.keys import digest_of
from tests import databases

MAKE_WORKSPACE = """
INSERT INTO core.workspace (slug, name, default_region, time_zone, created_at)
VALUES ('shop', 'Shop', 'FR', 'Europe/Paris', now()) RETURNING id
"""
MAKE_SOURCE = """
WITH made AS (
    INSERT INTO core.source (workspace_id, name, kind, default_region, trust, has_unique_people, is_enabled, created_at)
    VALUES (%s, %s, 'HTTP', '', 50, false, true, now()) RETURNING id
)
INSERT INTO core.write_key (source_id, digest, hint, created_at) SELECT id, %s, 'wk', now() FROM made RETURNING source_id
"""
STORED = """
SELECT e.kind, e.name, i.type || ':' || i.value AS identifier, e.message_id, e.properties, e.context,
       e.occurred_at, e.original_at, e.sent_at, e.received_at,
       ARRAY(SELECT o.type || ':' || o.value FROM core.identifier o WHERE o.id = ANY(e.seen_with) ORDER BY 1) AS seen_with
FROM core.event e JOIN core.identifier i ON i.id = e.identifier_id
WHERE e.source_id = %s ORDER BY e.kind, e.name, e.message_id
"""
TRAITS = """
SELECT i.type || ':' || i.value AS identifier, t.name, t.value
FROM core.identifier_trait t JOIN core.identifier i ON i.id = t.identifier_id WHERE t.source_id = %s
"""
# Works on what waits whenever it is told a line, and says when nothing is left.
WORKER = """
import django; django.setup()
import sys
from django.utils import timezone
from cdp import pipeline
from cdp.models import Stage
for _ in sys.stdin:
    for workspace_id in pipeline.open_workspaces():
        pipeline.run_until_idle(Stage.INGESTION, workspace_id=workspace_id, now=timezone.now)
    print("idle", flush=True)
"""


@dataclass(frozen=True)
class Origin:
    """A source of its own for each run: what it has afterwards came in that run."""

    id: int
    write_key: str


@dataclass(frozen=True)
class Server:
    url: str
    database: psycopg.Connection[dict[str, Any]]
    worker: "subprocess.Popen[str]"
    workspace_id: int
    pid: int

    def new_origin(self) -> Origin:
        write_key = f"wk_{secrets.token_hex(16)}"
        row = self.database.execute(MAKE_SOURCE, (self.workspace_id, write_key[-20:], digest_of(write_key))).fetchone()
        return Origin(row["source_id"], write_key)

    def store_all(self) -> None:
        self.worker.stdin.write("work\n")
        self.worker.stdin.flush()
        assert self.worker.stdout.readline() == "idle\n"

    def events_of(self, origin: Origin) -> list[dict[str, Any]]:
        return self.database.execute(STORED, (origin.id,)).fetchall()

    def traits_of(self, origin: Origin) -> dict[str, Any]:
        return {row["name"]: row["value"] for row in self.database.execute(TRAITS, (origin.id,))}

    def refusals_of(self, origin: Origin) -> list[str]:
        """The codes of what lies in its quarantine."""
        found = self.database.execute("SELECT code FROM core.quarantine WHERE source_id = %s ORDER BY id", (origin.id,))
        return [row["code"] for row in found]


@contextmanager
def running(name: str) -> Iterator[Server]:
    with databases.fresh_database(f"{databases.default_name()}_{name}") as database:
        url = default_stack().database_url("postgres", database)
        with psycopg.connect(url, row_factory=dict_row, autocommit=True) as connection:
            workspace_id = connection.execute(MAKE_WORKSPACE).fetchone()["id"]
            with _web(database) as (address, pid), _worker(database) as worker:
                yield Server(address, connection, worker, workspace_id, pid)


@contextmanager
def _web(database: str) -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [Path(sys.executable).parent / "granian", "--interface", "wsgi", "--port", str(port), "cdp.wsgi:application"],
        cwd=CHECKOUT, env=_environment("web", database), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        _await(f"{address}/health/live")
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def _worker(database: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER], cwd=CHECKOUT, env=_environment("worker_ingestion", database), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with process:
        yield process
        process.stdin.close()


def _environment(login: str, database: str) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": default_stack().database_url(login, database),
        "BROKER_URL": "redis+socket:///nowhere/valkey.sock",  # nobody listens, which must cost nothing
        "DJANGO_SETTINGS_MODULE": "cdp.settings",
        "SECRET_KEY": "for tests",
        "LOG_LEVEL": "ERROR",
    }


def _await(url: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            assert time.monotonic() < until, "the web server did not start"
            time.sleep(0.1)
        else:
            return
