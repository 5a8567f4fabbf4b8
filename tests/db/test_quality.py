"""Quality reports: made by every load, each day, and of plain files; compared, kept, and without anybody's values."""

import json
from datetime import UTC, date, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction

from cdp import tasks
from cdp.ingestion import loading, quality_measuring, quality_reports
from cdp.ingestion.quality.thresholds import Thresholds
from cdp.models import Event, QualityReport, QualityThresholds, Record, Source, SourceKind
from cdp.models.closing import close_workspace
from tests.factories import IdentifierFactory, SourceFactory

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TODAY = date(2026, 11, 21)


@pytest.fixture
def crm(workspace):
    return SourceFactory(workspace=workspace, name="crm", kind=SourceKind.FILE)


@pytest.fixture
def shop(workspace):
    made = SourceFactory(workspace=workspace, name="shop")
    type(made).objects.filter(pk=made.pk).update(created_at=NOW - timedelta(days=30))
    return made


def write(tmp_path, rows, name="people.csv"):
    path = tmp_path / name
    path.write_text("customer_id,first_name,revenue,plan\n" + "".join(",".join(row) + "\n" for row in rows))
    return path


def people(count, *, start=0, more=0, plan="basic"):
    return [(str(start + n), f"Ada{n}", str(n * 37 % 200 + more), plan) for n in range(count)]


@pytest.fixture
def load(crm, as_login):
    def call(path):
        as_login("operator")
        counts = loading.load_records(
            workspace_id=crm.workspace_id, source="crm", path=path, clock=lambda: NOW, report=lambda _: None
        )
        as_login("none")
        return counts

    return call


def alerts_of(report):
    return [(alert["kind"], alert["column"]) for alert in report.alerts]


# -- loads ----------------------------------------------------------------------------------------------------------


def test_load__leaves_a_report_of_the_file(load, crm, tmp_path):
    load(write(tmp_path, [*people(100), *people(2)]))

    report = QualityReport.objects.get()
    (part,) = report.body["parts"]
    assert (report.source, report.rows, report.run.kind, report.day) == (crm, 102, "load records", None)
    assert [column["name"] for column in part["columns"]] == ["customer_id", "first_name", "revenue", "plan"]
    assert part["duplicates"]["keys"] == {"count": 2, "share": pytest.approx(2 / 102)}
    assert (part["seed"], report.body["before"]) == (report.run_id, None)
    assert alerts_of(report) == [("duplicate_rows", ""), ("duplicate_keys", "")]


def test_numbers_of_a_file_with_decimal_commas__are_measured_as_numbers(load, tmp_path):
    path = tmp_path / "orders.csv"
    path.write_text("customer_id;spent;note\n" + "".join(f"{n};{n % 40},5;a,b\n" for n in range(80)))

    load(path)

    (part,) = QualityReport.objects.get().body["parts"]
    columns = {column["name"]: column for column in part["columns"]}
    assert (columns["spent"]["type"], columns["spent"]["types"]) == ("number", {"number": 80})
    assert (columns["spent"]["numbers"]["min"], columns["spent"]["numbers"]["mean"]) == (0.5, 20.0)
    assert columns["note"]["type"] == "text"
    measured = quality_measuring.measure_file(source=Source.objects.get(name="crm"), path=path)
    assert {column["name"]: column["type"] for column in measured["parts"][0]["columns"]}["spent"] == "number"


def test_report__holds_no_value_of_a_person(load, tmp_path):
    load(write(tmp_path, people(100)))

    report = QualityReport.objects.get()
    assert "Ada" not in json.dumps([report.body, report.samples, report.alerts])
    assert list(report.samples[""]) == ["revenue"]


def test_load__is_compared_with_the_load_before(load, tmp_path, caplog):
    load(write(tmp_path, people(100)))
    load(write(tmp_path, people(100, start=100, more=90), "next.csv"))

    first, second = QualityReport.objects.order_by("pk")
    assert alerts_of(first) == []
    assert (second.body["before"], second.body["parts"][0]["rows_before"]) == (first.pk, 100)
    assert alerts_of(second) == [("ks", "revenue")]
    (line,) = [json.loads(record.getMessage()) for record in caplog.records if "quality.alerted" in record.getMessage()]
    assert (line["source"], line["report"], line["kinds"]) == (second.source_id, second.pk, ["ks"])


