"""Systems that send by themselves are connected by command, and seen by people and by machines that watch."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from cdp.api import health
from cdp.ingestion.sources import SourceExistsError, UnknownSourceError
from cdp.ingestion.streams.stream import StreamSettingsError
from cdp.ingestion.subscribing import UnknownPushKindError, check_settings
from cdp.ingestion.webhook import WebhookSettingsError
from cdp.models import Connection, Source, SourceKind
from cdp.models.secrets import decrypted
from tests.factories import SourceFactory
from tests.fakes.senders import TYPEFORM


def run(workspace, command, *arguments):
    printed = StringIO()
    call_command(command, *arguments, "--workspace", workspace.slug, "--json", stdout=printed)
    return json.loads(printed.getvalue())


@pytest.fixture
def secrets(monkeypatch):
    monkeypatch.setenv("CONNECTION_SECRETS", json.dumps({"secret": "hidden-4711"}))


def test_webhook__when_it_is_created__has_an_address_and_keeps_its_secret_encrypted(workspace, secrets, tmp_path):
    config = tmp_path / "form.yaml"
    config.write_text("traits: {city: question-7}\n")

    made = run(workspace, "webhooks", "create", "form", "--kind", "typeform", "--config", str(config), "--region", "fr")

    connection = Connection.objects.get()
    assert made == {
        "source": "form",
        "kind": "typeform",
        "is_enabled": True,
        "failures": 0,
        "error": "",
        "path": f"/v1/webhooks/{connection.source_id}",
    }
    assert connection.config == {"traits": {"city": "question-7"}}
    assert b"hidden-4711" not in bytes(connection.secrets)
    assert decrypted(connection.secrets) == {"secret": "hidden-4711"}
    assert connection.due_at is None
    assert connection.source.default_region == "FR"
    assert run(workspace, "webhooks", "list")["connections"] == [made]
    assert run(workspace, "streams", "list")["connections"] == []


def test_stream__when_it_is_created__is_listed_with_its_position(workspace, tmp_path, monkeypatch):
    monkeypatch.delenv("CONNECTION_SECRETS", raising=False)
    config = tmp_path / "orders.yaml"
    config.write_text("{brokers: 'kafka:9092', topics: [orders]}\n")

    made = run(workspace, "streams", "create", "orders", "--kind", "kafka", "--config", str(config))

    assert (made["source"], made["kind"], made["position"]) == ("orders", "kafka", {})
    assert run(workspace, "streams", "list")["connections"] == [made]


@pytest.mark.parametrize("text", ["[1]", "no: [", "\xff"])
def test_settings__that_are_no_table__are_wrong_arguments(text, workspace, secrets, tmp_path):
    config = tmp_path / "form.yaml"
    config.write_bytes(text.encode("latin-1"))

    with pytest.raises(CommandError) as caught:
        run(workspace, "webhooks", "create", "form", "--kind", "typeform", "--config", str(config))

    assert caught.value.returncode == 2
    assert not Source.objects.exists()


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_secrets__that_are_no_table__are_wrong_arguments_and_not_repeated(text, workspace, monkeypatch):
    monkeypatch.setenv("CONNECTION_SECRETS", text)

    with pytest.raises(CommandError, match="CONNECTION_SECRETS"):
        run(workspace, "webhooks", "create", "form", "--kind", "typeform")

    assert not Source.objects.exists()


def test_subscription__that_could_not_work__is_not_kept(workspace, monkeypatch):
    monkeypatch.delenv("CONNECTION_SECRETS", raising=False)

    with pytest.raises(WebhookSettingsError, match="`secret` is missing"):
        run(workspace, "webhooks", "create", "form", "--kind", "typeform")
    with pytest.raises(StreamSettingsError, match="`brokers` is missing"):
        run(workspace, "streams", "create", "orders", "--kind", "kafka")

    assert not Source.objects.exists()


def test_subscription__under_a_name_that_is_taken__leaves_the_other_alone(workspace, secrets):
    SourceFactory(workspace=workspace, name="form")

    with pytest.raises(SourceExistsError):
        run(workspace, "webhooks", "create", "form", "--kind", "typeform")

    assert not Connection.objects.exists()


def test_kind__that_does_not_send_by_itself__is_refused():
    with pytest.raises(UnknownPushKindError):
        check_settings(kind=SourceKind.SALESFORCE, config={}, secrets={})


def test_create__as_operator__may_do_all_it_needs(workspace, secrets, as_login):
    as_login("operator")

    run(workspace, "webhooks", "create", "form", "--kind", "typeform")

    assert len(run(workspace, "webhooks", "list")["connections"]) == 1


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("nobody", UnknownSourceError),
        ("form", StreamSettingsError),
        ("bare", UnknownSourceError),
        ("off", StreamSettingsError),
    ],
)
def test_consume__of_a_source_that_cannot_be_read__says_why(source, error, workspace):
    form = TYPEFORM.connect(workspace)
    Source.objects.filter(pk=form.pk).update(name="form")
    Connection.objects.update(secrets=b"")
    SourceFactory(workspace=workspace, name="bare", kind=SourceKind.KAFKA)
    off = SourceFactory(workspace=workspace, name="off", kind=SourceKind.KAFKA)
    Connection.objects.create(workspace=workspace, source=off, is_enabled=False)

    with pytest.raises(error):
        run(workspace, "consume", source, "--once")


@pytest.mark.parametrize("most", ["0", "-1", "many"])
def test_consume__with_a_number_that_makes_no_sense__is_wrong_arguments(most, workspace):
    with pytest.raises(CommandError, match="--max"):
        run(workspace, "consume", "orders", "--max", most)


def test_metrics__show_failures_of_connections_and_the_lag_of_streams(workspace, as_login):
    form = TYPEFORM.connect(workspace)
    stream = SourceFactory(workspace=workspace, kind=SourceKind.KAFKA)
    place = {"people:0": {"offset": "7", "lag": 3}, "people:1": {"offset": "9", "lag": 4}, "people:2": {"offset": "1"}}
    Connection.objects.create(workspace=workspace, source=stream, cursor=place)
    Connection.objects.filter(source=form).update(failures=2, cursor={"anything": "else"})
    as_login("web")

    lines = "".join(health._lines()).splitlines()

    assert f'cdp_ingestion_connection_failures{{source="{form.pk}"}} 2' in lines
    assert f'cdp_ingestion_stream_lag_messages{{source="{stream.pk}"}} 7' in lines
    assert [line for line in lines if line.startswith("cdp_ingestion_stream_lag_messages{")] == [
        f'cdp_ingestion_stream_lag_messages{{source="{stream.pk}"}} 7'
    ]
    assert 'cdp_outbox_waiting_subjects{stage="ingestion"} 0' in lines
