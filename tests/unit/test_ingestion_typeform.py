"""Typeform: each type of answer, who answered, and what a scale is worth."""

import json

import pytest

from cdp.ingestion.webhook import Delivery, Settings, WebhookSettingsError
from cdp.ingestion.webhooks.typeform.webhook import WEBHOOK
from tests.fakes.senders import typeform_body

FIELD = {"id": "f9", "ref": "question", "type": "any"}


def read(answers=None, config=None, **more):
    body = json.dumps(typeform_body(1, answers, **more)).encode()
    return WEBHOOK.read(Delivery(body, {}), Settings(config or {}, {})).calls


def told(answers=None, config=None, **more):
    return read(answers, config, **more)[-1]["properties"]


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ({"type": "text", "text": "Paris"}, "Paris"),
        ({"type": "choice", "choice": {"label": "Blue", "id": "c1"}}, "Blue"),
        ({"type": "choice", "choice": {"other": "Mauve"}}, "Mauve"),
        ({"type": "choices", "choices": {"labels": ["Blue", "Red"]}}, ["Blue", "Red"]),
        ({"type": "choices", "choices": {"labels": ["Blue"], "other": "Mauve"}}, ["Blue", "Mauve"]),
        ({"type": "boolean", "boolean": False}, False),
        ({"type": "number", "number": 0}, 0),
        ({"type": "date", "date": "2005-10-15"}, "2005-10-15"),
        ({"type": "email", "email": "ada@example.com"}, "ada@example.com"),
        ({"type": "phone_number", "phone_number": "+33612345678"}, "+33612345678"),
        ({"type": "url", "url": "https://example.com"}, "https://example.com"),
        ({"type": "file_url", "file_url": "https://example.com/cv.pdf"}, "https://example.com/cv.pdf"),
        (
            {"type": "payment", "payment": {"amount": "1", "last4": "1234", "name": "Ada", "success": True}},
            {"amount": "1", "last4": "1234", "name": "Ada", "success": True},
        ),
        ({"type": "hologram", "hologram": {"deep": 3}}, {"deep": 3}),
        ({"type": "hologram", "shape": "round"}, {"shape": "round"}),
    ],
)
def test_answer__of_each_type__is_kept_and_becomes_a_trait(answer, value):
    identify, event = read([{**answer, "field": FIELD}])

    assert event["properties"]["answers"][0]["answer"] == value
    trait = {"email": "email", "phone_number": "phone"}.get(answer["type"], "survey_question")
    assert identify["traits"] == {trait: value}


def test_answered_form__is_an_identify_call_and_an_event():
    identify, event = read()

    assert identify == {
        "type": "identify",
        "messageId": "typeform:token-1:form_response:traits",
        "userId": "user-1",
        "anonymousId": "typeform:token-1",
        "timestamp": "2026-11-21T11:00:00Z",
        "traits": {"survey_city": "Paris"},
    }
    assert (event["event"], event["messageId"]) == ("Survey Answered", "typeform:token-1:form_response")
    assert event["properties"] == {
        "survey_id": "lT4Z3j",
        "survey": "How we do",
        "response_id": "token-1",
        "answers": [{"key": "city", "question": "Where do you live?", "type": "text", "answer": "Paris"}],
        "hidden": {"user_id": "user-1"},
        "scores": {},
    }


def test_form__that_was_left_before_its_end__is_another_event():
    body = json.dumps({**typeform_body(), "event_type": "form_response_partial"}).encode()

    calls = WEBHOOK.read(Delivery(body, {}), Settings({}, {})).calls

    assert calls[-1]["event"] == "Survey Begun"
    assert calls[-1]["messageId"] != read()[-1]["messageId"]


def test_question__without_a_readable_name__is_named_by_its_words():
    happy = {"id": "f2", "ref": "8f1f5b2e-0d6c-4f0a-9c57-1a2b3c4d5e6f", "type": "opinion_scale"}

    identify, _ = read([{"type": "text", "text": "Very", "field": happy}])

    assert identify["traits"] == {"survey_how_happy_are_you": "Very"}


