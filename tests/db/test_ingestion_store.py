"""From the inbox to events, identifiers, observed values and sightings."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from cdp.ingestion import services as ingestion
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Event, Identifier, IdentifierTrait, InboxBatch, Message, OutboxRow, Sighting
from consent import gate
from tests.factories import SourceFactory

RECEIVED = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace, default_region="FR")


def send(source, *events, received_at=RECEIVED, **envelope):
    body = json.dumps({"batch": events, **envelope}).encode()
    return ingestion.accept(source=source, body=body, path_kind="batch", received_at=received_at)


def store(workspace):
    waiting = dict(OutboxRow.objects.filter(stage="INGESTION").values_list("subject_id", "cause"))
    OutboxRow.objects.filter(stage="INGESTION").delete()
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk) as permit:
        return ingestion.store(permit, waiting, now=RECEIVED)


def sightings():
    return {frozenset((str(seen.left), str(seen.right))) for seen in Sighting.objects.select_related("left", "right")}


def test_message__stored_under_another_version_of_postgres__is_known_by_the_same_digest(db):
    with connection.cursor() as cursor:
        cursor.execute("SELECT hashtextextended('m-1', 7), hashtextextended('m-1', ~7::bigint)")
        assert cursor.fetchone() == (-3266785208211281906, -140496954634739511)


def test_track__with_two_ids_and_an_email__is_stored_under_the_user(workspace, source):
    send(
        source,
        {"type": "track", "event": "Order Completed", "messageId": "m1", "userId": 42, "anonymousId": "a1",
         "properties": {"total": 9.5, "email": "Ada@Example.com"}, "timestamp": "2026-11-21T11:00:00Z"},
    )  # fmt: skip

    touched = store(workspace)

    ids = {str(one): one.pk for one in Identifier.objects.all()}
    assert set(ids) == {"user_id:42", "anonymous_id:a1", "email:ada@example.com"}
    assert touched == dict.fromkeys(ids.values(), Cause.LEARNT)
    event = Event.objects.get()
    assert (event.kind, event.name, event.message_id) == ("track", "Order Completed", "m1")
    assert event.identifier_id == ids["user_id:42"]
    assert event.seen_with == [ids["anonymous_id:a1"], ids["email:ada@example.com"]]
    assert event.properties == {"total": 9.5, "email": "Ada@Example.com"}
    assert event.occurred_at == datetime(2026, 11, 21, 11, tzinfo=UTC)
    assert len(sightings()) == 3
    assert not InboxBatch.objects.exists()


IDENTIFY = {"type": "identify", "userId": "u1", "timestamp": "2026-11-21T10:00:00Z"}


def traits():
    found = IdentifierTrait.objects.select_related("identifier")
    return {(str(one.identifier), one.name): (one.value, one.observed_at) for one in found}


def test_store__as_the_login_of_its_worker__may_do_all_it_needs(workspace, source, as_login):
    send(source, {**IDENTIFY, "anonymousId": "a1", "traits": {"plan": "pro"}}, {**IDENTIFY, "type": "nonsense"})
    as_login("worker_ingestion")

    with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk) as permit, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM inbox")
        touched = ingestion.store(permit, {cursor.fetchone()[0]: Cause.EVENT}, now=RECEIVED)

    assert len(touched) == 2


def test_store__of_a_replay__changes_nothing_and_touches_nobody(workspace, source):
    event = {**IDENTIFY, "messageId": "m1", "anonymousId": "a1", "traits": {"plan": "pro"}}
    send(source, event)
    store(workspace)
    before = (traits(), sightings(), list(Event.objects.values()))

    send(source, event, {**event, "traits": {"plan": "other"}}, received_at=RECEIVED + timedelta(hours=1))

    assert store(workspace) == {}
    assert (traits(), sightings(), list(Event.objects.values())) == before
    assert not InboxBatch.objects.exists()


def test_store__of_eleven_deliveries__stores_one(workspace, source):
    for _ in range(11):
        send(source, {**IDENTIFY, "messageId": "m1"})

    store(workspace)

    assert Event.objects.count() == Message.objects.count() == 1


def test_store__of_one_message_id_from_two_sources__stores_both(workspace, source):
    send(source, {**IDENTIFY, "messageId": "m1"})
    send(SourceFactory(workspace=workspace), {**IDENTIFY, "messageId": "m1"})

    store(workspace)

    assert Event.objects.count() == 2


def test_store__of_a_batch_that_is_gone__does_nothing(workspace):
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk) as permit:
        assert ingestion.store(permit, {999_999: Cause.EVENT}, now=RECEIVED) == {}


def test_trait__observed_later__wins_in_any_order_of_arrival(workspace, source):
    send(source, {**IDENTIFY, "timestamp": "2026-11-21T11:00:00Z", "traits": {"plan": "new"}})
    store(workspace)
    send(source, {**IDENTIFY, "timestamp": "2026-11-21T09:00:00Z", "traits": {"plan": "old", "age": 3}})

    store(workspace)

    assert traits() == {
        ("user_id:u1", "plan"): ("new", datetime(2026, 11, 21, 11, tzinfo=UTC)),
        ("user_id:u1", "age"): (3, datetime(2026, 11, 21, 9, tzinfo=UTC)),
    }


def test_trait__of_an_anonymous_visitor__hangs_on_the_device(workspace, source):
    send(source, {"type": "identify", "anonymousId": "a1", "traits": {"email": "Ada@Example.com"}})

    store(workspace)

    assert {key: value for key, (value, _) in traits().items()} == {("anonymous_id:a1", "email"): "ada@example.com"}
    assert sightings() == {frozenset({"anonymous_id:a1", "email:ada@example.com"})}


def test_email__that_is_invalid__is_a_trait_and_no_identifier(workspace, source):
    send(source, {**IDENTIFY, "traits": {"email": "nobody", "phone": "0000"}})

    store(workspace)

    assert [str(one) for one in Identifier.objects.all()] == ["user_id:u1"]
    assert {key[1]: value for key, (value, _) in traits().items()} == {"email": "nobody", "phone": "0000"}


def test_phone__without_a_country__is_read_in_the_region_of_the_source(workspace, source):
    australian = SourceFactory(workspace=workspace, default_region="AU")
    send(source, {**IDENTIFY, "traits": {"phone": "06 12 34 56 78"}})
    send(australian, {**IDENTIFY, "traits": {"phone": "0412 345 678"}})

    store(workspace)

    phones = set(Identifier.objects.filter(type="phone").values_list("value", flat=True))
    assert phones == {"+33612345678", "+61412345678"}


def test_alias__to_an_id_that_nobody_has_as_user__links_the_device(workspace, source):
    send(source, {"type": "alias", "previousId": "a1", "userId": "u1"})

    store(workspace)

    assert sightings() == {frozenset({"anonymous_id:a1", "user_id:u1"})}
    event = Event.objects.get()
    assert event.properties == {"previousId": "a1"}
    assert Identifier.objects.get(pk=event.identifier_id).type == "user_id"


def test_alias__to_an_id_that_a_user_has__links_the_users(workspace, source):
    send(source, {**IDENTIFY, "userId": "old"})
    store(workspace)
    send(source, {"type": "alias", "previousId": "old", "userId": "new"})

    store(workspace)

    assert sightings() == {frozenset({"user_id:old", "user_id:new"})}


def test_skew__of_a_clock_six_hours_ahead__is_taken_out_and_all_times_are_kept(workspace, source):
    event = {**IDENTIFY, "timestamp": "2026-11-21T17:00:00Z", "originalTimestamp": "2026-11-21T17:30:00Z"}
    send(source, event, sentAt="2026-11-21T18:00:00Z")

    store(workspace)

    stored = Event.objects.get()
    assert stored.occurred_at == datetime(2026, 11, 21, 11, 30, tzinfo=UTC)
    assert stored.original_at == datetime(2026, 11, 21, 17, 30, tzinfo=UTC)
    assert stored.sent_at == datetime(2026, 11, 21, 18, tzinfo=UTC)
    assert stored.received_at == RECEIVED


def test_timestamp__that_rudderstacks_sdk_for_node_was_given__is_when_it_happened(workspace, source):
    event = {
        **IDENTIFY, "timestamp": "2019-05-31T10:00:00Z", "originalTimestamp": "2026-11-21T17:30:00Z",
        "context": {"library": {"name": "analytics-node", "version": "3.0.13"}},
    }  # fmt: skip
    send(source, event, sentAt="2026-11-21T18:00:00Z")

    store(workspace)

    stored = Event.objects.get()
    assert stored.occurred_at == datetime(2019, 5, 31, 10, tzinfo=UTC)
    assert stored.original_at == datetime(2026, 11, 21, 17, 30, tzinfo=UTC)


def test_events__of_many_months__lie_in_the_partitions_of_their_months(workspace, source):
    times = ["1950-03-01T00:00:00Z", "2019-05-31T23:59:59Z", "2019-06-01T00:00:00Z", "2026-11-21T10:00:00Z"]
    send(source, *({**IDENTIFY, "timestamp": time} for time in times))

    store(workspace)

    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM event ORDER BY occurred_at")
        assert [name for (name,) in cursor.fetchall()] == [
            "event_other",
            "event_2019_05",
            "event_2019_06",
            "event_2026_11",
        ]


def test_text__that_postgres_cannot_hold__is_stored_with_a_mark_in_its_place(workspace, source):
    body = rb"""{"batch": [{"type": "track", "event": "a\u0000b", "userId": "u\u0000\ud800", "messageId": "m\u0000",
        "properties": {"k\u0000": "\u0000", "n": NaN}, "context": {"traits": {"email": "a\u0000@example.com"}}}]}"""
    accepted = ingestion.accept(source=source, body=body, path_kind="batch", received_at=RECEIVED)

    store(workspace)

    assert (accepted.accepted, accepted.rejected) == (1, [])
    event = Event.objects.get()
    assert event.name == "a\ufffdb"
    assert event.properties == {"k\ufffd": "\ufffd", "n": None}
    assert {one.value for one in Identifier.objects.filter(type="user_id")} == {"u\ufffd\ufffd"}


def test_longest_of_everything__is_stored(workspace, source):
    longest = "\U0001d11e" * 512
    send(
        source,
        {"type": "track", "event": longest, "userId": longest, "messageId": "\U0001d11e" * 100},
        {"type": "identify", "userId": "u", "traits": {"\U0001d11e" * 128: 1}},
    )

    store(workspace)

    assert Event.objects.count() == 2


def test_other_workspace__has_its_own_people(workspace, source):
    stranger = SourceFactory()
    send(source, IDENTIFY)
    send(stranger, IDENTIFY)

    store(workspace)

    assert Identifier.objects.get().workspace_id == Event.objects.get().workspace_id == workspace.pk
    assert InboxBatch.objects.get().workspace_id == stranger.workspace_id
