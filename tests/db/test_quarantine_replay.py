"""What was refused is kept so that it can be read again, mended, and stored as if it had come so at first."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread

import pytest
from django.db import connection

from cdp.ingestion import quarantine, recording, replaying
from cdp.ingestion import services as ingestion
from cdp.ingestion.mapping import FileMapping
from cdp.ingestion.mending import NO_MEND, read_mend
from cdp.ingestion.quarantine import Chosen, Refused
from cdp.ingestion.replaying import NothingChosenError, UnknownOrderError
from cdp.ingestion.rereading import Correction, read_mapping_text
from cdp.ingestion.rows import record_row
from cdp.ingestion.sources import known_source
from cdp.kernel.purposes import Purpose
from cdp.models import Event, IdentifierTrait, OutboxRow, QuarantinedItem, QuarantineReading, Record, Run, SourceKind
from cdp.models.tenancy import workspace_scope
from consent import gate
from tests.factories import SourceFactory
from tests.fakes.senders import TYPEFORM
from tests.outbox import waiting

RECEIVED = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = RECEIVED + timedelta(days=3)
BAD = {"type": "track", "event": "Viewed", "user": "u1", "messageId": "m1", "timestamp": "2026-11-21T11:00:00Z"}
MEND = "- {rename: user, to: userId}"
MENDED = Correction(read_mend(MEND))
AS_IT_IS = Correction()
EVERYTHING = Chosen()


@pytest.fixture
def shop(workspace):
    return SourceFactory(workspace=workspace, name="shop", default_region="FR")


@pytest.fixture
def crm(workspace):
    return SourceFactory(workspace=workspace, name="crm", kind=SourceKind.FILE, default_region="FR")


def accept(source, *events, kind="batch", at=RECEIVED, **envelope):
    body = {"batch": events, **envelope} if kind == "batch" else events[0]
    return ingestion.accept(source=source, body=json.dumps(body).encode(), path_kind=kind, received_at=at)


def load(source, path, content, *, mapping=None, events=False):
    path.write_text(content)
    if mapping:
        (path.parent / "mapping.yaml").write_text(mapping)
    service = ingestion.load_events if events else ingestion.load_records
    return service(
        workspace_id=source.workspace_id, source=source.name, path=path, clock=lambda: RECEIVED, report=lambda _: None,
        mapping=path.parent / "mapping.yaml" if mapping else None,
    )  # fmt: skip


def store(workspace):
    waiting = dict(OutboxRow.objects.filter(stage="INGESTION").values_list("subject_id", "cause"))
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk) as permit:
        ingestion.store(permit, waiting, now=RECEIVED)


def preview(workspace, chosen=EVERYTHING, correction=AS_IT_IS, **more):
    return replaying.preview(workspace_id=workspace.pk, chosen=chosen, correction=correction, **more)


def totals(seen):
    return (seen.read, seen.accepted, seen.duplicates, seen.refused)


def ordered(workspace, chosen=EVERYTHING, correction=AS_IT_IS, **more):
    return replaying.order_replay(
        workspace_id=workspace.pk, chosen=chosen, correction=correction, asked_by=None, now=LATER, **more
    )


def work(workspace, run, seconds=60, **more):
    return replaying.work(workspace_id=workspace.pk, run_id=run.pk, clock=lambda: LATER, seconds=seconds, **more)


def replay(workspace, chosen=EVERYTHING, correction=AS_IT_IS):
    return work(workspace, ordered(workspace, chosen, correction))


def counts(run):
    return tuple(run.counts.get(name, 0) for name in ("read", "accepted", "duplicates", "refused"))


# -- what is kept ---------------------------------------------------------------------------------------------------


def test_call__that_is_refused__keeps_its_path_and_envelope(shop):
    accept(shop, BAD, BAD | {"event": 3}, sentAt="2026-11-21T12:00:00Z", context={"ip": "192.0.2.1"})

    readings = {item.reading for item in QuarantinedItem.objects.all()}
    assert [reading.body for reading in readings] == [
        {"call": "batch", "sentAt": "2026-11-21T12:00:00Z", "shared": {"context": {"ip": "192.0.2.1"}}}
    ]


def test_call__again_on_another_path__is_another_thing(shop):
    accept(shop, {"traits": {}}, kind="identify")
    accept(shop, {"traits": {}}, kind="page")
    accept(shop, {"traits": {}}, kind="page", at=LATER)

    assert [item.place for item in QuarantinedItem.objects.order_by("pk")] == ["identify[0]", "page[0]"]


def test_call__that_is_sent_again_with_another_time_of_sending__lies_there_once(shop):
    accept(shop, BAD, sentAt="2026-11-21T12:00:00Z")
    accept(shop, BAD, sentAt="2026-11-21T12:00:09Z")

    assert QuarantinedItem.objects.get().reading.body["sentAt"] == "2026-11-21T12:00:00Z"
    assert QuarantineReading.objects.count() == 1


def test_row__that_is_refused__keeps_its_mapping_once(crm, tmp_path):
    load(crm, tmp_path / "people.csv", "no,mail\n,a@example.com\n,b@example.com\n", mapping="key: no\nregion: BE\n")

    assert {item.reading_id for item in QuarantinedItem.objects.all()} == {QuarantineReading.objects.get().pk}
    body = QuarantineReading.objects.get().body
    assert (body["rows"], body["region"], body["columns"], body["has_types"]) == (
        "records",
        "BE",
        ["no", "mail"],
        False,
    )
    assert (body["mapping"]["key"], body["mapping"]["key_type"]) == ("no", "crm:id")


# -- calls ----------------------------------------------------------------------------------------------------------


def test_preview__says_what_would_become_of_each_and_writes_nothing(workspace, shop):
    accept(shop, BAD, {"type": "trak", "userId": "u2"}, BAD | {"messageId": "m1", "event": "Bought"})

    seen = preview(workspace, correction=MENDED)

    assert totals(seen) == (3, 1, 1, 1)
    assert (seen.chosen, seen.changed, seen.refused_by_code) == (3, 2, {"unknown_type": 1})
    assert [(one.place, one.outcome) for one in seen.shown] == [
        ("batch[0]", "accepted"), ("batch[1]", "unknown_type"), ("batch[2]", "duplicate"),
    ]  # fmt: skip
    assert {one.path for one in seen.shown[0].differences} == {"user", "userId"}
    assert not Event.objects.exists()
    assert not Run.objects.exists()
    assert not QuarantinedItem.objects.exclude(tried_at=None, replayed_at=None).exists()


def test_replay__of_a_mended_call__stores_it_as_if_it_had_come_so(workspace, shop):
    envelope = {"sentAt": "2026-11-21T11:30:00Z", "context": {"app": "a"}}
    accept(shop, BAD, **envelope)
    replay(workspace, correction=MENDED)
    other = SourceFactory(workspace=workspace, default_region="FR")
    accept(other, {**BAD, "userId": "u1", "user": None}, **envelope)
    store(workspace)

    replayed, direct = (Event.objects.filter(source=source).values().get() for source in (shop, other))
    ids = {"id", "source_id"}
    assert {name: value for name, value in replayed.items() if name not in ids} == {
        name: value for name, value in direct.items() if name not in ids
    }
    assert replayed["occurred_at"] == datetime(2026, 11, 21, 11, 30, tzinfo=UTC)


def test_replay__marks_what_it_stored_and_hands_it_over(workspace, shop):
    accept(shop, BAD, {"type": "trak", "userId": "u2"})

    run = replay(workspace, correction=MENDED)

    assert (run.state, counts(run)) == ("DONE", (2, 1, 0, 1))
    good, bad = QuarantinedItem.objects.order_by("pk")
    assert (good.replayed_at, good.run_id) == (LATER, run.pk)
    assert (bad.replayed_at, bad.tried_at, bad.tried_code, bad.code) == (None, LATER, "unknown_type", "unknown_type")
    assert [stage for stage, _, _ in waiting()] == ["IDENTITY"]


def test_replay__again__finds_nothing_to_do(workspace, shop):
    accept(shop, BAD)
    replay(workspace, correction=MENDED)

    with pytest.raises(NothingChosenError):
        replay(workspace, correction=MENDED)
    accept(shop, BAD)
    with pytest.raises(NothingChosenError):
        replay(workspace, correction=MENDED)

    assert Event.objects.count() == 1


def test_replay__of_a_message_that_was_stored_meanwhile__is_a_duplicate(workspace, shop):
    accept(shop, BAD)
    accept(shop, {**BAD, "userId": "u1"})
    store(workspace)

    assert totals(preview(workspace, correction=MENDED)) == (1, 0, 1, 0)
    assert counts(replay(workspace, correction=MENDED)) == (1, 0, 1, 0)
    assert Event.objects.count() == 1
    assert QuarantinedItem.objects.get().replayed_at == LATER


def test_call__without_a_message_id__has_one_of_its_content(workspace, shop):
    event = {name: value for name, value in BAD.items() if name != "messageId"}
    accept(shop, event)

    replay(workspace, correction=MENDED)

    item = QuarantinedItem.objects.get()
    assert Event.objects.get().message_id == f"quarantined-{bytes(item.digest).hex()}"
    QuarantinedItem.objects.update(replayed_at=None)  # as if the mark had been lost
    assert counts(replay(workspace, correction=Correction(read_mend("- {set: userId, value: u9}")))) == (1, 0, 1, 0)


def test_surplus_events__can_be_replayed_as_they_are(workspace, shop):
    accept(shop, *({**BAD, "userId": "u", "messageId": f"m{n}"} for n in range(2_502)))

    assert counts(replay(workspace)) == (2, 2, 0, 0)


def test_call__that_is_too_large__is_accepted_when_truncated(workspace, shop):
    accept(shop, {**BAD, "userId": "u", "properties": {"note": "x" * 40_000}})

    assert preview(workspace).refused_by_code == {"event_too_large": 1}
    mend = Correction(read_mend("- {truncate: properties.note, length: 100}"))
    assert counts(replay(workspace, correction=mend)) == (1, 1, 0, 0)
    assert Event.objects.get().properties == {"note": "x" * 100}


def test_call__that_came_before_readings_were_kept__is_read_by_its_place(workspace, shop):
    accept(shop, {"name": "Home", "user": "u1"}, kind="page")
    QuarantinedItem.objects.update(reading=None)

    replay(workspace, correction=MENDED)

    assert (Event.objects.get().kind, Event.objects.get().name) == ("page", "Home")


# -- rows of files --------------------------------------------------------------------------------------------------


def test_rows__mended_or_mapped_anew__become_records(workspace, crm, tmp_path):
    load(crm, tmp_path / "people.csv", "id,given_name,no\n1,Ada,7\n,Zoë,8\n")

    assert preview(workspace).refused_by_code == {"missing_key": 1}
    mapping = Correction(NO_MEND, {"key": "no", "traits": {"given_name": "given_name"}})
    assert totals(preview(workspace, correction=mapping)) == (1, 1, 0, 0)
    assert counts(replay(workspace, correction=mapping)) == (1, 1, 0, 0)

    record = Record.objects.get(key="8")
    assert (record.loaded_at, record.fields) == (RECEIVED, {"id": "", "given_name": "Zoë", "no": "8"})
    trait = IdentifierTrait.objects.get(identifier__value="8")
    assert (trait.name, trait.value, trait.observed_at) == ("given_name", "Zoë", RECEIVED)


def test_record__that_changed_since__is_not_put_back(workspace, crm, tmp_path):
    load(crm, tmp_path / "people.csv", "id,town\n,Lyon\n")
    mend = Correction(read_mend("- {set: id, value: '1'}"))
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk) as permit:
        newer = record_row(
            {"id": "1", "town": "Paris"}, FileMapping(key="id", key_type="crm:id"), region="FR", now=LATER
        )
        recording.write_records(permit, known_source(crm), [newer], LATER)

    run = replay(workspace, correction=mend)

    assert counts(run) == (1, 1, 0, 0)
    assert (Record.objects.get().fields["town"], Record.objects.get().loaded_at) == ("Paris", LATER)


def test_events_of_a_file__keep_their_mapping(workspace, crm, tmp_path):
    mapping = "key: nr\nevent: what\nobserved_at: at\nidentifiers: {email: mail}\n"
    content = "nr,what,at,mail,price\n1,Bought,2026-01-02,a@example.com,12\n2,Bought,02.01.2026,b@example.com,13\n"
    load(crm, tmp_path / "events.csv", content, mapping=mapping, events=True)

    mend = Correction(read_mend("- {parse_date: at, format: '%d.%m.%Y'}"))
    assert preview(workspace).refused_by_code == {"invalid_timestamp": 1}
    assert counts(replay(workspace, correction=mend)) == (1, 1, 0, 0)

    event = Event.objects.get(message_id="2")
    assert (event.name, event.properties, event.occurred_at) == (
        "Bought",
        {"price": 13},
        datetime(2026, 1, 2, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("line", "find", "put"),
    [
        ("2,Zoë,x", ",x", ""),
        ('2,"Zoë', '"', ""),
        ('"2"x,Zoë', '"2"x', "2"),
    ],
)
def test_line__that_could_not_be_cut__is_cut_when_its_text_is_mended(line, find, put, workspace, crm, tmp_path):
    load(crm, tmp_path / "people.csv", f"id,given_name\n1,Ada\n{line}\n")

    mend = Correction(read_mend(json.dumps([{"text": find, "with": put}])))
    replay(workspace, correction=mend)

    assert Record.objects.get(key="2").fields == {"id": "2", "given_name": "Zoë"}


ORDERS = "user;name;total;at\nu1;Bought;1,5;2026-11-01\n"
MAPPING_OF_ORDERS = "identifiers: {user_id: user}\nevent: name\nobserved_at: at\nproperties: {amount: total}\n"
IN_POINTS = "dialect: {decimal: '.'}\n"


@pytest.mark.parametrize(
    ("loaded_with", "replayed_with", "amount"),
    [
        ("", None, 7.5),  # as its file was seen to write numbers
        (IN_POINTS, None, "7,5"),  # as the mapping of its file said
        ("", IN_POINTS, "7,5"),  # as the mapping that is given now says
    ],
)
def test_number_of_a_file__is_read_again_as_its_file_writes_it(
    loaded_with, replayed_with, amount, workspace, crm, tmp_path
):
    rows = ORDERS + "u1;Bought;7,5;soon\n"
    load(crm, tmp_path / "orders.csv", rows, mapping=MAPPING_OF_ORDERS + loaded_with, events=True)
    again = replayed_with and read_mapping_text(MAPPING_OF_ORDERS + replayed_with)

    run = replay(workspace, correction=Correction(read_mend("- {set: at, value: '2026-11-02'}"), again))

    assert counts(run) == (1, 1, 0, 0)
    assert Event.objects.order_by("occurred_at").last().properties == {"amount": amount}


@pytest.mark.parametrize(
    ("usual", "line", "price"),
    [
        ("{};{},5;a\n", "99;7,5,1;b;x\n", "7,5,1"),  # a comma is no delimiter of this file
        ("{};'{};5';a\n", "99;'7;5';b;x\n", "7;5"),
    ],
)
def test_line__that_could_not_be_cut__is_cut_as_its_file_is(usual, line, price, workspace, crm, tmp_path):
    rows = [usual.format(number, number) for number in range(20)]
    load(crm, tmp_path / "prices.csv", "".join(["id;price;unit\n", *rows, line]))

    run = replay(workspace, correction=Correction(read_mend("- {text: ;x, with: ''}")))

    assert counts(run) == (1, 1, 0, 0)
    assert Record.objects.get(key="99").fields == {"id": "99", "price": price, "unit": "b"}


def test_line__with_too_many_values__is_not_cut_at_something_else(workspace, crm, tmp_path):
    rows = [f"{number};{number},5;a\n" for number in range(20)]
    load(crm, tmp_path / "prices.csv", "".join(["id;price;unit\n", *rows, "99;7,5,1;b;x\n"]))

    assert preview(workspace).refused_by_code == {"wrong_number_of_columns": 1}


def test_text_with_several_rows__is_refused_and_stays(workspace, crm, tmp_path):
    load(crm, tmp_path / "people.csv", 'id,given_name\n1,"Ada\n2,Zoë\n3,Bo\n')

    seen = preview(workspace, correction=Correction(read_mend("[{text: '\"', with: ''}]")))

    assert seen.refused_by_code == {"several_rows": 1}
    assert "3 rows" in seen.shown[0].message


def test_json_line__that_is_none__is_mended_as_text(workspace, crm, tmp_path):
    load(crm, tmp_path / "people.jsonl", '{"id": 1}\n{"id": 2, "town": "Lyon",}\n')

    assert counts(replay(workspace, correction=Correction(read_mend("[{text: ',}', with: '}'}]")))) == (1, 1, 0, 0)
    assert Record.objects.get(key="2").fields == {"id": 2, "town": "Lyon"}


# -- choosing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "places"),
    [
        (Chosen(), ["batch[0]", "batch[1]", "page[0]"]),
        (Chosen(code="unknown_type"), ["batch[1]"]),
        (Chosen(place="batch[*"), ["batch[0]", "batch[1]"]),
        (Chosen(place="batch[1]"), ["batch[1]"]),
        (Chosen(since=LATER), ["page[0]"]),
        (Chosen(until=LATER), ["batch[0]", "batch[1]"]),
        (Chosen(text="TRAK"), ["batch[1]"]),
        (Chosen(text="100%"), []),
        (Chosen(source="shop", code="missing_identity"), ["batch[0]", "page[0]"]),
        (Chosen(source="other"), []),
    ],
)
def test_chosen__restricts_by_all_that_is_said(chosen, places, workspace, shop):
    accept(shop, BAD, {"type": "trak", "userId": "u2"})
    accept(shop, {"name": "Home"}, kind="page", at=LATER)

    found = quarantine.waiting_in(Chosen.of_json(json.loads(json.dumps(chosen.as_json()))), workspace_id=workspace.pk)

    assert list(found.order_by("pk").values_list("place", flat=True)) == places
    assert dict(quarantine.waiting_by_code(workspace_id=workspace.pk)) == {"missing_identity": 2, "unknown_type": 1}


def test_run__does_not_tell_what_was_searched_for(workspace, shop):
    accept(shop, BAD)

    run = ordered(workspace, Chosen(source="shop", text="u1"))

    assert run.subject == "source shop"


# -- the run --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(replaying, "BATCH_ITEMS", 2)


def many(shop, number=5):
    accept(shop, *({**BAD, "messageId": f"m{n}"} for n in range(number)))


def test_work__that_is_stopped__goes_on_where_it_was(workspace, shop, small_batches):
    many(shop)
    run = ordered(workspace, correction=MENDED)

    states = [(work(workspace, run, seconds=-1).state, Event.objects.count()) for _ in range(4)]

    assert states == [("RUNNING", 2), ("RUNNING", 4), ("RUNNING", 5), ("DONE", 5)]
    assert replaying.unfinished(workspace_id=workspace.pk) == []


def test_work__that_fails__keeps_the_batches_before_and_can_be_resumed(workspace, shop, small_batches, monkeypatch):
    many(shop)
    run = ordered(workspace, correction=MENDED)
    work(workspace, run, seconds=-1)
    with monkeypatch.context() as broken:
        broken.setattr(quarantine, "mark_replayed", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            work(workspace, run)

    failed = Run.objects.get(pk=run.pk)
    assert (failed.state, failed.error, Event.objects.count()) == ("FAILED", "ZeroDivisionError", 2)
    replaying.resume(workspace_id=workspace.pk, run_id=run.pk, now=LATER)
    done = work(workspace, run)
    assert (done.state, done.error, counts(done), Event.objects.count()) == ("DONE", "", (5, 5, 0, 0), 5)


def test_run__that_is_cancelled__stops_and_can_go_on(workspace, shop, small_batches):
    many(shop)
    run = ordered(workspace, correction=MENDED)
    work(workspace, run, seconds=-1)

    replaying.cancel(workspace_id=workspace.pk, run_id=run.pk, now=LATER)

    assert (work(workspace, run).state, Event.objects.count()) == ("CANCELLED", 2)
    with pytest.raises(UnknownOrderError):
        replaying.cancel(workspace_id=workspace.pk, run_id=run.pk, now=LATER)
    replaying.resume(workspace_id=workspace.pk, run_id=run.pk, now=LATER)
    assert (work(workspace, run).state, Event.objects.count()) == ("DONE", 5)


def test_order__means_what_waited_when_it_was_given(workspace, shop):
    many(shop, 2)
    run = ordered(workspace, correction=MENDED)
    accept(shop, {**BAD, "messageId": "later"})

    assert counts(work(workspace, run)) == (2, 2, 0, 0)
    assert QuarantinedItem.objects.get(replayed_at=None).raw.count("later") == 1


def test_long_rows__make_small_batches(workspace, shop, monkeypatch):
    monkeypatch.setattr(replaying, "BATCH_BYTES", 200)
    many(shop)
    run = ordered(workspace, correction=MENDED)

    work(workspace, run, seconds=-1)

    assert Event.objects.count() == 1


def test_preview__of_many__says_of_how_many_it_speaks(workspace, shop):
    many(shop)

    seen = preview(workspace, correction=MENDED, most=3, shown=1)

    assert (seen.chosen, seen.read, len(seen.shown)) == (5, 3, 1)


@pytest.mark.parametrize("login", ["worker_ingestion", "operator"])
def test_work__as_its_login__may_do_all_it_needs(login, workspace, shop, crm, tmp_path, as_login):
    many(shop)
    load(crm, tmp_path / "people.csv", "id,town\n,Lyon\n")
    run = ordered(workspace, correction=Correction(read_mend(MEND + "\n- {default: id, value: '1'}")))
    discarded = replaying.order_discard(
        workspace_id=workspace.pk, chosen=EVERYTHING, reason="test", asked_by=None, now=LATER
    )
    as_login(login)

    assert replaying.unfinished(workspace_id=workspace.pk) == [run.pk, discarded.pk]
    assert counts(work(workspace, run)) == (6, 6, 0, 0)
    assert work(workspace, discarded).state == "DONE"


@pytest.mark.parametrize("login", ["web", "operator"])
def test_order__as_its_login__may_be_given_after_a_look(login, workspace, shop, crm, tmp_path, as_login):
    many(shop)
    load(crm, tmp_path / "people.csv", "id,town\n,Lyon\n")
    as_login(login)

    if login == "web":
        assert totals(preview(workspace, correction=MENDED)) == (6, 5, 0, 1)
    run = ordered(workspace, correction=MENDED)
    replaying.cancel(workspace_id=workspace.pk, run_id=run.pk, now=LATER)


# -- discarding -----------------------------------------------------------------------------------------------------


def discard(workspace, chosen=EVERYTHING):
    run = replaying.order_discard(
        workspace_id=workspace.pk, chosen=chosen, reason="a test of the shop", asked_by=None, now=LATER
    )
    return work(workspace, run)


def test_discarded_item__keeps_its_reason_and_loses_its_text(workspace, shop):
    accept(shop, BAD, {"type": "trak", "userId": "u2"}, context={"ip": "192.0.2.1"})

    run = discard(workspace, Chosen(code="unknown_type"))

    item = QuarantinedItem.objects.get(code="unknown_type")
    assert (item.raw, item.reading, item.discarded_at, item.run_id) == ("", None, LATER, run.pk)
    assert run.quarantineorder.reason == "a test of the shop"
    assert run.counts == {"chosen": 1, "read": 1, "discarded": 1}
    assert QuarantineReading.objects.count() == 1  # the other item's, too
    discard(workspace)
    assert not QuarantineReading.objects.exists()


def test_discarded_thing__that_comes_again__waits_again(workspace, shop):
    accept(shop, BAD)
    discard(workspace)

    accept(shop, BAD, at=LATER)

    item = QuarantinedItem.objects.get()
    assert (json.loads(item.raw), item.discarded_at, item.received_at) == (BAD, None, LATER)
    assert item.reading.body["call"] == "batch"


# -- two at once ----------------------------------------------------------------------------------------------------


def test_two_replays__of_the_same_items_at_once__store_each_once(committed, monkeypatch):
    monkeypatch.setattr(replaying, "BATCH_ITEMS", 7)
    workspace = committed
    shop = SourceFactory(workspace=workspace, name="shop")
    many(shop, 60)
    runs = [ordered(workspace, correction=MENDED) for _ in range(2)]
    together = Barrier(4)

    def at_work(run):
        together.wait()
        try:
            work(workspace, run)
        finally:
            connection.close()

    workers = [Thread(target=at_work, args=[run]) for run in runs * 2]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    with workspace_scope(workspace.pk):
        done = list(Run.objects.order_by("pk"))
        waiting = QuarantinedItem.objects.filter(replayed_at=None).count()
    assert ([run.state for run in done], waiting) == (["DONE", "DONE"], 0)
    assert sum(run.counts.get("accepted", 0) for run in done) == 60
    assert sum(run.counts.get("duplicates", 0) for run in done) == 0


def test_discarding__while_the_same_things_come_again__holds_up_nobody_and_leaves_no_reading_behind(committed):
    shop = SourceFactory(workspace=committed, name="shop")
    many(shop, 20)
    together = Barrier(3)
    failures = []

    def at_work(do):
        together.wait()
        try:
            for _ in range(8):
                do()
        except Exception as error:  # noqa: BLE001  # of a thread, which nobody else would see
            failures.append(error)
        finally:
            connection.close()

    def come():
        many(shop, 20)

    def go():
        with suppress(NothingChosenError):
            discard(committed)

    workers = [Thread(target=at_work, args=[do]) for do in (come, come, go)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    go()

    assert failures == []
    with workspace_scope(committed.pk):
        assert set(QuarantinedItem.objects.values_list("raw", "reading")) == {("", None)}
        assert not QuarantineReading.objects.exists()


def test_delivery__of_a_webhook_that_can_be_read_by_now__says_all_that_it_holds(workspace):
    form = TYPEFORM.connect(workspace)
    with workspace_scope(workspace.pk):
        refused = Refused("webhook", "malformed_delivery", "Nobody could tell what it says.", TYPEFORM.body())
        quarantine.add([refused], source_id=form.pk, workspace_id=workspace.pk, now=RECEIVED)

    foreseen = preview(workspace)
    replayed = replay(workspace)

    assert (foreseen.accepted, foreseen.refused) == (1, 0)
    assert (replayed.counts["accepted"], replayed.counts["refused"]) == (1, 0)
    assert sorted(Event.objects.values_list("kind", flat=True)) == ["identify", "track"]
    assert QuarantinedItem.objects.get().replayed_at == LATER
