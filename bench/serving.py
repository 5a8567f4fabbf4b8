"""Servers under load: programs started against the benchmark's database, and a client that costs as little as it can.

The machine's cores are for the servers, so the client writes prepared bytes to open sockets and reads as little of the
answers as it needs.
"""

import base64
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

from bench import harness
from cdp import supervisor
from cdp.embedded import CHECKOUT, default_stack
from cdp.supervisor import Program

PATIENCE_SECONDS = 30


@contextmanager
def running(programs: Sequence[Program], port: int) -> Iterator[None]:
    """These programs, each under its own login, until the block is done. The web server answers when it begins."""
    with ExitStack() as stack:
        for program in programs:
            stack.enter_context(_process(program))
        await_answer(port)
        yield


@contextmanager
def tessera(port: int, *, only: Sequence[str] = ()) -> Iterator[None]:
    """As `make serve` runs it: web server, a worker for each stage, scheduler; or those of them that are named."""
    with TemporaryDirectory() as data:
        chosen = [one for one in supervisor.programs(port, Path(data)) if not only or one.name in only]
        with running(chosen, port):
            yield


@contextmanager
def _process(program: Program) -> Iterator[None]:
    environment = {
        **os.environ, "DATABASE_URL": harness.address_of(program.login), "ALLOWED_HOSTS": "127.0.0.1",
        "LOG_LEVEL": "WARNING",
    }  # fmt: skip
    with (default_stack().home / f"bench-{program.name}.log").open("wb") as log:
        process = subprocess.Popen(program.arguments, cwd=CHECKOUT, env=environment, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_SECONDS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_answer(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with connected(port) as connection:
                connection.sendall(f"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
                if read_answer(connection).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


# -- the client -----------------------------------------------------------------------------------------------------


def post(path: str, body: bytes, *, key: str, port: int) -> bytes:
    """A request as the bytes that go over the wire."""
    credentials = base64.b64encode(f"{key}:".encode()).decode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Basic {credentials}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def send_all(port: int, requests: Sequence[bytes], *, connections: int) -> dict[str, float]:
    """As fast as they are answered: every connection sends its share, one request after the other."""
    return _send([requests[start::connections] for start in range(connections)], port, pause=None)


def send_offered(port: int, requests: Sequence[bytes], *, connections: int, per_second: float) -> dict[str, float]:
    """So many a second, answered or not: the time of each counts from when it was due, not from when it could be sent."""
    return _send([requests[start::connections] for start in range(connections)], port, pause=1 / per_second)


def _send(shares: Sequence[Sequence[bytes]], port: int, *, pause: float | None) -> dict[str, float]:
    times: list[float] = []
    began = time.perf_counter() + 0.2
    clients = [
        threading.Thread(target=_client, args=(port, share, times, began, place, len(shares), pause))
        for place, share in enumerate(shares)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    seconds = time.perf_counter() - began
    count = sum(map(len, shares))
    if len(times) != count:
        message = f"{count - len(times)} of {count} requests were not answered with 200"
        raise RuntimeError(message)
    hundredths = quantiles(times, n=100)
    return {
        "requests_per_second": count / seconds,
        "median_ms": hundredths[49] * 1000,
        "p95_ms": hundredths[94] * 1000,
        "p99_ms": hundredths[98] * 1000,
    }


def _client(
    port: int,
    requests: Sequence[bytes],
    times: list[float],
    began: float,
    place: int,
    clients: int,
    pause: float | None,
) -> None:
    with connected(port) as connection:
        time.sleep(max(began - time.perf_counter(), 0))
        for number, request in enumerate(requests):
            due = began + (number * clients + place) * pause if pause else time.perf_counter()
            time.sleep(max(due - time.perf_counter(), 0))
            connection.sendall(request)
            answer = read_answer(connection)
            if not answer.startswith(b"HTTP/1.1 200"):
                print(answer.decode(), file=sys.stderr)
                return
            times.append(time.perf_counter() - due)


def connected(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_answer(connection: socket.socket) -> bytes:
    """Its head; the body is read and dropped."""
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