def load_until_interrupted(load, path, monkeypatch, *, chunks):
    """A Ctrl-C comes while the chunk after so many is stored."""
    left = iter(range(chunks))
    real = loading.quarantine.add

    def add(*arguments, **more):
        if next(left, None) is None:
            raise KeyboardInterrupt
        real(*arguments, **more)

    with monkeypatch.context() as patched:
        patched.setattr(loading.quarantine, "add", add)
        with pytest.raises(KeyboardInterrupt):
            load(path)


def test_load__that_was_stopped__is_measured_whole_when_it_goes_on(load, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "CHUNK_ROWS", 40)
    path = write(tmp_path, people(100))
    load_until_interrupted(load, path, monkeypatch, chunks=1)
    assert not QualityReport.objects.exists()

    assert load(path).read == 100
    assert QualityReport.objects.get().rows == 100


def test_load__that_is_measured_in_part__is_compared_by_the_rows_that_came(load, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "MEASURED_ROWS", 50)
    load(write(tmp_path, people(100)))
    monkeypatch.setattr(loading, "CHUNK_ROWS", 30)
    path = write(tmp_path, people(100, start=100), "next.csv")
    load_until_interrupted(load, path, monkeypatch, chunks=2)

    load(path)

    first, second = QualityReport.objects.order_by("pk")
    (whole,), (part,) = first.body["parts"], second.body["parts"]
    assert (whole["rows"], whole["measured"]) == (100, 100)
    assert (part["rows"], part["measured"], part["rows_before"]) == (100, 50, 100)
    assert alerts_of(second) == []


def test_thresholds__of_the_source__decide_what_alerts(load, crm, tmp_path, workspace):
    QualityThresholds.objects.create(workspace=workspace, source=crm, duplicate_share=0.5)

    load(write(tmp_path, [*people(100), *people(5)]))

    assert QualityReport.objects.get().alerts == []
    assert quality_reports.thresholds_of(crm.pk).duplicate_share == 0.5


def test_thresholds__that_are_not_named__stay(crm):
    assert quality_reports.thresholds_of(crm.pk) == Thresholds()
    quality_reports.change_thresholds(source=crm, values={"ks_p": 0.05})

    changed = quality_reports.change_thresholds(source=crm, values={"rows_change": 0.9})

    assert changed == Thresholds(ks_p=0.05, rows_change=0.9)


# -- files that are not loaded --------------------------------------------------------------------------------------


@pytest.fixture
def run(workspace, as_login):
    def call(*arguments):
        as_login("operator")
        out = StringIO()
        call_command("quality", *arguments, "--workspace", workspace.slug, "--json", stdout=out)
        as_login("none")
        return json.loads(out.getvalue())

    return call


def test_file__is_measured_beside_the_last_load_and_kept_nowhere(load, run, tmp_path):
    load(write(tmp_path, people(100)))

    told = run(
        "report", "crm", "--file", str(write(tmp_path, people(100, plan="gold"), "b.csv")), "--key", "customer_id"
    )

    assert [(alert["kind"], alert["column"]) for alert in told["alerts"]] == [("category_change", "plan")]
    assert (told["rows"], told["before"]) == (100, QualityReport.objects.get().pk)
    assert Record.objects.count() == 100


def test_report__of_a_source_is_the_newest(load, run, tmp_path):
    load(write(tmp_path, people(30)))

    told = run("report", "crm")

    assert (told["source"], told["rows"], told["id"]) == ("crm", 30, QualityReport.objects.get().pk)


def test_report__of_a_source_without_one__says_what_to_do(run, crm):
    with pytest.raises(quality_reports.NoReportError, match="load a file"):
        run("report", "crm")


# -- days -----------------------------------------------------------------------------------------------------------


