"""Web server, workers and scheduler: started, found, restarted, stopped; and ports that are taken."""

import json
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from cdp import supervisor
from cdp.demo.client import wait_until
from cdp.embedded import CHECKOUT, Stack
from tests.stacks import environment_of, forget

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("served"))
    yield stack
    supervisor.halt(stack)
    forget(stack)


def manage(stack: Stack, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=CHECKOUT, env={**environment_of(stack), **more}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def children(stack: Stack) -> dict[str, int]:
    return json.loads((stack.home / "supervisor.json").read_text())["children"]


@pytest.fixture
def served(stack):
    done = manage(stack, "stack", "serve")
    assert done.returncode == 0, done.stderr
    return stack


def test_serve__twice__finds_what_runs(served):
    before = supervisor.running(served)

    again = manage(served, "stack", "serve")

    assert again.returncode == 0
    assert supervisor.running(served) == before
    assert str(before["port"]) in again.stdout


@pytest.mark.parametrize("name", ["worker-segments", "web"])
def test_program__that_is_killed__is_started_again(name, served):
    killed = children(served)[name]

    os.kill(killed, signal.SIGKILL)

    wait_until(lambda: children(served)[name] != killed, "another process", 20)
    wait_until(lambda: supervisor.answers(supervisor.address(supervisor.running(served)["port"])), "an answer", 20)


def test_stop__ends_every_process(served):
    pids = [supervisor.running(served)["pid"], *children(served).values()]

    assert manage(served, "stack", "stop").returncode == 0

    assert [pid for pid in pids if psutil.pid_exists(pid) and "python" in psutil.Process(pid).name()] == []
    assert supervisor.running(served) is None


def test_supervisor__that_was_killed__leaves_no_orphans_to_the_next(served):
    orphans = list(children(served).values())
    os.kill(supervisor.running(served)["pid"], signal.SIGKILL)

    assert manage(served, "stack", "serve").returncode == 0

    assert not set(orphans) & set(children(served).values())
    assert [pid for pid in orphans if psutil.pid_exists(pid)] == []


def test_port__that_is_asked_for_and_taken__is_an_error_that_says_what_to_do(stack):
    manage(stack, "stack", "stop")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        done = manage(stack, "stack", "serve", PORT=str(port))

    assert done.returncode == supervisor.EXIT_PORT_IN_USE
    assert f"Port {port} is in use" in done.stderr
    assert "PORT=8123 make demo" in done.stderr
    assert supervisor.running(stack) is None
