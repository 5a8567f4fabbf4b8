"""Segments by HTTP: define, look at, list, explain; each key sees the people who permit its purpose."""

from unittest.mock import Mock

import pytest
from django.utils import timezone
from jsonschema_rs import Draft202012Validator

from cdp.api import wakeups
from cdp.kernel.purposes import Purpose
from cdp.models import OutboxRow, Stage
from consent.models import ConsentState
from segments import backfill
from segments.language import parse_text, to_json
from segments.models import Membership, Segment
from tests.factories import IdentifierFactory, SourceFactory, say
from tests.factories.segments import know

RULE = 'trait "city" = "Paris"'
NEW = {"slug": "parisians", "name": "Parisians", "definition": RULE}
MEMBERS = "segments/parisians/members"


@pytest.fixture
def parisians(workspace):
    """Three people in Paris: the first refuses analytics, the others grant advertising. One person in Lyon."""
    source = SourceFactory(workspace=workspace)
    people = IdentifierFactory.create_batch(4, workspace=workspace)
    for person, city in zip(people, ("Paris", "Paris", "Paris", "Lyon"), strict=True):
        know(person, source, city=city)
    say(people[0], Purpose.ANALYTICS, ConsentState.REFUSED)
    for person in people[1:]:
        say(person, Purpose.ADVERTISING, ConsentState.GIVEN)
    OutboxRow.objects.all().delete()
    return people


@pytest.fixture
def as_web(as_login):
    as_login("web")


@pytest.fixture
def made(owner, parisians, as_login):
    as_login("web")
    assert owner.post("segments", NEW).status_code == 201
    return owner


def test_post__creates_computes_and_wakes_activation(
    owner, workspace, parisians, monkeypatch, as_web, as_login, django_capture_on_commit_callbacks
):
    wake = Mock()
    monkeypatch.setattr(wakeups.WAKER, "tell", wake)

    with django_capture_on_commit_callbacks(execute=True):
        answer = owner.post("segments", NEW)

    assert answer.status_code == 201
    body = answer.json()
    assert body.pop("computed_at")
    assert body.pop("definition")
    assert body == {"slug": "parisians", "name": "Parisians", "description": "", "version": 1, "archived_at": None}
    wake.assert_called_once_with(Stage.ACTIVATION, workspace.pk)
    as_login("none")
    assert Membership.objects.filter(left_at=None).count() == 3


def test_post__again__is_a_conflict(made):
    answer = made.post("segments", NEW)

    assert (answer.status_code, answer.json()["code"]) == (409, "segment_exists")


def test_post__with_a_bad_rule__says_where(owner, as_web, as_login):
    answer = owner.post("segments", {**NEW, "definition": 'trait "city" iz "Paris"'})

    assert answer.status_code == 400
    assert (answer.json()["details"]["line"], answer.json()["details"]["column"]) == (1, 14)
    as_login("none")
    assert not Segment.objects.exists()


@pytest.mark.parametrize("definition", ['trait "city" = "\0"', {"trait": "\0"}, 10**400, None, [], "", {"and": []}])
def test_post__with_a_definition_that_is_none__is_refused(owner, definition, as_web):
    answer = owner.post("segments", {**NEW, "definition": definition})

    assert answer.status_code == 400
    assert set(answer.json()) == {"code", "message", "details"}


@pytest.mark.parametrize("body", [{}, {"slug": "no spaces"}, {"slug": "x" * 51, "definition": RULE}])
def test_post__of_another_shape__is_refused(owner, body, as_web):
    answer = owner.post("segments", body)

    assert (answer.status_code, answer.json()["code"]) == (400, "validation_failed")


def test_schema__is_a_json_schema_that_takes_a_rule(owner, as_web):
    schema = owner.get("segments/schema").json()

    validator = Draft202012Validator(schema)
    assert validator.is_valid(to_json(parse_text(RULE)))
    assert not validator.is_valid({"trait": "city", "iz": "Paris"})


def test_get__lists_and_shows(made):
    (listed,) = made.get("segments").json()["segments"]
    shown = made.get("segments/parisians").json()

    assert (listed["slug"], listed.pop("size")) == ("parisians", 3)
    assert shown == {**listed, "definition": shown["definition"], "rankings": []}


