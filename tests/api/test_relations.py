"""Whom a person belongs with, as far as each of them permits the purpose of the key."""

import pytest

from cdp.kernel.purposes import Purpose
from cdp.models import Identifier
from consent.models import ConsentState
from identity.models import Refusal, Relation
from tests.factories import IdentifierFactory, say

ADA = "profiles/email:ada%40example.com/relations"
REFUSALS = "profiles/email:ada%40example.com/refusals"


@pytest.fixture
def mate(workspace, ada, now):
    """Somebody behind the same door as Ada."""
    made = IdentifierFactory(workspace=workspace, value="george@example.com")
    for profile in (ada.id, made.profile_id):
        Relation.objects.create(
            workspace=workspace, profile_id=profile, kind="HOUSEHOLD", rule="ADDRESS_AND_SURNAME", key=bytes(32),
            confidence=0.9, shared=["street", "postcode", "surname"], since=now,
        )  # fmt: skip
    return made


def test_relations__of_a_household__name_the_others_and_what_they_share(owner, mate, as_login):
    as_login("web")

    answer = owner.get(ADA)

    assert answer.status_code == 200
    (found,) = answer.json()["relations"]
    (member,) = found.pop("members")
    assert found == {
        "id": "0000000000000000", "kind": "HOUSEHOLD", "rule": "ADDRESS_AND_SURNAME", "confidence": 0.9,
        "shared": ["street", "postcode", "surname"], "since": "2026-11-21T12:00:00Z", "until": None, "has_more": False,
    }  # fmt: skip
    assert (member["profile"], member["until"]) == (mate.profile_id, None)


def test_relations__to_somebody_who_does_not_permit_the_purpose__are_not_there(owner, mate, as_login):
    say(mate, Purpose.ANALYTICS, ConsentState.WITHDRAWN)
    as_login("web")

    assert owner.get(ADA).json() == {"relations": []}


def test_relations__of_nobody_known_and_without_a_key__are_refused(owner, anonymous, ada, as_login):
    as_login("web")

    assert owner.get("profiles/email:nobody%40example.com/relations").status_code == 404
    assert anonymous.get(ADA).status_code == 401


def test_refusals__of_a_person__say_why__to_whoever_may_see_both_sides(owner, mate, workspace, as_login):
    mine = Identifier.objects.get(value="ada@example.com")
    Refusal.objects.create(
        workspace=workspace, left_id=min(mine.pk, mate.pk), right_id=max(mine.pk, mate.pk), reason="BRIDGE",
        evidence={"links": 1, "pairs": 9, "within": 0.8},
    )  # fmt: skip
    as_login("web")

    (found,) = owner.get(REFUSALS).json()["refusals"]

    assert found.pop("created_at")
    assert found == {
        "left": "email:ada@example.com", "right": "email:george@example.com", "reason": "BRIDGE",
        "evidence": {"links": 1, "pairs": 9, "within": 0.8},
    }  # fmt: skip
    as_login("none")
    say(mate, Purpose.ANALYTICS, ConsentState.WITHDRAWN)
    as_login("web")
    assert owner.get(REFUSALS).json() == {"refusals": []}
