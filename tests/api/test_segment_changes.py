"""The feed of entries and exits: complete, in order, and for each key of the people who permit its purpose."""

import json
import threading
from datetime import timedelta

import pytest
from django.core.signals import request_finished
from django.db import close_old_connections, connection
from django.utils import timezone

from cdp.api import segment_changes
from cdp.kernel.identifiers import Identifier as Named
from cdp.kernel.purposes import Purpose
from cdp.models import Cause
from cdp.models.tenancy import workspace_scope
from consent import gate, retention
from consent.erasure import erase_person
from consent.models import ConsentState
from segments import changes, membership, services
from segments.changes import Position
from segments.models import MembershipChange, PermissionChange
from tests.factories import IdentifierFactory, SourceFactory, say
from tests.factories.segments import forget, happen, know, merge, people, split

CHANGES = "segment-changes"
DAY = timedelta(days=1)


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


@pytest.fixture
def reader(caller, workspace):
    """A key for segmentation, which sees everybody who is evaluated."""
    return caller("segments:read", purpose=Purpose.SEGMENTATION)


def create(workspace, rule, now, slug="parisians"):
    return services.create_segment(workspace_id=workspace.pk, slug=slug, name="", definition=rule, author=None, now=now)


def evaluate(workspace, now, *who, cause=Cause.LEARNT):
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        membership.evaluate(permit, {one.profile_id: cause for one in who}, now=now)


def told(body):
    return [(each["change"], each["segment"], each["profile"], each["cause"]) for each in body["changes"]]


def test_changes__come_once_and_in_order_from_cursor_to_cursor(workspace, source, reader, now):
    ada, emilie = people(2, workspace)
    create(workspace, 'trait "city" = "Paris"', now)
    start = reader.get(CHANGES, after="end").json()
    know(ada, source, city="Paris")
    know(emilie, source, city="Paris")
    evaluate(workspace, now, ada)
    evaluate(workspace, now, emilie)
    forget(ada, "city")
    evaluate(workspace, now + DAY, ada)

    first = reader.get(CHANGES, after=start["next"], limit=2).json()
    second = reader.get(CHANGES, after=first["next"], limit=2).json()
    third = reader.get(CHANGES, after=second["next"]).json()

    assert (start["changes"], start["is_end"]) == ([], True)
    assert told(first) == [
        ("entered", "parisians", ada.pk, "LEARNT"),
        ("entered", "parisians", emilie.pk, "LEARNT"),
    ]
    assert told(second) == [("left", "parisians", ada.pk, "LEARNT")]
    assert second["changes"][0]["at"] == "2026-11-22T12:00:00Z"
    assert (first["is_end"], second["is_end"], third["changes"], third["is_end"]) == (False, True, [], True)


def test_changes__of_one_segment__leave_the_others_out(workspace, source, reader, now):
    [ada] = people(1, workspace)
    know(ada, source, city="Paris")
    create(workspace, 'trait "city" = "Paris"', now)
    create(workspace, 'trait "city" exists', now, "somewhere")

    body = reader.get("segments/somewhere/changes").json()
    both = reader.get(CHANGES, segments="somewhere,parisians").json()

    assert told(body) == [("entered", "somewhere", ada.pk, "DEFINITION")]
    assert len(both["changes"]) == 2
    assert reader.get(CHANGES, segments="nowhere").status_code == 404


def test_changes__of_a_silent_segment__move_the_cursor_past_what_others_did(
    workspace, source, reader, now, monkeypatch
):
    monkeypatch.setattr(changes, "LOOKED_AT", 2)
    everybody = people(3, workspace)
    create(workspace, 'trait "city" = "Oslo"', now, "silent")
    for person in everybody:
        know(person, source, city="Paris")
    create(workspace, 'trait "city" = "Paris"', now)

    first = reader.get("segments/silent/changes").json()
    second = reader.get("segments/silent/changes", after=first["next"]).json()

    assert (first["changes"], first["is_end"]) == ([], False)
    assert (second["changes"], second["is_end"]) == ([], True)
    assert told(reader.get(CHANGES, after=second["next"]).json()) == []


