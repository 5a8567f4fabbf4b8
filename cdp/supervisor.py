"""Web server, workers and scheduler of the default set-up: started, watched, started again when they die, stopped.

One background process watches the others. It holds a lock on its port for as long as it lives, so two checkouts that
start at the same moment never choose the same one. In production docker-compose or Kubernetes do this work.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import psutil
from django.conf import settings

from cdp.embedded import CHECKOUT, EMBEDDED_MARK, EmbeddedError, Stack, environment_for
from cdp.kernel.errors import TesseraError
from cdp.kernel.logins import FIGURES_QUEUE, OPERATOR, RIGHTS, RIGHTS_QUEUE, WEB, WEBHOOKS_QUEUE, WORKER_BY_QUEUE

HOST = "127.0.0.1"
FIRST_PORT, PORTS_TRIED = 8000, 100
WATCH_SECONDS = 0.5
PATIENCE_SECONDS = 60
FORGIVEN_AFTER_SECONDS = 30  # a process that lived this long may start again at once
LONGEST_PAUSE_SECONDS = 30.0
RETRY_SECONDS = 2  # after Postgres or Valkey did not start


class PortInUseError(TesseraError):
    """The port that PORT asks for is in use."""

    code = "port_in_use"


class ServeError(TesseraError):
    """The web server, a worker or the scheduler did not start."""

    code = "serve_failed"


@dataclass(frozen=True)
class Program:
    name: str
    arguments: tuple[str, ...]
    login: str


@dataclass
class Child:
    """A running program; `pause` doubles while it keeps dying young."""

    program: Program
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    pause: float = 0.0

    def watch(self) -> None:
        if self.process is not None and self.process.poll() is None:
            return
        age = time.monotonic() - self.started
        if self.process is not None and age > FORGIVEN_AFTER_SECONDS:
            self.pause = 0.0
        if age >= self.pause:
            self._start()

    def _start(self) -> None:
        self.pause = min(max(1.0, self.pause * 2), LONGEST_PAUSE_SECONDS) if self.process is not None else 0.0
        self.started = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.program.arguments, env=environment_for(self.program.login), cwd=CHECKOUT,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip


def programs(port: int, data: Path) -> Iterator[Program]:
    scripts = Path(sys.executable).parent
    web = (
        "--interface", "wsgi", "--host", HOST, "--port", str(port), "--workers", "2", "--blocking-threads", "16",
        "--respawn-failed-workers", "--respawn-interval", "0.1", "--no-ws", "--log-level", "warning", "cdp.wsgi:application",
    )  # fmt: skip
    celery = (str(scripts / "celery"), "--app", "cdp.celery")
    quiet = ("--loglevel", "INFO")  # what Celery says itself is quieted by LOGGING
    yield Program("web", (str(scripts / "granian"), *web), WEB)
    others = {RIGHTS_QUEUE: RIGHTS, FIGURES_QUEUE: WORKER_BY_QUEUE["segments"]}
    for queue, login in {**WORKER_BY_QUEUE, **others}.items():
        worker = (
            "worker", "--queues", queue, "--pool", "solo", "--hostname", f"{queue}@%h",
            "--without-gossip", "--without-mingle", "--without-heartbeat",
        )  # fmt: skip
        yield Program(f"worker-{queue}", (*celery, *worker, *quiet), login)
    told = (
        "worker", "--queues", WEBHOOKS_QUEUE, "--pool", "threads", "--concurrency", "8", "--hostname", f"{WEBHOOKS_QUEUE}@%h",
        "--without-gossip", "--without-mingle", "--without-heartbeat",
    )  # fmt: skip
    yield Program(f"worker-{WEBHOOKS_QUEUE}", (*celery, *told, *quiet), WEB)
    beat = ("beat", "--schedule", str(data / "beat"), "--pidfile", "")
    yield Program("beat", (*celery, *beat, *quiet), WORKER_BY_QUEUE["ingestion"])


# -- from outside: start, find, stop --------------------------------------------------------------------------------


def serve(stack: Stack) -> str:
    """Start everything that does not run yet. Returns the address of the console, once it answers."""
    if found := running(stack):
        return address(found["port"])
    _end_orphans(stack)
    with (stack.home / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "stack", "supervise"],
            cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            lines = (stack.home / "supervisor.log").read_text(errors="replace").strip().splitlines()
            raise (PortInUseError if process.returncode == EXIT_PORT_IN_USE else ServeError)(lines[-1] if lines else "")
        found = running(stack)
        if found and answers(address(found["port"])):
            return address(found["port"])
        time.sleep(0.1)
    message = f"The web server did not answer within {PATIENCE_SECONDS} s: see {stack.home}/web.log"
    raise ServeError(message)


def stop(stack: Stack) -> None:
    halt(stack)
    stack.stop()


def halt(stack: Stack) -> None:
    """Stop web server, workers and scheduler; Postgres and Valkey stay."""
    if found := running(stack):
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(found["pid"])
            process.terminate()
            process.wait(timeout=PATIENCE_SECONDS)
    _end_orphans(stack)


def running(stack: Stack) -> Mapping[str, int] | None:
    """{"pid", "port"} of the supervisor of this checkout, if it lives."""
    with contextlib.suppress(OSError, ValueError, psutil.Error):
        found: dict[str, int] = json.loads((stack.home / "supervisor.json").read_text())
        if "supervise" in psutil.Process(found["pid"]).cmdline():
            return found
    return None


def address(port: int) -> str:
    return f"http://{HOST}:{port}"


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/live", timeout=2) as response:  # noqa: S310  # our own address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


# -- the supervising process ----------------------------------------------------------------------------------------

EXIT_PORT_IN_USE = 3


def _refuse_restored() -> None:
    """Asked of a process of its own, which has the environment of the others."""
    checked = subprocess.run(
        [sys.executable, "manage.py", "reapply_erasures", "--check"],
        env=environment_for(OPERATOR), cwd=CHECKOUT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if checked.returncode:
        raise ServeError(checked.stderr.strip())


def supervise(stack: Stack) -> None:
    """Run until SIGTERM or SIGINT. On a restored database, where people are back who were erased, nothing is started."""
    if settings.ERASURE_LEDGER.exists():
        _refuse_restored()
    port, lock = _take_port(os.environ.get("PORT"))
    with lock, _until_signalled() as signalled:
        children = [Child(program, stack.home / f"{program.name}.log") for program in programs(port, stack.home)]
        try:
            while not signalled:
                if EMBEDDED_MARK in os.environ:
                    _keep_up(stack)
                for child in children:
                    child.watch()
                _write(stack, port, children)
                time.sleep(WATCH_SECONDS)
        finally:
            _end_all(children)
            (stack.home / "supervisor.json").unlink(missing_ok=True)


def _keep_up(stack: Stack) -> None:
    """A server that dies while it starts is tried again: whatever killed it may not come a third time."""
    try:
        stack.start()
    except EmbeddedError as error:
        sys.stderr.write(f"{error.code}: {error.message}\n")
        time.sleep(RETRY_SECONDS)


def _write(stack: Stack, port: int, children: list[Child]) -> None:
    pids = {child.program.name: child.process.pid for child in children if child.process}
    text = json.dumps({"pid": os.getpid(), "port": port, "children": pids})
    file = stack.home / "supervisor.json"
    if not file.exists() or file.read_text() != text:
        file.with_suffix(".new").write_text(text)
        file.with_suffix(".new").rename(file)


@contextlib.contextmanager
def _until_signalled() -> Iterator[list[int]]:
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda n, _: received.append(n)) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _take_port(asked: str | None) -> tuple[int, TextIO]:
    if asked and not asked.isdigit():
        raise PortInUseError(f"PORT must be a number, not {asked!r}")
    candidates = [int(asked)] if asked else range(FIRST_PORT, FIRST_PORT + PORTS_TRIED)
    for port in candidates:
        lock = (Path(tempfile.gettempdir()) / f"tessera-port-{port}-{os.getuid()}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, port))
        except OSError:
            lock.close()
            continue
        return port, lock
    tried = f"Port {asked} is" if asked else f"Ports {FIRST_PORT} to {FIRST_PORT + PORTS_TRIED - 1} are"
    raise PortInUseError(f"{tried} in use. Stop what uses it, or choose another: PORT=8123 make demo")


def _end_all(children: list[Child]) -> None:
    processes = [child.process for child in children if child.process and child.process.poll() is None]
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + 15
    for process in processes:
        try:
            process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_orphans(stack: Stack) -> None:
    """Children of a supervisor that was killed: found by the database login of this checkout in their environment."""
    mark = str(stack.sockets)
    ours = []
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or ())
        if "cdp.celery" not in command and "cdp.wsgi:application" not in command:
            continue
        with contextlib.suppress(psutil.Error):
            if any(mark in value.replace("%2F", "/") for value in process.environ().values()):
                ours.append(process)
    for process in ours:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(ours, timeout=10)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
