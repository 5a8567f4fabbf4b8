"""What lies in quarantine from webhooks and streams can be read again once it, or its mapping, was mended."""

import json

import pytest

from cdp.ingestion.redelivering import reread
from cdp.ingestion.webhook import Announced, MalformedDeliveryError, Settings
from cdp.models import SourceKind
from tests.fakes.senders import SENDERS

MAPPING = {"mapping": {"items": "all", "event_name": "Seen", "identifiers": {"user_id": "who"}}}
ONE = json.dumps({"who": "ada"}).encode()
EVENT = {"type": "track", "event": "Seen", "userId": "ada"}


def read(kind, place, raw, config=MAPPING):
    return reread(kind=kind, settings=Settings(config, {}), place=place, raw=raw)


@pytest.mark.parametrize("sender", SENDERS, ids=lambda sender: sender.kind.value.lower())
def test_delivery__that_was_mended__says_what_it_would_have_said(sender):
    reading = reread(kind=sender.kind, settings=sender.settings, place="webhook", raw=sender.body())

    assert (len(reading.calls), len(reading.announced), len(reading.unread)) == (sender.calls, sender.announced, 0)
    with pytest.raises(MalformedDeliveryError):
        reread(kind=sender.kind, settings=sender.settings, place="webhook", raw=b"{")


@pytest.mark.parametrize(
    ("kind", "place"),
    [(SourceKind.WEBHOOK, "webhook[3]"), (SourceKind.KAFKA, "people:0:7[3]"), (SourceKind.STREAM, "s:0:1-0[0]")],
)
def test_event__of_a_delivery_or_message__is_read_by_itself(kind, place):
    first, second = read(kind, place, ONE), read(kind, place, ONE)

    assert [call["event"] for call in first.calls] == ["Seen"]
    assert first == second
    (still_bad,) = read(kind, place, b"{}").unread
    assert (still_bad.place, still_bad.code, still_bad.raw) == (place, "missing_identity", b"{}")
    assert read(kind, place, b"{").unread[0].code == "invalid_json"


def test_message__is_read_as_a_whole_and_has_the_id_of_its_place():
    (call,) = read(SourceKind.KAFKA, "people:2:17", json.dumps(EVENT).encode(), {}).calls

    assert call == {**EVENT, "messageId": "people:2:17"}


def test_message__of_several_events__keeps_those_apart_that_are_still_bad():
    reading = read(SourceKind.KAFKA, "people:2:17", json.dumps({"batch": [EVENT, 3]}).encode(), {})

    assert len(reading.calls) == 1
    assert [(one.place, one.code) for one in reading.unread] == [("people:2:17[1]", "not_an_object")]


def test_event_of_a_message__without_a_mapping__keeps_the_id_that_it_would_have_had():
    (call,) = read(SourceKind.KAFKA, "people:2:17[1]", json.dumps(EVENT).encode(), {}).calls

    assert call["messageId"] == "people:2:17[1]"


def test_announcement__that_was_given_up__is_announced_again_once():
    body = {"event_type": "response_completed", "survey_id": "1", "response_id": "2"}

    reading = read(SourceKind.SURVEYMONKEY, "webhook:event-1", json.dumps(body).encode(), {})

    assert reading.announced == [Announced("event-1:again", body)]
