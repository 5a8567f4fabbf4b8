"""Sources by command: what they may send, and their keys, so that one may be changed for another without a gap."""

import json

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command

from cdp.ingestion import services as ingestion
from cdp.ingestion import sources
from cdp.ingestion.limits import Limit
from cdp.ingestion.sources import UnknownKeyError, UnknownSourceError, UnknownWriteKeyError, source_of
from cdp.models import Source, SourceKind, WriteKey
from tests.factories import SourceFactory, WorkspaceFactory


@pytest.fixture(autouse=True)
def nothing_cached():
    sources._cache.clear()


@pytest.fixture
def write_key(workspace):
    return ingestion.create_source(workspace_id=workspace.pk, name="shop", kind=SourceKind.HTTP)[1]


@pytest.fixture
def run(workspace, capsys):
    def command(*words):
        call_command("sources", *words, f"--workspace={workspace.slug}", "--json")
        return json.loads(capsys.readouterr().out)

    return command


def test_create__with_a_limit__stores_it(run):
    made = run("create", "shop", "--kind=http", "--events-per-second=100", "--burst=500")

    assert set(made) == {"source", "write_key"}
    assert source_of([made["write_key"]]).limit == Limit(100, 500)


def test_limit__is_set_and_taken_back(run, write_key):
    assert run("limit", "shop", "--events-per-second=20") == {"source": "shop", "events_per_second": 20, "burst": None}
    assert source_of([write_key]).limit == Limit(20, 20)

    sources._cache.clear()
    assert run("limit", "shop") == {"source": "shop", "events_per_second": None, "burst": None}
    assert source_of([write_key]).limit is None


def test_limit__of_a_source_of_another_workspace__changes_nothing(run, workspace):
    other = SourceFactory(workspace=WorkspaceFactory(), name="theirs")

    with pytest.raises(UnknownSourceError):
        run("limit", "theirs", "--events-per-second=1")

    other.refresh_from_db()
    assert other.events_per_second is None


def test_time_zone__is_set_and_taken_back(run, write_key):
    assert run("set-time-zone", "shop", "America/New_York") == {"source": "shop", "evaluated_again": 0}
    assert Source.objects.get(name="shop").time_zone == "America/New_York"

    run("set-time-zone", "shop", "")
    assert Source.objects.get(name="shop").time_zone == ""


def test_list__names_sources_and_limits_of_the_workspace(run, write_key):
    SourceFactory(workspace=WorkspaceFactory(), name="theirs")

    assert run("list") == {
        "sources": [{"source": "shop", "kind": "http", "enabled": True, "events_per_second": None, "burst": None}]
    }


def test_keys__are_made_listed_and_revoked(run, write_key, workspace):
    made = run("keys", "create", "shop")
    assert source_of([made["write_key"]]).name == source_of([write_key]).name == "shop"

    first, second = run("keys", "list", "shop")["keys"]
    assert (second["id"], second["revoked_at"], made["write_key"].startswith(second["hint"])) == (
        made["id"],
        None,
        True,
    )

    revoked = run("keys", "revoke", "shop", str(first["id"]))
    sources._cache.clear()
    assert revoked["id"] == first["id"]
    assert WriteKey.objects.get(pk=first["id"]).revoked_at is not None
    assert source_of([made["write_key"]]).name == "shop"
    with pytest.raises(UnknownWriteKeyError):
        source_of([write_key])


def test_revoke__of_a_key_of_another_source__changes_nothing(run, write_key, workspace):
    ingestion.create_source(workspace_id=workspace.pk, name="other", kind=SourceKind.HTTP)
    other = WriteKey.objects.get(source__name="other")

    with pytest.raises(UnknownKeyError):
        run("keys", "revoke", "shop", str(other.pk))

    other.refresh_from_db()
    assert other.revoked_at is None


def test_secret__is_stored_nowhere(run, workspace):
    secret = run("create", "shop", "--kind=http")["write_key"]

    key = WriteKey.objects.get(source=Source.objects.get(name="shop"))
    assert secret not in (key.digest, key.hint)
    assert len(key.hint) == 10


def test_form__with_a_public_key_that_is_none__says_so(workspace):
    source = SourceFactory(workspace=workspace)
    source.public_keys = "-----BEGIN PUBLIC KEY-----"

    with pytest.raises(ValidationError) as refused:
        source.full_clean()

    assert [error.code for error in refused.value.error_dict["public_keys"]] == ["invalid_public_key"]
