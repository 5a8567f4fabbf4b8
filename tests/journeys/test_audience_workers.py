"""Two worker processes at once, each under the login of its queue, and one that is killed in the middle."""

import os
import subprocess
import sys
import time

import psycopg
import pytest

from cdp import embedded, http
from cdp.embedded import CHECKOUT
from cdp.kernel.logins import WORKER_BY_QUEUE
from tests import databases
from tests.fakes.audiences import SIGNING_KEY
from tests.fakes.receiver import FailingReceiver

PEOPLE = 40

SET_UP = """
import sys, types, django; django.setup()
from django.db import connection, transaction
from django.utils import timezone
from tests.factories import WorkspaceFactory
from tests.fakes.audiences import Fair
with transaction.atomic(), connection.cursor() as cursor:
    workspace = WorkspaceFactory()
    cursor.execute("SELECT set_config('tessera.workspace', %s, true)", [str(workspace.pk)])
    Fair(workspace, types.SimpleNamespace(url=sys.argv[1]), timezone.now()).members(int(sys.argv[2]))
print(workspace.pk)
"""

SEND = """
import sys, django; django.setup()
from django.utils import timezone
from activation import services
from activation.destination import Limits
from activation.destinations.webhook.destination import Webhook
Webhook.limits = Limits(rows=3, bytes=100_000)
print(sum(services.send_due(workspace_id=int(sys.argv[1]), now=timezone.now()) for _ in range(3)))
"""


@pytest.fixture
def database():
    with databases.fresh_database(f"{databases.default_name()}_workers") as name:
        yield name


@pytest.fixture
def receiver():
    http.forget_hosts()
    with FailingReceiver(SIGNING_KEY) as made:
        yield made
    assert made.violations == []


def start(script, login, database, *arguments):
    url = embedded.default_stack().database_url(login, database)
    environment = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "tests.settings", "LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True)


def said_by(process):
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return int(printed)


def ask(database, question):
    with psycopg.connect(embedded.default_stack().database_url("postgres", database)) as connection:
        return connection.execute(question).fetchall()


@pytest.mark.slow
def test_workers__two_at_once_and_one_killed__send_everything_and_lose_nothing(database, receiver):
    workspace = said_by(start(SET_UP, "postgres", database, receiver.url, PEOPLE))
    login = WORKER_BY_QUEUE["activation"]

    receiver.seconds = 1
    victim = start(SEND, login, database, workspace)
    while not receiver.bodies:
        time.sleep(0.01)
    victim.kill()
    victim.communicate()
    receiver.heal()
    assert ask(database, "SELECT count(*) FROM core.sync_run WHERE finished_at IS NULL") == [(1,)]
    others = [start(SEND, login, database, workspace) for _ in range(2)]
    assert [said_by(other) for other in others] == [0, 0]  # the lease is the victim's

    ask_all = "UPDATE core.destination SET leased_until = NULL; UPDATE core.audience_member SET due_at = changed_at"
    with psycopg.connect(embedded.default_stack().database_url("postgres", database)) as connection:
        connection.execute(ask_all)
    others = [start(SEND, login, database, workspace) for _ in range(2)]

    assert sum(said_by(other) for other in others) == PEOPLE
    assert len(receiver.members("loyal")) == PEOPLE
    assert receiver.counts["loyal"].adds == PEOPLE
    assert receiver.idempotency_keys[0] == receiver.idempotency_keys[1]
    assert len(set(receiver.idempotency_keys)) == len(receiver.idempotency_keys) - 1
    assert ask(database, "SELECT state, count(*) FROM core.audience_member GROUP BY 1") == [("PRESENT", PEOPLE)]
    assert ask(database, "SELECT count(*) FROM core.sync_run WHERE finished_at IS NULL") == [(0,)]