def test_exit__by_a_deadline_an_archive_and_a_merge_and_its_undo__are_told_with_their_causes(
    workspace, source, reader, now
):
    ada, second = people(2, workspace)
    happen(ada, source, "Order", now)
    happen(second, source, "Order", now)
    create(workspace, 'done "Order" in last 1 day', now, "recent")
    after = reader.get(CHANGES, after="end").json()["next"]
    gone = second.pk
    merge(ada, second)
    evaluate(workspace, now, second, cause=Cause.MERGE)
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        membership.evaluate(permit, {gone: Cause.MERGE}, now=now)
    merged = reader.get(CHANGES, after=after).json()
    split(second)
    evaluate(workspace, now, second, cause=Cause.SPLIT)
    undone = reader.get(CHANGES, after=merged["next"]).json()
    evaluate(workspace, now + DAY, ada, second, cause=Cause.DEADLINE)

    assert told(merged) == [("left", "recent", gone, None)]  # who is merged is not seen: the id alone
    assert told(undone) == [("entered", "recent", gone, "SPLIT")]
    assert sorted(told(reader.get(CHANGES, after=undone["next"]).json())) == [
        ("left", "recent", ada.pk, "DEADLINE"),
        ("left", "recent", second.pk, "DEADLINE"),
    ]


# -- whom a key may see ---------------------------------------------------------------------------------------------


@pytest.fixture
def advertiser(caller, workspace):
    return caller("segments:read", purpose=Purpose.ADVERTISING)


def test_entry__of_who_does_not_permit_the_purpose__is_not_told_and_its_exit_neither(
    workspace, source, advertiser, reader, now
):
    [ada] = people(1, workspace)
    know(ada, source, city="Paris")
    create(workspace, 'trait "city" = "Paris"', now)
    forget(ada, "city")
    evaluate(workspace, now, ada)

    assert told(advertiser.get(CHANGES).json()) == []
    assert len(reader.get(CHANGES).json()["changes"]) == 2


def test_consent__given_and_withdrawn_while_inside__is_an_entry_and_an_exit_with_the_id_alone(
    workspace, source, advertiser, reader, now
):
    [ada] = people(1, workspace)
    know(ada, source, city="Paris")
    create(workspace, 'trait "city" = "Paris"', now)
    after = reader.get(CHANGES, after="end").json()["next"]
    say(ada, Purpose.ADVERTISING, ConsentState.GIVEN)
    evaluate(workspace, now, ada, cause=Cause.CONSENT)
    given = advertiser.get(CHANGES, after=after).json()
    say(ada, Purpose.ADVERTISING, ConsentState.WITHDRAWN, at=now - DAY)
    evaluate(workspace, now, ada, cause=Cause.CONSENT)
    withdrawn = advertiser.get(CHANGES, after=given["next"]).json()

    assert told(given) == [("entered", "parisians", ada.pk, "CONSENT")]
    assert withdrawn["changes"] == [
        {"segment": "parisians", "profile": ada.pk, "change": "left", "at": None, "cause": None}
    ]
    assert told(reader.get(CHANGES, after=after).json()) == []  # in the segment itself nothing changed
    assert not PermissionChange.objects.filter(workspace=workspace).exists()


def test_entry__evaluated_before_a_new_consent_is__is_told_once(workspace, source, advertiser, now):
    [ada] = people(1, workspace)
    create(workspace, 'trait "city" = "Paris"', now)
    know(ada, source, city="Paris")
    evaluate(workspace, now, ada)
    say(ada, Purpose.ADVERTISING, ConsentState.GIVEN)
    forget(ada, "city")
    know(ada, source, city="Paris")

    evaluate(workspace, now, ada)
    evaluate(workspace, now, ada, cause=Cause.CONSENT)

    assert told(advertiser.get(CHANGES).json()) == [("entered", "parisians", ada.pk, "CONSENT")]