def test_traits_of_the_settings__are_the_only_ones_and_the_event_keeps_all():
    answers = [
        {"type": "text", "text": "Paris", "field": {**FIELD, "ref": "city", "id": "f1"}},
        {"type": "text", "text": "secret", "field": FIELD},
    ]

    identify, event = read(answers, {"traits": {"home": "city"}})

    assert identify["traits"] == {"home": "Paris"}
    assert [answer["answer"] for answer in event["properties"]["answers"]] == ["Paris", "secret"]


def test_second_address__is_not_the_persons_own():
    answers = [
        {"type": "email", "email": "ada@example.com", "field": FIELD},
        {"type": "email", "email": "friend@example.com", "field": {**FIELD, "ref": "friend"}},
    ]

    identify, event = read(answers)

    assert identify["traits"] == {"email": "ada@example.com"}
    assert event["context"]["traits"] == {"email": "ada@example.com"}


def test_identifiers__of_the_settings__are_read_from_hidden_fields():
    _, event = read(
        config={"identifiers": {"crm:id": "contact", "email": "mail"}},
        hidden={"contact": "c7", "mail": "a@example.com"},
    )

    assert event["context"]["externalIds"][0]["id"] == "c7"
    assert event["context"]["traits"] == {"email": "a@example.com"}
    assert event["anonymousId"] == "typeform:token-1"
    assert "userId" not in event


@pytest.mark.parametrize("nobody", ["", "undefined", "null", 0, None])
def test_hidden_field__that_was_left_empty__identifies_nobody(nobody):
    _, event = read(hidden={"user_id": nobody})

    assert "userId" not in event
    assert event["anonymousId"] == "typeform:token-1"


@pytest.mark.parametrize(
    ("field", "number", "config", "score"),
    [
        ({"type": "opinion_scale"}, 8, {}, 0.8),
        ({"type": "nps"}, 10, {}, 1.0),
        ({"type": "rating"}, 3, {}, 0.6),
        ({"type": "rating", "properties": {"steps": 3}}, 3, {}, 1.0),
        ({"type": "opinion_scale"}, 7, {"scales": {"question": 7}}, 1.0),
        ({"type": "opinion_scale"}, 12, {}, 1.0),
        ({"type": "number"}, 8, {}, None),
    ],
)
def test_scale__has_a_score_from_0_to_1(field, number, config, score):
    answers = [{"type": "number", "number": number, "field": {**FIELD, **field}}]

    assert told(answers, config)["scores"].get("question") == score


def test_scores__of_the_form_itself__are_kept():
    variables = [{"key": "price", "type": "number", "number": 4}, {"key": "name", "type": "text", "text": "x"}]

    assert told(calculated={"score": 9}, variables=variables)["scores"] == {"total": 9, "price": 4}


@pytest.mark.parametrize(
    ("answer", "traits"),
    [
        ({"type": "number", "number": 8, "field": {**FIELD, "type": "opinion_scale"}}, {"interest_bicycle_rides": 0.8}),
        ({"type": "boolean", "boolean": True, "field": FIELD}, {"interest_bicycle_rides": 1.0}),
        (
            {"type": "choices", "choices": {"labels": ["Cycling", "Vélo couché"]}, "field": FIELD},
            {"interest_cycling": 1.0, "interest_velo_couche": 1.0},
        ),
    ],
)
def test_interest__is_the_place_on_the_scale_or_what_was_chosen(answer, traits):
    identify, _ = read([answer], {"interests": {"Bicycle rides": "question"}, "traits": {"none": "none"}})

    assert identify["traits"] == traits


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"traits": ["city"]}, "`traits` must be a table"),
        ({"identifiers": {"No Type": "x"}}, "is no identifier type"),
        ({"interests": {"cycling": 3}}, "must name a column"),
        ({"scales": {"q": 0}}, "`scales.q` must be a whole number above 0"),
        ({"scales": [1]}, "`scales` must be a table"),
    ],
)
def test_setting__that_is_wrong__is_named(config, said):
    with pytest.raises(WebhookSettingsError, match=said):
        WEBHOOK.check(Settings(config, {"secret": "s"}))
