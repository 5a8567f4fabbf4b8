"""A person asks, and what they asked for is done under the logins that do it in earnest: in every table, at every
destination, whatever is killed in between.
"""

import json
import os
import signal
import subprocess
import sys

import psycopg
import pytest

from cdp import embedded, http
from cdp.embedded import CHECKOUT
from tests import databases
from tests.fakes.audiences import SIGNING_KEY
from tests.fakes.receiver import FailingReceiver
from tests.journeys.test_erasure import found

pytestmark = pytest.mark.slow

ADA, PHONE, BOB = "ada.lovelace@example.com", "+33612345678", "bob@example.com"

SET_UP = """
import sys, types, django; django.setup()
from django.db import connection, transaction
from django.utils import timezone
from cdp.models import Identifier
from tests.factories import WorkspaceFactory
from tests.fakes.audiences import Fair
with transaction.atomic(), connection.cursor() as cursor:
    workspace = WorkspaceFactory()
    cursor.execute("SELECT set_config('tessera.workspace', %s, true)", [str(workspace.pk)])
    fair = Fair(workspace, types.SimpleNamespace(url=sys.argv[1]), timezone.now())
    people = [fair.member(value=value) for value in sys.argv[2:4]]
    fair.person(type="phone", value=sys.argv[4])
    fair.reconcile(*people)
print(workspace.pk)
"""

# As the worker of activation does it: audiences, then destinations that must be told.
SEND = """
import sys, django; django.setup()
from django.utils import timezone
from cdp import pipeline
from cdp.models import Stage
from activation import services
pipeline.run_until_idle(Stage.ACTIVATION, workspace_id=int(sys.argv[1]), now=timezone.now)
for _ in range(3):
    services.send_due(workspace_id=int(sys.argv[1]), now=timezone.now())
print(0)
"""

ASK = """
import json, sys, django; django.setup()
from django.utils import timezone
from cdp.kernel.identifiers import Identifier
from consent import requests
from consent.rights import Right
now, workspace = timezone.now(), int(sys.argv[1])
for kind, corrections in json.loads(sys.argv[2]).items():
    made = requests.receive_request(
        workspace_id=workspace, kind=Right(kind), identifiers=[Identifier.parse(one) for one in sys.argv[3:]],
        received_at=now, by="key:1", now=now, is_logged_in=True, corrections=corrections,
    )
    requests.start_request(workspace_id=workspace, request_id=made.pk, by="key:1", now=now)
print(made.pk)
"""

# How many of the requests it could not complete.
COMPLETE = """
import sys, django; django.setup()
from django.utils import timezone
from cdp.models.tenancy import workspace_scope
from consent import requests
from consent.models import DataRequest
workspace, refused = int(sys.argv[1]), 0
with workspace_scope(workspace):
    numbers = list(DataRequest.objects.filter(closed_at=None).values_list("pk", flat=True))
for number in numbers:
    try:
        requests.complete_request(workspace_id=workspace, request_id=number, by="key:1", now=timezone.now())
    except requests.NotDoneError:
        refused += 1
print(refused)
"""

# It stops where it is told to, until it is killed; the lease of whoever was killed is taken for over.
WORK = """
import sys, time, django; django.setup()
from datetime import timedelta
from django.utils import timezone
from consent import erasure, execution, rectification
workspace, where = int(sys.argv[1]), sys.argv[2]
def stop(*_, **__):
    print("stopped", flush=True)
    time.sleep(60)
if where == "within":
    erasure.erasure_ledger.follow = stop
    rectification.outbox.hand_over = stop
elif where == "after":
    execution._finish = stop
now = timezone.now() + (timedelta(hours=2) if where == "last" else timedelta())
while execution.carry_out_next(workspace_id=workspace, now=now):
    pass
print(0)
"""


@pytest.fixture
def database():
    with databases.fresh_database(f"{databases.default_name()}_execution") as name:
        yield name


@pytest.fixture
def receiver():
    http.forget_hosts()
    with FailingReceiver(SIGNING_KEY) as made:
        yield made
    assert made.violations == []


