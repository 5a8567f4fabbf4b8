"""The whole life of a person, and after each of its days: nothing that was made of them disagrees with the ledger.

Ada visits, refuses, accepts, is recognised, objects, withdraws, wants to know what is held, is erased, is imported again, and
a backup with her in it is restored. Bob buys as she does, permits all, and stays.
"""

import hashlib
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from cdp import embedded, http
from cdp.embedded import CHECKOUT
from tests import databases
from tests.fakes.audiences import SIGNING_KEY
from tests.fakes.receiver import FailingReceiver
from tests.journeys.test_erasure import dump, found, restore

pytestmark = pytest.mark.slow

ADA, BOB, DEVICE = "ada.lovelace@example.com", "bob@example.com", "device-of-ada"
NAMES = (ADA, DEVICE, "Lovelace-King", "ada-in-the-shop")
PEOPLE = f"""id,given_name,surname,email,shop_id
1,Ada,Lovelace-King,{ADA},ada-in-the-shop
2,Bob,Builder,{BOB},bob-in-the-shop
"""

BEFORE = """
import json, sys, django; django.setup()
from django.utils import timezone
now, told = timezone.now(), json.loads(sys.argv[1])
"""
OPEN = """
from activation import services as activation
from cdp.models.tenancy import workspace_scope
from consent import services as consent
from segments import services as segments
workspace = consent.open_workspace(slug="life", name="Life", now=now).pk
with workspace_scope(workspace):
    segment = segments.create_segment(
        workspace_id=workspace, slug="buyers", name="Buyers", definition='count of "Order Completed" >= 1', author=None, now=now
    )
    destination = activation.create_destination(
        workspace_id=workspace, slug="ads", kind="webhook", config={"url": told["url"]},
        secrets={"signing_key": told["signing_key"]}, now=now,
    )
    activation.create_audience(
        workspace_id=workspace, destination=destination, segment=segment, external_id="buyers", identifier_types=["email"],
        now=now,
    )
print(json.dumps(workspace))
"""
DRAIN = """
from cdp import pipeline
from cdp.models import Workspace
assert pipeline.drain(workspace_id=Workspace.objects.get().pk, now=timezone.now, timeout=60)
"""
SAY = """
from cdp.kernel.identifiers import Identifier
from cdp.kernel.purposes import Purpose
from consent import services as consent
said = consent.ConsentStatement(Identifier.parse(told["identifier"]), Purpose.ADVERTISING, told["state"], now)
consent.record_consents(workspace_id=told["workspace"], statements=[said], now=now)
"""
SEND = """
from cdp.ingestion import services as ingestion
from cdp.models import Source
for call in told["calls"]:
    body = json.dumps({"batch": [{"timestamp": now.isoformat(), **call}]}).encode()
    ingestion.accept(source=Source.objects.get(name="shop"), body=body, path_kind="batch", received_at=now)
"""
ASK = """
from cdp.kernel.identifiers import Identifier
from consent import requests
from consent.rights import Right
made = requests.receive_request(
    workspace_id=told["workspace"], kind=Right(told["kind"]), identifiers=[Identifier.parse(told["identifier"])],
    received_at=now, by="officer", now=now, is_logged_in=True,
)
requests.start_request(workspace_id=told["workspace"], request_id=made.pk, by="officer", now=now)
print(json.dumps(made.pk))
"""
CARRY_OUT = """
from consent import execution, packaging
while execution.carry_out_next(workspace_id=told["workspace"], now=now):
    pass
while packaging.build_next(workspace_id=told["workspace"], now=now):
    pass
"""
# What the link gives that the person gets.
OPENED = """
import io, zipfile
from consent import packaging
token, _ = packaging.make_link(workspace_id=told["workspace"], request_id=told["request"], by="officer", now=now)
archive = zipfile.ZipFile(io.BytesIO(b"".join(packaging.open_package(token, now=now))))
print(json.dumps([archive.read(name).decode() for name in archive.namelist() if name.endswith(".json")]))
"""
COMPLETE = """
from consent import requests
requests.complete_request(workspace_id=told["workspace"], request_id=told["request"], by="officer", now=now)
"""
# What everybody and every stage sees, beside what the ledger says of it. As the superuser, from whom nothing is hidden.
WATCH = """
from django.db import connection
from cdp.kernel.identifiers import Identifier
from cdp.kernel.purposes import Purpose
from cdp.models.tenancy import workspace_scope
from consent import chain, queries
seen = {}
with workspace_scope(told["workspace"]), connection.cursor() as cursor:
    cursor.execute("SELECT type, value, profile_id FROM core.identifier")
    for kind, value, profile in cursor.fetchall():
        answers = queries.explain_all(workspace_id=told["workspace"], identifier=Identifier(kind, value), now=now)
        seen[f"{kind}:{value}"] = {
            "profile": profile,
            "ledger": [purpose.value for purpose in Purpose if purpose.is_gated and answers[purpose].decision.allowed],
            "gate": [purpose.value for purpose in Purpose if purpose.is_gated and answers[purpose].allowed],
            "views": [],
        }
    cursor.execute("SELECT schemaname FROM pg_views WHERE viewname = 'identifier' ORDER BY 1")
    showing = [purpose for (purpose,) in cursor.fetchall() if Purpose(purpose).is_gated]
    for purpose in showing:
        cursor.execute(f"SELECT type, value FROM {purpose}.identifier")
        for kind, value in cursor.fetchall():
            seen[f"{kind}:{value}"]["views"].append(purpose)
    cursor.execute("SELECT DISTINCT profile_id FROM core.membership WHERE left_at IS NULL")
    members = [profile for (profile,) in cursor.fetchall()]
    whole = chain.verify(told["workspace"]).is_whole
print(json.dumps({"identifiers": seen, "members": members, "showing": showing, "is_whole": whole}))
"""