@pytest.mark.parametrize(
    ("purpose", "visible"),
    [(Purpose.SEGMENTATION, (0, 1, 2)), (Purpose.ANALYTICS, (1, 2)), (Purpose.ADVERTISING, (1, 2))],
)
def test_members__are_those_who_permit_the_purpose_of_the_key(made, caller, parisians, purpose, visible, as_login):
    as_login("none")
    reader = caller("segments:read", purpose=purpose)
    as_login("web")

    body = reader.get(MEMBERS).json()

    assert [each["profile"] for each in body["members"]] == [parisians[place].pk for place in visible]
    assert {each["entered_cause"] for each in body["members"]} == {"DEFINITION"}
    assert body["next"] is None


def test_members__of_somebody_who_withdrew_segmentation__are_not_shown_while_the_row_waits(
    made, caller, parisians, as_login
):
    as_login("none")
    reader = caller("segments:read", purpose=Purpose.SEGMENTATION)
    say(parisians[0], Purpose.SEGMENTATION, ConsentState.REFUSED)
    assert Membership.objects.filter(profile_id=parisians[0].pk, left_at=None).exists()
    as_login("web")

    shown = [each["profile"] for each in reader.get(MEMBERS).json()["members"]]

    assert shown == [parisians[1].pk, parisians[2].pk]


def test_members__come_page_by_page(made, parisians):
    first = made.get(MEMBERS, limit=1).json()
    second = made.get(MEMBERS, limit=1, cursor=first["next"]).json()
    third = made.get(MEMBERS, limit=1, cursor=second["next"]).json()

    pages = [[each["profile"] for each in page["members"]] for page in (first, second, third)]
    assert pages == [[parisians[1].pk], [parisians[2].pk], []]
    assert third["next"] is None


def test_preview__counts_exactly_and_shows_only_whom_the_key_may_see(owner, parisians, as_web, as_login):
    body = owner.post("segments/preview", {"definition": RULE}).json()

    assert (body["count"], body["sample"]) == (3, [parisians[1].pk, parisians[2].pk])
    assert (body["is_exact"], body["low"], body["high"], body["people"]) == (True, 3, 3, 4)
    assert (body["overlaps"], body["destinations"]) == ([], [])
    again = owner.post("segments/preview", {"definition": body["definition"]}).json()
    of_the_clock = ("at", "computed_at", "seconds")
    assert {name: value for name, value in again.items() if name not in of_the_clock} == {
        name: value for name, value in body.items() if name not in of_the_clock
    }
    as_login("none")
    assert not Segment.objects.exists()


def test_why__tells_each_condition(made, parisians):
    inside = made.get(f"segments/parisians/why/{parisians[1].pk}").json()
    outside = made.get(f"segments/parisians/why/email:{parisians[3].value}").json()

    assert inside.pop("entered_at")
    assert inside.pop("reasons") == [
        {
            "condition": RULE,
            "sentence": inside_sentence(made, parisians),
            "is_true": True,
            "next_change_at": None,
            "known": "Paris",
        }
    ]
    assert (inside["profile"], inside["is_in"], inside["entered_cause"]) == (parisians[1].pk, True, "DEFINITION")
    assert (outside["is_in"], outside["entered_at"], outside["reasons"][0]["is_true"]) == (False, None, False)


def inside_sentence(made, parisians) -> str:
    sentence = made.get(f"segments/parisians/why/{parisians[2].pk}").json()["reasons"][0]["sentence"]
    assert "Paris" in sentence
    return sentence


def test_why__of_somebody_hidden_and_of_nobody__is_the_same(made, parisians):
    hidden = made.get(f"segments/parisians/why/{parisians[0].pk}")
    nobody = made.get("segments/parisians/why/999999999")

    assert hidden.status_code == nobody.status_code == 404
    assert hidden.content == nobody.content


def test_versions__publish_and_say_who_came_and_went(made, parisians, as_login):
    answer = made.post("segments/parisians/versions", {"definition": 'trait "city" = "Lyon"'})

    assert answer.json() == {"version": 2, "entered": 1, "left": 3, "members": 1}
    assert made.get("segments/parisians").json()["version"] == 2


def test_post__with_a_name_that_is_not_there__says_which_was_meant(owner, parisians, as_web, as_login):
    rule = 'trait "town" = "Paris"'

    answer = owner.post("segments", {**NEW, "definition": rule.replace("town", "citty")})
    doubts = owner.post("segments/preview", {"definition": rule}).json()["doubts"]
    allowed = owner.post("segments", {**NEW, "definition": rule, "allow_unknown": True})

    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_trait")
    assert answer.json()["details"]["suggestion"] == "city"
    assert [doubt["code"] for doubt in doubts] == ["unknown_trait"]
    assert allowed.status_code == 201


