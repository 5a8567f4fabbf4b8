"""Files of records and events: what is loaded, what is refused, and that a killed load goes on where it stopped."""

import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import call_command

from cdp.ingestion import blocks, csv_rows, loading, storing, texts
from cdp.ingestion import services as ingestion
from cdp.ingestion.files import (
    BadHeaderError,
    DamagedFileError,
    EmptyFileError,
    FileError,
    UndecodableFileError,
    UnknownFileKindError,
)
from cdp.ingestion.loading import Counts, LoadCancelledError, LoadInterruptedError
from cdp.ingestion.mapping import MappingError, MissingColumnError
from cdp.ingestion.sources import UnknownSourceError, source_of
from cdp.management.commands import load as load_command
from cdp.management.commands import sources as sources_command
from cdp.models import (
    Event,
    Identifier,
    IdentifierTrait,
    OutboxRow,
    QuarantinedItem,
    Record,
    Run,
    Sighting,
    Source,
    SourceKind,
)
from tests.factories import SourceFactory
from tests.outbox import subjects_waiting, waiting

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PEOPLE = "id,given_name,email,phone,postcode\n1,Ada,ADA@example.com,0612345678,0800\n2, Zoë ,,,75001\n"


@pytest.fixture
def crm(workspace):
    return SourceFactory(workspace=workspace, name="crm", kind=SourceKind.FILE, default_region="FR")