@pytest.fixture
def database():
    with databases.fresh_database(f"{databases.default_name()}_life") as name:
        yield name


@pytest.fixture
def receiver():
    http.forget_hosts()
    with FailingReceiver(SIGNING_KEY) as made:
        yield made
    assert made.violations == []


@pytest.fixture
def life(database, receiver, tmp_path):
    """What happens, under the logins under which it happens, and `agrees` after it."""
    common = {
        **os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "LOG_LEVEL": "ERROR",
        "ERASURE_LEDGER": str(tmp_path / "erasures.jsonl"),
    }  # fmt: skip

    def process(login, *arguments, fails_with=""):
        environment = {**common, "DATABASE_URL": embedded.default_stack().database_url(login, database)}
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode != 0) is bool(fails_with), done.stderr
        assert fails_with in done.stderr
        return done.stdout

    def run(script, login="operator", **told):
        printed = process(login, "-c", BEFORE + script, json.dumps(told))
        return json.loads(printed) if printed else None

    def manage(*arguments, **options):
        return process("operator", "-m", "django", *arguments, **options)

    workspace = run(OPEN, "postgres", url=receiver.url, signing_key=SIGNING_KEY)
    return SimpleNamespace(
        run=run, manage=manage, workspace=workspace, receiver=receiver, database=database, path=tmp_path
    )


def send(life, *calls):
    life.run(SEND + DRAIN, calls=calls)


def bring_people(life, name):
    """The same rows in a file that no load has seen."""
    path = life.path / f"{name}.csv"
    path.write_text(PEOPLE)
    life.manage("load", "records", path, "--source", "crm", "--workspace", "life", "--quiet")


def say(life, identifier, state):
    """What they say of advertising."""
    life.run(SAY + DRAIN, workspace=life.workspace, identifier=identifier, state=state)


def ask(life, kind, identifier):
    """As the officer asks for the person, and the worker of their rights does it."""
    request = life.run(ASK, "web", workspace=life.workspace, kind=kind, identifier=identifier)
    life.run(CARRY_OUT, "rights", workspace=life.workspace)
    life.run(DRAIN)
    life.run(COMPLETE, "web", workspace=life.workspace, request=request)
    return request


