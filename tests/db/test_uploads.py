"""Files that people give the console: looked at first, loaded in turns, gone when they are loaded."""

import gzip
import os
from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from cdp.ingestion import blocks, loading, uploads
from cdp.ingestion.files import FileError
from cdp.ingestion.mapping import MappingError, MissingColumnError
from cdp.models import Event, QualityReport, QuarantinedItem, Record, Run, SourceKind, Upload
from tests.factories import SourceFactory, WorkspaceFactory
from tests.factories.filled import console_user

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PEOPLE = "no;Prénom;Courriel;CP\n1;Ada;ADA@example.com;75001\n2;Zoé;;75002\n;nobody;;\n"


@pytest.fixture(autouse=True)
def directory(settings, tmp_path):
    settings.UPLOAD_DIR = tmp_path / "uploads"
    return settings.UPLOAD_DIR


@pytest.fixture
def crm(workspace):
    return SourceFactory(workspace=workspace, name="crm", kind=SourceKind.FILE, default_region="FR")


def uploaded(source, tmp_path, content=PEOPLE, *, name="people.csv", kind="RECORDS"):
    path = tmp_path / f"temporary-{name}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    received = uploads.receive_file(content=path, name=name, source=source, kind=kind)
    return uploads.add_upload(received, name=name, source=source, kind=kind, by=None, now=NOW)


def started(source, tmp_path, content=PEOPLE, **more):
    upload = uploaded(source, tmp_path, content, **more)
    if content == PEOPLE:
        Upload.objects.filter(pk=upload.pk).update(mapping="key: no\n")
    uploads.start_upload(upload, by=None, now=NOW)
    return Upload.objects.get(pk=upload.pk)


def turn(source, *, seconds=60.0, now=NOW):
    return uploads.load_next(workspace_id=source.workspace_id, clock=lambda: now, seconds=seconds)


def files_in(directory):
    return sorted(path.name for path in directory.rglob("*") if path.is_file())


# -- receiving and looking ------------------------------------------------------------------------------------------


def test_file__when_received__lies_there_with_a_guessed_mapping(crm, tmp_path, directory):
    upload = uploaded(crm, tmp_path)

    assert files_in(directory) == [upload.stored_as.split("/")[1]]
    assert (upload.size, upload.survey["encoding"], upload.run) == (len(PEOPLE.encode()), "utf-8", None)
    assert 'given_name: "Prénom"' in upload.mapping
    assert "email: Courriel" in upload.mapping


def test_preview__shows_rows_as_they_would_be_stored_and_stores_nothing(crm, tmp_path):
    upload = uploaded(crm, tmp_path)
    upload.mapping = "key: no\nidentifiers: {email: Courriel}\ntraits: {given_name: Prénom, postcode: CP}\n"

    first, second, third = uploads.preview_rows(upload, now=NOW)

    assert (first.name, first.identifiers) == ("1", ["crm:id:1", "email:ada@example.com"])
    assert first.values == {"email": "ada@example.com", "given_name": "Ada", "postcode": "75001"}
    assert (second.name, second.code) == ("2", "")
    assert (third.number, third.code) == (4, "missing_key")
    assert not Record.objects.exists()
    assert not QuarantinedItem.objects.exists()


@pytest.mark.parametrize(
    ("mapping", "error"),
    [("key: number\n", MissingColumnError), ("keys: no\n", MappingError), ("key: [", MappingError)],
)
def test_upload__under_a_mapping_that_will_not_do__cannot_be_started(mapping, error, crm, tmp_path):
    upload = uploaded(crm, tmp_path)
    Upload.objects.filter(pk=upload.pk).update(mapping=mapping)

    with pytest.raises(error):
        uploads.start_upload(upload, by=None, now=NOW)

    assert not Run.objects.exists()


@pytest.mark.parametrize(("name", "content"), [("a.csv", b""), ("a.csv.gz", b"no gzip"), ("a.parquet", b"none")])
def test_file__that_is_unusable__is_refused_and_not_kept(name, content, crm, tmp_path, directory):
    with pytest.raises(FileError):
        uploaded(crm, tmp_path, content, name=name)

    assert files_in(directory) == []


def test_file__that_unpacks_to_more_than_the_limit__is_refused_and_not_kept(crm, tmp_path, directory, settings):
    settings.UPLOAD_BYTES = 10_000

    with pytest.raises(uploads.FileTooLargeError):
        uploaded(crm, tmp_path, gzip.compress(b"id,name\n" + b"1,Ada\n" * 10_000), name="people.csv.gz")

    assert files_in(directory) == []


# -- loading --------------------------------------------------------------------------------------------------------


