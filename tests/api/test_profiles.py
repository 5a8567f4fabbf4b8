"""People, as far as they permit the purpose of the key."""

from datetime import timedelta

import pytest
from django.utils import timezone

from cdp.kernel.purposes import Purpose
from cdp.models import Identifier, Profile
from consent.models import ConsentState
from identity.models import Judgement
from segments import computed
from segments.models import Membership, Segment, SegmentVersion
from tests.factories import IdentifierFactory, say

RESOURCES = ("", "/traits", "/identifiers", "/events", "/segments", "/consents", "/history")
ADA = "profiles/email:ada%40example.com"


@pytest.fixture
def as_web(as_login):
    """What the web server may do, and no more. Ask for it last: the data is there already."""
    as_login("web")


@pytest.fixture
def regulars(workspace, now):
    segment = Segment.objects.create(workspace=workspace, slug="regulars", name="Regulars")
    return SegmentVersion.objects.create(workspace=workspace, segment=segment, number=1, definition={})


def enter(version, profile_id, now, **more):
    Membership.objects.create(
        workspace_id=version.workspace_id, segment=version.segment, version=version, profile_id=profile_id,
        entered_at=now, entered_cause="EVENT", **more,
    )  # fmt: skip


def test_profile__by_any_of_its_identifiers__is_the_person(owner, ada, regulars, now, as_web, as_login):
    as_login("none")
    enter(regulars, ada.id, now)
    as_login("web")

    answers = [owner.get(path) for path in (ADA, "profiles/crm:id:a%2Fb%207", f"profiles/profile:{ada.id}")]

    for answer in answers:
        assert answer.status_code == 200
        body = answer.json()
        assert body.pop("created_at")
        assert body == {"id": ada.id, "traits": {"city": "Paris", "orders": 3}, "segments": ["regulars"]}


def test_profile__by_an_id_that_was_merged__is_the_survivor(owner, ada, as_web):
    assert owner.get(f"profiles/profile:{ada.crm.pk}").json()["id"] == ada.id


def test_profile__written_otherwise__is_found_as_ingestion_stored_it(owner, ada, as_web):
    assert owner.get("profiles/email:%20ADA@Example.COM").json()["id"] == ada.id


def test_traits__say_where_each_value_came_from(owner, ada, now, as_web):
    assert owner.get(f"{ADA}/traits").json()["traits"][0] == {
        "name": "city",
        "value": "Paris",
        "source": "crm",
        "identifier": "crm:id:a/b 7",
        "observed_at": "2026-11-21T12:00:00Z",
        "confidence": 0.5,
        "rule": "RECENT",
    }


@pytest.mark.parametrize("asked", ["", "?candidates=true"])
def test_traits__that_are_computed__follow_the_others_and_say_so(owner, ada, workspace, asked, as_web, as_login):
    as_login("none")
    computed.create_computed_trait(
        workspace_id=workspace.pk, slug="logins", name="", definition='count of "Never"', author=None
    )
    as_login("web")

    *others, last = owner.get(f"{ADA}/traits{asked}").json()["traits"]

    assert [each["name"] for each in others] == ["city", "orders"]
    assert not any("computed" in each for each in others)
    assert (last["name"], last["value"], last["rule"], last["computed"]) == ("logins", 0, "computed", True)


def test_identifiers__are_all_of_the_person(owner, ada, as_web):
    found = owner.get(f"{ADA}/identifiers").json()["identifiers"]

    assert [(each["id"], each["type"], each["value"]) for each in found] == [
        (ada.email.pk, "email", "ada@example.com"),
        (ada.crm.pk, "crm:id", "a/b 7"),
    ]


def test_events__come_newest_first_page_by_page(owner, ada, as_web):
    first = owner.get(f"{ADA}/events", limit=2).json()
    second = owner.get(f"{ADA}/events", limit=2, cursor=first["next"]).json()

    assert [event["message_id"] for event in first["events"]] == ["m2", "m1"]
    assert [event["message_id"] for event in second["events"]] == ["m0"]
    assert second["next"] is None
    assert second["events"][0]["properties"] == {"number": 0}


def test_events__at_one_instant__are_each_shown_once(owner, ada, as_web, as_login):
    as_login("none")
    from cdp.models import Event

    Event.objects.update(occurred_at=timezone.now())
    as_login("web")

    seen, cursor = [], ""
    while cursor is not None:
        page = owner.get(f"{ADA}/events", limit=1, cursor=cursor).json()
        seen += [event["message_id"] for event in page["events"]]
        cursor = page["next"]

    assert seen == ["m2", "m1", "m0"]


@pytest.mark.parametrize("cursor", ["x", "e30=", "WyJ4Il0=", "WyIyMDI2LTAxLTAxIiwgInkiXQ==", "é"])
def test_events__with_a_cursor_of_somebodys_making__are_refused(owner, ada, cursor, as_web):
    answer = owner.get(f"{ADA}/events", cursor=cursor)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


@pytest.mark.parametrize("limit", [0, 1001, "many"])
def test_events__with_a_bad_limit__are_refused(owner, ada, limit, as_web):
    answer = owner.get(f"{ADA}/events", limit=limit)

    assert (answer.status_code, answer.json()["code"]) == (400, "validation_failed")
    assert list(answer.json()["details"]) == ["limit"]