@pytest.fixture
def large(monkeypatch):
    """A workspace of three is a large one: its versions are computed by a worker."""
    monkeypatch.setattr(backfill, "AT_ONCE", 2)


def test_preview__of_a_time_in_the_past__says_which(owner, parisians, as_web):
    body = owner.post("segments/preview", {"definition": RULE, "at": "2026-01-02T03:04:05Z"}).json()

    assert (body["count"], body["at"]) == (3, "2026-01-02T03:04:05Z")


def test_versions__in_a_large_workspace__are_accepted_and_can_be_followed(
    made, workspace, large, monkeypatch, django_capture_on_commit_callbacks
):
    wake = Mock()
    monkeypatch.setattr(wakeups.tasks, "wake_versions", wake)

    with django_capture_on_commit_callbacks(execute=True):
        answer = made.post("segments/parisians/versions", {"definition": 'trait "city" = "Lyon"'})

    assert answer.status_code == 202
    run = answer.json()["run"]
    assert answer.json() == {"version": 2, "run": run, "people": 4}
    wake.assert_called_once_with(workspace_id=workspace.pk)
    followed = made.get("segments/parisians/publication").json()
    assert (followed["version"], followed["run"], followed["looked_at"], followed["people"]) == (2, run, 0, 4)
    assert made.get("segments/parisians").json()["version"] == 1
    backfill.finish(workspace_id=workspace.pk, clock=timezone.now)
    assert made.get("segments/parisians").json()["version"] == 2
    assert made.get("segments/parisians/publication").status_code == 404


def test_publication__given_up__leaves_the_version_that_serves(made, workspace, large):
    made.post("segments/parisians/versions", {"definition": 'trait "city" = "Lyon"'})

    assert made.delete("segments/parisians/publication").status_code == 204
    assert made.delete("segments/parisians/publication").status_code == 404
    backfill.finish(workspace_id=workspace.pk, clock=timezone.now)
    assert made.get("segments/parisians").json()["version"] == 1


def test_post__in_a_large_workspace__is_accepted_and_serves_later(owner, workspace, parisians, large, as_web):
    answer = owner.post("segments", NEW)

    assert (answer.status_code, answer.json()["version"]) == (202, None)
    backfill.finish(workspace_id=workspace.pk, clock=timezone.now)
    assert len(owner.get(MEMBERS).json()["members"]) == 2


def test_delete__archives_and_everybody_leaves(made, as_login):
    assert made.delete("segments/parisians").status_code == 204

    assert made.get("segments/parisians").json()["archived_at"] is not None
    assert made.get(MEMBERS).json()["members"] == []
    as_login("none")
    assert Membership.objects.count() == 3


CALLS = [
    ("get", "segments", {}),
    ("post", "segments", {"body": {**NEW, "slug": "mine"}}),
    ("get", "segments/parisians", {}),
    ("delete", "segments/parisians", {}),
    ("get", MEMBERS, {}),
    ("post", "segments/preview", {"body": {"definition": RULE}}),
    ("post", "segments/parisians/versions", {"body": {"definition": RULE}}),
    ("get", "segments/parisians/publication", {}),
    ("delete", "segments/parisians/publication", {}),
    ("get", "segments/parisians/why/1", {}),
]


@pytest.mark.parametrize(("method", "path", "arguments"), CALLS)
def test_call__without_the_scope_or_a_key__is_refused_and_changes_nothing(
    made, caller, anonymous, method, path, arguments, as_login
):
    as_login("none")
    reader = "segments:write" if (method, path) in {("get", path), ("post", "segments/preview")} else "segments:read"
    member = caller(reader, "profiles:read")
    as_login("web")

    assert getattr(member, method)(path, **arguments).status_code == 403
    assert getattr(anonymous, method)(path, **arguments).status_code == 401
    as_login("none")
    assert Segment.objects.filter(archived_at=None).values_list("slug", "live_version__number").get() == (
        "parisians",
        1,
    )


@pytest.mark.parametrize(("method", "path", "arguments"), [call for call in CALLS if "parisians" in call[1]], ids=str)
def test_segment__of_another_workspace__does_not_exist(stranger, made, method, path, arguments):
    answer = getattr(stranger, method)(path, **arguments)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_list_and_preview__for_a_stranger__see_nobody(stranger, made):
    assert stranger.get("segments").json() == {"segments": [], "next": None}
    assert stranger.post("segments/preview", {"definition": RULE}).json()["count"] == 0
