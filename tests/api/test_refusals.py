"""What is refused is logged: the route, the code and the key, and nothing that names anybody. Nothing is changed."""

from datetime import UTC, datetime

import pytest

from consent.models import ConsentRecord, DataRequest

SAID = {
    "identifier": "email:ada@example.com", "purpose": "advertising", "state": "GIVEN",
    "occurred_at": "2026-01-01T00:00:00Z", "key": "form-1",
}  # fmt: skip
ASKED = {"kind": "ACCESS", "identifiers": ["email:ada@example.com"], "received_at": "2026-01-01T00:00:00Z"}


@pytest.fixture
def refusals(log):
    def of_calls():
        return [event for event in log.events if event["event"] == "call.refused"]

    return of_calls


def told(entry):
    return entry["route"], entry["status"], entry["code"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"occurred_at": "2999-01-01T00:00:00Z"}, "invalid_statement"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "invalid_statement"),
        ({"identifier": "email:no"}, "invalid_statement"),
        ({"purpose": "mischief"}, "validation_failed"),
        ({"state": "MAYBE"}, "validation_failed"),
    ],
)
def test_statement__that_is_bad__is_refused_logged_and_not_recorded(changes, code, owner, refusals, log):
    owner.post("consents", {"consents": [{**SAID, **changes}]})

    (entry,) = refusals()
    assert told(entry) == ("api/v1/consents", 400, code)
    assert entry["key"] is not None
    assert "ada" not in str(log.events)
    assert not ConsentRecord.objects.exists()


def test_statement__replayed_with_another_content__is_refused_logged_and_the_first_stays(owner, refusals):
    owner.post("consents", {"consents": [SAID]})
    owner.post("consents", {"consents": [SAID]})

    owner.post("consents", {"consents": [{**SAID, "state": "WITHDRAWN"}]})

    assert [told(entry) for entry in refusals()] == [("api/v1/consents", 409, "consent_key_reused")]
    assert ConsentRecord.objects.get().state == "GIVEN"


def test_string__that_is_malformed__is_refused_and_logged_without_it(owner, refusals, log):
    owner.post("signals/decode", {"string": "COw4XqLOw4XqL!!"})

    (entry,) = refusals()
    assert (entry["route"], entry["status"]) == ("api/v1/signals/decode", 400)
    assert "COw4" not in str(log.events)


def test_link__that_was_forged__is_refused_and_logged_without_it(client, db, refusals, log):
    client.get("/preferences/gAAAAforged")

    (entry,) = refusals()
    assert (entry["status"], entry["key"]) == (404, None)
    assert "forged" not in str(log.events)


def test_code__that_is_guessed__is_refused_logged_each_time_and_verifies_nobody(owner, refusals, log):
    number = owner.post("data-requests", ASKED).json()["id"]
    code = owner.post(f"data-requests/{number}/code", {}).json()["code"]
    wrong = f"{(int(code) + 1) % 10**8:08}"

    for _ in range(6):
        owner.post(f"data-requests/{number}/verify", {"code": wrong})

    assert [(entry["status"], entry["code"]) for entry in refusals()] == [(400, "wrong_code")] * 5 + [
        (429, "code_locked")
    ]
    assert wrong not in str(log.events)
    assert DataRequest.objects.get().verification == ""


def test_identifiers__tried_one_after_the_other__are_logged_by_their_route_and_key(owner, refusals, log):
    for number in range(3):
        owner.get(f"profiles/email:someone{number}%40example.com")

    assert {told(entry) for entry in refusals()} == {("api/v1/profiles/<path:identifier>", 404, "not_found")}
    assert len({entry["key"] for entry in refusals()}) == 1
    assert "someone" not in str(log.events)


def test_key__that_nobody_has__is_refused_and_logged_without_it(caller, refusals, log):
    intruder = caller()

    intruder.client.get("/api/v1/purposes", headers={"Authorization": "Bearer key_guessed"})

    (entry,) = refusals()
    assert (entry["route"], entry["status"], entry["key"]) == ("api/v1/purposes", 401, None)
    assert "guessed" not in str(log.events)


def test_call__that_is_answered__is_no_refusal(owner, refusals):
    owner.post("consents", {"consents": [{**SAID, "occurred_at": datetime(2026, 1, 1, tzinfo=UTC).isoformat()}]})

    assert refusals() == []
