"""What was acknowledged is never lost: web server, worker and Postgres are killed under load, and come back."""

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter

import psutil
import pytest
from celery import current_app
from kombu.exceptions import OperationalError

from cdp import supervisor
from cdp.demo.client import wait_until
from cdp.embedded import CHECKOUT, DATABASE, Stack
from cdp.tasks import advance
from tests.conformance.road import Road
from tests.conformance.sdks import SDKS
from tests.stacks import environment_of, forget

pytestmark = pytest.mark.slow

SEED = 4711
EVENTS, PER_SECOND = 4_000, 200
EVERY_NTH_IS_BAD = 50
KILLS_PER_VICTIM = 2
(SDK,) = (sdk for sdk in SDKS if sdk.name == "segment-analytics-python 2.4.0")


@pytest.fixture
def stack(tmp_path):
    stack = Stack(tmp_path / "data")
    yield stack
    supervisor.halt(stack)
    forget(stack)


def manage(stack, *arguments):
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=CHECKOUT, env=environment_of(stack), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- who is killed --------------------------------------------------------------------------------------------------


def children(stack):
    return json.loads((stack.home / "supervisor.json").read_text())["children"]


def a_web_process(stack, chance):
    """One of those that answer requests."""
    return chance.choice(psutil.Process(children(stack)["web"]).children())


def the_web_server(stack, _):
    return psutil.Process(children(stack)["web"])


def the_worker(stack, _):
    return psutil.Process(children(stack)["worker-ingestion"])


def postgres(stack, _):
    pid = stack._postgres_pid()
    if pid is None:
        raise psutil.NoSuchProcess(0)
    return psutil.Process(pid)


VICTIMS = (a_web_process, the_web_server, the_worker, postgres)


def kill_at_random(stack, road, over, killed):
    """Each victim twice, in an order and at moments that the seed decides, from the first request until the last."""
    wait_until(lambda: road.posts, "the load", 60)
    chance = random.Random(SEED)
    victims = chance.sample(VICTIMS * KILLS_PER_VICTIM, len(VICTIMS) * KILLS_PER_VICTIM)
    for victim in victims:
        if over.wait(chance.uniform(1, 3)):
            return
        try:
            victim(stack, chance).kill()
        except (psutil.Error, IndexError):
            continue  # still dead from the last time
        killed.append(victim.__name__)


# -- what was sent, and what became of it ---------------------------------------------------------------------------


def calls():
    for number in range(EVENTS):
        name = " " if number % EVERY_NTH_IS_BAD == 0 else "Viewed"  # no name: refused, and the others are not
        yield {"type": "track", "userId": f"u{number % 97}", "event": name, "properties": {"n": number}}


def send(road, write_key):
    settings = {
        "host": road.url, "write_key": write_key, "gzip": None, "retries": 10, "clock_ahead_seconds": 0, "hurry": 1,
        "calls_per_second": PER_SECOND,
    }  # fmt: skip
    return SDK.drive(settings, list(calls()))


def acknowledged(road):
    """Message ids that the server said it keeps, and those that it said it refuses."""
    kept, refused = set(), set()
    for seen in road.posts:
        if seen.status == 200:
            rejected = {one["messageId"] for one in json.loads(seen.said)["rejected"]}
            refused |= rejected
            kept |= {event["messageId"] for event in seen.events} - rejected
    return kept, refused


def nothing_waits(stack):
    with stack.connect_as_superuser(DATABASE) as admin:
        (waiting,) = admin.execute(
            "SELECT (SELECT count(*) FROM core.inbox) + (SELECT count(*) FROM core.outbox WHERE stage = 'INGESTION')"
        ).fetchone()
    return waiting == 0


def stored(stack):
    with stack.connect_as_superuser(DATABASE) as admin:
        return admin.execute("SELECT message_id, (properties->>'n')::int FROM core.event").fetchall()


def set_aside(stack):
    with stack.connect_as_superuser(DATABASE) as admin:
        return admin.execute("SELECT raw::jsonb->>'messageId', code FROM core.quarantine").fetchall()


def test_load__while_everything_is_killed__is_stored_once_or_refused_with_a_reason(stack):
    manage(stack, "stack", "serve")
    write_key = json.loads(manage(stack, "sources", "create", "shop", "--kind", "http", "--json"))["write_key"]
    killed, over = [], threading.Event()

    with Road(supervisor.address(supervisor.running(stack)["port"])) as road:
        killer = threading.Thread(target=kill_at_random, args=(stack, road, over, killed))
        killer.start()
        report = send(road, write_key)
        over.set()
        killer.join()
        kept, refused = acknowledged(road)
    wait_until(lambda: nothing_waits(stack), "the stage has stored everything", 60)

    assert {victim.__name__ for victim in VICTIMS} <= set(killed)
    assert [seen.status for seen in road.posts if seen.status >= 500], "the kills were felt"
    assert report == {"refused": 0, "failed": 0, "reasons": []}
    events = stored(stack)
    assert Counter(message for message, _ in events) == Counter(kept)
    bad = set(range(0, EVENTS, EVERY_NTH_IS_BAD))
    assert sorted(number for _, number in events) == sorted(set(range(EVENTS)) - bad)
    assert Counter(set_aside(stack)) == Counter((message, "missing_event_name") for message in refused)
    assert len(refused) == len(bad)


def test_wake_up__where_no_broker_listens__is_given_up_at_once():
    """It is sent within the request of an SDK, which is not to wait for it."""
    nowhere = current_app.connection_for_write("redis+socket:///nowhere/valkey.sock")

    begun = time.monotonic()
    with pytest.raises(OperationalError):
        advance.apply_async(kwargs={"stage": "INGESTION", "workspace_id": 1}, connection=nowhere, retry=False)

    assert time.monotonic() - begun < 1
