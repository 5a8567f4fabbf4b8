"""SurveyMonkey: each family of question, who answered, and what a rating is worth."""

import pytest

from cdp.ingestion.webhook import MalformedDeliveryError, Settings, WebhookSettingsError
from cdp.ingestion.webhooks.surveymonkey.webhook import WEBHOOK
from tests.fakes.senders import SURVEYMONKEY
from tests.fakes.surveymonkey import response, survey

ANNOUNCED = {"event_type": "response_completed", "survey_id": "68388858", "response_id": "1"}
CHOICES = [
    {"id": "1", "text": "Never", "weight": 1},
    {"id": "2", "text": "Often", "weight": 4},
    {"id": "3", "text": "Always", "weight": 5},
]
ROWS = [{"id": "r1", "text": "Cycling"}, {"id": "r2", "text": "Swimming"}]


def fetch(answers, /, *, config=None, told=None, **question):
    asked = {"id": "10", "headings": [{"heading": "What do you do?"}], **question}
    told = told or response(questions=[{"id": "10", "answers": answers}])
    settings = Settings({**SURVEYMONKEY.config, **(config or {})}, SURVEYMONKEY.secrets)
    return WEBHOOK.fetch(ANNOUNCED, settings, lambda address: told if "/responses/" in address else survey([asked]))


@pytest.mark.parametrize(
    ("question", "answers", "value"),
    [
        ({"family": "single_choice", "subtype": "vertical", "answers": {"choices": CHOICES}}, [{"choice_id": "2"}], "Often"),
        (
            {"family": "single_choice", "subtype": "menu", "answers": {"choices": CHOICES, "other": {"id": "9"}}},
            [{"other_id": "9", "text": "On Sundays"}],
            "On Sundays",
        ),
        (
            {"family": "multiple_choice", "subtype": "vertical", "answers": {"choices": CHOICES}},
            [{"choice_id": "1"}, {"choice_id": "3"}, {"other_id": "9", "text": "Now and then"}],
            ["Never", "Always", "Now and then"],
        ),
        ({"family": "multiple_choice", "subtype": "vertical", "answers": {"choices": CHOICES}}, [{"choice_id": "1"}], ["Never"]),
        (
            {"family": "matrix", "subtype": "rating", "answers": {"choices": CHOICES, "rows": ROWS}},
            [{"row_id": "r1", "choice_id": "3"}, {"row_id": "r2", "choice_id": "1"}],
            {"Cycling": "Always", "Swimming": "Never"},
        ),
        (
            {"family": "matrix", "subtype": "rating", "answers": {"choices": CHOICES, "rows": [{"id": "r1", "text": ""}]}},
            [{"row_id": "r1", "choice_id": "3"}],
            "Always",
        ),
        (
            {"family": "matrix", "subtype": "multi", "answers": {"choices": CHOICES, "rows": ROWS}},
            [{"row_id": "r1", "choice_id": "1"}, {"row_id": "r1", "choice_id": "2"}, {"row_id": "r2", "choice_id": "3"}],
            {"Cycling": ["Never", "Often"], "Swimming": ["Always"]},
        ),
        (
            {"family": "matrix", "subtype": "ranking", "answers": {"choices": [{"id": "1", "text": "1"}, {"id": "2", "text": "2"}], "rows": ROWS}},
            [{"row_id": "r2", "choice_id": "1"}, {"row_id": "r1", "choice_id": "2"}],
            {"Cycling": "2", "Swimming": "1"},
        ),
        (
            {"family": "matrix", "subtype": "menu", "answers": {"rows": ROWS, "cols": [{"id": "k1", "text": "How often", "choices": CHOICES}]}},
            [{"row_id": "r1", "col_id": "k1", "choice_id": "2"}],
            {"Cycling": {"How often": "Often"}},
        ),
        (
            {"family": "matrix", "subtype": "single", "answers": {"choices": CHOICES, "rows": ROWS}},
            [{"row_id": "r1", "choice_id": "3"}, {"other_id": "9", "text": "And more"}],
            {"Cycling": "Always", "comment": "And more"},
        ),
        ({"family": "open_ended", "subtype": "single"}, [{"text": "Cycling"}], "Cycling"),
        ({"family": "open_ended", "subtype": "essay"}, [{"text": "Cycling,\nmostly"}], "Cycling,\nmostly"),
        ({"family": "open_ended", "subtype": "numerical", "answers": {"rows": ROWS}}, [{"row_id": "r1", "text": "7"}], {"Cycling": 7}),
        ({"family": "slider", "subtype": "slider"}, [{"text": "7.5"}], 7.5),
        ({"family": "open_ended", "subtype": "numerical"}, [{"text": "some"}], "some"),
        (
            {"family": "open_ended", "subtype": "multi", "answers": {"rows": ROWS}},
            [{"row_id": "r1", "text": "a"}, {"row_id": "r2", "text": "b"}],
            {"Cycling": "a", "Swimming": "b"},
        ),
        ({"family": "datetime", "subtype": "date_only", "answers": {"rows": [{"id": "r1", "text": "Date"}]}}, [{"row_id": "r1", "text": "11/21/2026"}], "11/21/2026"),
        ({"family": "file_upload", "subtype": "file_upload"}, [{"download_url": "https://x/y.pdf", "content_type": "application/pdf"}], "https://x/y.pdf"),
        ({"family": "hologram", "subtype": "deep"}, [{"tag_data": [{"tag": "x"}]}], {"tag_data": [{"tag": "x"}]}),
        ({"family": "hologram", "subtype": "deep"}, [{"simple_text": "seen"}], "seen"),
        ({"family": "single_choice", "subtype": "vertical", "answers": {"choices": []}}, [{"choice_id": "2"}], "2"),
    ],
)  # fmt: skip
def test_answer__of_each_family__is_kept_and_becomes_a_trait(question, answers, value):
    identify, event = fetch(answers, **question)

    assert event["properties"]["answers"] == [
        {
            "key": "10",
            "question": "What do you do?",
            "type": f"{question['family']}/{question['subtype']}",
            "answer": value,
        }
    ]
    assert identify["traits"] == {"survey_what_do_you_do": value}


