"""What was acknowledged is on disk, what was bad is in quarantine, and neither costs the other."""

import json
from datetime import UTC, datetime

import pytest
from django.db import DatabaseError

from cdp.ingestion import accepting, appending, sources
from cdp.ingestion import services as ingestion
from cdp.ingestion.bodies import BodyTooLargeError, InvalidJsonError
from cdp.ingestion.sources import SourceExistsError, UnknownWriteKeyError
from cdp.models import InboxBatch, OutboxRow, QuarantinedItem, SourceKind, WriteKey
from tests.factories import SourceFactory

RECEIVED = datetime(2026, 11, 21, 12, tzinfo=UTC)
GOOD = {"type": "track", "event": "Viewed", "userId": 42, "messageId": "m1"}


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


def accept(source, *events, **envelope):
    body = json.dumps({"batch": events, **envelope}).encode()
    return ingestion.accept(source=source, body=body, path_kind="batch", received_at=RECEIVED)


def calls_in_the_inbox():
    bodies = [accepting.read_inbox(bytes(batch.body)) for batch in InboxBatch.objects.order_by("pk")]
    return [accepting.read_accepted(item, body) for body in bodies for item in body.batch]


def test_batch__that_is_good__lies_in_the_inbox_with_work_for_the_stage(workspace, source):
    accepted = accept(source, GOOD, sentAt="2026-11-21T11:59:59Z", writeKey="secret")

    assert (accepted.accepted, accepted.rejected, accepted.workspace_id) == (1, [], workspace.pk)
    batch = InboxBatch.objects.get()
    assert json.loads(batch.body) == {"batch": [GOOD], "sentAt": "2026-11-21T11:59:59Z", "type": None, "shared": {}}
    assert (batch.source_id, batch.received_at) == (source.pk, RECEIVED)
    work = OutboxRow.objects.get()
    assert (work.stage, work.subject_id, work.cause) == ("INGESTION", batch.pk, "EVENT")


def test_batch__with_a_bad_event__loses_only_that_one(workspace, source):
    accepted = accept(
        source, GOOD, {"type": "track", "event": "Viewed", "messageId": "bad"}, {**GOOD, "messageId": "m2"}
    )

    assert accepted.accepted == 2
    assert accepted.rejected == [{"index": 1, "messageId": "bad", "code": "missing_identity"}]
    assert [call.message_id for call in calls_in_the_inbox()] == ["m1", "m2"]
    quarantined = QuarantinedItem.objects.get()
    assert (quarantined.place, quarantined.code) == ("batch[1]", "missing_identity")
    assert json.loads(quarantined.raw)["messageId"] == "bad"


def test_batch__of_bad_events_only__wakes_nobody(workspace, source):
    accepted = accept(source, {"type": "track"}, 3, None)

    assert accepted.accepted == 0
    assert [one["code"] for one in accepted.rejected] == ["missing_identity", "not_an_object", "not_an_object"]
    assert not InboxBatch.objects.exists()
    assert not OutboxRow.objects.exists()


def test_batch__that_is_empty__is_accepted_and_leaves_nothing(workspace, source):
    assert accept(source).accepted == 0
    assert not InboxBatch.objects.exists()


def test_bad_event__sent_again__lies_in_quarantine_once(workspace, source):
    accept(source, {"type": "track"})
    accept(source, {"type": "track"})

    assert QuarantinedItem.objects.count() == 1


def test_event__of_more_than_32_kilobytes__is_refused_and_its_neighbours_are_not(workspace, source):
    fits = {**GOOD, "properties": {"text": ""}}
    fits["properties"]["text"] = "x" * (32_768 - len(json.dumps(fits)))
    too_large = {**fits, "messageId": "m22"}

    accepted = accept(source, fits, too_large)

    assert accepted.accepted == 1
    assert accepted.rejected == [{"index": 1, "messageId": "m22", "code": "event_too_large"}]


def test_batch__of_more_than_2500_events__loses_the_surplus(workspace, source):
    accepted = accept(source, *({**GOOD, "messageId": f"m{n}"} for n in range(2_502)))

    assert accepted.accepted == 2_500
    assert accepted.rejected == [
        {"index": 2_500, "messageId": "m2500", "code": "too_many_events"},
        {"index": 2_501, "messageId": "m2501", "code": "too_many_events"},
    ]
    assert QuarantinedItem.objects.count() == 2


def test_event__without_a_message_id__gets_one_before_it_is_acknowledged(workspace, source):
    accept(source, {**GOOD, "messageId": None}, {**GOOD, "messageId": ""})

    first, second = (call.message_id for call in calls_in_the_inbox())
    assert len(first) == len(second) == 36
    assert first != second


