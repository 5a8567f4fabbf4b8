"""Withdrawals, the effective answer, double opt-in, receipts and the head, as other systems call them."""

import base64
import hashlib
import json
from datetime import datetime, timedelta

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.utils import timezone

from cdp.models.keys import digest_of
from consent import confirmations
from consent.models import Confirmation, ConsentRecord, ConsentSettings, ConsentState, ControllerDetails, PurposePolicy
from consent.receipts import STATUS

ADA = "email:ada@example.com"
ASK = {"identifier": ADA, "purpose": "advertising", "address": "192.0.2.7"}
NOTICE = {"key": "ads", "version": 1, "locale": "fr", "text": "Nous…", "valid_from": "2026-01-01T00:00:00Z"}


@pytest.fixture(autouse=True)
def as_web(as_login, owner, stranger):
    as_login("web")


def say(owner, state: str, at: datetime, **more: object) -> int:
    statement = {"identifier": ADA, "purpose": "advertising", "state": state, "occurred_at": at.isoformat(), **more}
    assert owner.post("consents", {"consents": [statement]}).status_code == 200
    return ConsentRecord.objects.latest("pk").pk


def effective(owner, **asked: object) -> dict:
    return owner.get("consents/effective", **{"identifier": ADA, "purpose": "advertising", **asked}).json()


def decoded(part: str) -> dict:
    return json.loads(unpadded(part))


def unpadded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


# -- withdrawals and answers ----------------------------------------------------------------------------------------


def test_withdrawal__is_felt_at_once_and_keeps_what_was_said(owner):
    granted = say(owner, "GIVEN", timezone.now() - timedelta(days=1))

    answer = owner.post("consents/withdrawals", {"identifier": ADA, "purpose": "advertising"})

    assert (answer.status_code, answer.json()) == (200, {"recorded": 1, "duplicates": 0})
    told = effective(owner)
    assert (told["allow"], told["gate"], told["rule"]) == (False, False, "denied")
    history = owner.get("consents/history", identifier=ADA).json()["records"]
    assert [each["state"] for each in history] == ["WITHDRAWN", "GIVEN"]
    assert (told["evidence"], history[1]["id"]) == ([history[0]["id"]], granted)


def test_withdrawal__from_one_recipient__is_about_that_one_and_closes_the_gate(owner):
    say(owner, "GIVEN", timezone.now() - timedelta(days=1))

    owner.post("consents/withdrawals", {"identifier": ADA, "purpose": "advertising", "recipient": "meta"})

    assert effective(owner, recipient="meta")["allow"] is False
    assert effective(owner, recipient="google")["allow"] is True
    assert effective(owner)["gate"] is False


def test_effective__of_consent_to_email__never_covers_a_platform(owner):
    record = say(owner, "GIVEN", timezone.now() - timedelta(days=1), recipient="email")

    assert (effective(owner, recipient="email")["allow"], effective(owner, recipient="email")["evidence"]) == (
        True,
        [record],
    )
    for other in ("meta", ""):
        assert (effective(owner, recipient=other)["allow"], effective(owner, recipient=other)["evidence"]) == (
            False,
            [],
        )
    assert effective(owner)["gate"] is False


def test_effective__at_a_moment__answers_from_what_was_said_until_then(owner):
    now = timezone.now()
    granted = say(owner, "GIVEN", now - timedelta(days=3), expires_at=(now + timedelta(days=3)).isoformat())
    say(owner, "WITHDRAWN", now - timedelta(days=1))

    past = effective(owner, at=(now - timedelta(days=2)).isoformat())

    assert (past["allow"], past["evidence"], past["gate"]) == (True, [granted], False)
    assert effective(owner, at=(now - timedelta(days=4)).isoformat())["rule"] == "silence_refuses"


def test_effective__for_a_jurisdiction__takes_its_regime(owner, workspace, as_login):
    as_login("none")
    workspace.purposepolicy_set.filter(purpose="advertising").update(regimes={"US": "OPT_OUT", "US-CA": "OPT_IN"})
    as_login("web")

    told = {place: effective(owner, jurisdiction=place)["allow"] for place in ("FR", "US-NY", "US-CA")}

    assert told == {"FR": False, "US-NY": True, "US-CA": False}
    assert effective(owner, jurisdiction="US-NY")["gate"] is False  # which knows nobody's jurisdiction


