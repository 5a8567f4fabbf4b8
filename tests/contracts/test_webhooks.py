"""What every webhook keeps to, whoever sends it."""

import contextlib
import dataclasses
import json
from datetime import timedelta

import pytest
from django.db import DatabaseError
from hypothesis import given
from hypothesis import strategies as st

from cdp.ingestion import deliveries
from cdp.ingestion import services as ingestion
from cdp.ingestion.deliveries import DisabledConnectionError, UnknownWebhookError
from cdp.ingestion.webhook import (
    Delivery,
    MalformedDeliveryError,
    RefusedDeliveryError,
    Settings,
    WebhookSettingsError,
    WrongSignatureError,
)
from cdp.ingestion.webhook_registry import WEBHOOKS
from cdp.kernel.purposes import Purpose
from cdp.models import Announcement, Cause, Connection, Event, InboxBatch, OutboxRow, QuarantinedItem
from consent import gate
from tests.fakes.senders import NOW, SENDERS

pytestmark = pytest.mark.parametrize("sender", SENDERS, ids=lambda sender: sender.kind.value.lower())
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def webhook(sender):
    return WEBHOOKS[sender.kind]


def receive(source, delivery, now=NOW):
    return deliveries.receive(source_id=source.pk, delivery=delivery, now=now)


def nothing_is_kept():
    return not (
        InboxBatch.objects.exists()
        or OutboxRow.objects.exists()
        or QuarantinedItem.objects.exists()
        or Announcement.objects.exists()
    )


def test_suite__covers_every_kind_that_is_registered(sender):
    assert {one.kind for one in SENDERS} == WEBHOOKS.keys()


# -- settings -------------------------------------------------------------------------------------------------------


def test_settings__that_are_right__are_accepted(sender):
    webhook(sender).check(sender.settings)


def test_settings__with_a_name_that_nobody_knows__say_which_there_are(sender):
    with pytest.raises(WebhookSettingsError, match="`colour` is no setting here; there are"):
        webhook(sender).check(Settings({**sender.config, "colour": "red"}, sender.secrets))


def test_settings__without_any_secret__are_refused(sender):
    with pytest.raises(WebhookSettingsError):
        webhook(sender).check(Settings(sender.config, {}))


# -- signatures -----------------------------------------------------------------------------------------------------


def test_delivery__that_is_genuine__is_kept_with_all_it_says(sender, workspace):
    source = sender.connect(workspace)

    received = receive(source, sender.delivery())

    assert (received.accepted, received.announced, received.quarantined) == (sender.calls, sender.announced, 0)
    kept = [call for batch in InboxBatch.objects.all() for call in json.loads(bytes(batch.body))["batch"]]
    assert len(kept) == sender.calls
    assert Announcement.objects.count() == sender.announced


@pytest.mark.parametrize("forgery", ["unsigned", "empty", "other_key", "other_body", "other_bytes"])
def test_delivery__whose_signature_is_not_right__is_refused_and_counted(sender, forgery, workspace):
    source = sender.connect(workspace)
    genuine, other_key = sender.delivery(), dict.fromkeys(sender.secrets, "guessed")
    forged = {
        "unsigned": Delivery(genuine.body, {}),
        "empty": Delivery(genuine.body, dict.fromkeys(genuine.headers, "")),
        "other_key": sender.delivery(**other_key),
        "other_body": Delivery(sender.body(2), genuine.headers),
        "other_bytes": Delivery(genuine.body + b" ", genuine.headers),
    }[forgery]

    with pytest.raises(WrongSignatureError):
        receive(source, forged)

    assert nothing_is_kept()
    connection = Connection.objects.get()
    assert (connection.failures, connection.error) == (1, "wrong_signature")


def test_delivery__after_a_refused_one__clears_the_count(sender, workspace):
    source = sender.connect(workspace)
    with pytest.raises(WrongSignatureError):
        receive(source, Delivery(sender.body(), {}))

    receive(source, sender.delivery())

    connection = Connection.objects.get()
    assert (connection.failures, connection.error) == (0, "")


@given(
    body=st.binary(max_size=50),
    headers=st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=3),
    data=st.data(),
)
def test_delivery__of_whoever_has_no_key__is_never_genuine(sender, body, headers, data):
    names = list(sender.delivery().headers)
    guessed = {name: data.draw(st.text(max_size=60)) for name in names}

    with pytest.raises(RefusedDeliveryError):
        webhook(sender).verify(Delivery(body, {**headers, **guessed}), sender.settings, now=NOW)


def test_connection__whose_secrets_are_gone__takes_nothing(sender, workspace):
    source = sender.connect(workspace)
    Connection.objects.update(secrets=b"")

    with pytest.raises(WrongSignatureError):
        receive(source, sender.delivery(**dict.fromkeys(sender.secrets, "")))

    assert nothing_is_kept()


