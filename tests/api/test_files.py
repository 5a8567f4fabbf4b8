"""Files by HTTP: taken, loaded by the worker, followed; the same one twice is one; each key its own workspace alone."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from cdp.api import wakeups
from cdp.ingestion import uploads
from cdp.models import QuarantinedItem, Record, Run, SourceKind, Upload
from tests.factories import SourceFactory

PEOPLE = b"no;email\n1;ada@example.com\n2;zoe@example.com\n;nobody@example.com\n"
MAPPING = "key: no\nidentifiers: {email: email}\n"


@pytest.fixture(autouse=True)
def directory(settings, tmp_path):
    settings.UPLOAD_DIR = tmp_path / "uploads"
    return settings.UPLOAD_DIR


@pytest.fixture
def crm(workspace):
    return SourceFactory(workspace=workspace, name="crm", kind=SourceKind.FILE, default_region="FR")


@pytest.fixture
def web(owner, crm, as_login):
    as_login("web")
    return owner


def send(caller, content=PEOPLE, *, name="people.csv", **more):
    said = {"source": "crm", "kind": "records", "mapping": MAPPING, **more}
    headers = {"Authorization": f"Bearer {caller.secret}"} if caller.secret else {}
    return caller.client.post("/api/v1/files", {**said, "file": SimpleUploadedFile(name, content)}, headers=headers)


def files_in(directory):
    return [path for path in directory.rglob("*") if path.is_file()]


def nothing_is_kept(directory):
    return not (Run.objects.exists() or Upload.objects.exists() or files_in(directory))


def test_file__is_loaded_by_the_worker_and_its_run_tells(
    web, crm, now, as_login, monkeypatch, django_capture_on_commit_callbacks
):
    woken = []
    monkeypatch.setattr(wakeups.tasks, "wake_uploads", lambda: woken.append(True))

    with django_capture_on_commit_callbacks(execute=True):
        answer = send(web)

    assert (answer.status_code, answer.json()["state"], woken) == (202, "RUNNING", [True])
    as_login("worker_ingestion")
    assert uploads.load_next(workspace_id=crm.workspace_id, clock=lambda: now, seconds=60)
    as_login("web")
    told = web.get(f"files/{answer.json()['run']}").json()
    assert (told["state"], told["error"]) == ("DONE", "")
    assert {name: told["counts"][name] for name in ("read", "accepted", "duplicates", "quarantined")} == {
        "read": 3, "accepted": 2, "duplicates": 0, "quarantined": 1,
    }  # fmt: skip
    assert list(Record.objects.order_by("key").values_list("key", flat=True)) == ["1", "2"]
    assert QuarantinedItem.objects.get().place == "people.csv:4"


def test_same_file__sent_again__is_the_same_run(web, directory):
    first = send(web).json()["run"]

    again = send(web)
    other = send(web, PEOPLE + b"3;mary@example.com\n")

    assert (again.status_code, again.json()["run"]) == (202, first)
    assert other.json()["run"] != first
    assert len(files_in(directory)) == Upload.objects.count() == 2


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"name": "people.xlsx"}, 400, "unknown_file_kind"),
        ({"content": b""}, 400, "validation_failed"),
        ({"mapping": "key: [no"}, 400, "bad_mapping"),
        ({"mapping": "key: number\n"}, 400, "missing_column"),
        ({"kind": "people"}, 400, "validation_failed"),
        ({"source": "nobodys"}, 404, "unknown_source"),
    ],
)
def test_file__that_cannot_be_used__is_refused_and_nothing_is_kept(more, status, code, web, directory):
    answer = send(web, **more)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert nothing_is_kept(directory)


def test_file__over_the_limit__is_413(web, directory, settings):
    settings.UPLOAD_BYTES = 20

    answer = send(web)

    assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")
    assert nothing_is_kept(directory)


def test_file__of_whom_the_key_does_not_permit__is_taken_from_nobody(crm, caller, stranger, anonymous, directory):
    answers = [send(who).status_code for who in (anonymous, caller("quarantine:write"), stranger)]

    assert answers == [401, 403, 404]
    assert nothing_is_kept(directory)


def test_run__of_another_workspace__is_not_there(stranger, web):
    run = send(web).json()["run"]

    assert stranger.get(f"files/{run}").status_code == 404
