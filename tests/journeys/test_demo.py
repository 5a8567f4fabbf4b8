"""The main job as a stranger runs it, and what is left of it when everything is killed in the middle."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cdp import supervisor
from cdp.demo.client import wait_until
from cdp.embedded import CHECKOUT, Stack
from tests.stacks import environment_of, forget

NUMBERS = ("people", "enrichment", "segments", "audiences")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A stack of its own in a directory of its own; nothing of it is left behind."""
    stack = Stack(tmp_path_factory.mktemp("demo"))
    yield stack
    supervisor.halt(stack)
    forget(stack)


@pytest.fixture(scope="module")
def demos(stack):
    """Results of: one that was killed and started again, then another from the beginning."""
    kill_in_the_middle(stack)
    return [play(stack), play(stack)]


def begin(stack: Stack, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "manage.py", "demo", "--once"],
            cwd=CHECKOUT, env=environment_of(stack), stdout=subprocess.DEVNULL, stderr=file,
        )  # fmt: skip


def play(stack: Stack) -> dict:
    log = stack.home / "demo.log"
    assert begin(stack, log).wait(timeout=600) == 0, log.read_text()[-3000:]
    return json.loads((stack.home / "demo.json").read_text())


def kill_in_the_middle(stack: Stack) -> None:
    """A worker, Valkey and Postgres, with SIGKILL, while purchases are on their way into profiles."""
    log = stack.home / "killed.log"
    process = begin(stack, log)
    wait_until(lambda: "purchases stored and linked" in log.read_text(), "the middle", seconds=200)
    running = json.loads((stack.home / "supervisor.json").read_text())
    postmaster = (stack.postgres_data / "postmaster.pid").read_text().split()[0]
    valkey = (stack.home / "valkey.pid").read_text()
    for pid in (running["children"]["worker-identity"], int(valkey), int(postmaster)):
        os.kill(pid, signal.SIGKILL)
    assert process.wait(timeout=300) != 0, "the demo did not notice that its database was gone"


def test_demo__killed_in_the_middle_and_started_again__loses_and_doubles_nothing(demos):
    resumed, undisturbed = demos

    assert {name: resumed[name] for name in NUMBERS} == {name: undisturbed[name] for name in NUMBERS}
    assert resumed["learned"]["why"] == undisturbed["learned"]["why"]
    assert resumed["learned"]["groups"] == undisturbed["learned"]["groups"]


def test_demo__from_the_beginning__takes_in_everything_once(demos):
    came_in = demos[1]["came_in"]

    assert came_in["crm"] == {"read": 5000, "accepted": 5000, "duplicates": 0, "quarantined": 0}
    assert came_in["webshop"] == {"read": 5000, "accepted": 5000, "duplicates": 0, "quarantined": 0}
    assert came_in["purchases"] == {"read": 6922, "accepted": 6919, "duplicates": 0, "quarantined": 3}


def test_demo__identity__is_right(demos):
    people = demos[1]["people"]

    assert people["f1"] >= 0.99
    assert people["records"] == 10_000


def test_demo__audiences__hold_only_people_who_permit_advertising(demos):
    for audience in demos[1]["audiences"]:
        assert audience["members"] == audience["sent"] + audience["no_consent"] + audience["no_email"]
        assert audience["arrived"] == audience["sent"]
        assert audience["no_consent"] > 0


def test_demo__life__goes_on(demos):
    assert [act["ok"] for act in demos[1]["life"]] == [True, True, True]
    assert all(act["seconds"] < 30 for act in demos[1]["life"])
