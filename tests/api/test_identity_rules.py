"""Rules of identity and of the golden record by HTTP: refused with the place, tried without a trace, laid down."""

from datetime import timedelta

import pytest

from cdp.models import Identifier, IdentifierTrait, Sighting, SourceKind, Trait
from identity import rules
from identity.models import IdentityRules, Judgement, SurvivorshipRule
from tests.factories import SourceFactory
from tests.outbox import waiting

RULES, SURVIVORSHIP = "identity/rules", "identity/survivorship"
ADA = "profiles/email:ada%40example.com/traits"


def put(caller, path, body):
    return caller.client.put(f"/api/v1/{path}", body, content_type="application/json", headers=caller._headers)


@pytest.fixture
def web(owner, ada, as_login):
    as_login("web")
    return owner


@pytest.fixture
def steward(workspace):
    return SourceFactory(workspace=workspace, name="steward", kind=SourceKind.STEWARD)


@pytest.fixture
def said(workspace, ada, steward, now):
    """Three sources and a steward about her city; what the golden record says was chosen before."""

    def say(name, value, source, identifier, days):
        IdentifierTrait.objects.create(
            workspace=workspace, identifier=identifier, source=source, name=name, value=value,
            observed_at=now + timedelta(days=days),
        )  # fmt: skip

    shop = SourceFactory(workspace=workspace, name="shop")
    say("city", "Paris", ada.source, ada.crm, 0)
    say("city", "Saint-Denis", shop, ada.email, -9)
    say("orders", 3, ada.source, ada.crm, 0)
    Trait.objects.update(rule="most_recent")
    return say


def test_rules__of_a_new_workspace__are_the_defaults(web):
    body = web.get(RULES).json()

    assert body == {
        "priority": [], "limits": {}, "windows": {}, "blocked_values": [], "blocked_patterns": [],
        "has_role_addresses_blocked": True, "shared_after": 25,
    }  # fmt: skip


def test_rules__laid_down__hold_and_everybody_is_resolved_anew(web, ada):
    asked = {"limits": {"email": 3}, "windows": {"phone": {"most": 2, "days": 30}}, "priority": ["user_id", "email"]}

    first, again = put(web, RULES, asked), put(web, RULES, asked)

    assert (first.status_code, first.json(), again.json()) == (200, {"waiting": 2}, {"waiting": 0})
    assert {name: web.get(RULES).json()[name] for name in asked} == asked
    assert sorted(waiting(stage="IDENTITY", cause="DEFINITION")) == [
        ("IDENTITY", one, "DEFINITION") for one in sorted((ada.email.pk, ada.crm.pk))
    ]


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ({"limits": {"email": 0}}, "limits.email"),
        ({"limits": {"E mail": 1}}, "limits"),
        ({"limits": []}, "limits"),
        ({"windows": {"email": {"most": 2}}}, "windows.email"),
        ({"windows": {"email": {"most": 2, "days": 99_999}}}, "windows.email.days"),
        ({"priority": ["email", "email"]}, "priority"),
        ({"blocked_patterns": ["("]}, "blocked_patterns[0]"),
        ({"blocked_patterns": ["a", r"(a)\1"]}, "blocked_patterns[1]"),
        ({"blocked_patterns": ["x*"]}, "blocked_patterns[0]"),
        ({"blocked_patterns": ["x" * 201]}, "blocked_patterns[0]"),
        ({"blocked_values": [""]}, "blocked_values[0]"),
        ({"shared_after": True}, "shared_after"),
        ({"has_role_addresses_blocked": "yes"}, "has_role_addresses_blocked"),
        ({"surprise": 1}, "surprise"),
        ([], "rules"),
    ],
)
def test_rules__that_cannot_be__are_refused_with_their_place(asked, place, web):
    answers = [put(web, RULES, asked), web.post(f"{RULES}/preview", asked)]

    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_identity_rules")
        assert answer.json()["details"]["place"] == place
    assert not IdentityRules.objects.exists()
    assert waiting() == []