def write(tmp_path, content, name="people.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def load(source, path, *, events=False, mapping=None, report=lambda _: None):
    service = ingestion.load_events if events else ingestion.load_records
    return service(
        workspace_id=source.workspace_id,
        source=source.name,
        path=path,
        mapping=mapping,
        clock=lambda: NOW,
        report=report,
    )


def mapped(tmp_path, text):
    return write(tmp_path, text, "mapping.yaml")


def traits_of(identifier):
    return dict(IdentifierTrait.objects.filter(identifier__value=identifier).values_list("name", "value"))


def quarantined():
    return list(QuarantinedItem.objects.order_by("pk").values_list("place", "code"))


# -- records --------------------------------------------------------------------------------------------------------


def test_records__without_a_mapping__are_recognised_by_their_columns(crm, tmp_path):
    counts = load(crm, write(tmp_path, PEOPLE))

    assert counts == Counts(read=2, accepted=2, duplicates=0, quarantined=0)
    assert {str(one) for one in Identifier.objects.all()} == {
        "crm:id:1", "crm:id:2", "email:ada@example.com", "phone:+33612345678",
    }  # fmt: skip
    assert traits_of("1") == {
        "given_name": "Ada", "email": "ada@example.com", "phone": "+33612345678", "postcode": "0800",
    }  # fmt: skip
    assert traits_of("2") == {"given_name": "Zoë", "postcode": "75001"}
    assert Sighting.objects.count() == 3
    record = Record.objects.get(key="2")
    assert record.fields == {"id": "2", "given_name": " Zoë ", "email": "", "phone": "", "postcode": "75001"}
    assert (record.identifier.value, record.loaded_at) == ("2", NOW)
    assert {(stage, subject) for stage, subject, _ in waiting()} == {
        ("IDENTITY", one.pk) for one in Identifier.objects.all()
    }


def test_records__loaded_again__are_duplicates_and_touch_nobody(crm, tmp_path):
    load(crm, write(tmp_path, PEOPLE))
    OutboxRow.objects.all().delete()

    counts = load(crm, write(tmp_path, PEOPLE))

    assert counts == Counts(read=2, accepted=0, duplicates=2, quarantined=0)
    assert not OutboxRow.objects.exists()
    assert Record.objects.count() == 2


def test_records__of_which_one_changed__touch_that_one(crm, tmp_path):
    load(crm, write(tmp_path, PEOPLE))
    OutboxRow.objects.all().delete()

    counts = load(crm, write(tmp_path, PEOPLE.replace("75001", "75002")))

    assert counts == Counts(read=2, accepted=1, duplicates=1, quarantined=0)
    assert Record.objects.get(key="2").fields["postcode"] == "75002"
    assert [Identifier.objects.get(pk=subject).value for subject in subjects_waiting()] == ["2"]


def test_records__of_one_key_twice_in_a_file__keep_the_last(crm, tmp_path):
    counts = load(crm, write(tmp_path, "id,plan\n1,free\n1,pro\n1,pro\n2,free\n"))

    assert counts == Counts(read=4, accepted=3, duplicates=1, quarantined=0)
    assert Record.objects.get(key="1").fields["plan"] == "pro"
    assert traits_of("1") == {"plan": "pro"}


def test_records__under_a_mapping__are_what_it_says(crm, tmp_path):
    mapping = mapped(
        tmp_path,
        "key: no\nkey_type: user_id\nidentifiers: {email: mail}\ntraits: {given_name: first}\n"
        "observed_at: changed\nregion: NO\n",
    )
    path = write(tmp_path, "no;first;mail;changed;secret\n7;Ada;Ada@Example.com;2020-05-01T10:00:00Z;x\n")

    load(crm, path, mapping=mapping)

    assert {str(one) for one in Identifier.objects.all()} == {"user_id:7", "email:ada@example.com"}
    assert traits_of("7") == {"given_name": "Ada", "email": "ada@example.com"}
    assert set(IdentifierTrait.objects.values_list("observed_at", flat=True)) == {datetime(2020, 5, 1, 10, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("keys: id\n", "`keys`"),
        ("key: [id]\n", "`key`"),
        ("key:\n", "`key`"),
        ("key: id\nidentifiers: [email]\n", "`identifiers`"),
        ("key: id\ntraits: {plan: [a]}\n", "`traits.plan`"),
        ("key: id\nidentifiers: {No Type: mail}\n", "`No Type`"),
        ("key: id\nregion: FRA\n", "`region`"),
        ("- key\n", "YAML table"),
        ("key: [\n", "line 2"),
        ("key: id\nproperties: {a: b}\n", "`properties`"),
    ],
)
def test_mapping__that_is_wrong__names_the_entry(text, words, crm, tmp_path):
    with pytest.raises(MappingError) as refused:
        load(crm, write(tmp_path, PEOPLE), mapping=mapped(tmp_path, text))

    assert words in refused.value.message
    assert not Run.objects.exists()


def test_mapping__of_a_column_that_is_missing__tells_which_there_are(crm, tmp_path):
    with pytest.raises(MissingColumnError) as refused:
        load(crm, write(tmp_path, PEOPLE), mapping=mapped(tmp_path, "key: number\n"))

    assert refused.value.message == ("The file has no column 'number'. It has id, given_name, email, phone, postcode.")


def test_records__without_a_column_of_keys__are_refused(crm, tmp_path):
    with pytest.raises(MissingColumnError) as refused:
        load(crm, write(tmp_path, "name,age\nAda,36\n"))

    assert "It has name, age." in refused.value.message


def test_source__that_is_unknown__is_refused_with_those_there_are(crm, tmp_path):
    with pytest.raises(UnknownSourceError) as refused:
        ingestion.load_records(
            workspace_id=crm.workspace_id, source="crn", path=write(tmp_path, PEOPLE), clock=lambda: NOW, report=print
        )

    assert "crm" in refused.value.message


# -- bad files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("people.csv", b"", EmptyFileError),
        ("people.txt", b"id\n1\n", UnknownFileKindError),
        ("people.csv", b"id,id\n1,2\n", BadHeaderError),
        ("people.csv", b"id" * 2**20, BadHeaderError),
        ("people.parquet", b"no parquet", FileError),
        ("people.csv.gz", b"id,name\n1,Ada\n", DamagedFileError),
        ("people.csv.zst", b"id,name\n1,Ada\n", DamagedFileError),
        ("people.csv", b"# nothing\n\n", EmptyFileError),
        ("people.csv", b"id,name\n1," + bytes(range(256)) * 4, UndecodableFileError),
    ],
)
def test_file__that_is_unusable__is_refused_before_the_first_row(name, content, error, crm, tmp_path):
    with pytest.raises(error):
        load(crm, write(tmp_path, content, name))

    assert not Run.objects.exists()
    assert not Record.objects.exists()


def test_file__that_is_missing__is_named(crm, tmp_path):
    with pytest.raises(FileError, match=r"nowhere\.csv"):
        load(crm, tmp_path / "nowhere.csv")


def test_file__that_no_encoding_reads__names_byte_and_line(crm, tmp_path):
    with pytest.raises(UndecodableFileError) as refused:
        load(crm, write(tmp_path, b"id,name\n1,Ada\n2,\x00\xfe\x81\x8d\n"))

    assert "byte 17 (line 3)" in refused.value.message


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
def test_file__in_another_encoding__is_read_as_it_was_meant(encoding, crm, tmp_path):
    names = ["François Lefèvre", "Jürgen Müller", "Zoë Brontë", "José Nuñez"]
    text = "id,full_name\n" + "".join(f"{number},{name}\n" for number, name in enumerate(names, 1))

    load(crm, write(tmp_path, text.encode(encoding)))

    assert [traits_of(str(number))["full_name"] for number in range(1, 5)] == names