def test_upload__when_started__is_loaded_by_the_worker_and_its_file_goes(crm, tmp_path, directory, as_login):
    upload = started(crm, tmp_path)
    as_login("worker_ingestion")

    assert turn(crm)

    run = Run.objects.get(pk=upload.run_id)
    assert (run.state, run.kind, run.subject) == ("DONE", "load records", "crm people.csv")
    assert run.counts == {"read": 3, "accepted": 2, "duplicates": 0, "quarantined": 1}
    assert files_in(directory) == []
    assert not turn(crm)


def test_upload__of_packed_events__is_unpacked_and_loaded(crm, tmp_path, directory):
    content = "user_id,event,timestamp\nu1,Bought,2026-01-01\nu2,Bought,2026-01-02\n"
    upload = started(crm, tmp_path, gzip.compress(content.encode()), name="events.csv.gz", kind="EVENTS")

    assert files_in(directory)[0].endswith(".csv")
    assert upload.size == len(content)
    turn(crm)

    assert list(Event.objects.order_by("id").values_list("name", "message_id")) == [
        ("Bought", event.message_id) for event in Event.objects.order_by("id")
    ]
    assert Event.objects.count() == 2


def test_upload__of_which_a_turn_loads_a_part__goes_on_in_the_next(crm, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "CHUNK_ROWS", 2)
    rows = "id,plan\n" + "".join(f"{number},free\n" for number in range(5))
    upload = started(crm, tmp_path, rows)

    counts = []
    while turn(crm, seconds=0):
        counts.append(Record.objects.count())

    assert counts == [2, 4, 5, 5]
    assert Run.objects.get(pk=upload.run_id).counts["accepted"] == 5


@pytest.mark.parametrize(("measured", "are_measured"), [(100, 5), (3, 3)])
def test_upload__that_takes_several_turns__leaves_one_report_of_its_first_rows(
    measured, are_measured, crm, tmp_path, monkeypatch, as_login
):
    monkeypatch.setattr(loading, "CHUNK_ROWS", 2)
    monkeypatch.setattr(loading, "MEASURED_ROWS", measured)
    upload = started(crm, tmp_path, "id,plan\n" + "".join(f"{number},free\n" for number in range(5)))
    as_login("worker_ingestion")

    turns = 0
    while turn(crm, seconds=0):
        turns += 1
    as_login("none")

    report = QualityReport.objects.get()
    (part,) = report.body["parts"]
    assert turns == 4
    assert (report.run_id, report.rows, part["rows"], part["measured"]) == (upload.run_id, 5, 5, are_measured)
    assert [column["name"] for column in part["columns"]] == ["id", "plan"]


def test_upload__of_events_in_turns__has_the_report_of_one_that_is_loaded_at_once(crm, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 60)
    rows = "".join(f"u{number},Bought,2026-01-0{number + 1},{number}\n" for number in range(5))
    for name, seconds in (("once.csv", 60), ("turns.csv", 0)):
        started(crm, tmp_path, f"user_id,event,timestamp,price\n{rows}", name=name, kind="EVENTS")
        while turn(crm, seconds=seconds):
            pass

    at_once, in_turns = QualityReport.objects.order_by("run")
    measured = [
        [*part["columns"], part["rows"], part["measured"]] for [part] in (at_once.body["parts"], in_turns.body["parts"])
    ]
    assert measured[0] == measured[1]
    assert measured[0][-2:] == [5, 5]


def test_upload__whose_worker_was_killed__is_claimed_again_when_the_claim_expires(crm, tmp_path):
    upload = started(crm, tmp_path)
    Upload.objects.update(claimed_until=NOW + uploads.LEASE)

    assert not turn(crm)
    assert turn(crm, now=NOW + uploads.LEASE + timedelta(seconds=1))

    assert Run.objects.get(pk=upload.run_id).state == "DONE"


def test_upload__that_is_cancelled__stops_and_is_taken_up_again(crm, tmp_path, monkeypatch, directory):
    monkeypatch.setattr(loading, "CHUNK_ROWS", 2)
    upload = started(crm, tmp_path, "id,plan\n1,a\n2,b\n3,c\n")
    turn(crm, seconds=0)

    assert Run.objects.filter(pk=upload.run_id).cancel(now=NOW) == 1
    assert not turn(crm)
    assert Record.objects.count() == 2
    assert len(files_in(directory)) == 1

    uploads.start_upload(upload, by=None, now=NOW)
    while turn(crm):
        pass
    assert Record.objects.count() == 3
    assert Run.objects.get(pk=upload.run_id).counts == {"read": 3, "accepted": 3, "duplicates": 0, "quarantined": 0}


def test_upload__whose_file_is_gone__fails_with_the_code(crm, tmp_path, directory):
    upload = started(crm, tmp_path)
    (directory / upload.stored_as).unlink()

    assert turn(crm)

    run = Run.objects.get(pk=upload.run_id)
    assert (run.state, run.error, run.finished_at) == ("FAILED", "uploaded_file_gone", NOW)


