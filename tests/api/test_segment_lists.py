"""Lists of people over the API: made, filled, read as far as the key may see, and people by hand in one segment."""

import json
from datetime import timedelta

import pytest

from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Stage
from consent.models import ConsentState
from segments import lists, services
from segments.lists import By
from segments.models import ListEntry, SegmentList
from tests import outbox
from tests.factories import IdentifierFactory, say
from tests.factories.segments import people

HOUR = timedelta(hours=1)


@pytest.fixture
def writer(caller):
    return caller("segments:read", "segments:write", purpose=Purpose.SEGMENTATION)


@pytest.fixture
def vip(workspace):
    return lists.make_list(workspace_id=workspace.pk, slug="vip", name="Very important")


@pytest.fixture
def buyers(workspace, now):
    return services.create_segment(
        workspace_id=workspace.pk, slug="buyers", name="", definition='done "Order"', author=None, now=now
    )


def put_on(workspace, now, *profiles):
    lists.put_on(workspace_id=workspace.pk, slug="vip", profiles=profiles, by=By(), now=now)


def take_off(writer, body):
    headers = {"Authorization": f"Bearer {writer.secret}"}
    return writer.client.delete(
        "/api/v1/lists/vip/entries", json.dumps(body), content_type="application/json", headers=headers
    )


def waiting(workspace):
    return [(subject, cause) for _, subject, cause in outbox.waiting(stage=Stage.SEGMENTS, workspace=workspace)]


def test_list__made_twice__is_there_once(workspace, writer):
    made = writer.post("lists", {"slug": "vip", "name": "Very important"})
    again = writer.post("lists", {"slug": "vip"})

    assert (made.status_code, made.json()["slug"], made.json()["name"]) == (201, "vip", "Very important")
    assert (again.status_code, again.json()["code"]) == (409, "list_exists")
    assert writer.get("lists").json() == {"lists": [{**made.json(), "size": 0}]}


def test_list__with_a_slug_that_a_segment_has_for_itself__is_refused(workspace, writer):
    refused = writer.post("lists", {"slug": "-buyers"})

    assert (refused.status_code, refused.json()["code"]) == (400, "list_slug")
    assert not SegmentList.objects.exists()


def test_people__put_on_and_taken_off__change_the_list_and_tell_segments(workspace, writer, vip):
    ada, grace = people(2, workspace)
    IdentifierFactory(workspace=workspace, value="lin@example.com")
    asked = {"profiles": [str(ada.pk), f"profile:{grace.pk}", "email:LIN@example.com"], "reason": "asked for"}

    put = writer.post("lists/vip/entries", asked).json()
    off = take_off(writer, {"profiles": [str(ada.pk), "4711"]}).json()

    assert put == {"changed": 3, "refused": []}
    assert [each["size"] for each in writer.get("lists").json()["lists"]] == [2]
    assert off == {"changed": 1, "refused": [{"asked": "4711", "code": "unknown_profile"}]}
    assert [(row.reason, row.removed_at is None) for row in ListEntry.objects.order_by("identifier_id")] == [
        ("asked for", False),
        ("asked for", True),
        ("asked for", True),
    ]
    assert [cause for _, cause in waiting(workspace)] == [Cause.LIST] * 4


def test_people__who_are_nobody_or_misspelt__are_refused_and_hold_up_nobody(workspace, writer, vip):
    [ada] = people(1, workspace)

    body = writer.post("lists/vip/entries", {"profiles": ["nonsense", str(ada.pk), "phone:12", "999999"]}).json()

    assert body["changed"] == 1
    assert [(each["asked"], each["code"]) for each in body["refused"]] == [
        ("nonsense", "identifier_syntax"),
        ("phone:12", "invalid_identifier"),
        ("999999", "unknown_profile"),
    ]


def test_person__whom_the_key_or_segmentation_may_not_see__is_unknown_to_it(workspace, caller, vip, now):
    hidden, silent = people(2, workspace)
    say(silent, Purpose.ADVERTISING, ConsentState.GIVEN)
    say(silent, Purpose.SEGMENTATION, ConsentState.WITHDRAWN)
    advertiser = caller("segments:read", "segments:write", purpose=Purpose.ADVERTISING)

    body = advertiser.post("lists/vip/entries", {"profiles": [str(hidden.pk), str(silent.pk)]}).json()

    assert [each["code"] for each in body["refused"]] == ["unknown_profile", "unknown_profile"]
    assert (body["changed"], ListEntry.objects.exists()) == (0, False)
    assert Cause.LIST not in {cause for _, cause in waiting(workspace)}