def test_rows__that_cannot_be_read__are_quarantined_with_their_lines(crm, tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "LONGEST_LINE", 100)
    content = 'id,name\n1,Ada\n2\n3,"a"b\n,nobody\n4,"two\nlines"\n5,' + "x" * 5_000 + "\n6,Zoë\n"

    counts = load(crm, write(tmp_path, content))

    assert counts == Counts(read=7, accepted=3, duplicates=0, quarantined=4)
    assert quarantined() == [
        ("people.csv:3", "wrong_number_of_columns"),
        ("people.csv:4", "malformed_row"),
        ("people.csv:5", "missing_key"),
        ("people.csv:8", "line_too_long"),
    ]
    assert set(Record.objects.values_list("key", flat=True)) == {"1", "4", "6"}
    assert len(QuarantinedItem.objects.get(code="line_too_long").raw) <= 1_000


def test_json_lines__of_which_some_are_bad__load_the_rest(crm, tmp_path):
    lines = ['{"id": 1, "name": "Ada"}', "{bad", "", "[1]", '{"name": "nobody"}', '{"id": 2, "tags": ["a\\u0000"]}']

    counts = load(crm, write(tmp_path, "\n".join(lines), "people.jsonl"))

    assert counts == Counts(read=5, accepted=2, duplicates=0, quarantined=3)
    assert quarantined() == [
        ("people.jsonl:2", "malformed_json"),
        ("people.jsonl:4", "not_an_object"),
        ("people.jsonl:5", "missing_key"),
    ]
    assert traits_of("2") == {"tags": ["a\ufffd"]}


def test_parquet__keeps_types(crm, tmp_path):
    path = tmp_path / "people.parquet"
    columns = {"id": [1, 2], "born": [date(1815, 12, 10), None], "score": [1.5, float("nan")], "note": ["a\x00", None]}
    pq.write_table(pa.table(columns), path)

    assert load(crm, path).accepted == 2

    assert traits_of("1") == {"born": "1815-12-10", "score": 1.5, "note": "a"}
    assert traits_of("2") == {}


# -- events ---------------------------------------------------------------------------------------------------------


def test_events__as_sdks_send_them__are_stored(crm, tmp_path):
    lines = [
        {"type": "identify", "userId": "u1", "traits": {"plan": "pro"}, "messageId": "m1"},
        {"event": "Bought", "userId": 42, "properties": {"total": 3}, "timestamp": "2020-01-01T00:00:00Z"},
        {"event": "Bought"},
    ]
    path = write(tmp_path, "\n".join(map(json.dumps, lines)), "events.jsonl")

    assert load(crm, path, events=True) == Counts(read=3, accepted=2, duplicates=0, quarantined=1)

    bought = Event.objects.get(name="Bought")
    assert (bought.kind, bought.properties, bought.occurred_at) == (
        "track",
        {"total": 3},
        datetime(2020, 1, 1, tzinfo=UTC),
    )
    assert traits_of("u1") == {"plan": "pro"}
    assert quarantined() == [("events.jsonl:3", "missing_identity")]
    assert len(subjects_waiting(stage="IDENTITY")) == 2


def test_events__of_a_csv__have_numbers_where_they_are_written(crm, tmp_path):
    text = "user_id,event,timestamp,amount,code,empty\nu1,Bought,2020-01-01 10:00,9.50,0800,\nu1,Bought,2020-01-01 10:00,7,x,\n"

    assert load(crm, write(tmp_path, text, "events.csv"), events=True).accepted == 2

    properties = Event.objects.order_by("properties__code").values_list("properties", flat=True)
    assert list(properties) == [{"amount": 9.5, "code": "0800"}, {"amount": 7, "code": "x"}]


def test_events__loaded_again_or_from_a_longer_file__are_duplicates(crm, tmp_path):
    text = "user_id,event,timestamp\nu1,Bought,2020-01-01\nu2,Bought,2020-01-01\n"
    load(crm, write(tmp_path, text, "events.csv"), events=True)

    again = load(crm, write(tmp_path, text, "events.csv"), events=True)
    longer = load(crm, write(tmp_path, text + "u3,Bought,2020-01-01\n", "more.csv"), events=True)

    assert again == Counts(read=2, accepted=0, duplicates=2, quarantined=0)
    assert longer == Counts(read=3, accepted=1, duplicates=2, quarantined=0)


