"""What every connector keeps to, whatever system it reads: each record once, and the place never jumps."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.ingestion import connecting, reading
from cdp.ingestion import connector_registry as registry
from cdp.ingestion.connector import ConnectorConfigError, MissingExtraError, Position, Shape
from cdp.ingestion.connectors.hubspot import client
from cdp.ingestion.connectors.hubspot import connector as hubspot
from cdp.ingestion.reading import LEASE, LONGEST_DELAY, Counts, Ending
from cdp.models import Connection, Identifier, IdentifierTrait, OutboxRow, QuarantinedItem, Record, Run, RunState
from cdp.models.secrets import decrypted
from tests.fakes.hubspot import HubSpot
from tests.fakes.salesforce import Salesforce
from tests.outbox import subjects_waiting

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
THEN = datetime(2026, 11, 1, tzinfo=UTC)
FAKES = {fake.kind: fake for fake in (Salesforce, HubSpot)}
A_PAGE = 3
OVERLAP = timedelta(minutes=10)

pytestmark = pytest.mark.parametrize("kind", registry.KINDS)


class Killed(BaseException):
    """No exception that any code may catch: as if the process had been killed here."""


class Desk:
    """A connection to the fake, and a clock that only a test moves."""

    def __init__(self, fake, workspace):
        self.fake, self.workspace, self.now = fake, workspace, NOW
        self.connection = connecting.create_connection(
            workspace_id=workspace.pk, name="crm", kind=fake.kind, config=fake.config, secrets=fake.secrets,
            every_seconds=900, now=NOW,
        )  # fmt: skip

    def read(self, seconds=60.0):
        """One slice of whatever is due; None where nothing is."""
        claimed = reading.claim(workspace_id=self.workspace.pk, now=self.now)
        return claimed and reading.read_slice(claimed, clock=lambda: self.now, seconds=seconds)

    def read_again(self):
        self.now += timedelta(hours=1)
        return self.read()

    @property
    def state(self):
        return Connection.objects.select_related("run").get()

    @property
    def counts(self):
        return Counts(**self.state.run.counts)


@pytest.fixture
def fake(kind, settings, monkeypatch):
    reading.connectors.forget()
    monkeypatch.setattr(hubspot, "SEARCHED", A_PAGE)
    monkeypatch.setattr(client, "REQUESTS_PER_SECOND", 10_000)
    with FAKES[kind]() as made:
        settings.CONNECTOR_URLS = {**settings.CONNECTOR_URLS, kind: made.url}
        yield made


@pytest.fixture
def desk(fake, workspace):
    return Desk(fake, workspace)


def keys():
    return sorted(Record.objects.filter(deleted_at=None).values_list("key", flat=True))


def emails():
    return sorted(Identifier.objects.filter(type="email").values_list("value", flat=True))


def people(fake, count, *, at=THEN, every=timedelta(minutes=1)):
    return sorted(fake.person(number, at + every * number) for number in range(1, count + 1))


# -- each record once -----------------------------------------------------------------------------------------------


def test_reading__of_several_pages__stores_each_record_once(desk, fake, kind):
    expected = people(fake, 8)

    ending = desk.read()

    assert ending is Ending.COMPLETE
    assert keys() == expected
    assert emails() == [f"ada{number}@example.com" for number in range(1, 9)]
    assert desk.counts.accepted == 8
    assert (desk.counts.quarantined, desk.counts.deleted) == (0, 0)
    touched = set(Identifier.objects.values_list("pk", flat=True))
    assert set(subjects_waiting(stage="IDENTITY")) == touched


def test_reading__says_whose_record_it_is_and_when_it_was_said(desk, fake, kind):
    fake.person(1, THEN)

    desk.read()

    found = IdentifierTrait.objects.get(identifier__type="crm:id", name="given_name")
    assert (found.value, found.observed_at, found.source.name) == ("Ada1", THEN, "crm")


@pytest.mark.parametrize("alike", [2, A_PAGE, A_PAGE + 1, 4 * A_PAGE])
def test_reading__of_equal_times_over_the_edge_of_a_page__stores_each_record_once(alike, desk, fake, kind):
    fake.person(1, THEN)
    for number in range(2, 2 + alike):
        fake.person(number, THEN + timedelta(minutes=1))
    fake.person(50, THEN + timedelta(minutes=2))

    desk.read()

    assert len(keys()) == alike + 2
    assert desk.counts.accepted == alike + 2


def test_second_reading__adds_nothing(desk, fake, kind):
    people(fake, 7)
    desk.read()
    before = list(Record.objects.order_by("key").values())
    OutboxRow.objects.all().delete()

    ending = desk.read_again()

    assert ending is Ending.COMPLETE
    assert desk.counts.accepted == 0
    assert list(Record.objects.order_by("key").values()) == before
    assert not OutboxRow.objects.exists()


def test_second_reading__reads_only_what_changed_since_the_overlap(desk, fake, kind):
    people(fake, 9, every=timedelta(hours=1))
    desk.read()
    fake.person(4, THEN + timedelta(hours=20), "other@example.com")
    fake.person(10, THEN + timedelta(hours=21))

    desk.read_again()

    assert desk.counts.accepted == 2
    assert desk.counts.read <= 4
    assert "other@example.com" in emails()


def test_change__that_becomes_visible_late__is_read_within_the_overlap(desk, fake, kind):
    people(fake, 4)
    desk.read()
    late = fake.person(77, THEN + timedelta(minutes=4) - OVERLAP + timedelta(seconds=1))

    desk.read_again()

    assert late in keys()


def test_record__that_changes_while_it_is_read__pushes_no_other_over_the_edge(desk, fake, kind):
    expected = people(fake, 8)
    changes = iter([1, 2, 4, 5])

    def change():
        number = next(changes, None)
        if number and "token" not in fake.asked[-1].path:
            fake.person(number, THEN + timedelta(days=number))

    fake.before_answer = change
    desk.read()
    fake.before_answer = lambda: None
    desk.read_again()

    assert keys() == expected


def test_value__that_was_emptied_there__no_longer_counts_here(desk, fake, kind):
    people(fake, 2)
    desk.read()
    OutboxRow.objects.all().delete()
    name = {"SALESFORCE": "FirstName", "HUBSPOT": "firstname"}[kind]
    fake.put(1, THEN + timedelta(days=1), **{name: None})

    desk.read_again()

    known = IdentifierTrait.objects.filter(identifier__type="crm:id").values_list("name", "value")
    assert sorted(known) == [
        ("email", "ada1@example.com"), ("email", "ada2@example.com"), ("given_name", "Ada2"),
    ]  # fmt: skip
    assert len(subjects_waiting()) == 2


# -- what is gone ---------------------------------------------------------------------------------------------------


def test_deleted_record__is_marked_and_its_values_no_longer_count(desk, fake, kind):
    people(fake, 4)
    desk.read()
    OutboxRow.objects.all().delete()
    fake.delete(2, THEN + timedelta(days=1))

    desk.read_again()

    assert len(keys()) == 3
    assert desk.counts.deleted == 1
    gone = Record.objects.exclude(deleted_at=None).get()
    assert gone.deleted_at == desk.now
    assert not IdentifierTrait.objects.filter(identifier_id=gone.identifier_id).exists()
    assert Identifier.objects.filter(pk=gone.identifier_id).exists()
    assert gone.identifier_id in subjects_waiting(stage="IDENTITY")


def test_deleted_record__that_is_seen_again__is_counted_once(desk, fake, kind):
    people(fake, 4)
    fake.delete(2, THEN + timedelta(minutes=5))
    desk.read()

    desk.read_again()

    assert desk.counts.deleted == 0
    assert len(keys()) == 3


def test_restored_record__is_there_again_with_its_values(desk, fake, kind):
    expected = people(fake, 4)
    desk.read()
    fake.delete(2, THEN + timedelta(days=1))
    desk.read_again()
    fake.restore(2, THEN + timedelta(days=2))

    desk.read_again()

    assert keys() == expected
    restored = IdentifierTrait.objects.filter(identifier__type="crm:id", name="given_name", value="Ada2")
    assert restored.count() == 1


def test_many_deleted_records__are_all_seen(desk, fake, kind):
    people(fake, 9)
    desk.read()
    for number in range(1, 8):
        fake.delete(number, THEN + timedelta(days=1))

    desk.read_again()

    assert len(keys()) == 2
    assert desk.counts.deleted == 7


# -- bad rows and failures ------------------------------------------------------------------------------------------


def test_bad_row__is_quarantined_and_costs_no_other(desk, fake, kind):
    people(fake, 5)
    fake.spoil(3, THEN + timedelta(minutes=3))

    ending = desk.read()

    assert ending is Ending.COMPLETE
    assert len(keys()) == 4
    assert set(QuarantinedItem.objects.values_list("code", flat=True)) == {"missing_key"}
    desk.read_again()
    assert QuarantinedItem.objects.count() == 1


@pytest.mark.parametrize(
    "failure", [(500, b"<html>busy</html>"), (503, b""), (502, {"status": "error"}), (200, b"<html>")]
)
def test_passing_failure__keeps_what_was_read_and_goes_on_from_there(failure, desk, fake, kind):
    expected = people(fake, 8)
    desk.read(seconds=0)
    before = desk.state.cursor
    fake.fail(*failure)

    ending = desk.read()

    assert ending is Ending.POSTPONED
    assert desk.state.cursor == before
    assert (desk.state.failures, desk.state.run.state) == (1, RunState.RUNNING)
    assert desk.state.error
    assert timedelta(seconds=7) <= desk.state.due_at - desk.now <= timedelta(seconds=15)
    desk.now = desk.state.due_at
    assert desk.read() is Ending.COMPLETE
    assert keys() == expected
    assert (desk.counts.accepted, desk.state.failures, desk.state.error) == (8, 0, "")
    assert Run.objects.count() == 1


def test_failures_in_a_row__double_the_pause_up_to_an_hour(desk, fake, kind):
    pauses = []
    for _ in range(12):
        fake.fail(500)
        desk.read()
        pauses.append(desk.state.due_at - desk.now)
        desk.now = desk.state.due_at

    assert all(later > earlier * 0.99 for earlier, later in zip(pauses[:7:2], pauses[2:8:2], strict=False))
    assert LONGEST_DELAY / 2 <= pauses[-1] <= LONGEST_DELAY
    assert desk.state.failures == 12


def test_daily_limit__is_waited_for_and_is_no_failure(desk, fake, kind):
    people(fake, 2)
    fake.throttle()

    ending = desk.read()

    assert ending is Ending.POSTPONED
    assert (desk.state.due_at, desk.state.failures) == (NOW + timedelta(hours=1), 0)
    assert desk.read() is None
    assert len(fake.asked) == fake.logins + 1


def test_expired_token__is_renewed_once_and_the_reading_goes_on(desk, fake, kind):
    expected = people(fake, 8)
    desk.read(seconds=0)
    fake.expire_token()

    ending = desk.read()

    assert ending is Ending.COMPLETE
    assert keys() == expected
    assert fake.logins == 2


def test_token__that_is_refused_though_it_is_new__pauses_the_connection(desk, fake, kind):
    people(fake, 2)
    fake.before_answer = fake.expire_token

    ending = desk.read()

    assert ending is Ending.PAUSED
    assert desk.state.paused_at == NOW
    assert desk.state.run.state == RunState.FAILED
    assert not keys()
    assert desk.read_again() is None
    connecting.ask_reading(desk.connection, now=desk.now)
    fake.before_answer = lambda: None
    assert desk.read() is Ending.COMPLETE
    assert len(keys()) == 2


def test_wrong_secrets__pause_the_connection_and_are_never_shown(fake, workspace, kind):
    fake.secrets = {**fake.secrets, "client_secret": "wrong-4711"}
    desk = Desk(fake, workspace)

    assert desk.read() is Ending.PAUSED

    shown = f"{desk.state.error} {desk.state.run.error} {desk.state.config}"
    assert desk.state.error.startswith(("invalid_grant", "bad_refresh_token"))
    assert "4711" not in shown
    assert "ada@" not in shown


def test_one_object__that_is_refused__costs_no_other(fake, workspace, kind):
    refused, allowed = (
        ("Lead", ["Contact", "Lead"]) if kind == "SALESFORCE" else ("companies", ["contacts", "companies"])
    )
    fake.config = {**fake.config, "objects": allowed}
    fake.unreadable.add(refused)
    expected = people(fake, 2)
    desk = Desk(fake, workspace)

    ending = desk.read()

    assert ending is Ending.COMPLETE
    assert keys() == expected
    assert desk.state.error.startswith(f"{refused}: ")
    assert "ada@" not in desk.state.error
    fake.unreadable |= set(fake.rows)
    assert desk.read_again() is Ending.PAUSED


# -- killed, cancelled, two at once ---------------------------------------------------------------------------------

STEPS = ("_hold", "_readable", "_written", "_move", "_release", "_begun", "_store_page")


def killed_at(monkeypatch, number):
    """The process dies at the `number`th of all places before and after a step."""
    places = iter(range(number + 1))

    def place():
        if next(places, None) == number:
            raise Killed

    def around(step):
        def run(*args, **kwargs):
            place()
            result = step(*args, **kwargs)
            place()
            return result

        return run

    for name in STEPS:
        monkeypatch.setattr(reading, name, around(getattr(reading, name)))


@pytest.mark.parametrize("number", range(1, 60, 5))
def test_killed_reading__goes_on_and_adds_nothing_twice(number, desk, fake, kind, monkeypatch):
    expected = people(fake, 7)
    fake.delete(7, THEN + timedelta(minutes=8))
    with monkeypatch.context() as patched:
        killed_at(patched, number)
        try:
            desk.read()
        except Killed:
            reading.connectors.forget()
    seen = desk.state.cursor

    desk.now += LEASE
    while desk.read():
        pass

    assert keys() == expected[:-1]
    assert Run.objects.filter(state=RunState.DONE).count() == Run.objects.count() == 1
    assert desk.counts.accepted == (6 if kind == "SALESFORCE" else desk.counts.accepted)
    assert desk.counts.read == desk.counts.accepted + desk.counts.duplicates
    assert all(seen[name]["at"] <= desk.state.cursor[name]["at"] for name in seen)


def test_killed_reading__is_left_alone_until_its_lease_is_over(desk, fake, kind, monkeypatch):
    people(fake, 7)
    with monkeypatch.context() as patched:
        killed_at(patched, 12)
        with pytest.raises(Killed):
            desk.read()

    assert desk.read() is None
    desk.now = desk.state.leased_until
    assert desk.read() is Ending.COMPLETE


def test_reading__in_slices__is_the_same_as_in_one(desk, fake, kind):
    expected = people(fake, 11)

    endings = []
    while ending := desk.read(seconds=0):
        endings.append(ending)

    assert set(endings[:-1]) == {Ending.TO_BE_CONTINUED}
    assert endings[-1] is Ending.COMPLETE
    assert keys() == expected
    assert desk.counts.accepted == 11
    assert Run.objects.count() == 1


def test_reader__whose_lease_was_taken_over__writes_nothing(desk, fake, kind):
    people(fake, 4)
    slow = reading.claim(workspace_id=desk.workspace.pk, now=NOW)
    desk.now += LEASE
    desk.read()
    before = (desk.state.cursor, desk.counts, desk.state.due_at)

    ending = reading.read_slice(slow, clock=lambda: desk.now)

    assert ending is Ending.STOPPED
    assert (desk.state.cursor, desk.counts, desk.state.due_at) == before


def test_cancelled_reading__stops_at_the_next_page_and_the_next_one_goes_on(desk, fake, kind):
    expected = people(fake, 8)
    desk.read(seconds=0)
    Run.objects.update(state=RunState.CANCELLED)
    claimed = reading.claim(workspace_id=desk.workspace.pk, now=desk.now)
    Run.objects.update(state=RunState.CANCELLED)

    ending = reading.read_slice(claimed, clock=lambda: desk.now)

    assert ending is Ending.STOPPED
    assert len(keys()) < 8
    assert (desk.state.due_at, desk.state.leased_until) == (desk.now + timedelta(minutes=15), None)
    assert desk.read_again() is Ending.COMPLETE
    assert keys() == expected
    assert desk.state.run.state == RunState.DONE


def test_disabled_connection__is_not_read(desk, fake, kind):
    people(fake, 2)
    Connection.objects.update(is_enabled=False)

    assert desk.read() is None
    assert not fake.asked


def test_reset_connection__reads_all_again_and_recognises_it(desk, fake, kind):
    expected = people(fake, 5, every=timedelta(days=1))
    desk.read()
    connecting.reset_connection(desk.connection, now=desk.now)

    desk.read()

    assert (desk.counts.accepted, keys()) == (0, expected)
    assert desk.counts.duplicates >= 5


# -- settings -------------------------------------------------------------------------------------------------------


def test_check__asks_for_a_row_of_each_stream(desk, fake, kind):
    fake.person(1, THEN)

    said = connecting.check_connection(desk.connection)

    assert said == dict.fromkeys(said, "")
    assert set(said) == {stream.name for stream in registry.described(kind).streams if stream.is_default}
    assert not Record.objects.exists()


def test_check__names_the_object_that_is_refused(desk, fake, kind):
    fake.unreadable |= set(fake.rows)

    said = connecting.check_connection(desk.connection)

    assert all(said.values())
    assert "ada@" not in f"{said}"


def test_mapping__of_the_settings__decides_what_is_asked_for(fake, workspace, kind):
    rows, email, name = (
        ("Contact", "Email", "FirstName") if kind == "SALESFORCE" else ("contacts", "email", "firstname")
    )
    key = "Id" if kind == "SALESFORCE" else "id"
    fake.config = {
        **fake.config,
        "objects": [rows],
        "mappings": {rows: {"key": key, "identifiers": {"email": email}, "traits": {"nickname": name}}},
    }
    fake.person(1, THEN)

    Desk(fake, workspace).read()

    assert set(IdentifierTrait.objects.values_list("name", "value")) == {
        ("nickname", "Ada1"), ("email", "ada1@example.com"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"objects": []}, "`objects` must be a list of some of: "),
        ({"objects": ["Nothing"]}, "`objects` must be a list of some of: "),
        ({"mappings": {"Nothing": {}}}, "`mappings` must be a table of mappings for: "),
        ({"mappings": ["Contact"]}, "`mappings` must be a table of mappings for: "),
    ],
)
def test_settings__that_cannot_work__are_refused_and_nothing_is_made(config, says, fake, workspace, kind):
    with pytest.raises(ConnectorConfigError, match=says):
        connecting.create_connection(
            workspace_id=workspace.pk, name="crm", kind=kind, config={**fake.config, **config}, secrets=fake.secrets,
            every_seconds=900, now=NOW,
        )  # fmt: skip

    assert not Connection.objects.exists()
    assert not fake.asked


def test_connection__without_secrets__is_refused(fake, workspace, kind):
    fake.secrets = {}
    ending = None
    try:
        ending = Desk(fake, workspace).read()
    except ConnectorConfigError:
        assert not Connection.objects.exists()

    assert ending in {None, Ending.PAUSED}


def test_secrets__are_stored_encrypted(desk, fake, kind):
    assert decrypted(desk.state.secrets) == fake.secrets
    assert b"4711" not in bytes(desk.state.secrets)


def test_missing_library__is_named_with_its_extra(kind, monkeypatch):
    module = {"SALESFORCE": "simple_salesforce", "HUBSPOT": "hubspot"}[kind]
    monkeypatch.setitem(__import__("sys").modules, module, None)

    with pytest.raises(MissingExtraError, match=rf"`{kind.lower()}`: `make extras`"):
        registry.connector(kind, FAKES[kind].config, FAKES[kind].secrets)


def test_shipped_mappings__are_whole_for_every_stream(kind):
    vendor = registry.described(kind)
    config = {**vendor.example, "objects": [stream.name for stream in vendor.streams]}

    plans = connecting.plans(kind, config, source="crm")

    assert [plan.stream for plan in plans] == list(vendor.streams)
    for plan in plans:
        assert plan.mapping.key in plan.columns
        assert plan.mapping.observed_at in plan.columns
        assert (plan.stream.shape is Shape.EVENTS) is bool(plan.mapping.event)


# -- whatever the times are -----------------------------------------------------------------------------------------


@given(minutes=st.lists(st.integers(0, 4), min_size=1, max_size=14), stop=st.integers(0, 6))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pages__whatever_the_times__hold_each_key_once_and_never_go_back(kind, fake, minutes, stop):
    for rows in fake.rows.values():
        rows.clear()
    expected = {fake.person(number, THEN + timedelta(minutes=at)) for number, at in enumerate(minutes, start=1)}
    connector = registry.connector(kind, fake.config, fake.secrets)
    plan = connecting.plans(kind, fake.config, source="crm")[0]
    seen, places = [], [Position()]

    for page in islice(connector.pages(plan.stream, plan.columns, Position()), stop):
        seen += [row[plan.mapping.key] for row in page.rows]
        places.append(page.position)
    killed_here = Position(places[-1].at, places[-1].key)
    for page in connector.pages(plan.stream, plan.columns, killed_here):
        seen += [row[plan.mapping.key] for row in page.rows]
        places.append(page.position)

    assert len(seen) == len(expected)
    assert set(seen) == expected
    assert places == sorted(places, key=lambda place: (place.at, place.key == hubspot.ALL_READ, place.key.zfill(20)))
