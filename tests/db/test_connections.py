"""Connections from outside: the page of the console, the command, the worker with its rights and no others."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from cdp import tasks
from cdp.ingestion import connecting, reading
from cdp.ingestion.connecting import UnknownConnectionError
from cdp.ingestion.reading import BeingReadError, ReadingFailedError
from cdp.management.commands import connections as command_module
from cdp.models import Connection, Record, Run, RunState, Source, SourceKind
from cdp.models.secrets import decrypted
from tests.factories import SourceFactory, WorkspaceFactory
from tests.factories.filled import console_user
from tests.fakes.salesforce import SECRETS, Salesforce

THEN = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def salesforce(settings):
    reading.connectors.forget()
    with Salesforce() as fake:
        settings.CONNECTOR_URLS = {**settings.CONNECTOR_URLS, "SALESFORCE": fake.url}
        fake.person(1, THEN)
        yield fake


def connect(workspace, name="crm", **more):
    return connecting.create_connection(
        workspace_id=workspace.pk, name=name, kind="SALESFORCE", config={"domain": "acme.my"}, secrets=SECRETS,
        every_seconds=900, now=timezone.now(), **more,
    )  # fmt: skip


# -- the worker -----------------------------------------------------------------------------------------------------


def test_worker__with_its_own_rights__reads_what_is_due(workspace, salesforce, as_login):
    salesforce.person(2, THEN)
    salesforce.delete(2, THEN + timedelta(days=1))
    connect(workspace)
    Record.objects.all().delete()
    as_login("worker_ingestion")

    tasks.read_connections()

    as_login("none")
    assert Connection.objects.get().run.state == RunState.DONE
    assert Record.objects.get().deleted_at is None


def test_worker__sees_a_deletion_with_its_own_rights(workspace, salesforce, as_login):
    connect(workspace)
    tasks.read_connections()
    salesforce.delete(1, THEN + timedelta(days=1))
    Connection.objects.update(due_at=timezone.now())
    as_login("worker_ingestion")

    tasks.read_connections()

    as_login("none")
    assert Record.objects.get().deleted_at is not None


def test_worker__reads_every_open_workspace_and_only_what_is_due(workspace, salesforce):
    connect(workspace)
    other = WorkspaceFactory()
    later = connect(other, "later")
    Connection.objects.filter(pk=later.pk).update(due_at=timezone.now() + timedelta(hours=1))
    closed = connect(WorkspaceFactory(closed_at=timezone.now()), "closed")

    tasks.read_connections()

    assert set(Record.objects.values_list("workspace", flat=True)) == {workspace.pk}
    assert not Run.objects.filter(workspace__in=[other.pk, closed.workspace_id]).exists()


def test_source__that_sends_by_itself__is_never_read(workspace, salesforce):
    source = SourceFactory(workspace=workspace, kind=SourceKind.WEBHOOK)
    pushed = Connection.objects.create(workspace=workspace, source=source)
    connecting.ask_reading(pushed, now=timezone.now())

    tasks.read_connections()

    pushed.refresh_from_db()
    assert (pushed.due_at, pushed.run) == (None, None)


# -- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(workspace, capsys, monkeypatch):
    monkeypatch.setenv(command_module.SECRETS_VARIABLE, json.dumps(SECRETS))

    def call(*words):
        call_command(command_module.Command(), *words, "--workspace", workspace.slug, "--json")
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("domain: acme.my\nobjects: [Contact, Account]\n")
    return str(path)


def test_command__connects_checks_reads_and_forgets(run, salesforce, config):
    made = run("create", "crm", "--kind", "salesforce", "--config", config)
    checked = run("check", "crm")
    counts = run("run", "crm")
    listed = run("list")
    run("reset", "crm")

    assert (made["connection"], made["kind"], made["state"]) == ("crm", "salesforce", "waiting")
    assert checked == {"connection": "crm", "ok": True, "objects": {"Contact": "", "Account": ""}}
    assert counts == {
        "connection": "crm", "read": 1, "accepted": 1, "duplicates": 0, "quarantined": 0, "deleted": 0
    }  # fmt: skip
    assert listed["connections"][0]["counts"]["accepted"] == 1
    assert Connection.objects.get().cursor == {}
    assert "4711" not in f"{made}{listed}"


def test_command__says_why_it_could_not_read(run, salesforce, config):
    run("create", "crm", "--kind", "salesforce", "--config", config)
    salesforce.fail(403, [{"message": "ada@example.com", "errorCode": "API_DISABLED_FOR_ORG"}])

    with pytest.raises(ReadingFailedError, match="paused: api_disabled_for_org"):
        run("run", "crm")

    assert not Record.objects.exists()


def test_command__of_a_connection_that_is_being_read__waits_for_nobody(run, workspace, salesforce, config):
    run("create", "crm", "--kind", "salesforce", "--config", config)
    reading.claim(workspace_id=workspace.pk, now=timezone.now())

    with pytest.raises(BeingReadError):
        run("run", "crm")


def test_command__for_an_unknown_name__tells_which_there_are(run, salesforce, config):
    run("create", "crm", "--kind", "salesforce", "--config", config)

    with pytest.raises(UnknownConnectionError, match="there are crm"):
        run("check", "other")


def test_command__shows_the_shipped_mappings_as_settings(run, workspace):
    shown = run("mapping", "--kind", "salesforce")

    assert connecting.plans("SALESFORCE", shown, source="crm") == connecting.plans(
        "SALESFORCE", {"domain": "acme.my"}, source="crm"
    )


# -- the page -------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(workspace):
    client = Client()
    client.force_login(console_user(workspace))
    return client


def page(name, *args):
    return reverse(f"admin:cdp_connection_{name}", args=args)


def given(**more):
    return {
        "name": "crm",
        "kind": "SALESFORCE",
        "settings_text": "domain: acme.my\n",
        "secrets_text": json.dumps(SECRETS),
        "every_seconds": "600",
        "is_enabled": "on",
        **more,
    }


def test_page__connects_a_system(client, salesforce, as_login):
    as_login("web")

    answer = client.post(page("add"), given())

    assert answer.status_code == 302
    made = Connection.objects.get()
    assert (made.source.name, made.source.kind, made.every_seconds) == ("crm", "SALESFORCE", 600)
    assert decrypted(made.secrets) == SECRETS
    assert made.due_at <= timezone.now()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"settings_text": "domain: [\n"}, "This is no YAML, at line 2."),
        ({"settings_text": "- acme"}, "A table of names and values is needed."),
        ({"settings_text": "domain: 'http://127.0.0.1/'"}, "`domain` is what stands before .salesforce.com"),
        ({"secrets_text": '{"client_id": 4}'}, "A JSON object of names and texts is needed."),
        (
            {"settings_text": "domain: acme.my\nmappings: {Lead: {key: Id, traits: {city: Town}, colour: Red}}"},
            "mappings.Lead: `colour` is no entry of a mapping",
        ),
        ({"name": "taken"}, "There is a source of this name already."),
    ],
)
def test_page__with_wrong_settings__says_so_and_makes_nothing(wrong, says, client, workspace, salesforce):
    SourceFactory(workspace=workspace, name="taken")

    answer = client.post(page("add"), given(**wrong))

    assert says in answer.text.replace("&#x27;", "'")
    assert not Connection.objects.exists()
    assert Source.objects.count() == 1


def test_page__that_is_saved__keeps_secrets_and_what_the_worker_wrote(client, workspace, salesforce, as_login):
    made = connect(workspace)
    Connection.objects.update(cursor={"Contact": {"at": "2026-11-01T00:00:00.000Z"}}, paused_at=timezone.now())
    as_login("web")

    shown = client.get(page("change", made.pk))
    answer = client.post(
        page("change", made.pk), given(settings_text="domain: other.my\n", secrets_text="", is_enabled="")
    )

    assert answer.status_code == 302
    assert "hidden-4711" not in shown.text
    made = Connection.objects.get()
    assert (made.config, made.is_enabled, made.paused_at) == ({"domain": "other.my"}, False, None)
    assert decrypted(made.secrets) == SECRETS
    assert made.cursor == {"Contact": {"at": "2026-11-01T00:00:00.000Z"}}


def test_button__checks_and_stores_nothing(client, workspace, salesforce):
    made = connect(workspace)

    answer = client.post(page("check", made.pk), follow=True)

    assert "The system answers, and shows: Contact, Account, Lead." in answer.text
    assert not Record.objects.exists()


def test_button__of_a_system_that_refuses__shows_its_code_and_no_person(client, workspace, salesforce):
    made = connect(workspace)
    salesforce.unreadable.add("Lead")

    answer = client.post(page("check", made.pk), follow=True)

    assert "Lead: invalid_type" in answer.text


def test_button__reads_now_though_it_had_paused(client, workspace, salesforce, as_login):
    made = connect(workspace)
    Connection.objects.update(paused_at=timezone.now(), error="invalid_grant", due_at=THEN + timedelta(days=3650))
    as_login("web")

    client.post(page("read", made.pk))

    as_login("none")
    tasks.read_connections()
    assert Record.objects.count() == 1


def test_buttons__of_another_workspace__are_not_there(workspace, salesforce):
    made = connect(workspace)
    stranger = Client()
    stranger.force_login(console_user(WorkspaceFactory(), "stranger"))

    answers = [stranger.post(page(name, made.pk)).status_code for name in ("read", "check")]

    assert answers == [404, 404]
    assert not salesforce.asked