def test_events__under_a_mapping__may_belong_to_a_source_key(crm, tmp_path):
    mapping = mapped(
        tmp_path,
        'key: order\nidentifiers: {"crm:id": customer, email: mail}\nevent: what\nobserved_at: at\n'
        "properties: {total: amount}\n",
    )
    text = "order,customer,mail,what,at,amount,secret\no1,7,Ada@Example.com,Bought,1577836800,3,x\n"

    load(crm, write(tmp_path, text, "orders.csv"), events=True, mapping=mapping)

    event = Event.objects.get()
    assert Identifier.objects.get(pk=event.identifier_id).type == "crm:id"
    assert (event.message_id, event.name, event.properties) == ("o1", "Bought", {"total": 3})
    assert event.occurred_at == datetime(2020, 1, 1, tzinfo=UTC)
    assert Sighting.objects.count() == 1


def test_events__without_a_column_that_says_whose__are_refused(crm, tmp_path):
    with pytest.raises(MissingColumnError):
        load(crm, write(tmp_path, "event,total\nBought,3\n", "events.csv"), events=True)


# -- one load -------------------------------------------------------------------------------------------------------

TEN = "id,plan\n" + "".join(f"{number},free\n" for number in range(1, 11))


def test_load__that_is_killed_in_its_third_chunk__goes_on_there(crm, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "CHUNK_ROWS", 3)
    reports = []

    def kill_after_two(progress):
        reports.append(progress.counts.read)
        if len(reports) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(crm, write(tmp_path, TEN), report=kill_after_two)
    killed = Run.objects.get()
    assert (killed.state, killed.position, Record.objects.count()) == ("RUNNING", 6, 6)

    counts = load(
        crm, write(tmp_path, TEN, "renamed.csv"), report=lambda progress: reports.append(progress.counts.read)
    )

    assert counts == Counts(read=10, accepted=10, duplicates=0, quarantined=0)
    assert reports == [3, 6, 9, 10]
    run = Run.objects.get()
    assert (run.state, run.position, run.counts["accepted"], run.finished_at) == ("DONE", 10, 10, NOW)