@pytest.mark.parametrize("purpose", [Purpose.ANALYTICS, Purpose.SEGMENTATION])
def test_segments__are_the_current_ones_and_history_has_the_past(caller, ada, regulars, now, purpose, as_login):
    enter(regulars, ada.id, now - timedelta(days=2), left_at=now - timedelta(days=1), left_cause="DEADLINE")
    enter(regulars, ada.id, now)
    reader = caller("profiles:read", purpose=purpose)
    as_login("web")

    current = reader.get(f"{ADA}/segments").json()["segments"]
    past = reader.get(f"{ADA}/history").json()["memberships"]

    assert current == [
        {
            "slug": "regulars",
            "name": "Regulars",
            "version": 1,
            "entered_at": "2026-11-21T12:00:00Z",
            "entered_cause": "EVENT",
            "left_at": None,
            "left_cause": None,
        }
    ]
    assert [(each["left_at"], each["left_cause"]) for each in past] == [
        (None, None),
        ("2026-11-20T12:00:00Z", "DEADLINE"),
    ]


def test_consents__tell_for_every_purpose_and_from_which_rows(owner, ada, as_web):
    body = owner.get(f"{ADA}/consents").json()

    assert {each["purpose"]: each["allowed"] for each in body["purposes"]} == {
        purpose.value: purpose is not Purpose.ADVERTISING for purpose in Purpose
    }
    assert [(each["purpose"], each["state"], each["identifier_type"]) for each in body["records"]] == [
        ("advertising", "REFUSED", "email")
    ]


def test_history__tells_what_made_this_one_person(owner, ada, workspace, as_login):
    hidden = IdentifierFactory(workspace=workspace, value="hidden@example.com")
    say(hidden, Purpose.ANALYTICS, ConsentState.REFUSED)
    common = {"workspace": workspace, "kind": "STEWARD", "weight": 3.5}
    made = Judgement.objects.create(**common, left=ada.email, right=ada.crm, verdict="SAME", evidence={"source": 1})
    Judgement.objects.create(**common, left=ada.email, right=hidden, verdict="NOT_SAME")
    as_login("web")

    judgements = owner.get(f"{ADA}/history").json()["judgements"]

    assert [each.pop("created_at") is not None for each in judgements] == [True]
    assert judgements == [
        {
            "id": made.pk,
            "verdict": "SAME",
            "kind": "STEWARD",
            "weight": 3.5,
            "evidence": {"source": 1},
            "left": "email:ada@example.com",
            "right": "crm:id:a/b 7",
            "model": None,
            "retracts": None,
        }
    ]


@pytest.mark.parametrize("resource", RESOURCES)
def test_person__hidden_from_the_purpose__answers_exactly_like_an_unknown_one(caller, ada, resource, as_login):
    advertiser = caller("profiles:read", purpose=Purpose.ADVERTISING)
    as_login("web")

    hidden = advertiser.get(ADA + resource)
    unknown = advertiser.get(f"profiles/email:nobody%40example.com{resource}")
    by_id = advertiser.get(f"profiles/profile:{ada.id}{resource}")

    assert (hidden.status_code, hidden.json()["code"]) == (404, "not_found")
    assert hidden.content == unknown.content == by_id.content
    assert hidden.headers == unknown.headers


def test_person__who_withdraws__is_gone_from_the_next_answer(owner, ada, as_login):
    assert owner.get(ADA).status_code == 200
    say(ada.crm, Purpose.ANALYTICS, ConsentState.WITHDRAWN, at=timezone.now())
    as_login("web")

    assert {owner.get(ADA + resource).status_code for resource in RESOURCES} == {404}


def test_person__after_an_undo__is_two_again(owner, ada, as_login):
    Identifier.objects.filter(pk=ada.crm.pk).update(profile_id=ada.crm.pk)
    as_login("web")

    assert owner.get("profiles/crm:id:a%2Fb%207").json()["id"] == ada.crm.pk
    assert owner.get(f"profiles/profile:{ada.crm.pk}").json()["id"] == ada.crm.pk


@pytest.mark.parametrize("resource", RESOURCES)
def test_person__of_another_workspace__does_not_exist(stranger, ada, resource, as_web):
    assert stranger.get(ADA + resource).json()["code"] == "not_found"
    assert stranger.get(f"profiles/profile:{ada.id}{resource}").status_code == 404


@pytest.mark.parametrize("resource", RESOURCES)
def test_person__for_a_member_without_the_scope__is_refused(caller, ada, resource, as_login):
    member = caller("segments:read", "consents:read")
    as_login("web")

    answer = member.get(ADA + resource)

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("resource", RESOURCES)
def test_person__for_anonymous__asks_for_a_key(anonymous, ada, resource, as_web):
    answer = anonymous.get(ADA + resource)

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("purpose", [Purpose.IDENTITY, Purpose.LEARNING, Purpose.COLLECTION, Purpose.ENRICHMENT])
def test_person__for_a_purpose_that_the_api_does_not_serve__is_refused(caller, ada, purpose, as_login):
    reader = caller("profiles:read", purpose=purpose)
    as_login("web")

    answer = reader.get(ADA)

    assert (answer.status_code, answer.json()["code"]) == (403, "purpose_unavailable")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("profiles/ada", 400, "identifier_syntax"),
        ("profiles/email:", 400, "identifier_syntax"),
        ("profiles/email:%00", 400, "identifier_syntax"),
        ("profiles/email:null", 400, "invalid_identifier"),
        ("profiles/phone:12", 400, "invalid_identifier"),
        ("profiles/profile:ada", 404, "not_found"),
        ("profiles/profile:99999999999999999999", 404, "not_found"),
        ("profiles/profile:%C2%B2", 404, "not_found"),
    ],
)
def test_person__named_badly__is_refused_with_the_reason(owner, path, status, code, as_web):
    answer = owner.get(path)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_request__leaves_the_connection_without_workspace_or_purpose(owner, ada, as_web):
    from django.db import connection

    owner.get(ADA)
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('role')")
        assert cursor.fetchone() == ("web",)
    assert Profile.objects.count() == 2