@pytest.fixture
def run(database, tmp_path):
    """`run(ASK, "web", …)`: a process of that login. Returns the number that it printed."""

    def begin(script, login, *arguments):
        environment = {
            **os.environ, "DATABASE_URL": embedded.default_stack().database_url(login, database), "LOG_LEVEL": "ERROR",
            "DJANGO_SETTINGS_MODULE": "tests.settings", "ERASURE_LEDGER": str(tmp_path / "erasures.jsonl"),
        }  # fmt: skip
        command = [sys.executable, "-c", script, *map(str, arguments)]
        return subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True)

    def finish(script, login, *arguments):
        process = begin(script, login, *arguments)
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        return int(printed)

    def killed(workspace, where):
        process = begin(WORK, "rights", workspace, where)
        assert process.stdout.readline() == "stopped\n"
        process.send_signal(signal.SIGKILL)
        process.communicate()

    finish.killed = killed
    return finish


def ask(database, question):
    with psycopg.connect(embedded.default_stack().database_url("postgres", database)) as connection:
        return connection.execute(question).fetchall()


def test_erasure__asked_for__is_done_everywhere_though_every_worker_is_killed(database, receiver, run):
    workspace = run(SET_UP, "postgres", receiver.url, ADA, BOB, PHONE)
    run(SEND, "worker_activation", workspace)
    assert len(receiver.members("loyal")) == 2
    run(ASK, "web", workspace, '{"ERASURE": {}}', f"email:{ADA}", f"phone:{PHONE}")

    run.killed(workspace, "within")
    within = (run(COMPLETE, "web", workspace), bool(found(database, [ADA])))
    end_leases(database)
    run.killed(workspace, "after")
    after = found(database, [ADA, PHONE[3:]])
    run(WORK, "rights", workspace, "last")
    run(SEND, "worker_activation", workspace)
    completed = run(COMPLETE, "web", workspace)

    assert (within, after, completed) == ((1, True), set(), 0)
    assert found(database, [BOB])
    assert ask(database, "SELECT count(*) FROM core.erasure") == [(1,)]
    assert ask(database, "SELECT answer FROM core.erasure_order") == [("ACKNOWLEDGED",)]
    assert len(receiver.members("loyal")) == len(receiver.erased) == 1
    steps = ask(database, "SELECT step, stepped_by FROM core.data_request_step ORDER BY id")
    assert steps[-2:] == [("request.carried_out", "rights"), ("request.completed", "key:1")]
    assert steps.count(("request.carried_out", "rights")) == 1


def end_leases(database):
    """Of those who were killed."""
    with psycopg.connect(embedded.default_stack().database_url("postgres", database)) as connection:
        connection.execute("UPDATE core.request_work SET claimed_until = NULL")


def test_rectification_and_objection__asked_for__are_done_though_a_worker_is_killed(database, receiver, run):
    workspace = run(SET_UP, "postgres", receiver.url, ADA, BOB, PHONE)
    run(SEND, "worker_activation", workspace)
    asked = json.dumps({"RECTIFICATION": {"city": "Paris"}, "OBJECTION": {}})
    run(ASK, "web", workspace, asked, f"email:{ADA}", f"phone:{PHONE}")

    run.killed(workspace, "within")
    within = ask(database, "SELECT count(*) FROM core.identifier_trait")
    run(WORK, "rights", workspace, "last")
    run(SEND, "worker_activation", workspace)
    refused = run(COMPLETE, "web", workspace)

    assert (within, refused) == ([(0,)], 0)
    told = ask(
        database,
        "SELECT i.value, t.name, t.value, s.kind FROM core.identifier_trait t JOIN core.identifier i ON i.id = t.identifier_id"
        " JOIN core.source s ON s.id = t.source_id ORDER BY 1",
    )
    assert told == [(PHONE, "city", "Paris", "STEWARD"), (ADA, "city", "Paris", "STEWARD")]
    assert len(receiver.members("loyal")) == 1
    masks = dict(ask(database, "SELECT value, permitted & ~1 FROM core.identifier"))
    assert masks == {ADA: 0, PHONE: 0, BOB: 126}
