"""What a JSON document says under a mapping."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.ingestion import documents, messages
from cdp.ingestion.documents import NoItemsError
from cdp.ingestion.mapping import MappingError
from cdp.ingestion.messages import RefusedEventError

ORDER = {
    "id": "order-1",
    "kind": "Order Completed",
    "at": "2026-11-21T11:00:00Z",
    "total": 99.5,
    "customer": {"no": 7, "mail": "Ada@Example.com", "city": "Paris"},
    "lines": [{"sku": "a"}, {"sku": "b"}],
}
MAPPING = {
    "key": "id",
    "event": "kind",
    "observed_at": "at",
    "identifiers": {"user_id": "customer.no", "email": "/customer/mail"},
    "properties": {"revenue": "total", "first": "lines.0.sku"},
}


def read(document=ORDER, **mapping):
    given = {name: value for name, value in {**MAPPING, **mapping}.items() if value is not None}
    return documents.calls_of(document, documents.parse_document_mapping(given), message_id="fallback")


def test_document__under_a_mapping__is_a_call_as_an_sdk_would_send_it():
    assert read() == [
        {
            "type": "track",
            "event": "Order Completed",
            "messageId": "order-1",
            "userId": "7",
            "timestamp": "2026-11-21T11:00:00Z",
            "properties": {"revenue": 99.5, "first": "a"},
            "context": {"traits": {"email": "Ada@Example.com"}},
        }
    ]


def test_document__without_properties_in_the_mapping__keeps_all_that_has_no_other_meaning():
    (call,) = read(properties=None)

    assert call["properties"] == {"total": 99.5, "customer": ORDER["customer"], "lines": ORDER["lines"]}


def test_document__with_traits_in_the_mapping__is_an_identify_call_too():
    event, identify = read(traits={"city": "customer.city", "absent": "customer.nothing"})

    assert event["type"] == "track"
    assert (identify["type"], identify["messageId"]) == ("identify", "order-1:traits")
    assert identify["traits"] == {"city": "Paris"}


def test_document__with_traits_alone__is_an_identify_call_alone():
    (identify,) = read(event=None, properties=None, traits={"city": "customer.city"})

    assert identify["type"] == "identify"


@pytest.mark.parametrize(
    ("at", "expected"), [("1795258800", 1795258800.0), (1795258800, 1795258800), ("", None), (None, None)]
)
def test_time__in_seconds__is_taken_as_number_or_text(at, expected):
    (call,) = read({**ORDER, "at": at})

    assert call.get("timestamp") == expected


def test_document__with_a_type_of_its_own__is_that_kind_of_call():
    (call,) = read({**ORDER, "what": "Identify"}, type="what", event=None, properties={"city": "customer.city"})

    assert (call["type"], call["traits"]) == ("identify", {"city": "Paris"})


def test_message_id__that_is_missing__is_the_one_of_the_delivery():
    assert read({**ORDER, "id": ""})[0]["messageId"] == "fallback"


def test_message_id__that_is_too_long__is_made_to_fit_and_stays_the_same():
    long = {**ORDER, "id": "x" * 101}

    assert read(long)[0]["messageId"] == read(long)[0]["messageId"] == documents.fitting_id("x" * 101)
    assert len(read(long)[0]["messageId"]) <= messages.LONGEST_MESSAGE_ID


def test_person__with_an_address_alone__has_the_same_stand_in_id_each_time():
    (first,) = read(identifiers={"email": "customer.mail"})
    (second,) = read(
        {**ORDER, "id": "2", "customer": {"mail": "ada@example.com"}}, identifiers={"email": "customer.mail"}
    )

    assert first["anonymousId"] == second["anonymousId"]
    assert first["anonymousId"].startswith("of-")
    assert "ada" not in first["anonymousId"]


def test_person__with_a_key_of_another_system__brings_it_as_external_id():
    (call,) = read(identifiers={"crm:id": "customer.no"})

    assert call["context"]["externalIds"] == [{"type": "crm:id", "id": "7", "collection": "users", "encoding": "none"}]
    assert call["anonymousId"]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ([], "not_an_object"),
        ("text", "not_an_object"),
        ({**ORDER, "customer": {}}, "missing_identity"),
        ({**ORDER, "kind": None}, "missing_event_name"),
        ({**ORDER, "at": "yesterday"}, "invalid_timestamp"),
        ({**ORDER, "total": "x" * 40_000}, "event_too_large"),
    ],
)
def test_document__that_cannot_be_read__is_refused_with_its_reason(document, code):
    with pytest.raises(RefusedEventError) as caught:
        read(document)

    assert caught.value.reason == code


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.b", 1),
        ("/a/b", 1),
        ("list.1", "two"),
        ("/list/0", "one"),
        ("list.2", None),
        ("list.-1", None),
        ("a.b.c", None),
        ("dotted.name", "whole"),
        ("/with~1slash", "slash"),
        ("/with~0tilde", "tilde"),
        ("nothing", None),
        ("", None),
    ],
)
def test_path__leads_to_its_value(path, expected):
    document = {
        "a": {"b": 1},
        "list": ["one", "two"],
        "dotted.name": "whole",
        "with/slash": "slash",
        "with~tilde": "tilde",
    }

    assert documents.value_at(document, path) == expected


def test_items__lie_where_the_mapping_says():
    mapping = documents.parse_document_mapping({**MAPPING, "items": "data.orders"})

    assert documents.items_of({"data": {"orders": [1, 2]}}, mapping) == [1, 2]
    with pytest.raises(NoItemsError, match=r"There is no list at `data.orders`\."):
        documents.items_of({"data": {}}, mapping)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "A mapping is a table of entries"),
        ({"region": "FR"}, "`region` is that of the source"),
        ({"items": 3}, "`items` must be text"),
        ({"event_name": ""}, "`event_name` must be text"),
        ({"colour": "red"}, "`colour` is no entry"),
        ({"event": "kind"}, "`identifiers` must say whose event it is"),
        ({"identifiers": {"email": "mail"}}, "needs `event` or `event_name`"),
        ({"identifiers": {"Not A Type": "mail"}, "event": "kind"}, "is no identifier type"),
        ({"identifiers": {"email": "mail"}, "traits": ["city"]}, "`traits` must be a table"),
    ],
)
def test_mapping__that_is_wrong__says_where(given, said):
    with pytest.raises(MappingError, match=said):
        documents.parse_document_mapping(given)


@given(document=st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.integers())))
def test_document__whatever_it_holds__gives_calls_that_are_accepted_or_is_refused(document):
    try:
        calls = read({**ORDER, **document}, properties=None)
    except RefusedEventError:
        return
    assert [documents.checked(call) for call in calls] == calls
    assert json.dumps(calls)
