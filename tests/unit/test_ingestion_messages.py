"""The checks of a tracking call, and the fact that it becomes."""

from datetime import UTC, datetime, timedelta

import pytest

from cdp.ingestion import messages
from cdp.ingestion.messages import RefusedEventError

RECEIVED = datetime(2026, 11, 21, 12, tzinfo=UTC)
TRACK = {"type": "track", "event": "Viewed", "userId": "u1", "messageId": "m1"}


def fact_of(sent_at=None, **changes):
    event = messages.checked({**TRACK, **changes}, kind=None)
    return messages.fact(event, source_id=1, sent_at=sent_at, received_at=RECEIVED, region="FR")


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ("text", "not_an_object"),
        (None, "not_an_object"),
        ({**TRACK, "type": "purchase"}, "unknown_type"),
        ({**TRACK, "type": None}, "unknown_type"),
        ({**TRACK, "userId": None}, "missing_identity"),
        ({**TRACK, "userId": "  "}, "missing_identity"),
        ({**TRACK, "userId": "anonymous", "anonymousId": "null"}, "missing_identity"),
        ({**TRACK, "userId": "x" * 513}, "missing_identity"),
        ({**TRACK, "userId": {"id": 1}}, "invalid_identity"),
        ({**TRACK, "userId": True}, "invalid_identity"),
        ({**TRACK, "event": None}, "missing_event_name"),
        ({**TRACK, "event": " "}, "missing_event_name"),
        ({**TRACK, "event": 3}, "missing_event_name"),
        ({**TRACK, "event": "x" * 513}, "event_name_too_long"),
        ({**TRACK, "messageId": "m" * 101}, "message_id_too_long"),
        ({**TRACK, "messageId": ["m"]}, "invalid_message_id"),
        ({**TRACK, "properties": [1]}, "invalid_properties"),
        ({**TRACK, "context": "web"}, "invalid_context"),
        ({**TRACK, "properties": {str(n): n for n in range(301)}}, "too_many_properties"),
        ({"type": "identify", "userId": "u", "traits": {str(n): n for n in range(301)}}, "too_many_traits"),
        (
            {"type": "identify", "userId": "u", "context": {"traits": {str(n): n for n in range(301)}}},
            "too_many_traits",
        ),
        (
            {"type": "group", "userId": "u", "groupId": "g", "traits": {str(n): n for n in range(301)}},
            "too_many_traits",
        ),
        ({**TRACK, "timestamp": "yesterday"}, "invalid_timestamp"),
        ({**TRACK, "timestamp": "9999-12-31T23:59:59+14:00"}, "invalid_timestamp"),
        ({**TRACK, "timestamp": True}, "invalid_timestamp"),
        ({"type": "identify", "userId": "u", "traits": {"t" * 129: 1}}, "trait_name_too_long"),
        ({"type": "group", "userId": "u"}, "missing_group_id"),
        ({"type": "group", "userId": "u", "groupId": "g" * 501}, "missing_group_id"),
        ({"type": "alias", "userId": "u"}, "missing_identity"),
        ({"type": "alias", "previousId": "a"}, "missing_identity"),
    ],
)
def test_check__of_a_bad_event__says_what_is_wrong(event, code):
    with pytest.raises(RefusedEventError) as refused:
        messages.checked(event, kind=None)

    assert refused.value.reason == code


