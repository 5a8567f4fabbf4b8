"""Kafka and Valkey streams, read to the end: nothing that was written is lost, nothing is stored twice.

One suite over both. A reader that is killed is one whose next step raises, with the stream left as it is.
"""

import json
import random
import threading
import time
from datetime import UTC, datetime

import pytest
from django.db import DataError, OperationalError

from cdp.ingestion import services as ingestion
from cdp.ingestion import stream_registry
from cdp.ingestion.sources import known_source
from cdp.ingestion.streams import consumer as consuming
from cdp.ingestion.streams.consumer import Consumer
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Connection, Event, InboxBatch, OutboxRow, QuarantinedItem
from consent import gate
from tests.factories import SourceFactory
from tests.fakes.streams import BROKERS, WRITTEN_AT, Kafka

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Killed(BaseException):
    """What a process cannot catch."""


@pytest.fixture(params=BROKERS, ids=lambda broker: broker.__name__.lower())
def broker(request):
    made = request.param()
    yield made
    made.close()


@pytest.fixture
def source(workspace, broker):
    made = SourceFactory(workspace=workspace, kind=broker.kind)
    Connection.objects.create(workspace=workspace, source=made, config=broker.config)
    return made


@pytest.fixture
def open_stream(broker):
    """Readers of one group; those that a test killed are silent, and close at the end of it."""
    opened = []

    def make(group="readers", reader=""):
        stream = stream_registry.open_stream(broker.kind, broker.config, {}, group=group)
        if reader and hasattr(stream, "_reader"):
            stream._reader = reader  # another process
        opened.append(stream)
        return stream

    yield make
    for stream in opened:
        stream.close()


def track(number, **more):
    return {"type": "track", "event": "Seen", "userId": f"u{number}", "messageId": f"m{number}", **more}


def encoded(*events):
    return [json.dumps(event).encode() for event in events]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(consuming, "POLL_SECONDS", 0.2)


def reader(stream, source, *, mapping=None, until_idle=True, **more):
    stop = threading.Event()
    return Consumer(stream, known_source(source), mapping, lambda: NOW, stop, until_idle, **more)


def read_all(stream, source, **more):
    counts = reader(stream, source, **more).run()
    stream.close()
    return counts


def stored(source):
    """The message ids of the events, after the stage has worked."""
    with gate.permit(Purpose.COLLECTION, workspace_id=source.workspace_id) as permit:
        waiting = list(OutboxRow.objects.filter(stage="INGESTION").values_list("subject_id", flat=True))
        ingestion.store(permit, dict.fromkeys(waiting, Cause.EVENT), now=NOW)
    OutboxRow.objects.filter(subject_id__in=waiting).delete()
    return sorted(Event.objects.values_list("message_id", flat=True))


def ids(count):
    return sorted(f"m{number}" for number in range(count))


# -- what a message says --------------------------------------------------------------------------------------------


def test_events__and_batches_of_events__are_stored(broker, source, open_stream):
    batch = {"batch": [track(1), track(2)], "sentAt": "2026-11-21T11:59:00Z"}
    broker.write(*encoded(track(0), batch))

    counts = read_all(open_stream(), source)

    assert (counts.messages, counts.accepted, counts.quarantined, counts.lag) == (2, 3, 0, 0)
    assert stored(source) == ids(3)


def test_message__under_a_mapping__is_an_event(broker, source, open_stream):
    mapping = stream_registry.mapping_of(
        {
            "mapping": {
                "key": "no",
                "event_name": "Order Completed",
                "identifiers": {"email": "who.mail"},
                "items": "all",
            }
        }
    )
    broker.write(
        *encoded({"all": [{"no": 1, "who": {"mail": "a@example.com"}}, {"no": 2, "who": {"mail": "b@example.com"}}]})
    )

    counts = read_all(open_stream(), source, mapping=mapping)

    assert counts.accepted == 2
    assert stored(source) == ["1", "2"]
    assert set(Event.objects.values_list("name", flat=True)) == {"Order Completed"}


def test_event__without_an_id__has_the_place_of_its_message(broker, source, open_stream):
    anonymous = {name: value for name, value in track(0).items() if name != "messageId"}
    (place,) = broker.write(*encoded(anonymous))

    read_all(open_stream(), source)
    read_all(open_stream("others"), source)

    assert stored(source) == [place]


