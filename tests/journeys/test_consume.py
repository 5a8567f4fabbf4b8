"""`manage.py consume` as a process of its own: killed, started again, told to stop."""

import json
import os
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from cdp import embedded
from cdp.embedded import CHECKOUT
from tests import databases
from tests.fakes.streams import BROKERS

EVENTS = 3_000

SET_UP = """
import json, sys, django; django.setup()
from cdp.ingestion.subscribing import subscribe
from cdp.models import SourceKind
from tests.factories import WorkspaceFactory
workspace = WorkspaceFactory(slug="default")
subscribe(workspace_id=workspace.pk, name="people", kind=SourceKind(sys.argv[1]), config=json.loads(sys.argv[2]), secrets={})
"""
STORE = """
import django; django.setup()
from cdp import pipeline
from cdp.models import Stage, Workspace
from django.utils import timezone
for workspace in Workspace.objects.all():
    pipeline.run_until_idle(Stage.INGESTION, workspace_id=workspace.pk, now=timezone.now)
"""


@pytest.fixture
def database():
    with databases.fresh_database(f"{databases.default_name()}_consume") as name:
        yield name


@pytest.fixture(params=BROKERS, ids=lambda broker: broker.__name__.lower())
def broker(request):
    made = request.param()
    yield made
    made.close()


def start(login, database, *arguments):
    url = embedded.default_stack().database_url(login, database)
    environment = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "tests.settings", "LOG_LEVEL": "ERROR"}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    printed, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    return printed


def consume(database, *options):
    return start("operator", database, "manage.py", "consume", "people", "--json", *options)


def ask(database, question):
    with psycopg.connect(embedded.default_stack().database_url("postgres", database)) as connection:
        return connection.execute(question).fetchall()


def wait_for(condition):
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
def test_consume__killed_in_the_middle_and_started_again__stores_every_event_once(database, broker):
    ended(start("postgres", database, "-c", SET_UP, broker.kind.value, json.dumps(broker.config)))
    events = [{"type": "track", "event": "Seen", "userId": f"u{n}", "messageId": f"m{n}"} for n in range(EVENTS)]
    broker.write(*[json.dumps(event).encode() for event in events], b"{")

    victim = consume(database)
    wait_for(lambda: ask(database, "SELECT count(*) FROM core.inbox") > [(0,)])
    victim.send_signal(signal.SIGKILL)
    victim.communicate()

    survivor = consume(database)
    broker.write(json.dumps({**events[0], "messageId": "last"}).encode())
    wait_for(
        lambda: (
            ask(database, "SELECT count(*) FROM core.inbox WHERE convert_from(body, 'UTF8') LIKE '%\"last\"%'")
            == [(1,)]
        )
    )
    wait_for(
        lambda: ask(database, "SELECT sum((value ->> 'lag')::int) FROM core.connection, jsonb_each(cursor)") == [(0,)]
    )
    survivor.send_signal(signal.SIGTERM)
    counts = json.loads(ended(survivor))
    rest = json.loads(ended(consume(database, "--once")))
    ended(start("postgres", database, "-c", STORE))

    assert ask(database, "SELECT count(*), count(DISTINCT message_id) FROM core.event") == [(EVENTS + 1, EVENTS + 1)]
    assert ask(database, "SELECT code FROM core.quarantine") == [("invalid_json",)]
    assert counts["messages"] > 0
    assert rest == {"messages": 0, "accepted": 0, "quarantined": 0, "lag": 0}
