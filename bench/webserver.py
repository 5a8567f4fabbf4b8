"""Which server carries the tracking calls: granian, which Tessera uses, against gunicorn with threads.

Two workers each, the same application, the same bodies, kept-open connections from one process on the same machine.
The two take turns, and the better of their rounds counts.
"""

import json
import secrets
import sys
from pathlib import Path
from typing import Any

from bench import events, serving
from cdp.kernel.logins import WEB
from cdp.supervisor import Program

REQUESTS, WARM_UP, CONNECTIONS, ROUNDS, WORKERS = 4_000, 400, 16, 3, "2"
SCRIPTS = Path(sys.executable).parent

COMMANDS = {
    "granian": (
        "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", "{port}", "--workers", WORKERS,
        "--blocking-threads", "4", "--no-ws", "--log-level", "warning", "cdp.wsgi:application",
    ),
    "gunicorn": (
        "gunicorn", "--worker-class", "gthread", "--bind", "127.0.0.1:{port}", "--workers", WORKERS,
        "--threads", "4", "--keep-alive", "30", "--log-level", "warning", "cdp.wsgi:application",
    ),
}  # fmt: skip


def run() -> dict[str, Any]:
    _, key = events.source("webserver")
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


def _measure(name: str, key: str) -> dict[str, float]:
    port = serving.free_port()
    program, *words = (word.format(port=port) for word in COMMANDS[name])
    with serving.running([Program(name, (str(SCRIPTS / program), *words), WEB)], port):
        serving.send_all(port, _requests(key, port, WARM_UP), connections=CONNECTIONS)
        return serving.send_all(port, _requests(key, port, REQUESTS), connections=CONNECTIONS)


def _requests(key: str, port: int, count: int) -> list[bytes]:
    return [serving.post("/v1/track", json.dumps(_event()).encode(), key=key, port=port) for _ in range(count)]


def _event() -> dict[str, Any]:
    return {
        "messageId": secrets.token_hex(16), "userId": f"user-{secrets.randbelow(5_000)}", "event": "Order Completed",
        "properties": {"revenue": 12.5, "currency": "EUR", "order_id": secrets.token_hex(6)},
        "timestamp": "2026-01-15T12:00:00.000Z", "context": {"library": {"name": "bench", "version": "1"}},
    }  # fmt: skip