def agrees(life):
    """Nobody is seen, counted or sent against the ledger. Returns who is in the segment and who at the platform."""
    seen = life.run(WATCH, "postgres", workspace=life.workspace)
    for name, each in seen["identifiers"].items():
        assert each["gate"] == each["ledger"], name
        assert each["views"] == sorted(set(each["ledger"]) & set(seen["showing"])), name
    permitting = {
        purpose: {each["profile"] for each in seen["identifiers"].values() if purpose in each["ledger"]}
        for purpose in ("segmentation", "advertising")
    }
    assert set(seen["members"]) <= permitting["segmentation"]
    emails = {
        name.partition(":")[2]: one["profile"] for name, one in seen["identifiers"].items() if name[:6] == "email:"
    }
    sent = {email for email in emails if hashlib.sha256(email.encode()).hexdigest() in life.receiver.members("buyers")}
    assert len(sent) == len(life.receiver.members("buyers"))  # nobody is there whom nobody knows
    assert {emails[email] for email in sent} <= permitting["advertising"] & set(seen["members"])
    assert seen["is_whole"]
    return {email for email, profile in emails.items() if profile in seen["members"]}, sent


def order(message, **who):
    return {"type": "track", "event": "Order Completed", "messageId": message, "properties": {"total": 3}, **who}


def test_life__from_the_first_visit_to_the_restored_backup__agrees_with_the_ledger_at_every_moment(life, database):
    backup = f"{database}_backup"
    life.manage("sources", "create", "shop", "--kind", "http", "--workspace", "life")
    life.manage("sources", "create", "crm", "--kind", "file", "--workspace", "life")
    bring_people(life, "first")
    say(life, f"email:{BOB}", "GIVEN")

    send(life, order("visit-1", anonymousId=DEVICE), order("bob-1", userId="bob-in-the-shop"))
    identify = {"type": "identify", "messageId": "bob-2", "userId": "bob-in-the-shop", "traits": {"email": BOB}}
    send(life, identify)
    assert agrees(life) == ({BOB}, {BOB})

    say(life, f"anonymous_id:{DEVICE}", "REFUSED")
    assert agrees(life) == ({BOB}, {BOB})

    say(life, f"email:{ADA}", "GIVEN")
    assert agrees(life) == ({BOB}, {BOB})  # nobody knows yet that the device is hers

    traits = {"email": ADA}
    send(
        life,
        {
            "type": "identify",
            "messageId": "login",
            "anonymousId": DEVICE,
            "userId": "ada-in-the-shop",
            "traits": traits,
        },
    )
    assert agrees(life) == ({ADA, BOB}, {BOB})  # one person now, and a refusal of hers stands

    say(life, f"anonymous_id:{DEVICE}", "GIVEN")
    assert agrees(life) == ({ADA, BOB}, {ADA, BOB})

    say(life, f"email:{ADA}", "WITHDRAWN")
    assert agrees(life) == ({ADA, BOB}, {BOB})

    ask(life, "OBJECTION", f"email:{ADA}")
    assert agrees(life) == ({BOB}, {BOB})

    request = ask(life, "ACCESS", f"email:{ADA}")
    package = " ".join(life.run(OPENED, "web", workspace=life.workspace, request=request))
    assert [
        word for word in ("Order Completed", *NAMES, "REFUSED", "GIVEN", "WITHDRAWN", "Buyers") if word not in package
    ] == []
    assert BOB not in package
    dump(database, backup)

    try:
        ask(life, "ERASURE", f"email:{ADA}")
        assert found(database, NAMES) == set()
        assert agrees(life) == ({BOB}, {BOB})

        bring_people(life, "again")
        send(life, order("visit-2", anonymousId=DEVICE), order("visit-3", userId="ada-in-the-shop"))
        assert found(database, NAMES) == set()
        assert agrees(life) == ({BOB}, {BOB})

        restore(database, backup)
        assert found(database, NAMES)
        life.manage("reapply_erasures", "--check", fails_with="restored_database")
        life.manage("reapply_erasures")
        life.run(DRAIN)
        assert found(database, NAMES) == set()
        assert agrees(life) == ({BOB}, {BOB})
    finally:
        databases.drop(backup)
