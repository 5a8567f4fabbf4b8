"""Whatever comes is answered in JSON, by the client's fault or ours never with a 5xx, and leaves no memory behind."""

import base64
import http.client
import io
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.utils import timezone

from cdp import pipeline, wsgi
from cdp.api import wakeups
from cdp.embedded import CHECKOUT
from cdp.ingestion import services as ingestion
from cdp.models import Event, OutboxRow, QuarantinedItem, SourceKind, Stage
from cdp.models.keys import Scope, digest_of
from tests.conformance.server import running
from tests.factories import malformed

pytestmark = pytest.mark.slow

SEED = 4711
REQUESTS, OVER_HTTP = 100_000, 3_000
LONG_WAY_EVERY = 10
MEGABYTE = 2**20
THE_SENDERS_FAULT = {200, 400, 401, 413}
LONGEST_DATABASE_TURN = 5_000  # requests, after which what was accepted is stored


def basic(write_key):
    return "Basic " + base64.b64encode(f"{write_key}:".encode()).decode()


def ask(application, request):
    """One request, without a network."""
    said = {}
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": request.path, "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80",
        "REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": io.StringIO(), "wsgi.version": (1, 0), "CONTENT_LENGTH": str(len(request.body)),
    }  # fmt: skip
    for name, value in request.headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    answer = application(environ, lambda status, headers: said.update(status=int(status[:3]), headers=dict(headers)))
    body = b"".join(answer)
    getattr(answer, "close", lambda: None)()
    return said["status"], said["headers"], body


def check(request, status, headers, body):
    """Its answer is JSON, says what is wrong, and blames nobody else."""
    assert status in THE_SENDERS_FAULT, (request.how, status, body)
    assert headers["Content-Type"] == "application/json", request.how
    said = json.loads(body)
    assert set(said) == ({"success", "accepted", "rejected"} if status == 200 else {"code", "message"}), request.how
    return said


def resident():
    return psutil.Process().memory_info().rss


def store_all(workspace):
    """What was accepted can be stored: nothing is set aside."""
    pipeline.run_until_idle(Stage.INGESTION, workspace_id=workspace.pk, now=timezone.now)
    assert not OutboxRow.objects.filter(stage="INGESTION").exists()


@pytest.fixture
def ways():
    """The application that granian serves, and Django's alone, which answers the same after all of its middleware.

    The end of a request leaves the connection of the test open.
    """
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield wsgi.application, get_wsgi_application()
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def test_malformed_requests__a_hundred_thousand__are_answered_in_json_and_forgotten(workspace, ways, monkeypatch):
    monkeypatch.setattr(wakeups.WAKER, "tell", lambda *_: None)
    write_key = ingestion.create_source(workspace_id=workspace.pk, name="shop", kind=SourceKind.HTTP)[1]
    statuses, accepted, before = Counter(), 0, 0

    for number, request in enumerate(malformed.requests(SEED, REQUESTS, authorization=basic(write_key))):
        status, headers, body = ask(ways[number % LONG_WAY_EVERY == 0], request)
        said = check(request, status, headers, body)
        statuses[status] += 1
        accepted += said.get("accepted", 0)
        if number % LONGEST_DATABASE_TURN == LONGEST_DATABASE_TURN - 1:
            store_all(workspace)
            before = before or resident()

    assert resident() < before * 1.3 + 50 * MEGABYTE
    assert set(statuses) == THE_SENDERS_FAULT
    assert 0 < Event.objects.count() <= accepted
    assert QuarantinedItem.objects.values("code").distinct().count() > 10


def test_malformed_requests__over_http__leave_the_server_as_it_was():
    statuses = Counter()
    with running("fuzz") as server:
        origin = server.new_origin()
        requests = malformed.requests(SEED + 1, OVER_HTTP, authorization=basic(origin.write_key))
        before = 0
        for number, request in enumerate(requests):
            status, headers, body = send(server.url, request)
            check(request, status, headers, body)
            statuses[status] += 1
            if number == OVER_HTTP // 3:
                before = memory_of(server)
        for bomb in malformed.bombs():
            status, _, _ = send(server.url, malformed.Malformed("bomb", "/v1/batch", bomb))
            assert status in THE_SENDERS_FAULT
        server.store_all()

        assert highest_memory_of(server) < before * 1.3 + 50 * MEGABYTE
        assert set(statuses) == THE_SENDERS_FAULT
        assert server.events_of(origin)


def send(url, request):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    headers = {name: value for name, value in request.headers.items() if value.isprintable() and value.isascii()}
    connection.request("POST", request.path, request.body, headers)
    answer = connection.getresponse()
    said = answer.status, {"Content-Type": answer.headers["Content-Type"]}, answer.read()
    connection.close()
    return said


def memory_of(server):
    return sum(process.memory_info().rss for process in processes_of(server))


def highest_memory_of(server):
    """The most that each of its processes ever had."""
    states = [Path(f"/proc/{process.pid}/status").read_text() for process in processes_of(server)]
    return sum(1024 * int(re.search(r"VmHWM:\s+(\d+)", state)[1]) for state in states)


def processes_of(server):
    master = psutil.Process(server.pid)
    return (master, *master.children(recursive=True))


# -- the API that is described --------------------------------------------------------------------------------------

MAKE_KEY = """
INSERT INTO core.api_key (workspace_id, name, digest, hint, scopes, purpose, created_at)
VALUES (%s, 'fuzz', %s, 'ak', %s, 'analytics', now())
"""
SECRET = "ak_of_the_fuzz_journey"
CASES_PER_OPERATION = 10


def test_described_api__asked_for_anything__answers_as_described(tmp_path):
    """Schemathesis makes requests from docs/openapi.yaml, right ones and wrong ones."""
    with running("schema") as server:
        server.database.execute(MAKE_KEY, (server.workspace_id, digest_of(SECRET), list(Scope)))
        done = subprocess.run(
            [
                Path(sys.executable).parent / "schemathesis", "run", CHECKOUT / "docs" / "openapi.yaml", "--url", server.url,
                "--header", f"Authorization: Bearer {SECRET}", "--checks", "not_a_server_error,content_type_conformance",
                "--phases", "examples,coverage,fuzzing", "--max-examples", str(CASES_PER_OPERATION), "--seed", str(SEED),
                "--generation-database", "none", "--no-color",
            ],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert done.returncode == 0, done.stdout[-6_000:]
