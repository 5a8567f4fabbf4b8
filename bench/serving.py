"""Servers under load: programs started against the benchmark's database, and a client that costs as little as it can.

The machine's cores are for the servers, so the client writes prepared bytes to open sockets and reads as little of the
answers as it needs.
"""

import base64
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from heapq import heappop, heappush
from itertools import chain, count
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

from bench import harness
from cdp import supervisor
from cdp.embedded import CHECKOUT, default_stack
from cdp.supervisor import Program

PATIENCE_SECONDS = 30
LONG_PATIENCE_SECONDS = 600
NEVER = float("inf")


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


def await_nothing_waits(workspace_id: int) -> None:
    """Until everything that was accepted has gone through all stages."""
    from cdp import pipeline

    deadline = time.monotonic() + LONG_PATIENCE_SECONDS
    while pipeline.waiting(workspace_id):
        if time.monotonic() > deadline:
            raise TimeoutError(f"subjects still wait: {pipeline.waiting(workspace_id)}")
        time.sleep(0.2)


# -- the client -----------------------------------------------------------------------------------------------------


def post(path: str, body: bytes, *, key: str, port: int, is_api: bool = False) -> bytes:
    """A request as the bytes that go over the wire, with a write key or a key of the API."""
    credentials = f"Bearer {key}" if is_api else f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {credentials}\r\n"
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
    with ExitStack() as stack:
        load = Load(stack.enter_context(select.epoll()))
        began = time.perf_counter() + 0.2
        for place, share in enumerate(shares):
            due = _in_turn(began, place, len(shares), pause) if pause else _at_once(began)
            load.add(Client(stack.enter_context(connected(port)), zip(due, share, strict=False)))
        load.run()
        seconds = time.perf_counter() - began
    hundredths = quantiles(load.times, n=100)
    return {
        "requests_per_second": len(load.times) / seconds,
        "median_ms": hundredths[49] * 1000,
        "p95_ms": hundredths[94] * 1000,
        "p99_ms": hundredths[98] * 1000,
    }


def _in_turn(began: float, place: int, connections: int, pause: float) -> Iterator[float]:
    return (began + (number * connections + place) * pause for number in count())


def _at_once(began: float) -> Iterator[float]:
    """The first when all begin, each other one at the moment when it is asked for: the one before is answered."""
    return chain([began], iter(time.perf_counter, None))


class Client:
    """A connection that sends its requests one after the other, each when it is `due`."""

    def __init__(self, connection: socket.socket, requests: Iterator[tuple[float, bytes]]) -> None:
        connection.setblocking(True)  # with a time limit Python asks the system twice
        self.connection = connection
        self._requests = requests
        self._answer = b""
        self.proceed()

    def proceed(self) -> None:
        self.due, self._request = next(self._requests, (NEVER, b""))

    def send(self) -> None:
        self.connection.sendall(self._request)

    def is_answered(self) -> bool:
        """Whether the answer has come to its end. Raises where it is not 200."""
        self._answer += _read_some(self.connection)
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end or len(body) < _length_in(head):
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(self._answer.decode())
        self._answer = b""
        return True


class Load:
    """All connections in one thread: to change between threads costs more than to send. `times` are seconds."""

    def __init__(self, answers: select.epoll) -> None:
        self.times: list[float] = []
        self._answers = answers
        self._clients: dict[int, Client] = {}
        self._plan: list[tuple[float, int]] = []  # a heap: when each connection sends again
        self._asked = 0

    def add(self, client: Client) -> None:
        number = client.connection.fileno()
        self._clients[number] = client
        self._answers.register(number, select.EPOLLIN)
        heappush(self._plan, (client.due, number))

    def run(self) -> None:
        """Until everything is answered. Raises where an answer does not come."""
        while self._plan or self._asked:
            pause = self._send_due()
            came = self._answers.poll(min(pause, PATIENCE_SECONDS))
            if not came and pause > PATIENCE_SECONDS:
                raise TimeoutError
            for number, _ in came:
                self._read(self._clients[number], number)

    def _send_due(self) -> float:
        """Returns how long nothing else is due."""
        while self._plan:
            ahead = self._plan[0][0] - time.perf_counter()
            if ahead > 0:
                return ahead
            self._clients[heappop(self._plan)[1]].send()
            self._asked += 1
        return NEVER

    def _read(self, client: Client, number: int) -> None:
        if client.is_answered():
            self._asked -= 1
            self.times.append(time.perf_counter() - client.due)
            client.proceed()
            if client.due < NEVER:
                heappush(self._plan, (client.due, number))


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
    while len(body) < _length_in(head):
        body += _read_some(connection)
    return head


def _length_in(head: bytes) -> int:
    return int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])


def _read_some(connection: socket.socket) -> bytes:
    piece = connection.recv(65536)
    if not piece:
        raise ConnectionResetError
    return piece