def test_old_files__are_forgotten_unless_they_are_loading(crm, tmp_path, directory):
    uploaded(crm, tmp_path)
    kept = started(crm, tmp_path)
    stray = directory / str(crm.workspace_id) / "stray.csv"
    stray.write_text("left by a killed web server")
    later = NOW + uploads.KEPT + timedelta(days=1)
    os.utime(stray, (NOW.timestamp(), NOW.timestamp()))

    assert uploads.forget_old(workspace_id=crm.workspace_id, now=later) == 1

    assert files_in(directory) == [kept.stored_as.split("/")[1]]
    assert list(Upload.objects.all()) == [kept]


# -- the console ----------------------------------------------------------------------------------------------------


@pytest.fixture
def client(crm, as_login):
    made = Client()
    made.force_login(console_user(crm.workspace))
    as_login("web")
    return made


def send(client, source, content=PEOPLE, *, name="people.csv", kind="RECORDS"):
    file = SimpleUploadedFile(name, content if isinstance(content, bytes) else content.encode())
    return client.post(reverse("admin:cdp_upload_add"), {"source": source.pk, "kind": kind, "file": file})


def test_console__takes_a_file_from_choosing_it_to_the_page_of_its_run(client, crm, directory, as_login):
    answer = send(client, crm)

    upload = Upload.objects.get()
    page = reverse("admin:cdp_upload_change", args=[upload.pk])
    assert (answer.status_code, answer.url) == (302, page)
    assert "No column has another value in every row" in client.get(page).text

    client.post(page, {"mapping": "key: no\nidentifiers: {email: Courriel}\n"})
    shown = client.get(page)
    assert [row.code for row in shown.context["previewed"]] == ["", "", "missing_key"]
    assert "ada@example.com" in shown.text

    answer = client.post(reverse("admin:cdp_upload_start", args=[upload.pk]))
    run = Run.objects.get()
    assert answer.url == reverse("admin:cdp_run_change", args=[run.pk])
    followed = client.get(answer.url)
    assert followed.headers["Refresh"] == "2"
    assert 'id="cancel"' in followed.text

    as_login("worker_ingestion")
    turn(crm)
    as_login("web")
    done = client.get(answer.url)
    assert "Refresh" not in done.headers
    assert done.context["share"] == 100
    assert files_in(directory) == []


def test_console__when_a_run_is_cancelled__stops_it(client, crm):
    send(client, crm, "id,plan\n1,a\n")
    client.post(reverse("admin:cdp_upload_start", args=[Upload.objects.get().pk]))
    run = Run.objects.get()

    client.post(reverse("admin:cdp_run_cancel", args=[run.pk]))

    run.refresh_from_db()
    assert run.state == "CANCELLED"
    assert "Go on loading" in client.get(reverse("admin:cdp_upload_change", args=[Upload.objects.get().pk])).text


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("people.xlsx", b"PK", "Files end in"),
        ("people.csv", b"id,id\n1,2\n", "two columns of the name id"),
        ("people.csv", b"id,name\n" + b"1,Ada\n" * 500, "The file is larger than"),
    ],
)
def test_console__for_a_file_that_will_not_do__says_why_and_keeps_nothing(
    name, content, words, client, crm, directory, settings
):
    settings.UPLOAD_BYTES = 2_000

    answer = send(client, crm, content, name=name)

    assert answer.status_code == 200
    assert words in answer.text
    assert not Upload.objects.exists()
    assert files_in(directory) == []


def test_console__deletes_a_file_with_its_row(client, crm, directory):
    send(client, crm)

    client.post(reverse("admin:cdp_upload_delete", args=[Upload.objects.get().pk]), {"post": "yes"})

    assert not Upload.objects.exists()
    assert files_in(directory) == []


def test_console__for_members_who_may_not_and_for_other_workspaces__refuses(client, crm, directory, as_login):
    send(client, crm, "id,plan\n1,a\n")
    upload = Upload.objects.get()
    as_login("none")
    reader, stranger = Client(), Client()
    reader.force_login(console_user(crm.workspace, "reader", is_superuser=False))
    stranger.force_login(console_user(WorkspaceFactory(), "stranger"))
    as_login("web")
    start = reverse("admin:cdp_upload_start", args=[upload.pk])

    assert reader.post(start).status_code == 403
    assert stranger.post(start).status_code == 404
    assert stranger.post(reverse("admin:cdp_run_cancel", args=[1])).status_code == 302
    assert send(reader, crm).status_code == 403
    assert not Run.objects.exists()
    assert len(files_in(directory)) == 1


def test_file__of_somebody_who_is_not_logged_in__is_not_even_read(crm, directory):
    answer = send(Client(), crm)

    assert answer.status_code == 302
    assert not directory.exists()