def test_check__keeps_ids_as_text_and_drops_what_is_absent_or_secret():
    kept = messages.checked(
        {"event": "Viewed", "userId": 42, "anonymousId": None, "messageId": 7, "writeKey": "secret", "_metadata": {}},
        kind="track",
    )

    assert kept == {"type": "track", "event": "Viewed", "userId": "42", "messageId": "7"}


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("2026-11-21T11:00:00Z", RECEIVED - timedelta(hours=1)),
        ("2026-11-21T13:00:00.000+02:00", RECEIVED - timedelta(hours=1)),
        ("2026-11-21 11:00:00", RECEIVED - timedelta(hours=1)),
        (1795258800, RECEIVED - timedelta(hours=1)),
        (1795258800000, RECEIVED - timedelta(hours=1)),
        ("", None),
        (None, None),
        ({}, None),
        (float("inf"), None),
        (10**400, None),
    ],
)
def test_moment__in_any_notation__is_utc_or_nothing(value, read):
    assert messages.moment(value) == read


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("original", "sent", "occurred"),
    [
        (None, None, RECEIVED),
        (None, RECEIVED, RECEIVED),
        (RECEIVED - HOUR, None, RECEIVED - HOUR),
        (RECEIVED + 5 * HOUR, RECEIVED + 6 * HOUR, RECEIVED - HOUR),  # a clock six hours ahead
        (RECEIVED - 7 * HOUR, RECEIVED - 6 * HOUR, RECEIVED - HOUR),  # a clock six hours behind
        (datetime(2019, 5, 1, tzinfo=UTC), RECEIVED, datetime(2019, 5, 1, tzinfo=UTC)),  # an import of history
        (RECEIVED + timedelta(days=400), None, RECEIVED),  # nobody tells the future
        (RECEIVED + timedelta(days=400), RECEIVED, RECEIVED),
        (datetime(1900, 1, 1, tzinfo=UTC), datetime(2199, 1, 1, tzinfo=UTC), RECEIVED),  # nor a past before all clocks
    ],
)
def test_time__is_corrected_by_how_long_the_event_lay_with_its_sender(original, sent, occurred):
    assert messages.corrected(original=original, sent=sent, received=RECEIVED) == occurred


def test_fact__has_the_most_authoritative_identifier_first():
    fact = fact_of(
        anonymousId="a1",
        properties={"email": "Ada@Example.com", "total": 3},
        context={"traits": {"phone": "0612345678", "email": "ada@example.com"}},
    )

    assert fact.nodes == (
        ("user_id", "u1"), ("anonymous_id", "a1"), ("email", "ada@example.com"), ("phone", "+33612345678"),
    )  # fmt: skip
    assert fact.traits == {}


def test_fact__of_external_ids__takes_those_that_are_complete():
    good = {"id": "g-1", "type": "ga_client_id", "collection": "users", "encoding": "none"}
    bad = [{**good, "collection": "accounts"}, {**good, "encoding": "sha256"}, {**good, "type": "No Type"}, "x"]
    incomplete = [{name: value for name, value in good.items() if name != missing} for missing in good]

    fact = fact_of(context={"externalIds": [good, *bad, *incomplete]})

    assert fact.nodes == (("user_id", "u1"), ("ga_client_id", "g-1"))


def test_fact__keeps_its_context_whole__consent_and_address_too():
    context = {"consent": {"categoryPreferences": {"ads": False}}, "ip": "203.0.113.9", "page": {"url": "/"}}

    assert fact_of(context=context).context == context


def test_identify__with_traits_in_the_context_only__has_them():
    fact = fact_of(type="identify", context={"traits": {"plan": "pro", "email": "ADA@example.com", "empty": " "}})

    assert fact.traits == {"plan": "pro", "email": "ada@example.com"}
    assert fact.properties == {}


def test_identify__with_traits_in_both_places__trusts_its_own():
    fact = fact_of(type="identify", traits={"plan": "pro"}, context={"traits": {"plan": "free", "age": 3}})

    assert fact.traits == {"plan": "pro", "age": 3}


def test_group__describes_the_group_and_not_the_person():
    fact = fact_of(type="group", groupId="g1", traits={"email": "office@example.com", "seats": 3})

    assert fact.nodes == (("user_id", "u1"),)
    assert fact.traits == {}
    assert fact.properties == {"email": "office@example.com", "seats": 3, "groupId": "g1"}


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ({"type": "track", "event": " Order\x00 "}, "Order"),
        ({"type": "page", "name": "Home"}, "Home"),
        ({"type": "page"}, "page"),
        ({"type": "screen", "name": 3}, "screen"),
        ({"type": "identify"}, "identify"),
    ],
)
def test_fact__is_named_by_its_call(call, name):
    assert fact_of(**call).name == name


def test_page__keeps_name_and_category_with_its_properties():
    fact = fact_of(type="page", name="Home", category="Docs", properties={"url": "/", "name": "home"})

    assert fact.properties == {"name": "home", "category": "Docs", "url": "/"}
