"""What HubSpot alone has: tokens of private apps, limits by the second, companies, many records of one time."""

from datetime import UTC, datetime, timedelta

import pytest

from cdp.ingestion import connecting, reading
from cdp.ingestion import connector_registry as registry
from cdp.ingestion.connector import (
    ConnectorConfigError,
    Position,
    RefusedConnectionError,
    TransientConnectorError,
    UnreadableStreamError,
)
from cdp.ingestion.connectors.hubspot import client
from cdp.models import IdentifierTrait, Record
from tests.fakes.hubspot import OAUTH, HubSpot

BEGINNING = Position()
THEN = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def hubspot(settings, monkeypatch):
    reading.connectors.forget()
    monkeypatch.setattr(client, "REQUESTS_PER_SECOND", 10_000)
    with HubSpot() as fake:
        settings.CONNECTOR_URLS = {**settings.CONNECTOR_URLS, "HUBSPOT": fake.url}
        yield fake


def contacts(secrets=OAUTH, after=BEGINNING, name="contacts"):
    (plan,) = connecting.plans("HUBSPOT", {"objects": [name]}, source="crm")
    return registry.connector("HUBSPOT", {}, secrets).pages(plan.stream, plan.columns, after)


def keys(pages):
    return [int(row["id"]) for page in pages for row in page.rows]


def test_private_app__reads_with_its_token_and_without_a_login(hubspot):
    hubspot.person(1, THEN)
    token = hubspot.allow("pat-eu1-4711")

    assert keys(contacts({"access_token": token})) == [1]
    assert hubspot.logins == 0


def test_private_app__whose_token_was_revoked__needs_a_person(hubspot):
    with pytest.raises(RefusedConnectionError) as raised:
        next(contacts({"access_token": "pat-eu1-4711"}))

    assert raised.value.reason == "token_expired"
    assert len(hubspot.asked) == 1


@pytest.mark.parametrize("secrets", [{}, {"client_id": "x", "refresh_token": "x"}])
def test_secrets__that_are_not_enough__are_refused(secrets, hubspot):
    with pytest.raises(ConnectorConfigError, match="HubSpot needs `access_token`"):
        registry.connector("HUBSPOT", {}, secrets)


def test_pages__of_an_import__are_read_past_the_ten_thousand_that_a_search_gives(hubspot, monkeypatch):
    monkeypatch.setattr("tests.fakes.hubspot.MOST_FOUND", 200)
    for number in range(1, 651):
        hubspot.person(number, THEN)
    hubspot.person(651, THEN + timedelta(seconds=1))

    found = keys(contacts())

    assert sorted(found) == list(range(1, 652))
    assert found[:650] == list(range(1, 651))
    assert len(hubspot.asked) - hubspot.logins == 6


def test_pages__hold_as_many_as_a_search_may_give(hubspot):
    for number in range(1, 402):
        hubspot.person(number, THEN + timedelta(seconds=number))

    sizes = [len(page.rows) for page in contacts()]

    assert sizes == [199, 199, 3]


@pytest.mark.parametrize(
    ("policy", "headers", "wait"),
    [
        ("DAILY", {}, 3600),
        ("TEN_SECONDLY_ROLLING", {}, 10),
        ("SECONDLY", {"Retry_After": "2"}, 2),
    ],
)
def test_limit__says_how_long_to_wait_and_by_which_policy(policy, headers, wait, hubspot):
    hubspot.fail(429, {"status": "error", "errorType": "RATE_LIMIT", "policyName": policy}, **headers)

    with pytest.raises(TransientConnectorError) as raised:
        next(contacts())

    assert (raised.value.retry_after, raised.value.reason) == (wait, f"rate_limit_{policy.lower()}")


def test_missing_scope__is_of_the_object_alone(hubspot):
    hubspot.unreadable.add("contacts")

    with pytest.raises(UnreadableStreamError) as raised:
        next(contacts())

    assert raised.value.reason == "missing_scopes"
    assert "ada@" not in str(raised.value)


def test_companies__are_records_of_their_own_beside_contacts_of_the_same_number(hubspot, workspace):
    hubspot.person(7, THEN)
    hubspot.put(7, THEN, "companies", name="Acme", domain="acme.example")
    made = connecting.create_connection(
        workspace_id=workspace.pk, name="crm", kind="HUBSPOT", config={"objects": ["contacts", "companies"]},
        secrets=OAUTH, every_seconds=900, now=THEN,
    )  # fmt: skip

    reading.read_now(made, clock=lambda: THEN)

    assert set(Record.objects.values_list("key", flat=True)) == {"7", "company-7"}
    organisation = IdentifierTrait.objects.get(name="organisation")
    assert (organisation.value, str(organisation.identifier)) == ("Acme", "crm:id:company-7")


def test_list_of_what_is_archived__goes_on_where_it_was(hubspot):
    for number in range(1, 6):
        hubspot.delete(number, THEN)

    first, *_ = contacts(name="contacts archived")
    rest = [key for page in contacts(after=first.position, name="contacts archived") for key in page.deleted]

    assert first.deleted == ["1", "2"]
    assert rest == ["3", "4", "5"]


def test_private_address__without_the_operators_word__is_refused(hubspot, settings, monkeypatch):
    settings.CONNECTOR_URLS = {"HUBSPOT": ""}
    settings.PRIVATE_ADDRESSES_ALLOWED = False
    monkeypatch.setattr("cdp.http._resolve", lambda _host, _port: ["10.0.0.7"])

    with pytest.raises(RefusedConnectionError) as raised:
        next(contacts())

    assert raised.value.reason == "forbidden_address"
    assert not hubspot.asked


@pytest.mark.parametrize("column", ["E-mail", "email,phone", "hs object"])
def test_mapping__cannot_change_the_question(column, hubspot):
    (plan,) = connecting.plans("HUBSPOT", {"objects": ["contacts"]}, source="crm")
    made = registry.connector("HUBSPOT", {}, OAUTH)

    with pytest.raises(ConnectorConfigError, match="can be no property of HubSpot"):
        next(made.pages(plan.stream, [*plan.columns, column], Position()))

    assert not hubspot.asked