@pytest.mark.parametrize(
    "changes",
    [{"purpose": "mischief"}, {"at": "soon"}, {"recipient": "Meta!"}, {"jurisdiction": "USA"}, {"identifier": "x"}],
)
def test_effective__of_what_it_does_not_know__is_refused(owner, changes):
    asked = {"identifier": ADA, "purpose": "advertising", **changes}

    assert owner.get("consents/effective", **asked).status_code == 400


@pytest.mark.parametrize(
    ("changes", "fault"),
    [({"recipient": "Meta!"}, "malformed_recipient"), ({"jurisdiction": "fr"}, "malformed_jurisdiction")],
)
def test_record__with_a_malformed_name__is_refused_and_records_nothing(owner, changes, fault):
    said = {
        "identifier": ADA,
        "purpose": "advertising",
        "state": "GIVEN",
        "occurred_at": "2026-01-01T00:00:00Z",
        **changes,
    }

    answer = owner.post("consents", {"consents": [said]})

    assert (answer.status_code, answer.json()["details"]) == (400, {"faults": [{"statement": 0, "fault": fault}]})
    assert not ConsentRecord.objects.exists()


# -- double opt-in --------------------------------------------------------------------------------------------------


def test_request__until_confirmed__permits_nothing(owner):
    asked = owner.post("consents/requests", ASK)

    token = asked.json()["token"]
    assert asked.status_code == 201
    assert effective(owner)["allow"] is False
    kept = Confirmation.objects.get()
    assert (kept.token_digest, kept.requested_from, kept.confirmed_at) == (digest_of(token), None, None)
    assert ConsentRecord.objects.get().state == ConsentState.REQUESTED


def test_confirm__once__gives_a_verified_consent(owner):
    token = owner.post("consents/requests", ASK).json()["token"]

    confirmed = owner.post("consents/confirm", {"token": token})
    again = owner.post("consents/confirm", {"token": token})

    assert confirmed.status_code == 200
    given = ConsentRecord.objects.get(pk=confirmed.json()["record"])
    assert (given.state, given.is_verified) == (ConsentState.GIVEN, True)
    assert effective(owner)["allow"] is True
    assert (again.status_code, again.json()["code"]) == (409, "token_used")
    assert ConsentRecord.objects.count() == 2


@pytest.mark.parametrize(("keeps", "addresses"), [(True, ("192.0.2.7", "2001:db8::1")), (False, (None, None))])
def test_confirm__keeps_both_addresses__where_the_workspace_says_so(keeps, addresses, owner, workspace):
    ConsentSettings.objects.create(workspace=workspace, keeps_addresses=keeps, confirmation_hours=1)

    token = owner.post("consents/requests", ASK).json()["token"]
    owner.post("consents/confirm", {"token": token, "address": "2001:db8::1"})

    kept = Confirmation.objects.get()
    assert (kept.requested_from, kept.confirmed_from) == addresses
    assert kept.expires_at - kept.requested_at == timedelta(hours=1)
    assert kept.confirmed_at > kept.requested_at


def test_confirm__after_a_refusal__does_not_undo_it(owner):
    token = owner.post("consents/requests", ASK).json()["token"]
    owner.post("consents/withdrawals", {"identifier": ADA, "purpose": "advertising"})

    answer = owner.post("consents/confirm", {"token": token})

    assert (answer.status_code, answer.json()["code"]) == (409, "refused_meanwhile")
    assert effective(owner)["allow"] is False
    assert Confirmation.objects.get().confirmed_at is None


def test_confirm__too_late__records_nothing(owner, workspace):
    token = owner.post("consents/requests", ASK).json()["token"]
    expires_at = Confirmation.objects.get().expires_at

    with pytest.raises(confirmations.TokenExpiredError):
        confirmations.confirm_consent(workspace_id=workspace.pk, token=token, now=expires_at)

    assert ConsentRecord.objects.count() == 1


def test_confirm__of_another_workspace__is_unknown(owner, stranger):
    token = owner.post("consents/requests", ASK).json()["token"]

    answer = stranger.post("consents/confirm", {"token": token})

    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_token")
    assert ConsentRecord.objects.count() == 1


def test_request__of_what_was_confirmed__is_refused_and_suspends_nothing(owner):
    token = owner.post("consents/requests", ASK).json()["token"]
    owner.post("consents/confirm", {"token": token})

    answer = owner.post("consents/requests", ASK)

    assert (answer.status_code, answer.json()["code"]) == (409, "already_confirmed")
    assert effective(owner)["allow"] is True
    assert Confirmation.objects.count() == 1