def test_event__without_a_time__happened_when_it_was_written(broker, source, open_stream):
    both = {
        "timestamp": "2026-11-20T10:00:00Z",
        "originalTimestamp": "2020-01-01T00:00:00Z",
        "sentAt": "2020-01-01T00:00:05Z",
    }
    broker.write(*encoded(track(1, **both)))
    broker.write(*encoded(track(0)))
    read_all(open_stream(), source)
    stored(source)

    untimed, timed = Event.objects.order_by("message_id")

    assert untimed.original_at == WRITTEN_AT
    assert timed.occurred_at == datetime(2026, 11, 20, 10, tzinfo=UTC)


def test_poison__lies_in_quarantine_with_its_place_and_holds_nobody_up(broker, source, open_stream):
    nobody = {"type": "track", "event": "Seen"}
    poison = [b"{", b"\xff\xfe", b"", b"3", *encoded(nobody, {"batch": [track(1), nobody | {"event": "Other"}]})]
    broker.write(*encoded(track(0)), partition=0)
    places = broker.write(*poison, partition=0)
    broker.write(*encoded(track(2)), partition=0)

    counts = read_all(open_stream(), source)

    assert (counts.messages, counts.accepted, counts.quarantined) == (8, 3, 6)
    assert stored(source) == ids(3)
    items = QuarantinedItem.objects.order_by("pk").values_list("place", "code")
    assert list(items) == [
        (places[0], "invalid_json"),
        (places[1], "invalid_json"),
        (places[2], "invalid_json"),
        (places[3], "not_an_object"),
        (places[4], "missing_identity"),
        (places[5] + "[1]", "missing_identity"),
    ]


def test_message__that_cannot_be_stored__lies_in_quarantine_alone(broker, source, open_stream, monkeypatch):
    def accept(*, calls, **more):
        if any(call["messageId"] == "m1" for call in calls):
            raise DataError
        return real(calls=calls, **more)

    real = consuming.accept_calls
    monkeypatch.setattr(consuming, "accept_calls", accept)
    broker.write(*encoded(track(0), track(1), track(2)))

    counts = read_all(open_stream(), source)

    assert (counts.accepted, counts.quarantined) == (2, 1)
    assert stored(source) == ["m0", "m2"]
    assert QuarantinedItem.objects.get().code == "not_storable"


# -- killed, and read again -----------------------------------------------------------------------------------------


def test_reader__killed_between_write_and_commit__loses_nothing_and_stores_nothing_twice(
    broker, source, open_stream, monkeypatch
):
    broker.write(*encoded(*map(track, range(20))))
    victim = open_stream(reader="victim")
    monkeypatch.setattr(victim, "commit", _killed)
    with pytest.raises(Killed):
        reader(victim, source).run()
    assert InboxBatch.objects.exists()
    victim.close()

    counts = read_all(open_stream(), source)

    assert counts.messages == 20
    assert stored(source) == ids(20)


def test_reader__killed_before_the_write__loses_nothing(broker, source, open_stream, monkeypatch):
    broker.write(*encoded(*map(track, range(20))))
    victim = open_stream(reader="victim")
    monkeypatch.setattr(consuming, "accept_calls", _killed)
    with pytest.raises(Killed):
        reader(victim, source).run()
    victim.close()
    monkeypatch.undo()
    assert not InboxBatch.objects.exists()

    assert read_all(open_stream(), source).messages == 20
    assert stored(source) == ids(20)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_readers__killed_at_any_step_many_times__store_everything_once(seed, broker, source, open_stream, monkeypatch):
    dice = random.Random(seed)
    monkeypatch.setattr(consuming, "MOST_MESSAGES", 7)
    broker.write(*encoded(*map(track, range(40))))
    real = consuming.accept_calls

    def accept(**more):
        if dice.random() < 0.2:
            raise Killed
        return real(**more)

    monkeypatch.setattr(consuming, "accept_calls", accept)
    for life in range(30):
        stream = open_stream(reader=f"life-{life}")
        commit = stream.commit

        def commit_or_die(messages, commit=commit):
            if dice.random() < 0.2:
                raise Killed
            commit(messages)

        stream.commit = commit_or_die
        try:
            read_all(stream, source)
            break
        except Killed:
            stream.close()

    assert stored(source) == ids(40)
    assert QuarantinedItem.objects.count() == 0


def test_replay__of_the_whole_stream__adds_nothing(broker, source, open_stream):
    broker.write(*encoded(*map(track, range(10))), b"{")

    first = read_all(open_stream(), source)
    second = read_all(open_stream("others"), source)

    assert (first.messages, second.messages) == (11, 11)
    assert stored(source) == ids(10)
    assert QuarantinedItem.objects.count() == 1


def test_reader__that_comes_back__goes_on_where_it_was(broker, source, open_stream):
    broker.write(*encoded(*map(track, range(5))))
    read_all(open_stream(), source)
    broker.write(*encoded(*map(track, range(5, 8))))

    assert read_all(open_stream(), source).messages == 3
    assert stored(source) == ids(8)