def send(source, count, at, *, name="Order", **properties):
    person = IdentifierFactory(workspace=source.workspace)
    Event.objects.bulk_create(
        Event(
            workspace=source.workspace, source=source, identifier=person, message_id=f"{name}{at}{n}", kind="track",
            name=name, occurred_at=at, received_at=at, seen_with=[], context={},
            properties={"amount": n * 37 % 200, **properties},
        )
        for n in range(count)
    )  # fmt: skip


def test_day__is_measured_event_by_event(run, shop):
    yesterday = NOW - timedelta(days=1)
    send(shop, 30, yesterday)
    send(shop, 20, yesterday, name="Refund")
    send(shop, 7, NOW)

    told = run("measure", "shop", "--day", "2026-11-20")

    assert [(part["name"], part["rows"]) for part in told["parts"]] == [("track Order", 30), ("track Refund", 20)]
    assert (told["rows"], told["day"], told["run"]) == (50, "2026-11-20", None)


def test_day__that_is_measured_again__has_one_report(shop):
    send(shop, 30, NOW)
    for _ in range(2):
        quality_measuring.measure_day(source=shop, day=TODAY, now=NOW)
        send(shop, 30, NOW, name="Refund")

    report = QualityReport.objects.get()
    assert (report.rows, report.body["before"]) == (60, None)


def test_source__that_went_silent__is_an_alert(shop):
    send(shop, 50, NOW - timedelta(days=1))
    quality_measuring.measure_day(source=shop, day=TODAY - timedelta(days=1), now=NOW)

    report = quality_measuring.measure_day(source=shop, day=TODAY, now=NOW)

    assert report.rows == 0
    assert [(alert["part"], alert["kind"]) for alert in report.alerts] == [("track Order", "rows_change")]


def test_names_of_events__beyond_a_number__are_measured_together(shop, monkeypatch):
    monkeypatch.setattr(quality_measuring, "MOST_NAMES", 1)
    for name in ("A", "B", "C"):
        send(shop, 2, NOW, name=name)

    report = quality_measuring.measure_day(source=shop, day=TODAY, now=NOW)

    assert sorted(part["rows"] for part in report.body["parts"]) == [2, 4]
    assert "*" in {part["name"] for part in report.body["parts"]}


def test_names_of_events__that_look_like_data__are_not_told(shop):
    send(shop, 2, NOW, name="Mail to ada@example.com")

    report = quality_measuring.measure_day(source=shop, day=TODAY, now=NOW)

    assert [part["name"] for part in report.body["parts"]] == ["*"]


def test_sweep__as_the_worker__measures_what_lacks_yesterday_one_by_one(shop, crm, workspace, monkeypatch, as_login):
    second = SourceFactory(workspace=workspace, name="app")
    type(second).objects.filter(pk=second.pk).update(created_at=NOW - timedelta(days=3))
    SourceFactory(workspace=workspace, name="new")
    send(shop, 3, NOW - timedelta(days=1))
    monkeypatch.setattr(tasks.timezone, "now", lambda: NOW)
    as_login("worker_ingestion")

    measured = []
    for _ in range(4):
        tasks.measure_quality()
        as_login("none")
        measured.append(list(QualityReport.objects.order_by("pk").values_list("source__name", "rows")))
        as_login("worker_ingestion")

    assert measured == [[("shop", 3)], [("shop", 3), ("app", 0)], [("shop", 3), ("app", 0)], [("shop", 3), ("app", 0)]]


def test_sweep__soon_after_midnight__waits_for_what_is_under_way(shop):
    just_after = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)

    report = quality_measuring.measure_next_day(workspace_id=shop.workspace_id, now=just_after)

    assert report.day == date(2026, 11, 19)


# -- the tables -----------------------------------------------------------------------------------------------------


def test_report__of_neither_a_load_nor_a_day__is_refused(crm, workspace):
    with pytest.raises(IntegrityError, match="quality_report_is_of_a_load_or_a_day"), transaction.atomic():
        QualityReport.objects.create(workspace=workspace, source=crm, created_at=NOW, rows=0, body={})


def test_workspace__with_reports__can_be_closed(load, tmp_path, workspace):
    load(write(tmp_path, people(30)))

    assert close_workspace(slug=workspace.slug, now=NOW)["quality_report"] == 1
