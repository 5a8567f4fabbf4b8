"""What events say of consent is in the ledger with the events, once, and the gate feels it."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.ingestion import services as ingestion
from cdp.ingestion.sources import create_source
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Event, Identifier, InboxBatch, OutboxRow, SourceKind
from consent import gate, services
from consent.models import ConsentRecord, ConsentState
from consent.services import ConsentStatement
from tests.factories import SourceFactory

RECEIVED = datetime(2026, 11, 21, 12, tzinfo=UTC)
TRACK = {"type": "track", "event": "Seen", "anonymousId": "a1", "messageId": "m1", "timestamp": "2026-11-21T11:00:00Z"}


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


@pytest.fixture
def mapped(workspace):
    """Advertising is what the banner calls so; analytics are its two categories together; GPC is against advertising."""
    for kind, category, purpose in (
        ("CATEGORY", "Advertising", Purpose.ADVERTISING),
        ("CATEGORY", "Statistics", Purpose.ANALYTICS),
        ("CATEGORY", "Sharing", Purpose.ANALYTICS),
        ("GPC", "", Purpose.ADVERTISING),
    ):
        services.map_signal(workspace_id=workspace.pk, kind=kind, category=category, purpose=purpose)


def event(message_id="m1", *, at="11:00", context=None, **choices):
    consent = {"consent": {"categoryPreferences": choices}} if choices else {}
    return {
        **TRACK, "messageId": message_id, "timestamp": f"2026-11-21T{at}:00Z", "context": {**consent, **(context or {})},
    }  # fmt: skip


def send(source, *events, received_at=RECEIVED):
    body = json.dumps({"batch": events}).encode()
    ingestion.accept(source=source, body=body, path_kind="batch", received_at=received_at)


def store(workspace):
    waiting = dict(OutboxRow.objects.filter(stage="INGESTION").values_list("subject_id", "cause"))
    OutboxRow.objects.filter(stage="INGESTION").delete()
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk) as permit:
        ingestion.store(permit, waiting, now=RECEIVED)


def ledger():
    rows = ConsentRecord.objects.order_by("occurred_at", "purpose", "identifier_type")
    return [(row.identifier_type, row.purpose, row.state, f"{row.occurred_at:%H:%M}") for row in rows]


def permits(purpose, value="a1"):
    return bool(Identifier.objects.get(value=value).permitted & purpose.bit)


def test_store__of_a_choice__records_it_for_each_identifier_and_opens_the_gate(workspace, source, mapped):
    send(source, {**event(Advertising=True), "userId": "u1"})

    store(workspace)

    assert ledger() == [
        ("anonymous_id", "advertising", "GIVEN", "11:00"),
        ("user_id", "advertising", "GIVEN", "11:00"),
    ]
    assert permits(Purpose.ADVERTISING)
    assert set(ConsentRecord.objects.values_list("source_id", "is_verified")) == {(source.pk, False)}
    assert Event.objects.get().context["consent"] == {"categoryPreferences": {"Advertising": True}}


def test_store__of_a_refusal__closes_the_gate_for_whoever_is_there(workspace, source, mapped):
    send(source, event("m1", Advertising=True))
    store(workspace)

    send(source, event("m2", at="11:30", Advertising=False))
    store(workspace)

    assert [row[2:] for row in ledger()] == [("GIVEN", "11:00"), ("WITHDRAWN", "11:30")]
    assert not permits(Purpose.ADVERTISING)
    assert OutboxRow.objects.filter(stage="SEGMENTS", cause=Cause.CONSENT).exists()


def test_store__without_a_mapping__records_nothing(workspace, source):
    send(source, event(Advertising=True, context={"secGpc": True}))

    store(workspace)

    assert (ledger(), Event.objects.count()) == ([], 1)


def test_store__of_a_category_that_is_not_mapped__records_nothing(workspace, source, mapped):
    send(source, event(Functional=False))

    store(workspace)

    assert (ledger(), Event.objects.count()) == ([], 1)


def test_store__of_events_that_say_nothing__asks_nothing(workspace, source, mapped):
    send(source, event(context={"ip": "192.0.2.1"}))

    with CaptureQueriesContext(
        connection,
    ) as asked:
        store(workspace)

    assert Event.objects.count() == 1
    assert [
        query["sql"] for query in asked if "signal_mapping" in query["sql"] or "consent_record" in query["sql"]
    ] == []


def test_store__of_the_same_choice_with_each_event__records_it_once(workspace, source, mapped):
    send(source, *(event(f"m{minute}", at=f"11:{minute}", Advertising=True) for minute in range(10, 20)))
    store(workspace)

    send(source, event("m20", at="11:20", Advertising=True))
    store(workspace)

    assert (ledger(), Event.objects.count()) == ([("anonymous_id", "advertising", "GIVEN", "11:10")], 11)


def test_store__of_a_refusal_with_each_event__keeps_the_first_and_the_last(workspace, source, mapped):
    send(source, *(event(f"m{minute}", at=f"11:{minute}", Advertising=False) for minute in range(10, 20)))

    store(workspace)

    assert [row[2:] for row in ledger()] == [("REFUSED", "11:10"), ("REFUSED", "11:19")]


def test_store__of_a_refusal_with_each_event_after_a_grant__withdraws_once(workspace, source, mapped):
    send(
        source,
        event("m0", at="11:00", Advertising=True),
        *(event(f"m{minute}", at=f"11:{minute}", Advertising=False) for minute in range(10, 20)),
    )

    store(workspace)

    assert [row[2:] for row in ledger()] == [("GIVEN", "11:00"), ("WITHDRAWN", "11:10"), ("REFUSED", "11:19")]


def test_store__of_a_refusal_of_what_ran_out__is_no_withdrawal(workspace, source, mapped):
    ran_out = ConsentStatement(
        services.Identifier("anonymous_id", "a1"), Purpose.ADVERTISING, ConsentState.GIVEN,
        RECEIVED - timedelta(days=9), expires_at=RECEIVED - timedelta(days=1),
    )  # fmt: skip
    services.record_consents(workspace_id=workspace.pk, statements=[ran_out], now=RECEIVED)
    send(source, event(Advertising=False))

    store(workspace)

    assert [row[2] for row in ledger()] == ["GIVEN", "REFUSED"]


def test_store__of_an_older_grant_that_comes_after_a_refusal_was_repeated__opens_nothing(workspace, source, mapped):
    for message_id, at in (("m1", "11:00"), ("m2", "11:20")):
        send(source, event(message_id, at=at, Advertising=False))
        store(workspace)

    send(source, event("m3", at="11:10", Advertising=True))
    store(workspace)

    assert not permits(Purpose.ADVERTISING)
    assert [row[2:] for row in ledger()] == [("REFUSED", "11:00"), ("GIVEN", "11:10"), ("REFUSED", "11:20")]


def test_store__of_grants_around_an_older_refusal__records_the_later(workspace, source, mapped):
    send(source, event("m2", at="11:05", Advertising=False))
    store(workspace)

    send(source, event("m1", at="11:00", Advertising=True), event("m3", at="11:10", Advertising=True))
    store(workspace)

    assert [row[2:] for row in ledger()] == [("GIVEN", "11:00"), ("REFUSED", "11:05"), ("GIVEN", "11:10")]
    assert permits(Purpose.ADVERTISING)


def test_store__of_two_choices_at_one_instant__refuses_until_a_later_grant(workspace, source, mapped):
    send(source, event("m1", Advertising=False), event("m2", Advertising=True))
    store(workspace)
    assert not permits(Purpose.ADVERTISING)

    send(source, event("m3", at="11:01", Advertising=True))
    store(workspace)

    assert permits(Purpose.ADVERTISING)


choices_in_batches = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.integers(10, 19), st.booleans()), min_size=1, max_size=4), max_size=5
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choices_in_batches)
def test_store__of_any_choices_in_any_order__never_permits_what_the_last_one_refuses(
    workspace, source, mapped, batches
):
    """Messages come twice and late. The gate may be closed too long, until the next event, and never open too long."""
    heard = {}
    with transaction.atomic():
        for batch in batches:
            for message, minute, chosen in batch:
                heard.setdefault(message, (minute, not chosen))
            send(
                source,
                *(event(f"m{message}", at=f"11:{minute}", Advertising=chosen) for message, minute, chosen in batch),
            )
            store(workspace)
            _, refuses = max(heard.values())
            assert not (permits(Purpose.ADVERTISING) and refuses)
        transaction.set_rollback(True)


def test_store__of_choices_to_and_fro__records_each_change(workspace, source, mapped):
    send(
        source,
        event("m3", at="11:20", Advertising=True),
        event("m1", at="11:00", Advertising=True),
        event("m2", at="11:10", Advertising=False),
    )

    store(workspace)

    assert [row[2:] for row in ledger()] == [("GIVEN", "11:00"), ("WITHDRAWN", "11:10"), ("GIVEN", "11:20")]
    assert permits(Purpose.ADVERTISING)


def test_store__of_a_repetition_that_comes_late__undoes_nothing(workspace, source, mapped):
    given = event("m2", at="11:20", Advertising=True)
    send(source, event("m1", at="11:10", Advertising=True), given)
    store(workspace)
    send(source, event("m3", at="11:30", Advertising=False))
    store(workspace)
    before = ledger()

    # The same message again, which now says no time of its own and counts as of its arrival.
    del given["timestamp"]
    send(source, given, received_at=RECEIVED + timedelta(hours=1))
    store(workspace)

    assert ledger() == before
    assert not permits(Purpose.ADVERTISING)


def test_store__of_one_message_with_two_choices__hears_the_first(workspace, source, mapped):
    send(source, event("m1", Advertising=False), event("m1", Advertising=True))

    store(workspace)

    assert (ledger(), Event.objects.count()) == ([("anonymous_id", "advertising", "REFUSED", "11:00")], 1)


@pytest.mark.parametrize(
    ("choices", "state"),
    [
        ({"Statistics": True, "Sharing": True}, "GIVEN"),
        ({"Statistics": True, "Sharing": False}, "REFUSED"),
        ({"Statistics": False, "Sharing": True}, "REFUSED"),
        ({"Sharing": True}, "GIVEN"),
    ],
)
def test_store__of_two_categories_of_a_purpose__counts_the_one_that_permits_less(
    workspace, source, mapped, choices, state
):
    send(source, event(**choices))

    store(workspace)

    assert ledger() == [("anonymous_id", "analytics", state, "11:00")]


def test_store__of_gpc_beside_a_choice__refuses(workspace, source, mapped):
    send(source, event(Advertising=True, context={"secGpc": True}))

    store(workspace)

    assert ledger() == [("anonymous_id", "advertising", "REFUSED", "11:00")]


def test_store__of_a_choice_that_runs_out__renews_it(workspace, source, mapped, as_login):
    a_year_on = RECEIVED + timedelta(days=365)
    given = ConsentStatement(
        services.Identifier("anonymous_id", "a1"), Purpose.ADVERTISING, ConsentState.GIVEN,
        RECEIVED - timedelta(days=9), expires_at=a_year_on,
    )  # fmt: skip
    services.record_consents(workspace_id=workspace.pk, statements=[given], now=RECEIVED)
    send(source, event(Advertising=True))

    store(workspace)

    assert list(ConsentRecord.objects.order_by("occurred_at").values_list("expires_at", flat=True)) == [a_year_on, None]


def test_store__of_a_clock_that_is_ahead__counts_as_of_its_arrival(workspace, source, mapped):
    send(source, event(at="13:30", Advertising=False))

    store(workspace)

    assert ledger() == [("anonymous_id", "advertising", "REFUSED", "12:00")]


def test_store__as_the_login_of_its_worker__may_record(workspace, source, mapped, as_login):
    send(source, {**event(Advertising=True, Statistics=True, Sharing=True), "userId": "u1"})
    as_login("worker_ingestion")

    with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk) as permit:
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM inbox")
            key = cursor.fetchone()[0]
        ingestion.store(permit, {key: Cause.EVENT}, now=RECEIVED)

    as_login("none")
    assert len(ledger()) == 4


# -- at the door ----------------------------------------------------------------------------------------------------


@pytest.fixture
def post(workspace, client):
    _, key = create_source(workspace_id=workspace.pk, name="web", kind=SourceKind.HTTP)

    def send_with(body, path="track", **headers):
        return client.post(f"/v1/{path}", {"writeKey": key, **body}, content_type="application/json", headers=headers)

    return send_with


def contexts():
    bodies = [json.loads(bytes(body)) for body in InboxBatch.objects.values_list("body", flat=True)]
    return [body["shared"].get("context") for body in bodies]


@pytest.mark.parametrize(("header", "kept"), [("1", {"secGpc": True}), ("0", None), ("true", None), ("", None)])
def test_door__keeps_gpc_only_where_it_is_one(post, header, kept):
    answer = post(TRACK, **{"Sec-GPC": header})

    assert answer.status_code == 200
    assert contexts() == [kept]


def test_door__adds_gpc_to_what_the_envelope_says(post):
    post({"batch": [TRACK], "context": {"locale": "fr"}}, path="batch", **{"Sec-GPC": "1"})

    assert contexts() == [{"locale": "fr", "secGpc": True}]


def test_gpc__of_a_browser__refuses_what_the_workspace_maps_it_to(workspace, post, mapped):
    post(TRACK, **{"Sec-GPC": "1"})

    store(workspace)

    assert [row[:3] for row in ledger()] == [("anonymous_id", "advertising", "REFUSED")]
    assert Event.objects.get().context["secGpc"] is True
    assert not permits(Purpose.ADVERTISING)
