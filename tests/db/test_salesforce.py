"""What Salesforce alone has: three ways to log in, a daily quota, locators, accounts, converted leads, opportunities."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cdp import pipeline
from cdp.ingestion import connecting, reading
from cdp.ingestion import connector_registry as registry
from cdp.ingestion.connector import ConnectorConfigError, Position, RefusedConnectionError, TransientConnectorError
from cdp.ingestion.reading import Ending
from cdp.models import Connection, Event, Identifier, IdentifierTrait, Profile, Record, Sighting, Trait
from tests.fakes.salesforce import SECRETS, Salesforce, key_of, private_key

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BEGINNING = Position()
THEN = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def salesforce(settings):
    reading.connectors.forget()
    with Salesforce() as fake:
        settings.CONNECTOR_URLS = {**settings.CONNECTOR_URLS, "SALESFORCE": fake.url}
        yield fake


def connector(secrets=SECRETS, **config):
    return registry.connector("SALESFORCE", {"domain": "acme.my", **config}, secrets)


def contacts(made, after=BEGINNING):
    plan = connecting.plans("SALESFORCE", {"domain": "acme.my"}, source="crm")[0]
    return made.pages(plan.stream, plan.columns, after)


@pytest.fixture
def read(workspace, salesforce):
    connecting.create_connection(
        workspace_id=workspace.pk, name="crm", kind="SALESFORCE", secrets=SECRETS, every_seconds=900, now=NOW,
        config={"domain": "acme.my", "objects": ["Contact", "Account", "Lead", "Opportunity"]},
    )  # fmt: skip
    hours = iter(range(100))

    def once():
        now = NOW + timedelta(hours=next(hours))
        claimed = reading.claim(workspace_id=workspace.pk, now=now)
        assert reading.read_slice(claimed, clock=lambda: now) is Ending.COMPLETE
        return reading.Counts(**Connection.objects.get().run.counts)

    return once


# -- logging in -----------------------------------------------------------------------------------------------------


def pem():
    return private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("way", "config"),
    [
        (lambda: SECRETS, {}),
        (lambda: {"client_id": SECRETS["client_id"], "refresh_token": "refresh-4711"}, {}),
        (
            lambda: {"client_id": SECRETS["client_id"], "private_key": pem()},
            {"domain": "login", "username": "integration@acme.example"},
        ),
    ],
    ids=["client credentials", "refresh token", "signed assertion"],
)
def test_login__in_each_way__reads_and_logs_in_again_when_the_session_ends(way, config, salesforce):
    salesforce.person(1, THEN)
    made = connector(way(), **config)

    first = [page.rows[0]["Email"] for page in contacts(made)]
    salesforce.expire_token()
    again = [page.rows[0]["Email"] for page in contacts(made)]

    assert first == again == ["ada1@example.com"]
    assert salesforce.logins == 2


@pytest.mark.parametrize(
    ("secrets", "config", "says"),
    [
        ({}, {}, "Salesforce needs `client_id`"),
        ({"client_id": "x", "private_key": "hidden-4711"}, {"domain": "login", "username": "x"}, "RSA key in PEM form"),
        ({"client_id": "x", "private_key": "x"}, {"username": "x"}, "`domain` must be login or test"),
        ({"client_id": "x", "client_secret": "x"}, {"domain": "login"}, "need your own `domain`"),
    ],
)
def test_login__without_what_it_needs__says_so_and_asks_nobody(secrets, config, says, salesforce):
    with pytest.raises(ConnectorConfigError, match=says) as raised:
        next(contacts(connector(secrets, **config)))

    assert "4711" not in str(raised.value)
    assert not salesforce.asked


@pytest.mark.parametrize("domain", ["", "acme.my/", "evil.com/x?", "127.0.0.1:80#", "a..b", 7, None])
def test_domain__that_could_lead_elsewhere__is_refused(domain, salesforce):
    with pytest.raises(ConnectorConfigError, match="`domain`"):
        connector(domain=domain)


def test_private_address__without_the_operators_word__is_refused(salesforce, settings, monkeypatch):
    settings.CONNECTOR_URLS = {"SALESFORCE": ""}
    settings.PRIVATE_ADDRESSES_ALLOWED = False
    monkeypatch.setattr("cdp.http._resolve", lambda _host, _port: ["10.0.0.7"])

    with pytest.raises(RefusedConnectionError) as raised:
        next(contacts(connector()))

    assert raised.value.reason == "forbidden_address"
    assert not salesforce.asked


# -- pages ----------------------------------------------------------------------------------------------------------


def test_page__goes_on_by_its_locator_and_without_it_from_the_last_record(salesforce):
    for number in range(1, 9):
        salesforce.person(number, THEN)
    made = connector()
    position = next(contacts(made)).position
    assert position.hint

    by_locator = [row["Id"] for page in contacts(made, position) for row in page.rows]
    assert "/query/01g" in salesforce.asked[2].path
    salesforce.expire_locators()
    by_key = [row["Id"] for page in contacts(made, position) for row in page.rows]

    assert by_locator == by_key == [key_of("Contact", number) for number in range(4, 9)]


def test_locator__that_expires_within_a_reading__costs_a_moment(salesforce):
    for number in range(1, 9):
        salesforce.person(number, THEN)
    pages = contacts(connector())
    next(pages)
    salesforce.expire_locators()

    with pytest.raises(TransientConnectorError) as raised:
        next(pages)

    assert (raised.value.reason, raised.value.retry_after) == ("invalid_query_locator", 0)


def test_quota__is_used_up_to_a_share_only(salesforce):
    for number in range(1, 9):
        salesforce.person(number, THEN)
    salesforce.used, salesforce.allowed = 498, 1_000
    pages = contacts(connector(quota_share=0.5))
    next(pages)
    next(pages)

    with pytest.raises(TransientConnectorError) as raised:
        next(pages)

    assert (raised.value.reason, raised.value.retry_after) == ("quota_share", 3600)
    assert salesforce.used == 500


@pytest.mark.parametrize("column", ["Email FROM Contact", "Id, Name", "1Email", "E-mail", "a.b.c.d.e.f", "Émail"])
def test_mapping__cannot_change_the_question(column, salesforce):
    plan = connecting.plans("SALESFORCE", {"domain": "acme.my"}, source="crm")[0]

    with pytest.raises(ConnectorConfigError, match="can be no field of Salesforce"):
        next(connector().pages(plan.stream, [*plan.columns, column], Position()))

    assert not salesforce.asked


# -- what the objects mean ------------------------------------------------------------------------------------------


def trait(key, name):
    return IdentifierTrait.objects.get(identifier__type="crm:id", identifier__value=key, name=name).value


def test_account__that_changes__changes_its_contacts(read, salesforce):
    account = salesforce.put(1, THEN, "Account", Name="Acme", Industry="Rockets")
    inside = salesforce.put(1, THEN, AccountId=account, Email="ada@example.com")
    outside = salesforce.put(2, THEN, Email="eve@example.com")
    read()
    assert (trait(inside, "organisation"), trait(inside, "industry")) == ("Acme", "Rockets")

    salesforce.put(1, THEN + timedelta(days=1), "Account", Name="Acme SAS")
    counts = read()

    assert trait(inside, "organisation") == "Acme SAS"
    assert counts.accepted == 1
    assert not IdentifierTrait.objects.filter(identifier__value=outside, name="organisation").exists()
    assert Record.objects.count() == 2


def test_lead__that_was_converted__is_the_contact(read, salesforce):
    contact = salesforce.put(1, THEN, Email="ada@example.com")
    lead = salesforce.put(1, THEN, "Lead", Company="Acme", Status="Qualified", ConvertedContactId=contact)

    read()

    ids = set(Identifier.objects.filter(type="crm:id").values_list("pk", flat=True))
    assert trait(lead, "organisation") == "Acme"
    assert ids == {pk for pair in Sighting.objects.values_list("left", "right") for pk in pair} & ids
    assert Sighting.objects.filter(left__in=ids, right__in=ids).count() == 1


def test_opportunity__is_an_event_of_its_contact_at_every_change(read, salesforce):
    contact = salesforce.put(1, THEN, Email="ada@example.com")
    deal = {"ContactId": contact, "Name": "Rocket", "StageName": "Offer", "Amount": 99.5, "IsClosed": False}
    salesforce.put(1, THEN, "Opportunity", **deal, IsWon=False)
    salesforce.put(2, THEN, "Opportunity", Name="of nobody", StageName="Offer")
    read()
    salesforce.put(1, THEN + timedelta(days=1), "Opportunity", StageName="Won", IsClosed=True, IsWon=True)
    read()

    counts = read()

    told = list(Event.objects.order_by("occurred_at").values_list("name", "identifier__value", "occurred_at"))
    assert told == [
        ("Opportunity Updated", contact, THEN),
        ("Opportunity Won", contact, THEN + timedelta(days=1)),
    ]
    assert Event.objects.first().properties == {
        "opportunity": key_of("Opportunity", 1), "name": "Rocket", "stage": "Offer", "value": 99.5,
    }  # fmt: skip
    assert counts.accepted == 0


def test_person__read_from_salesforce__has_a_profile_until_the_record_is_deleted_there(read, salesforce, workspace):
    salesforce.put(1, THEN, FirstName="Ada", Email="ada@example.com", MailingCity="Lyon")
    read()
    pipeline.drain(workspace_id=workspace.pk, now=lambda: NOW, timeout=30)
    known = dict(Trait.objects.values_list("name", "value"))

    salesforce.delete(1, THEN + timedelta(days=1))
    read()
    pipeline.drain(workspace_id=workspace.pk, now=lambda: NOW, timeout=30)

    assert known == {"given_name": "Ada", "email": "ada@example.com", "city": "Lyon"}
    assert not Trait.objects.exists()
    assert Profile.objects.filter(merged_into=None).count() == 1
    assert {str(one) for one in Identifier.objects.all()} == {"email:ada@example.com", f"crm:id:{key_of('Contact', 1)}"}