def test_entry__of_who_withdrew_before_it_was_read__is_not_told(workspace, source, advertiser, now):
    [ada] = people(1, workspace)
    know(ada, source, city="Paris")
    say(ada, Purpose.ADVERTISING, ConsentState.GIVEN)
    create(workspace, 'trait "city" = "Paris"', now)
    say(ada, Purpose.ADVERTISING, ConsentState.WITHDRAWN, at=now - DAY)

    assert told(advertiser.get(CHANGES).json()) == []


def test_withdrawal_of_segmentation__is_an_exit_for_every_purpose_that_saw_the_person(
    workspace, source, caller, reader, now
):
    analyst = caller("segments:read", purpose=Purpose.ANALYTICS)
    [ada] = people(1, workspace)
    know(ada, source, city="Paris")
    create(workspace, 'trait "city" = "Paris"', now)
    say(ada, Purpose.SEGMENTATION, ConsentState.REFUSED)
    evaluate(workspace, now, ada, cause=Cause.CONSENT)

    assert told(reader.get(CHANGES).json()) == [("left", "parisians", ada.pk, None)]
    assert told(analyst.get(CHANGES).json()) == [
        ("entered", "parisians", ada.pk, "DEFINITION"),
        ("left", "parisians", ada.pk, "CONSENT"),
    ]


def test_erasure__is_an_exit_with_an_id_of_nobody(workspace, source, reader, now):
    [ada] = people(1, workspace)
    know(ada, source, city="Paris")
    create(workspace, 'trait "city" = "Paris"', now)
    after = reader.get(CHANGES, after="end").json()["next"]

    erase_person(workspace_id=workspace.pk, identifier=Named("email", ada.value), now=now)

    assert told(reader.get(CHANGES, after=after).json()) == [("left", "parisians", ada.pk, None)]
    assert MembershipChange.objects.count() == 1


# -- cursors ---------------------------------------------------------------------------------------------------------


def test_cursor__from_before_what_was_deleted__is_gone(workspace, source, reader, committed_retention, now):
    [ada] = people(1, workspace)
    know(ada, source, city="Paris")
    old = reader.get(CHANGES, after="end").json()["next"]
    create(workspace, 'trait "city" = "Paris"', now)
    later = timezone.now() + 40 * DAY
    committed_retention(later)

    answer = reader.get(CHANGES, after=old)

    assert (answer.status_code, answer.json()["code"]) == (410, "cursor_expired")
    assert not MembershipChange.objects.exists()


@pytest.fixture
def committed_retention(workspace):
    def apply(later):
        retention.apply_schedules(workspace_id=workspace.pk, now=later)

    return apply


@pytest.mark.parametrize("after", ["nonsense", "WzFd", "bnVsbA=="])
def test_cursor__of_another_kind__is_refused(reader, after):
    answer = reader.get(CHANGES, after=after)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


def test_feed__of_another_workspace__is_empty_for_a_stranger(workspace, source, stranger, now):
    [ada] = people(1, workspace)
    know(ada, source, city="Paris")
    create(workspace, 'trait "city" = "Paris"', now)

    assert stranger.get(CHANGES).json()["changes"] == []
    assert stranger.get("segments/parisians/changes").status_code == 404


def test_call__without_the_scope_or_a_key__is_refused(caller, anonymous):
    member = caller("segments:write", "profiles:read")

    for path in (CHANGES, f"{CHANGES}/stream", "segments/x/changes"):
        assert (member.get(path).status_code, anonymous.get(path).status_code) == (403, 401)


# -- many at once -----------------------------------------------------------------------------------------------------