def test_preview__counts_who_would_be_other_people__and_leaves_all_as_it_is(web, ada, workspace, now, as_login):
    as_login("none")
    Sighting.objects.create(workspace=workspace, left=ada.email, right=ada.crm, source=ada.source, seen_at=now)
    as_login("web")

    same = web.post(f"{RULES}/preview", {}).json()
    apart = web.post(f"{RULES}/preview", {"blocked_patterns": ["^email:ada@"]}).json()

    assert same == {"identifiers": 2, "looked_at": 2, "merged": 0, "split": 0}
    assert apart == {"identifiers": 2, "looked_at": 2, "merged": 0, "split": 2}
    assert set(Identifier.objects.values_list("profile_id", flat=True)) == {ada.id}
    assert not Judgement.objects.exists()
    assert not IdentityRules.objects.exists()


def test_set_aside__names_what_is_shared_and_why(web, ada, workspace, as_login, now):
    as_login("none")
    phone = Identifier.objects.create(workspace=workspace, type="phone", value="+33100000001", digest=b"1" * 32)
    users = [
        Identifier.objects.create(workspace=workspace, type="user_id", value=f"u{n}", digest=b"%d" % n * 32)
        for n in (1, 2)
    ]
    for user in users:
        Judgement.objects.create(
            workspace=workspace, left=phone, right=user, verdict="SAME", kind="DETERMINISTIC", weight=30.0
        )
    as_login("web")

    found = web.get("identity/set-aside").json()

    assert found == {
        "set_aside": [{"identifier": "phone:+33100000001", "seen_with": "user_id", "number": 2, "most": 1}]
    }
    assert rules.set_aside_in(workspace.pk, most=0) == []


def test_traits__with_candidates__say_why_each_was_not_chosen(said, web):
    city, orders = web.get(ADA, candidates="true").json()["traits"]

    assert [(one["value"], one["source"], one["identifier"], one["lost_by"]) for one in city["candidates"]] == [
        ("Paris", "crm", "crm:id:a/b 7", None),
        ("Saint-Denis", "shop", "email:ada@example.com", "most_recent"),
    ]
    assert [one["value"] for one in orders["candidates"]] == [3]
    assert "candidates" not in web.get(ADA).json()["traits"][0]


def test_survivorship__laid_down__waits_for_those_whose_trait_has_another_rule(said, web, ada):
    asked = {"rules": [{"trait": "city", "choice": "TRUSTED_SOURCE", "sources": ["shop", "crm"]}]}

    previewed = web.post(f"{SURVIVORSHIP}/preview", asked).json()
    before = web.get(SURVIVORSHIP).json()
    first, again = put(web, SURVIVORSHIP, asked), put(web, SURVIVORSHIP, asked)

    assert previewed["changes"] == [{"trait": "city", "profiles": 1, "changed": 1}]
    assert previewed["looked_at"] == previewed["profiles"]
    assert before == {"rules": []}
    assert (first.json(), again.json()) == ({"waiting": 1}, {"waiting": 0})
    assert web.get(SURVIVORSHIP).json() == asked
    assert waiting() == [("IDENTITY", ada.id, "DEFINITION")]


def test_survivorship__back_to_the_most_recent__waits_again(said, web, ada):
    put(web, SURVIVORSHIP, {"rules": [{"trait": "city", "choice": "LONGEST"}]})

    back = put(web, SURVIVORSHIP, {"rules": [{"trait": "city", "choice": "MOST_RECENT"}]})

    assert back.json() == {"waiting": 1}


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ({"trait": "city", "choice": "TRUSTED_SOURCE", "sources": ["nowhere"]}, "rules[0].sources"),
        ({"trait": "city", "choice": "LONGEST", "sources": ["crm"]}, "rules[0].sources"),
    ],
)
def test_survivorship__that_cannot_be__is_refused_with_its_place(row, place, web):
    answer = put(web, SURVIVORSHIP, {"rules": [row]})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_survivorship")
    assert answer.json()["details"]["place"] == place
    assert not SurvivorshipRule.objects.exists()


def test_survivorship__two_rules_for_one_trait__are_refused(web):
    answer = put(web, SURVIVORSHIP, {"rules": [{"trait": "city", "choice": "LONGEST"}] * 2})

    assert answer.json()["code"] == "invalid_survivorship"


@pytest.mark.parametrize("path", [RULES, SURVIVORSHIP])
def test_rules__with_a_key_that_may_only_read__are_not_changed(path, caller, ada, as_login):
    reader = caller("identity:read")
    as_login("web")

    answer = put(reader, path, {})

    assert (answer.status_code, reader.get(path).status_code) == (403, 200)
    assert waiting() == []
