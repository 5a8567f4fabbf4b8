"""Suppressions and restrictions over the API."""

from consent.models import Restriction, Suppression

ADA = "email:ADA@example.com"


def test_suppression__over_the_api__is_made_and_taken_back(owner, workspace):
    made = owner.post("suppressions", {"identifier": ADA})
    taken_back = owner.delete(f"suppressions?identifier={ADA}")

    assert (made.status_code, made.json()["reason"], made.json()["until"]) == (200, "REQUEST", None)
    assert taken_back.json() == {"unsuppressed": 1}
    assert not Suppression.objects.exists()


def test_restriction__over_the_api__is_made_and_lifted(owner, workspace):
    made = owner.post("restrictions", {"identifier": ADA})
    objected = owner.post("restrictions", {"identifier": ADA, "purpose": "analytics"})
    lifted = owner.delete(f"restrictions?identifier={ADA}")

    assert [made.json()["kind"], objected.json()["kind"]] == ["RESTRICTION", "OBJECTION"]
    assert lifted.json() == {"lifted": 1}
    assert list(Restriction.objects.filter(lifted_at=None).values_list("kind", flat=True)) == ["OBJECTION"]


def test_suppression__with_a_key_that_only_reads__is_refused(caller, workspace):
    answer = caller("consents:read").post("suppressions", {"identifier": ADA})

    assert answer.status_code == 403
    assert not Suppression.objects.exists()