def test_list__read_page_by_page__has_only_whom_the_key_may_see(workspace, caller, vip, now):
    ada, hidden, grace = people(3, workspace)
    put_on(workspace, now, ada.pk, hidden.pk, grace.pk)
    for permitting in (ada, grace):
        say(permitting, Purpose.ADVERTISING, ConsentState.GIVEN)
    advertiser = caller("segments:read", purpose=Purpose.ADVERTISING)

    first = advertiser.get("lists/vip", limit=2).json()
    second = advertiser.get("lists/vip", limit=2, cursor=first["next"]).json()

    assert (first["name"], first["profiles"]) == ("Very important", [ada.pk])
    assert (second["profiles"], second["next"]) == ([grace.pk], None)


def test_list__that_there_is_not_or_that_is_of_a_segment__is_not_found(workspace, writer, buyers, now):
    [ada] = people(1, workspace)
    lists.exclude(segment=buyers, profiles=[ada.pk], by=By(), now=now)
    before = ListEntry.objects.count()

    answers = [writer.get("lists/none"), writer.get("lists/-buyers")]
    written = writer.post("lists/-buyers/entries", {"profiles": [str(ada.pk)]})

    assert [answer.status_code for answer in [*answers, written]] == [404, 404, 404]
    assert ListEntry.objects.count() == before


def test_list__asked_by_a_stranger_and_by_who_may_only_read__stays_as_it_is(workspace, caller, stranger, vip, now):
    [ada] = people(1, workspace)
    put_on(workspace, now, ada.pk)
    reader = caller("segments:read", purpose=Purpose.SEGMENTATION)

    assert stranger.get("lists").json() == {"lists": []}
    assert stranger.get("lists/vip").status_code == 404
    assert take_off(stranger, {"profiles": [str(ada.pk)]}).status_code == 404
    assert take_off(reader, {"profiles": [str(ada.pk)]}).status_code == 403
    assert ListEntry.objects.get().removed_at is None


def test_entries__more_than_a_thousand_or_none__are_refused_as_a_whole(workspace, writer, vip):
    bodies = [{"profiles": ["1"] * 1001}, {"profiles": []}, {"profiles": ["1"], "reason": "x" * 201}]

    codes = {writer.post("lists/vip/entries", body).json()["code"] for body in bodies}

    assert (codes, waiting(workspace)) == ({"validation_failed"}, [])


def test_somebody__put_in_kept_out_and_left_to_the_rule__is_told_what_is_new(workspace, writer, buyers):
    [ada] = people(1, workspace)
    ways = [("in", "by telephone"), ("in", ""), ("out", ""), ("neither", ""), ("neither", "")]

    answers = [
        writer.post("segments/buyers/by-hand", {"profile": str(ada.pk), "put": put, "reason": reason}).json()
        for put, reason in ways
    ]

    assert answers[0] == {"segment": "buyers", "profile": ada.pk, "put": "in", "is_new": True}
    assert [answer["is_new"] for answer in answers] == [True, False, True, True, False]
    entries = ListEntry.objects.order_by("pk").values_list("list__slug", "reason")
    assert list(entries) == [("+buyers", "by telephone"), ("-buyers", "")]
    assert not ListEntry.objects.filter(removed_at=None).exists()


def test_somebody__unknown_or_in_no_segment__is_not_put_anywhere(workspace, writer, buyers):
    [ada] = people(1, workspace)

    unknown = writer.post("segments/buyers/by-hand", {"profile": "4711", "put": "in"})
    elsewhere = writer.post("segments/none/by-hand", {"profile": str(ada.pk), "put": "in"})
    odd = writer.post("segments/buyers/by-hand", {"profile": str(ada.pk), "put": "maybe"})

    assert [unknown.status_code, elsewhere.status_code, odd.status_code] == [404, 404, 400]
    assert not ListEntry.objects.exists()