# -- together -------------------------------------------------------------------------------------------------------


def test_two_readers__one_joining_and_one_leaving__store_everything_once(broker, source, open_stream):
    broker.write(*encoded(*map(track, range(30))))
    living = {"first": open_stream(reader="first"), "second": open_stream(reader="second")}
    taken = dict.fromkeys(living, 0)
    until = time.monotonic() + 20

    while len(stored(source)) < 30 and time.monotonic() < until:  # in turns, each keeping its place in the group
        for name, stream in list(living.items()):
            taken[name] += read_a_little(stream, source)
        if taken["second"] > 5 and "second" in living:
            living.pop("second").close()

    assert all(taken.values())
    assert stored(source) == ids(30)


def read_a_little(stream, source):
    consumer = reader(stream, source, until_idle=False, most=3)
    threading.Timer(0.3, consumer.stop.set).start()
    return consumer.run().messages


def test_reader__whose_messages_went_to_another__does_not_move_the_others_offset_back():
    broker = Kafka()
    broker.write(*encoded(*map(track, range(6))), partition=0)
    stream = stream_registry.open_stream(broker.kind, broker.config, {}, group="g")
    messages = []
    while len(messages) < 6:
        messages += stream.poll(most=10, seconds=1)
    stream.commit(messages)
    stream._lose(None, stream._consumer.assignment())

    stream.commit(messages[:1])
    stream.rewind(messages)

    partition = stream._consumer.assignment()[0]
    committed = {
        one.partition: one.offset for one in stream._consumer.committed(stream._consumer.assignment(), timeout=5)
    }
    assert committed[0] == 6
    assert partition.topic == broker.topic
    stream.close()


# -- when something is away -----------------------------------------------------------------------------------------


def test_database__that_is_away__is_waited_for_and_nothing_is_committed_meanwhile(
    broker, source, open_stream, monkeypatch
):
    monkeypatch.setattr(consuming, "FIRST_PAUSE", 0.01)
    broker.write(*encoded(*map(track, range(10))))
    stream = open_stream()
    consumer = reader(stream, source, until_idle=False)
    real, failures, commits = consuming.accept_calls, iter(range(3)), []
    commit = stream.commit

    def accept(**more):
        if next(failures, None) is not None:
            assert commits == []
            raise OperationalError
        return real(**more)

    def commit_and_stop(messages):
        commits.append(len(messages))
        commit(messages)
        if sum(commits) == 10:
            consumer.stop.set()

    monkeypatch.setattr(consuming, "accept_calls", accept)
    monkeypatch.setattr(stream, "commit", commit_and_stop)

    counts = consumer.run()

    assert counts.messages == 10
    assert stored(source) == ids(10)


def test_database__that_is_away__is_an_error_for_a_reader_that_is_to_end(broker, source, open_stream, monkeypatch):
    def away(**_):
        raise OperationalError

    monkeypatch.setattr(consuming, "accept_calls", away)
    broker.write(*encoded(track(0)))

    with pytest.raises(OperationalError):
        reader(open_stream(), source).run()

    assert stored(source) == []


def test_reader__that_is_told_to_stop__stops_before_the_next_poll(broker, source, open_stream):
    broker.write(*encoded(track(0)))
    consumer = reader(open_stream(), source, until_idle=False)
    consumer.stop.set()

    assert consumer.run().messages == 0


def test_reader__that_is_to_read_so_many__reads_no_more(broker, source, open_stream):
    broker.write(*encoded(*map(track, range(10))), partition=0)

    counts = read_all(open_stream(), source, most=4)

    assert counts.messages == 4
    assert stored(source) == ids(4)
    assert read_all(open_stream(), source).messages == 6


# -- what people see ------------------------------------------------------------------------------------------------


def test_position__of_each_log__is_on_the_connection(broker, source, open_stream):
    *_, last = broker.write(*encoded(*map(track, range(4))), partition=0)

    read_all(open_stream(), source, most=4)

    entry = Connection.objects.get(source=source).cursor[last.rpartition(":")[0]]
    assert entry["offset"] == last.rpartition(":")[2]
    assert entry["lag"] in {0, 4}  # as it was when they were taken


def test_consume__as_the_login_of_its_worker__may_do_all_it_needs(broker, source, open_stream, as_login):
    broker.write(*encoded(track(0)), b"{")
    as_login("worker_ingestion")

    counts = read_all(open_stream(), source)

    assert (counts.accepted, counts.quarantined) == (1, 1)


def _killed(*_, **__):
    raise Killed