# -- what it says ---------------------------------------------------------------------------------------------------


def test_delivery__that_comes_again__changes_nothing(sender, workspace):
    source = sender.connect(workspace)
    receive(source, sender.delivery())
    receive(source, sender.delivery(), now=NOW + timedelta(seconds=60))

    with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk) as permit:
        waiting = dict.fromkeys(OutboxRow.objects.values_list("subject_id", flat=True), Cause.EVENT)
        ingestion.store(permit, waiting, now=NOW)

    assert Event.objects.count() == sender.calls
    assert Announcement.objects.count() == sender.announced


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"3", b"null", b"{}", b'"text"', b"\xff\xfe", b'{"event_type":"other"}']
)
def test_delivery__that_nobody_can_read__lies_in_quarantine_as_it_came(sender, body, workspace):
    source = sender.connect(workspace)

    received = receive(source, sender.delivery(body))

    assert (received.accepted, received.quarantined, received.announced) == (0, 1, 0)
    assert received.malformed is not None
    assert received.status == sender.malformed_status
    item = QuarantinedItem.objects.get()
    assert (item.source_id, item.place, item.code) == (source.pk, "webhook", received.malformed.reason)
    assert item.raw == body.decode(errors="replace")
    assert not InboxBatch.objects.exists()


@given(document=json_values)
def test_delivery__of_any_json__is_read_or_refused_and_reads_the_same_again(sender, document):
    delivery = Delivery(json.dumps(document).encode(), {})

    def read():
        try:
            return webhook(sender).read(delivery, sender.settings)
        except MalformedDeliveryError as error:
            return error.reason

    assert read() == read()


@given(data=st.data())
def test_delivery__with_any_value_in_any_place__is_read_or_refused_and_never_ignored(sender, data):
    document = json.loads(sender.body())
    value = data.draw(json_values)
    replace(document, data.draw(st.sampled_from(list(places(document))[1:])), value)

    said = []
    with contextlib.suppress(MalformedDeliveryError):
        reading = webhook(sender).read(Delivery(json.dumps(document).encode(), {}), sender.settings)
        said = [len(reading.calls) + len(reading.unread) + len(reading.announced)]

    assert said != [0] or value == []  # a list of events may be empty


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from places(inner, (*path, name))


def replace(document, path, value):
    for step in path[:-1]:
        document = document[step]
    document[path[-1]] = value


def test_delivery__when_it_cannot_be_stored__keeps_nothing_of_it(sender, workspace, monkeypatch):
    source = sender.connect(workspace)

    def fail(*_, **__):
        raise DatabaseError

    monkeypatch.setattr(deliveries, "accept_calls", fail)

    with pytest.raises(DatabaseError):
        receive(source, sender.delivery())

    assert nothing_is_kept()


# -- connections ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["source", "connection"])
def test_connection__that_is_switched_off__takes_nothing(sender, end, workspace):
    source = sender.connect(workspace)
    if end == "source":
        type(source).objects.update(is_enabled=False)
    else:
        Connection.objects.update(is_enabled=False)

    with pytest.raises(DisabledConnectionError):
        receive(source, sender.delivery())

    assert nothing_is_kept()


@pytest.mark.parametrize("end", ["no_connection", "other_kind", "closed", "none"])
def test_address__that_leads_nowhere__is_unknown(sender, end, workspace):
    source = sender.connect(workspace)
    address = source.pk
    if end == "no_connection":
        Connection.objects.all().delete()
    elif end == "other_kind":
        type(source).objects.update(kind="HTTP")
    elif end == "closed":
        type(workspace).objects.update(closed_at=NOW)
    else:
        address += 1

    with pytest.raises(UnknownWebhookError):
        deliveries.receive(source_id=address, delivery=sender.delivery(), now=NOW)

    assert nothing_is_kept()


def test_receive__as_the_login_of_the_web_server__may_do_all_it_needs(sender, workspace, as_login):
    source = sender.connect(workspace)
    as_login("web")

    with pytest.raises(WrongSignatureError):
        receive(source, Delivery(sender.body(), {}))
    malformed = receive(source, sender.delivery(b"{"))
    received = receive(source, sender.delivery())

    assert malformed.quarantined == 1
    assert (received.accepted, received.announced) == (sender.calls, sender.announced)


def test_errors__hold_no_secret(sender):
    secrets = {"colour": "red", **sender.secrets}
    with pytest.raises(WebhookSettingsError) as caught:
        webhook(sender).check(dataclasses.replace(sender.settings, secrets=secrets))

    assert not any(secret in str(caught.value) for secret in sender.secrets.values())
