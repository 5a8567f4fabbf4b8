"""An image whose address says what happened: it always comes, and its event is kept or quarantined."""

from urllib.parse import urlencode

import pytest
from django.db import DatabaseError

from cdp.api.tracking.pixels import GIF, event_in
from cdp.ingestion import accepting
from cdp.models import InboxBatch, QuarantinedItem
from tests.api.tracking.conftest import kept_events


def load(client, kind, **more):
    def ask(parameters):
        return client.get(f"/pixel/v1/{kind}?{urlencode(parameters)}", **more)

    return ask


def assert_image(answer, status=200):
    assert (answer.status_code, answer.headers["Content-Type"], answer.content) == (status, "image/gif", GIF)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


def test_image__is_one_transparent_point():
    assert (GIF[:6], GIF[6:10], GIF[-1:]) == (b"GIF89a", b"\x01\x00\x01\x00", b";")


def test_page__as_rudderstack_sends_it__is_an_event(client, write_key):
    answer = load(client, "page")({
        "writeKey": write_key, "anonymousId": '"a-1"', "name": "Home", "messageId": "m1", "context.page.url": "https://x.example/?a=1",
        "context.library.name": "RudderLabs AMP", "properties.title": "Bienvenue, été",
    })  # fmt: skip

    assert_image(answer)
    assert kept_events() == [
        {
            "type": "page", "channel": "web", "integrations": {"All": True}, "anonymousId": "a-1", "name": "Home",
            "messageId": "m1", "context": {"page": {"url": "https://x.example/?a=1"}, "library": {"name": "RudderLabs AMP"}},
            "properties": {"title": "Bienvenue, été"},
        }
    ]  # fmt: skip


@pytest.mark.parametrize("slash", ["", "/"])
def test_track__of_an_opened_mail__is_an_event(slash, client, write_key):
    answer = client.get(
        f"/pixel/v1/track{slash}?writeKey={write_key}&userId=7&event=Mail+Opened&properties.mail=spring"
    )

    assert_image(answer)
    (event,) = kept_events()
    assert (event["event"], event["userId"], event["properties"]) == ("Mail Opened", "7", {"mail": "spring"})


def test_event__that_is_bad__lies_in_quarantine_and_the_image_comes(client, write_key):
    answer = load(client, "track")({"writeKey": write_key, "event": "Mail Opened"})

    assert_image(answer)
    assert QuarantinedItem.objects.get().code == "missing_identity"
    assert not InboxBatch.objects.exists()


@pytest.mark.parametrize(
    "query", ["", "writeKey=wk_wrong", "writeKey=%ff%00", "a.b.c.d.e.f.g.h.i.j.k=1", "&&&=&.=.", "é=%"]
)
def test_image__for_nobody__comes_and_nothing_is_kept(query, client, workspace):
    assert_image(client.get(f"/pixel/v1/track?{query}"))
    assert not InboxBatch.objects.exists()
    assert not QuarantinedItem.objects.exists()


def test_head__of_an_image__keeps_nothing(client, write_key):
    answer = client.head(f"/pixel/v1/track?writeKey={write_key}&userId=1&event=e")

    assert (answer.status_code, answer.headers["Content-Type"], answer.content) == (200, "image/gif", b"")
    assert not InboxBatch.objects.exists()


def test_image__with_more_parameters_than_a_form_may_have__comes(client, write_key, settings):
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 10
    many = {f"properties.p{number}": number for number in range(301)}

    assert_image(load(client, "track")({"writeKey": write_key, "userId": 1, "event": "e", **many}))
    assert QuarantinedItem.objects.get().code == "too_many_properties"


def test_image__while_the_database_is_away__comes_with_503(client, write_key, monkeypatch):
    def fail(*_, **__):
        raise DatabaseError

    monkeypatch.setattr(accepting, "_append", fail)

    answer = load(client, "track")({"writeKey": write_key, "userId": 1, "event": "e"})

    assert_image(answer, status=503)
    assert answer.headers["Retry-After"] == "1"


def test_event_in__where_a_name_is_value_and_object__keeps_the_object():
    assert event_in({"context": "x", "context.ip": "1"}, "page")["context"] == {"ip": "1"}
    assert event_in({"context.ip": "1", "context": "x"}, "page")["context"] == {"ip": "1"}


def test_event_in__goes_by_the_type_of_its_path():
    assert event_in({"type": "identify", "writeKey": "wk"}, "page")["type"] == "page"
    assert "writeKey" not in event_in({"writeKey": "wk"}, "page")
