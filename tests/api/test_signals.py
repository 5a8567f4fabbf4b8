"""Signals of other systems are decoded for whoever may read consents, and nothing is recorded."""

import pytest

from cdp.models import Scope
from consent.models import ConsentRecord
from tests.factories.signals import tc_core, tc_vendors

EXAMPLE = "CQSbk4AQSbk4ANwAAAENAwCgAAAAAAAAAAYgACPAAAAA.IDKQA4AAgAKAGQAygAAA.YAAAAAAAAAAA"


def test_decode__of_a_tc_string__says_what_it_says(owner, as_login):
    answer = owner.post("signals/decode", {"signal": EXAMPLE})

    assert answer.status_code == 200
    told = answer.json()
    assert (told["kind"], told["is_valid"], told["faults"]) == ("tcf", False, ["policy_ended"])
    assert (told["said"]["cmp_id"], told["said"]["created_at"]) == (880, "2025-06-03T00:00:00Z")
    assert told["said"]["disclosed_vendors"] == [[1, 5], [100, 100], [404, 404]]
    as_login("none")
    assert not ConsentRecord.objects.exists()


def test_decode__for_a_vendor__says_what_it_may_do(owner):
    signal = f"{tc_core(consents=[2, 4], vendors=[7])}.{tc_vendors(1, [7])}"

    told = owner.post("signals/decode", {"signal": signal, "vendor": 7}).json()

    assert told["vendor"] == {"id": 7, "consent": [2, 4], "interest": []}


def test_decode__of_a_gpp_string__tells_its_sections(owner):
    told = owner.post("signals/decode", {"signal": f"DBACNY~{EXAMPLE}~1YNN"}).json()

    assert [(each["id"], each["name"]) for each in told["sections"]] == [(2, "tcfeuv2"), (6, "uspv1")]
    assert told["sections"][1]["said"]["opt_out_sale"] == "N"


@pytest.mark.parametrize(
    ("body", "code", "details"),
    [
        ({"signal": "CQ+"}, "malformed_signal", {"reason": "not a character of base64url", "position": 2}),
        ({}, "validation_failed", {"signal": ["This field is required."]}),
        (
            {"signal": EXAMPLE, "vendor": 0},
            "validation_failed",
            {"vendor": ["Ensure this value is greater than or equal to 1."]},
        ),
        (
            {"signal": "C" * 32_769},
            "validation_failed",
            {"signal": ["Ensure this field has no more than 32768 characters."]},
        ),
    ],
)
def test_decode__of_what_cannot_be_read__says_where_and_why(owner, body, code, details):
    answer = owner.post("signals/decode", body)

    assert (answer.status_code, answer.json()["code"], answer.json()["details"]) == (400, code, details)


def test_decode__is_for_keys_that_read_consents(caller, anonymous):
    assert caller(Scope.CONSENTS_WRITE).post("signals/decode", {"signal": EXAMPLE}).status_code == 403
    assert anonymous.post("signals/decode", {"signal": EXAMPLE}).status_code == 401


def test_gpc__is_declared_where_browsers_look(client):
    answer = client.get("/.well-known/gpc.json")

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json() == {"gpc": True, "lastUpdate": "2026-11-25"}
    assert client.post("/.well-known/gpc.json").status_code == 405
