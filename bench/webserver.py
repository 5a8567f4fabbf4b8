"""Which server carries the tracking calls: granian, which Tessera uses, against gunicorn with threads.

Two workers each, the same application, the same bodies, kept-open connections from one process on the same machine.
The two take turns, and the better of their rounds counts.
"""

import base64
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import quantiles
from typing import Any

from bench import harness
from cdp.embedded import CHECKOUT, default_stack

REQUESTS, WARM_UP, CONNECTIONS, ROUNDS, WORKERS = 4_000, 400, 16, 3, "2"
SCRIPTS = Path(sys.executable).parent
PATIENCE_SECONDS = 30

COMMANDS = {
    "granian": [
        "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", "{port}", "--workers", WORKERS,
        "--blocking-threads", "4", "--no-ws", "--log-level", "warning", "cdp.wsgi:application",
    ],
    "gunicorn": [
        "gunicorn", "--worker-class", "gthread", "--bind", "127.0.0.1:{port}", "--workers", WORKERS,
        "--threads", "4", "--keep-alive", "30", "--log-level", "warning", "cdp.wsgi:application",
    ],
}  # fmt: skip


def run() -> dict[str, Any]:
    key = _make_write_key()
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name in COMMANDS:
            rounds[name].append(_measure(name, key))
    best = {name: max(measured, key=lambda one: one["requests_per_second"]) for name, measured in rounds.items()}
    granian, gunicorn = best["granian"], best["gunicorn"]
    return {
        "name": "webserver",
        "what": f"POST /v1/track, {REQUESTS} requests over {CONNECTIONS} connections; baseline: gunicorn gthread",
        "figures": granian,
        "baseline": gunicorn,
        "ratio": granian["requests_per_second"] / gunicorn["requests_per_second"],
    }


def _make_write_key() -> str:
    from cdp.ingestion.sources import create_source
    from cdp.models.sources import SourceKind
    from cdp.models.tenancy import workspace_scope
    from consent import services as consent

    workspace = consent.open_workspace(slug="webserver", name="Web server", now=harness.NOW)
    with workspace_scope(workspace.pk):
        return create_source(workspace_id=workspace.pk, name="bench", kind=SourceKind.HTTP)[1]


def _measure(name: str, key: str) -> dict[str, float]:
    port = _free_port()
    command = [word.format(port=port) for word in COMMANDS[name]]
    environment = {**os.environ, "DATABASE_URL": harness.address_of("web"), "ALLOWED_HOSTS": "127.0.0.1"}
    with (
        (default_stack().home / "bench-webserver.log").open("wb") as log,
        subprocess.Popen(
            [SCRIPTS / command[0], *command[1:]], cwd=CHECKOUT, env=environment, stdout=log, stderr=log
        ) as server,
    ):
        try:
            _await(port)
            _send(port, key, WARM_UP)
            return _send(port, key, REQUESTS)
        finally:
            server.terminate()


def _send(port: int, key: str, count: int) -> dict[str, float]:
    """Every connection sends its share, one request after the other, and keeps the time of each."""
    shares = [[_request(key, port) for _ in range(count // CONNECTIONS)] for _ in range(CONNECTIONS)]
    times: list[float] = []
    clients = [threading.Thread(target=_client, args=(port, share, times)) for share in shares]
    with harness.stopwatch() as watch:
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    if len(times) != count:
        message = f"{count - len(times)} of {count} requests were not answered with 200"
        raise RuntimeError(message)
    hundredths = quantiles(times, n=100)
    return {
        "requests_per_second": count / watch.seconds,
        "median_ms": hundredths[49] * 1000,
        "p95_ms": hundredths[94] * 1000,
        "p99_ms": hundredths[98] * 1000,
    }


def _request(key: str, port: int) -> bytes:
    body = {
        "messageId": secrets.token_hex(16), "userId": f"user-{secrets.randbelow(5_000)}", "event": "Order Completed",
        "properties": {"revenue": 12.5, "currency": "EUR", "order_id": secrets.token_hex(6)},
        "timestamp": "2026-01-15T12:00:00.000Z", "context": {"library": {"name": "bench", "version": "1"}},
    }  # fmt: skip
    content = json.dumps(body).encode()
    credentials = base64.b64encode(f"{key}:".encode()).decode()
    head = (
        f"POST /v1/track HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Basic {credentials}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def _client(port: int, requests: list[bytes], times: list[float]) -> None:
    """As little as a client can do: the machine's cores are for the servers."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in requests:
            started = time.perf_counter()
            connection.sendall(request)
            answer = _read_answer(connection)
            if not answer.startswith(b"HTTP/1.1 200"):
                print(answer.decode(), file=sys.stderr)
                return
            times.append(time.perf_counter() - started)


def _read_answer(connection: socket.socket) -> bytes:
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _read_some(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
    )
    while len(body) < length:
        body += _read_some(connection)
    return head


def _read_some(connection: socket.socket) -> bytes:
    piece = connection.recv(65536)
    if not piece:
        raise ConnectionResetError
    return piece


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
                connection.sendall(f"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
                if _read_answer(connection).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)
