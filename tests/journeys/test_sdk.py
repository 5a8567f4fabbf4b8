"""The published Python SDK against a running server: every call arrives exactly once, whatever the network does."""

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
import pytest
from segment.analytics.client import Client

from cdp.embedded import CHECKOUT, default_stack
from cdp.models.keys import digest_of
from tests import databases

WRITE_KEY = "wk_of_the_sdk_journey"
MAKE_SOURCE = """
WITH made AS (
    INSERT INTO core.workspace (slug, name, default_region, time_zone, created_at)
    VALUES ('shop', 'Shop', 'FR', 'Europe/Paris', now()) RETURNING id
), source AS (
    INSERT INTO core.source (workspace_id, name, kind, default_region, trust, has_unique_people, is_enabled, created_at)
    SELECT id, 'shop', 'HTTP', '', 50, false, true, now() FROM made RETURNING id
)
INSERT INTO core.write_key (source_id, digest, hint, created_at) SELECT id, %s, 'wk', now() FROM source
"""
STORE_ALL = """
import django; django.setup()
from django.utils import timezone
from cdp import pipeline
from cdp.models import Stage
for workspace_id in pipeline.open_workspaces():
    pipeline.run_until_idle(Stage.INGESTION, workspace_id=workspace_id, now=timezone.now)
"""
CALLS = ("identify", "track", "page", "screen", "group", "alias")


@dataclass(frozen=True)
class Server:
    url: str
    database: str


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The web server as production runs it: granian, and the database login `web`."""
    with databases.fresh_database(f"{databases.default_name()}_sdk") as database:
        with psycopg.connect(default_stack().database_url("postgres", database)) as setup:
            setup.execute(MAKE_SOURCE, (digest_of(WRITE_KEY),))
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        process = subprocess.Popen(
            [Path(sys.executable).parent / "granian", "--interface", "wsgi", "--port", str(port), "cdp.wsgi:application"],
            cwd=CHECKOUT, env=environment("web", database), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_until(lambda: answers(f"http://127.0.0.1:{port}/v1/batch"))
            yield Server(f"http://127.0.0.1:{port}", database)
        finally:
            process.terminate()
            process.wait(timeout=20)


def environment(login: str, database: str) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": default_stack().database_url(login, database),
        "BROKER_URL": "redis+socket:///nowhere/valkey.sock",  # nobody listens, which must cost nothing
        "DJANGO_SETTINGS_MODULE": "cdp.settings",
        "SECRET_KEY": "for tests",
    }


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def wait_until(condition, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.1)


def client_of(url: str, errors: list[Exception], *, gzip: bool = False) -> Client:
    return Client(
        WRITE_KEY,
        host=url,
        gzip=gzip,
        upload_interval=0.05,
        on_error=lambda error, _: errors.append(error),
        max_retries=3,
    )


def speak(client: Client, person: str) -> None:
    """One call of each kind."""
    client.identify(person, {"email": f"{person}@example.com", "plan": "pro"}, anonymous_id=f"device-of-{person}")
    client.track(person, "Order Completed", {"total": 9.5, "note": "Zoë \x00 😀"})
    client.page(person, "Docs", "Home", {"url": "/"})
    client.screen(person, "Docs", "Start")
    client.group(person, "acme", {"seats": 3})
    client.alias(f"earlier-{person}", person)


def finish(client: Client) -> None:
    client.flush()
    client.join()


def stored_of(server: Server, person: str) -> list[tuple[str, str]]:
    """Kind and name of the person's events, after the stage has stored what lay in the inbox."""
    subprocess.run(
        [sys.executable, "-c", STORE_ALL],
        cwd=CHECKOUT,
        env=environment("worker_ingestion", server.database),
        check=True,
    )
    with psycopg.connect(default_stack().database_url("postgres", server.database)) as connection:
        return connection.execute(
            "SELECT e.kind, e.name FROM core.event e JOIN core.identifier i ON i.id = e.identifier_id"
            " WHERE i.type = 'user_id' AND i.value = %s ORDER BY e.kind",
            (person,),
        ).fetchall()


EVERYTHING_ONCE = [
    ("alias", "alias"), ("group", "group"), ("identify", "identify"), ("page", "Home"), ("screen", "Start"),
    ("track", "Order Completed"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("gzip", [False, True])
def test_sdk__of_each_call__has_it_stored_once(gzip, server):
    person, errors = f"ada-{gzip}".lower(), []
    client = client_of(server.url, errors, gzip=gzip)

    speak(client, person)
    finish(client)

    assert errors == []
    assert stored_of(server, person) == EVERYTHING_ONCE
    with psycopg.connect(default_stack().database_url("postgres", server.database)) as connection:
        linked = connection.execute(
            "SELECT l.type || ':' || l.value, r.type || ':' || r.value FROM core.sighting s"
            " JOIN core.identifier l ON l.id = s.left_id JOIN core.identifier r ON r.id = s.right_id"
            " WHERE l.value LIKE %(like)s AND r.value LIKE %(like)s",
            {"like": f"%{person}%"},
        ).fetchall()
    user, device, email = f"user_id:{person}", f"anonymous_id:device-of-{person}", f"email:{person}@example.com"
    assert {frozenset(pair) for pair in linked} == {
        frozenset({user, device}), frozenset({user, email}), frozenset({device, email}),
        frozenset({user, f"anonymous_id:earlier-{person}"}),
    }  # fmt: skip


class Unlucky(BaseHTTPRequestHandler):
    """Hands the first request on and then says that it failed, as a proxy does whose patience ends too early."""

    target = ""
    failures = 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name: value for name, value in self.headers.items() if name != "Host"}
        request = urllib.request.Request(f"{self.target}{self.path}", body, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            status, said = answer.status, answer.read()
        type(self).failures -= 1
        if type(self).failures >= 0:
            status, said = 500, b'{"code": "unlucky", "message": "Something went wrong."}'
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@pytest.mark.slow
def test_sdk__that_is_told_of_a_failure_after_all_was_stored__sends_again_and_it_is_stored_once(server):
    errors: list[Exception] = []
    Unlucky.target, Unlucky.failures = server.url, 1
    with ThreadingHTTPServer(("127.0.0.1", 0), Unlucky) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        client = client_of(f"http://127.0.0.1:{proxy.server_port}", errors)

        speak(client, "grace")
        finish(client)
        proxy.shutdown()

    assert errors == []
    assert Unlucky.failures < 0, "the SDK came again"
    assert stored_of(server, "grace") == EVERYTHING_ONCE


@pytest.mark.slow
def test_sdk__with_a_key_that_nobody_has__gives_up_and_reports(server):
    errors: list[Exception] = []
    client = Client("wk_wrong", host=server.url, upload_interval=0.05, on_error=lambda error, _: errors.append(error))

    client.track("nobody", "Order Completed")
    finish(client)

    assert [error.code for error in errors] == ["unknown_write_key"]
    assert stored_of(server, "nobody") == []