def test_feed__read_while_many_write__misses_nothing_and_tells_nothing_twice(committed):
    """Four evaluate at once, and commit in whatever order; one reads on and on."""
    now = timezone.now()
    with workspace_scope(committed.pk):
        source = SourceFactory(workspace=committed)
        everybody = IdentifierFactory.create_batch(40, workspace=committed)
        for person in everybody:
            know(person, source, city="Paris")
    create(committed, 'trait "city" = "Oslo"', now)
    with workspace_scope(committed.pk), connection.cursor() as cursor:
        cursor.execute("UPDATE trait SET value = '\"Oslo\"' WHERE workspace_id = %s", [committed.pk])
    writers = [threading.Thread(target=_evaluate_each, args=(committed, everybody[part::4])) for part in range(4)]
    seen, position = [], Position(0, now)
    for writer in writers:
        writer.start()

    is_over = False
    while not is_over:
        is_last = not any(writer.is_alive() for writer in writers)
        with gate.permit(Purpose.SEGMENTATION, workspace_id=committed.pk) as permit:
            reading = changes.changes_after(permit, position, most=3, now=now)
        position = reading.position
        seen += [(change.is_entry, change.profile) for change in reading.changes]
        is_over = is_last and reading.is_end

    assert sorted(seen) == sorted((is_entry, one.pk) for one in everybody for is_entry in (True, False))
    assert all(seen.index((True, one.pk)) < seen.index((False, one.pk)) for one in everybody)


def _evaluate_each(workspace, mine):
    try:
        for person in mine:
            evaluate(workspace, timezone.now(), person)
        with workspace_scope(workspace.pk):
            for person in mine:
                forget(person, "city")
        for person in mine:
            evaluate(workspace, timezone.now(), person)
    finally:
        connection.close()


# -- the stream --------------------------------------------------------------------------------------------------------


def leave(answer):
    """As the server closes an answer whose client has gone; but the connection is that of the test."""
    request_finished.disconnect(close_old_connections)
    answer.close()
    request_finished.connect(close_old_connections)


def test_stream__from_its_last_id__tells_what_came_since(workspace, source, reader, now, monkeypatch):
    monkeypatch.setattr(segment_changes, "LONGEST_SECONDS", 0.1)
    [ada] = people(1, workspace)
    know(ada, source, city="Paris")
    start = reader.get(CHANGES, after="end").json()["next"]
    create(workspace, 'trait "city" = "Paris"', now)
    headers = {**reader._headers, "Last-Event-ID": start, "Accept": "text/event-stream"}

    answer = reader.client.get("/api/v1/segment-changes/stream", headers=headers)
    retry, event = [piece.decode() for piece in answer.streaming_content]

    assert (answer.status_code, answer["Content-Type"]) == (200, "text/event-stream")
    assert retry == "retry: 1000\n\n"
    cursor, kind, data = event.strip().split("\n")
    assert kind == "event: entered"
    assert json.loads(data.removeprefix("data: ")) == {
        "segment": "parisians", "profile": ada.pk, "at": "2026-11-21T12:00:00Z", "cause": "DEFINITION",
    }  # fmt: skip
    assert told(reader.get(CHANGES, after=cursor.removeprefix("id: ")).json()) == []


def test_stream__where_nothing_happens__says_that_it_is_there_and_ends_in_time(reader, workspace, monkeypatch):
    monkeypatch.setattr(segment_changes, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(segment_changes, "HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(segment_changes, "LONGEST_SECONDS", 0.2)

    answer = reader.get(f"{CHANGES}/stream")
    pieces = [piece.decode() for piece in answer.streaming_content]

    assert pieces[0] == "retry: 1000\n\n"
    assert len(pieces) > 2
    assert all(piece.startswith(": still here\nid: ") for piece in pieces[1:])


def test_stream__beyond_the_places__is_told_to_come_again(reader, workspace, monkeypatch):
    monkeypatch.setattr(segment_changes, "PLACES", threading.BoundedSemaphore(1))
    first = reader.get(f"{CHANGES}/stream")

    second = reader.get(f"{CHANGES}/stream")
    leave(first)
    third = reader.get(f"{CHANGES}/stream")
    leave(third)

    assert (second.status_code, second.json()["code"], second["Retry-After"]) == (503, "streams_full", "5")
    assert third.status_code == 200


def test_stream__with_a_cursor_that_is_none__is_refused_in_json(reader, workspace):
    headers = {**reader._headers, "Last-Event-ID": "x", "Accept": "text/event-stream"}

    answer = reader.client.get("/api/v1/segment-changes/stream", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")