# -- proof ----------------------------------------------------------------------------------------------------------


def verified(jws: str, keys: list[dict]) -> dict:
    """As somebody checks it who has the receipt and the keys and nothing else."""
    header, payload, signature = jws.split(".")
    (key,) = [each for each in keys if each["kid"] == decoded(header)["kid"]]
    Ed25519PublicKey.from_public_bytes(unpadded(key["x"])).verify(unpadded(signature), f"{header}.{payload}".encode())
    return decoded(payload)


def keys_of(client, workspace) -> list[dict]:
    return client.get(f"/.well-known/consent-receipts/{workspace.slug}/jwks.json").json()["keys"]


def test_receipt__is_signed_with_a_key_that_everybody_may_read(owner, client, workspace):
    notice = owner.post("notices", NOTICE).json()
    record = say(
        owner, "GIVEN", timezone.now() - timedelta(days=1), notice=notice["id"], recipient="meta", jurisdiction="FR"
    )

    body = owner.get(f"receipts/{record}").json()

    assert verified(body["jws"], keys_of(client, workspace)) == body["receipt"]
    (kept,) = body["receipt"]["dpv:hasRecordOfActivity"]
    assert kept["dpv:hasConsentStatus"]["@type"] == "dpv:ConsentGiven"
    assert kept["dpv:hasNotice"]["dct:description"] == "Nous…"
    assert kept["dpv:hasNotice"]["sha256"] == hashlib.sha256("Nous…".encode()).hexdigest()
    process = kept["dpv:hasProcess"]
    assert process["dpv:hasPurpose"] == {
        "@type": "dpv:Purpose", "dct:identifier": "advertising", "skos:broader": "dpv:TargetedAdvertising",
    }  # fmt: skip
    assert (process["dpv:hasLegalBasis"], process["dpv:hasJurisdiction"]) == (["eu-gdpr:A6-1-a"], "loc:FR")
    assert process["dpv:hasRecipient"] == {"@type": "dpv:Recipient", "dpv:hasName": "meta"}
    assert body["receipt"]["ledger"]["position"] == 1
    assert "ada@" not in json.dumps(body)


# Of the profile for ISO/IEC TS 27560; what Tessera cannot know stands as null: the notice, and where nobody was told it.
OF_A_RECORD = {
    "dct:conformsTo", "dct:identifier", "dpv:hasDataSubject", "dpv:hasDataController", "dpv:hasNotice", "dpv:hasProcess",
    "dpv:hasConsentStatus",
}  # fmt: skip
OF_A_PROCESS = {
    "dpv:hasPurpose", "dpv:hasPersonalData", "dpv:hasStorageCondition", "dpv:hasRecipient", "dpv:hasConsentControl",
    "dpv:hasJurisdiction", "dpv:hasRight", "dpv:hasLegalBasis",
}  # fmt: skip
OF_A_STATUS = {"dpv:isIndicatedAtTime", "dpv:hasDuration", "dpv:isIndicatedBy"}


def test_receipt__has_the_fields_of_the_profile(owner, workspace):
    ControllerDetails.objects.create(
        workspace=workspace, controller="Maison SA", address="1 rue X", contact="dpo@maison.example"
    )
    PurposePolicy.objects.filter(workspace=workspace, purpose="advertising").update(
        data_categories=["purchases"], retention_days=90, is_special=True
    )

    receipt = owner.get(f"receipts/{say(owner, 'GIVEN', timezone.now())}").json()["receipt"]

    (record,) = receipt["dpv:hasRecordOfActivity"]
    process, status = record["dpv:hasProcess"], record["dpv:hasConsentStatus"]
    assert {"dct:conformsTo", "dpv:hasIdentifier", "dct:created"} <= receipt.keys()
    assert (record.keys() >= OF_A_RECORD, process.keys() >= OF_A_PROCESS, status.keys() >= OF_A_STATUS) == (True,) * 3
    assert record["dpv:hasDataController"]["dpv:hasName"] == "Maison SA"
    assert process["dpv:hasLegalBasis"] == ["eu-gdpr:A6-1-a", "eu-gdpr:A9-2-a"]
    assert process["dpv:hasPersonalData"] == [{"@type": "dpv:SpecialCategoryPersonalData", "dct:title": "purchases"}]
    assert process["dpv:hasStorageCondition"]["dpv:hasDuration"]["rdf:value"] == "P90D"
    assert process["dpv:hasConsentControl"] == {
        "@type": "dpv:WithdrawConsent", "dpv:isExercisedAt": "dpo@maison.example",
    }  # fmt: skip
    assert "eu-gdpr:A7-3" in {right["@type"][1] for right in process["dpv:hasRight"]}
    assert (status["dpv:isIndicatedBy"], status["dpv:hasDuration"]["@type"]) == (
        "dpv:DataSubject", "dpv:UntilEventDuration",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "said_by"),
    [("REFUSED", "dpv:DataSubject"), ("WITHDRAWN", "dpv:DataSubject"), ("TERMINATED", "dpv:DataController")],
)
def test_receipt__says_who_ended_a_consent(owner, state, said_by):
    receipt = owner.get(f"receipts/{say(owner, state, timezone.now())}").json()["receipt"]

    assert receipt["dpv:hasRecordOfActivity"][0]["dpv:hasConsentStatus"]["dpv:isIndicatedBy"] == said_by