def test_envelope__context__belongs_to_each_event_and_the_event_wins(workspace, source):
    shared = {"context": {"ip": "192.0.2.1", "app": "a"}, "integrations": {"All": False}}

    accept(source, {**GOOD, "context": {"app": "b"}}, {**GOOD, "messageId": "m2", "context": None}, **shared)

    first, second = calls_in_the_inbox()
    assert first.context == {"ip": "192.0.2.1", "app": "b"}
    assert second.context == shared["context"]
    assert first.integrations == second.integrations == {"All": False}


def test_single_call__takes_its_type_from_the_path(workspace, source):
    body = json.dumps({"userId": "u", "event": "Viewed", "messageId": "m"}).encode()

    ingestion.accept(source=source, body=body, path_kind="track", received_at=RECEIVED)

    (call,) = calls_in_the_inbox()
    assert (call.type, call.user_id, call.event, call.message_id) == ("track", "u", "Viewed", "m")


@pytest.mark.parametrize(("body", "error"), [(b"{", InvalidJsonError), (b" " * 2_000, BodyTooLargeError)])
def test_body__that_is_unusable__leaves_nothing(body, error, workspace, source, settings):
    settings.TRACKING_BODY_BYTES = 1_000

    with pytest.raises(error):
        ingestion.accept(source=source, body=body, path_kind="batch", received_at=RECEIVED)

    assert not InboxBatch.objects.exists()
    assert not QuarantinedItem.objects.exists()


def test_accept__when_the_outbox_cannot_be_written__keeps_nothing(workspace, source, monkeypatch):
    monkeypatch.setattr(appending, "_APPEND", b"SELECT core.no_such_function($1, $2, $3, $4)")

    with pytest.raises(DatabaseError):
        accept(source, GOOD, {"type": "track"})

    assert not QuarantinedItem.objects.exists()


def test_accept__as_the_login_of_the_web_server__may_do_all_it_needs(workspace, source, as_login):
    as_login("web")

    accepted = accept(source, GOOD, {"type": "track"})

    assert (accepted.accepted, len(accepted.rejected)) == (1, 1)


def test_source__when_it_is_made__has_a_write_key_of_which_only_the_digest_is_kept(workspace):
    source, write_key = ingestion.create_source(
        workspace_id=workspace.pk, name="shop", kind=SourceKind.HTTP, region="FR"
    )

    known = sources.source_of([write_key])
    assert (known.id, known.workspace_id, known.name, known.region) == (source.pk, workspace.pk, "shop", "FR")
    assert write_key not in json.dumps(list(WriteKey.objects.values()), default=str)


def test_source__of_a_name_that_is_taken__is_refused(workspace):
    ingestion.create_source(workspace_id=workspace.pk, name="shop", kind=SourceKind.HTTP)

    with pytest.raises(SourceExistsError):
        ingestion.create_source(workspace_id=workspace.pk, name="shop", kind=SourceKind.FILE)

    assert WriteKey.objects.count() == 1


@pytest.mark.parametrize("end", ["revoked", "disabled", "closed"])
def test_write_key__that_no_longer_counts__is_unknown(end, workspace):
    source, write_key = ingestion.create_source(workspace_id=workspace.pk, name="shop", kind=SourceKind.HTTP)
    if end == "revoked":
        WriteKey.objects.update(revoked_at=RECEIVED)
    elif end == "disabled":
        type(source).objects.update(is_enabled=False)
    else:
        type(workspace).objects.update(closed_at=RECEIVED)

    with pytest.raises(UnknownWriteKeyError):
        sources.source_of([write_key])


def test_write_key__within_the_seconds_of_the_cache__costs_no_query(workspace, django_assert_num_queries):
    _, write_key = ingestion.create_source(workspace_id=workspace.pk, name="shop", kind=SourceKind.HTTP)
    sources.source_of([write_key])

    with django_assert_num_queries(0):
        sources.source_of([write_key])


def test_write_key__that_was_revoked__is_refused_after_the_seconds_of_the_cache(workspace, monkeypatch):
    _, write_key = ingestion.create_source(workspace_id=workspace.pk, name="shop", kind=SourceKind.HTTP)
    sources.source_of([write_key])
    WriteKey.objects.update(revoked_at=RECEIVED)
    monkeypatch.setattr(sources, "CACHED_SECONDS", 0)

    with pytest.raises(UnknownWriteKeyError):
        sources.source_of([write_key])


def test_write_key__after_an_unknown_one__is_found(workspace):
    source, write_key = ingestion.create_source(workspace_id=workspace.pk, name="shop", kind=SourceKind.HTTP)

    assert sources.source_of(["wk_wrong", write_key]).id == source.pk