def test_load__that_fails_in_a_chunk__keeps_the_chunks_before_and_nothing_of_this_one(crm, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "CHUNK_ROWS", 3)
    work = storing.sight
    calls = []

    def fail_once(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError
        work(*arguments)

    monkeypatch.setattr(storing, "sight", fail_once)

    with pytest.raises(RuntimeError):
        load(crm, write(tmp_path, TEN))

    failed = Run.objects.get()
    assert (failed.state, failed.error, failed.position) == ("FAILED", "RuntimeError", 3)
    assert Record.objects.count() == Identifier.objects.count() == 3
    assert load(crm, write(tmp_path, TEN)).accepted == 10


def test_load__whose_run_another_process_moved_on__stops_and_writes_nothing(crm, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "CHUNK_ROWS", 3)

    with pytest.raises(LoadInterruptedError):
        load(crm, write(tmp_path, TEN), report=lambda _: Run.objects.update(position=9))

    assert Record.objects.count() == 3
    assert Run.objects.get().state == "RUNNING"


def test_load__that_is_cancelled__stops_after_its_chunk(crm, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "CHUNK_ROWS", 3)

    with pytest.raises(LoadInterruptedError):
        load(crm, write(tmp_path, TEN), report=lambda _: Run.objects.update(state="CANCELLED"))

    assert (Run.objects.get().state, Record.objects.count()) == ("CANCELLED", 3)


def test_load__that_was_cancelled__goes_on_with_the_same_command(crm, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "CHUNK_ROWS", 3)
    with pytest.raises(LoadCancelledError):
        load(crm, write(tmp_path, TEN), report=lambda _: Run.objects.all().cancel(now=NOW))

    counts = load(crm, write(tmp_path, TEN))

    assert counts == Counts(read=10, accepted=10, duplicates=0, quarantined=0)
    assert Run.objects.get().state == "DONE"


def test_load__of_a_file_that_changed__does_not_go_on_but_begins(crm, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "CHUNK_ROWS", 3)
    with pytest.raises(LoadCancelledError):
        load(crm, write(tmp_path, TEN), report=lambda _: Run.objects.all().cancel(now=NOW))

    counts = load(crm, write(tmp_path, TEN.replace("2,free", "2,paid")))

    assert counts == Counts(read=10, accepted=8, duplicates=2, quarantined=0)
    assert Run.objects.count() == 2


def test_load__that_goes_on__begins_at_its_place(crm, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "CHUNK_ROWS", 3)
    with pytest.raises(KeyboardInterrupt):
        load(crm, write(tmp_path, TEN), report=lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    run = Run.objects.get()
    assert run.bookmark == {"offset": len("id,plan\n1,free\n2,free\n3,free\n"), "number": 4}
    lines = []
    read = csv_rows.read

    def noted(reader, *arguments):
        lines.append(reader.number)
        return read(reader, *arguments)

    monkeypatch.setattr(csv_rows, "read", noted)
    load(crm, write(tmp_path, TEN))

    assert lines == [4, 1]  # loaded from its place, then measured from the beginning


def test_load__of_a_run_that_knows_no_place_yet__passes_over_its_rows(crm, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "CHUNK_ROWS", 3)
    with pytest.raises(LoadCancelledError):
        load(crm, write(tmp_path, TEN), report=lambda _: Run.objects.all().cancel(now=NOW))
    Run.objects.update(bookmark={})

    assert load(crm, write(tmp_path, TEN)) == Counts(read=10, accepted=10, duplicates=0, quarantined=0)


EVENTS = "id,user_id,event,timestamp\n" + "".join(f"m{n},u{n % 3},Bought,2026-01-01T00:00:{n:02}Z\n" for n in range(10))
MAPPED = "key: id\nidentifiers: {user_id: user_id}\nevent: event\nobserved_at: timestamp\n"


@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_load_of_events__killed_between_any_two_blocks__stores_each_once(killed_after, crm, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 120)
    reports = []

    def kill(_):
        reports.append(1)
        if len(reports) == killed_after:
            raise KeyboardInterrupt

    path, mapping = write(tmp_path, EVENTS, "events.csv"), mapped(tmp_path, MAPPED)
    with pytest.raises(KeyboardInterrupt):
        load(crm, path, events=True, mapping=mapping, report=kill)

    counts = load(crm, path, events=True, mapping=mapping)

    assert counts == Counts(read=10, accepted=10, duplicates=0, quarantined=0)
    assert sorted(Event.objects.values_list("message_id", flat=True)) == [f"m{n}" for n in range(10)]


def test_load_of_events__some_of_which_are_known__stores_the_others(crm, tmp_path):
    mapping = mapped(tmp_path, MAPPED)
    load(crm, write(tmp_path, EVENTS, "events.csv"), events=True, mapping=mapping)

    more = load(
        crm, write(tmp_path, EVENTS + "m5,u9,Bought,\nm10,u9,Bought,\n", "more.csv"), events=True, mapping=mapping
    )

    assert more == Counts(read=12, accepted=1, duplicates=11, quarantined=0)
    assert Event.objects.count() == 11


@pytest.mark.parametrize("known", [(), range(10), (0, 1), (8, 9), (0, 2, 4, 6, 8), range(5, 10)])
def test_load_of_events__of_people_of_whom_some_are_known__gives_each_event_to_its_own(
    known, crm, tmp_path, monkeypatch
):
    """Whether strangers are looked for before they are made follows from those before them; whose an event is does not."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 80)
    head, mapping = "id,user_id,event,timestamp\n", mapped(tmp_path, MAPPED)
    before = head + "".join(f"k{n},u{n},Met,\n" for n in (*known, 10))
    after = head + "".join(f"m{n},u{n},Bought,\n" for n in range(11))

    for text in (before, after):
        load(crm, write(tmp_path, text, "events.csv"), events=True, mapping=mapping)

    owners = Event.objects.filter(name="Bought").values_list("message_id", "identifier__value")
    assert sorted(owners) == sorted((f"m{n}", f"u{n}") for n in range(11))
    assert Identifier.objects.filter(type="user_id").count() == 11


@pytest.mark.parametrize("events", [False, True])
def test_limit__loads_the_first_rows_and_no_more(events, crm, tmp_path):
    path = write(tmp_path, EVENTS.replace("id,user_id", "message_id,user_id") if events else TEN)
    service = ingestion.load_events if events else ingestion.load_records

    counts = service(
        workspace_id=crm.workspace_id, source="crm", path=path, limit=4, clock=lambda: NOW, report=lambda _: None
    )

    assert counts == Counts(read=4, accepted=4, duplicates=0, quarantined=0)
    assert load(crm, path, events=events).duplicates == 4


def test_decimal_commas__are_numbers_where_the_file_writes_them(crm, tmp_path):
    text = "user_id;event;total\nu1;Bought;12,50\nu2;Bought;7\n"

    load(crm, write(tmp_path, text, "events.csv"), events=True)

    assert list(Event.objects.order_by("id").values_list("properties", flat=True)) == [{"total": 12.5}, {"total": 7}]


def test_chunk__of_long_rows__is_cut_by_size(crm, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "CHUNK_SIZE", 12)
    reports = []

    load(crm, write(tmp_path, TEN), report=lambda progress: reports.append(progress.counts.read))

    assert reports == [3, 6, 9, 10]


def test_load__as_the_login_of_the_operator__may_do_all_it_needs(crm, tmp_path, as_login):
    as_login("operator")

    assert load(crm, write(tmp_path, PEOPLE + "bad\n")) == Counts(read=3, accepted=2, duplicates=0, quarantined=1)


# -- commands -------------------------------------------------------------------------------------------------------


def test_load_command__with_json__prints_one_object(crm, workspace, tmp_path, capsys):
    call_command("load", "records", str(write(tmp_path, PEOPLE)), source="crm", workspace=workspace.slug, as_json=True)

    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"read": 2, "accepted": 2, "duplicates": 0, "quarantined": 0}
    assert "2 rows read" in printed.err


def test_load_command__with_guess__prints_a_mapping_that_loads_and_loads_nothing(crm, workspace, tmp_path, capsys):
    path = write(tmp_path, "no;Prénom;Courriel\n1;Ada;ada@example.com\n2;Zoé;zoe@example.com\n")

    call_command("load", "records", str(path), source="crm", workspace=workspace.slug, guess=True)

    guessed = capsys.readouterr().out
    assert not Run.objects.exists()
    assert load(crm, path, mapping=mapped(tmp_path, guessed)).accepted == 2
    assert traits_of("1") == {"given_name": "Ada", "email": "ada@example.com"}


def test_load_command__with_guess_and_json__prints_one_object(crm, workspace, tmp_path, capsys):
    path = write(tmp_path, "user_id,event\nu1,Bought\nu2,Bought\n", "events.csv")

    call_command("load", "events", str(path), source="crm", workspace=workspace.slug, guess=True, as_json=True)

    printed = json.loads(capsys.readouterr().out)
    assert printed["mapping"] == {"event": "event", "identifiers": {"user_id": "user_id"}}
    assert {one["column"] for one in printed["columns"]} == {"user_id", "event"}


def test_load_command__when_quiet__says_nothing_while_it_loads(crm, workspace, tmp_path, capsys):
    call_command("load", "records", str(write(tmp_path, PEOPLE)), source="crm", workspace=workspace.slug, quiet=True)

    assert capsys.readouterr().err == ""


def test_load_command__on_a_terminal__draws_a_bar(crm, workspace, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)

    call_command("load", "records", str(write(tmp_path, PEOPLE)), source="crm", workspace=workspace.slug)

    assert "2.00/2.00" in capsys.readouterr().err


def test_sources_command__makes_a_source(workspace, capsys):
    call_command(
        "sources",
        "create",
        "shop",
        "--kind=http",
        "--unique-people",
        "--region=au",
        f"--workspace={workspace.slug}",
        "--json",
    )

    made = json.loads(capsys.readouterr().out)
    assert set(made) == {"source", "write_key"}
    assert source_of([made["write_key"]]).region == "AU"
    assert Source.objects.get(name=made["source"]).has_unique_people


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["load", "records", "nowhere.csv", "--source", "crm"], 1),
        (["load", "records", "nowhere.csv"], 2),
        (["load", "people", "nowhere.csv", "--source", "crm"], 2),
        (["load", "records", "nowhere.csv", "--source", "crm", "--workspace", "nobodys"], 1),
        (["sources", "create", "shop"], 2),
        (["sources", "create", "No Name", "--kind", "http"], 2),
        (["sources", "create", "crm", "--kind", "http"], 1),
    ],
)
def test_command__that_cannot_do_it__says_why_and_exits(words, status, crm, workspace, capsys, monkeypatch):
    monkeypatch.setattr("django.core.management.base.connections.close_all", lambda: None)  # the test goes on
    command = {"load": load_command, "sources": sources_command}[words[0]].Command()
    arguments = words if "--workspace" in words else [*words, "--workspace", workspace.slug]

    with pytest.raises(SystemExit) as ended:
        command.run_from_argv(["manage.py", *arguments])

    assert ended.value.code == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert status == 2 or ": " in printed.err.splitlines()[-1]