def test_receipt__with_one_letter_changed__does_not_verify(owner, client, workspace):
    jws = owner.get(f"receipts/{say(owner, 'GIVEN', timezone.now())}").json()["jws"]
    header, payload, signature = jws.split(".")
    forged = (
        base64.urlsafe_b64encode(unpadded(payload).replace(b"ConsentGiven", b"ConsentRefused")).decode().rstrip("=")
    )

    with pytest.raises(InvalidSignature):
        verified(f"{header}.{forged}.{signature}", keys_of(client, workspace))


def test_receipt__of_another_workspace_or_none__is_unknown(owner, stranger):
    record = say(owner, "GIVEN", timezone.now())

    assert stranger.get(f"receipts/{record}").json()["code"] == "unknown_receipt"
    assert owner.get(f"receipts/{record + 1}").status_code == 404


def test_states__have_a_term_each():
    assert STATUS.keys() == set(ConsentState.values)


def test_head__is_signed_and_moves_with_every_record(owner, client, workspace):
    empty = owner.get("ledger/head").json()
    say(owner, "GIVEN", timezone.now())

    head = owner.get("ledger/head").json()

    assert (empty["position"], head["position"]) == (0, 1)
    assert verified(head["jws"], keys_of(client, workspace))["hash"] == head["hash"] != empty["hash"]


def test_keys__of_no_workspace__are_not_found(client):
    assert client.get("/.well-known/consent-receipts/nowhere/jwks.json").status_code == 404


def test_notice_versions__newest_first(owner, stranger):
    for version in (1, 2):
        owner.post("notices", {**NOTICE, "version": version, "text": f"v{version}"})

    versions = owner.get("notices/ads/versions").json()["notices"]

    assert [each["version"] for each in versions] == [2, 1]
    assert stranger.get("notices/ads/versions").status_code == 404


def test_purposes__tell_their_rule(owner):
    (ads,) = [each for each in owner.get("purposes").json()["purposes"] if each["purpose"] == "advertising"]

    assert (ads["version"], len(ads["fingerprint"]), ads["data_categories"], ads["retention_days"]) == (1, 64, [], None)


CALLS = [
    ("post", "consents/withdrawals", {"body": {"identifier": ADA, "purpose": "advertising"}}, "consents:read"),
    ("get", "consents/effective", {"identifier": ADA, "purpose": "advertising"}, "consents:write"),
    ("get", "consents/history", {"identifier": ADA}, "consents:write"),
    ("post", "consents/requests", {"body": ASK}, "consents:read"),
    ("post", "consents/confirm", {"body": {"token": "x"}}, "consents:read"),
    ("get", "receipts/1", {}, "consents:write"),
    ("get", "ledger/head", {}, "consents:write"),
    ("get", "notices/ads/versions", {}, "consents:write"),
]


@pytest.mark.parametrize(("method", "path", "arguments", "other_scope"), CALLS)
def test_call__without_the_scope_or_a_key__is_refused_and_records_nothing(
    caller, anonymous, method, path, arguments, other_scope, as_login
):
    as_login("none")
    member = caller(other_scope)
    as_login("web")

    assert getattr(member, method)(path, **arguments).status_code == 403
    assert getattr(anonymous, method)(path, **arguments).status_code == 401
    as_login("none")
    assert not ConsentRecord.objects.exists()