def test_form_of_addresses__has_an_answer_for_each_row():
    rows = [
        {"id": "r1", "type": "name", "text": "Name"},
        {"id": "r2", "type": "email", "text": "Email Address"},
        {"id": "r3", "type": "phone", "text": "Phone"},
        {"id": "r4", "type": "city", "text": "City/Town"},
    ]
    answers = [
        {"row_id": "r1", "text": "Ada"},
        {"row_id": "r2", "text": "ada@example.com"},
        {"row_id": "r3", "text": "+33612345678"},
        {"row_id": "r4", "text": "Paris"},
    ]

    identify, event = fetch(answers, family="demographic", subtype="international", answers={"rows": rows})

    assert identify["traits"] == {
        "email": "ada@example.com",
        "phone": "+33612345678",
        "survey_name": "Ada",
        "survey_city_town": "Paris",
    }
    assert event["context"]["traits"] == {"email": "ada@example.com", "phone": "+33612345678"}
    assert len(event["properties"]["answers"]) == 4


def test_response__is_an_event_of_whoever_the_link_was_made_for():
    _, event = fetch([{"text": "x"}], family="open_ended", subtype="single")

    assert (event["event"], event["userId"], event["anonymousId"]) == ("Survey Answered", "user-1", "surveymonkey:1")
    assert event["messageId"] == "surveymonkey:1:2026-11-21T11:00:00+00:00"
    assert event["timestamp"] == "2026-11-21T11:00:00+00:00"
    assert event["properties"]["hidden"] == {"user_id": "user-1"}


def test_contact__who_was_invited__is_known_by_the_address():
    contact = {"email": {"type": "string", "value": "ada@example.com"}, "first_name": "Ada", "last_name": {"value": ""}}

    (event,) = fetch([], told=response(questions=[], metadata={"contact": contact}, custom_variables={}))

    assert event["context"]["traits"] == {"email": "ada@example.com"}
    assert event["properties"]["hidden"] == {"email": "ada@example.com", "first_name": "Ada"}


def test_response__that_was_left_before_its_end__is_another_event():
    *_, event = fetch([], told=response(response_status="partial"))

    assert event["event"] == "Survey Begun"


def test_rating__has_a_score_from_0_to_1_and_interests_come_of_it():
    one_row = [{"id": "r1", "text": ""}]
    identify, event = fetch(
        [{"row_id": "r1", "choice_id": "2"}],
        config={"interests": {"cycling": "10"}},
        family="matrix",
        subtype="rating",
        answers={"choices": CHOICES, "rows": one_row},
    )

    assert event["properties"]["scores"] == {"10": 0.8}
    assert identify["traits"] == {"survey_what_do_you_do": "Often", "interest_cycling": 0.8}


def test_quiz__keeps_its_score():
    _, event = fetch([], told=response(quiz_results={"score": 3, "total_score": 5}))

    assert event["properties"]["scores"] == {"total": 3}


@pytest.mark.parametrize(
    "told", [{"id": "1"}, {"id": "1", "survey_id": "2", "pages": [{"questions": "many"}]}, ["list"]]
)
def test_response__that_keeps_to_no_contract__is_malformed(told):
    with pytest.raises(MalformedDeliveryError) as caught:
        fetch([], told=told)

    assert caught.value.reason == "unreadable_response"


@pytest.mark.parametrize("url", ["ftp://example.com", "example.com", 3])
def test_setting__that_is_no_address__is_named(url):
    with pytest.raises(WebhookSettingsError, match="`access_url` must be an address"):
        WEBHOOK.check(Settings({**SURVEYMONKEY.config, "access_url": url}, SURVEYMONKEY.secrets))
