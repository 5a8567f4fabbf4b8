"""The columnar copy follows the log: nothing is left out, nothing is there twice, what goes of the log is gone at once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest

from cdp.kernel.identifiers import Identifier as Name
from cdp.models import Event
from consent import erasure
from segments.columnar import copying, rewriting
from segments.columnar.files import files_of
from segments.models import ColumnarFile, StaleEvent
from tests.factories import SourceFactory
from tests.factories.segments import happen, people


@pytest.fixture(autouse=True)
def directory_of_its_own(settings, tmp_path):
    settings.COLUMNAR_DIR = tmp_path / "columnar"


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace)


def copy(workspace: Any, now: datetime) -> copying.Copied:
    return copying.copy_events(workspace_id=workspace.pk, clock=lambda: now, seconds=30)


def copied(workspace: Any) -> list[tuple[Any, ...]]:
    """Every event in the files of the manifest."""
    names = ColumnarFile.objects.filter(retired_at=None).values_list("name", flat=True)
    files = [str(files_of(workspace.pk) / name) for name in names]
    asked = "SELECT identifier_id, name, micros, properties FROM read_parquet($1) ORDER BY id"
    return duckdb.execute(asked, [files]).fetchall() if files else []


def micros(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def test_copy__of_what_was_stored_since__appends_each_event_once_in_its_month(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now, {"amount": 1.5, "text": 'a "b", c\\\né'})
    first = copy(workspace, now)
    happen(ada, source, "View\n", datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
    happen(ada, source, "", datetime(2101, 1, 1, tzinfo=UTC))
    second, third = copy(workspace, now), copy(workspace, now)

    assert (first.events, second.events, third.events) == (1, 2, 0)
    assert copied(workspace) == [
        (ada.pk, "Order", micros(now), '{"text": "a \\"b\\", c\\\\\\né", "amount": 1.5}'),
        (ada.pk, "View\n", -1, "{}"),
        (ada.pk, "", micros(datetime(2101, 1, 1, tzinfo=UTC)), "{}"),
    ]
    assert sorted(ColumnarFile.objects.values_list("month", flat=True)) == [12 * 1969 + 11, 12 * 2026 + 10, 12 * 2101]


def test_copy__in_windows__is_the_same_as_at_once(workspace, source, now, monkeypatch):
    [ada] = people(1, workspace)
    for day in range(7):
        happen(ada, source, "Order", now - timedelta(days=day))
    monkeypatch.setattr(copying, "_WINDOW", copying._WINDOW.replace(str(copying.AT_ONCE), "3"))
    monkeypatch.setattr(copying, "AT_ONCE", 3)

    assert copy(workspace, now).events == 7
    assert [at for _, _, at, _ in copied(workspace)] == [micros(now - timedelta(days=day)) for day in range(7)]


def test_copy__when_events_go_or_change__takes_them_out_and_puts_in_what_is_there_now(workspace, source, now):
    [ada] = people(1, workspace)
    for amount in range(3):
        happen(ada, source, "Order", now, {"amount": amount})
    copy(workspace, now)
    first, second, _ = Event.objects.order_by("pk").values_list("pk", flat=True)
    Event.objects.filter(pk=first).delete()
    Event.objects.filter(pk=second).update(properties={"amount": "[…]"})

    assert sorted(StaleEvent.objects.values_list("event_id", "is_gone")) == [(first, True), (second, False)]
    assert copy(workspace, now).rewritten == 2
    assert [properties for *_, properties in copied(workspace)] == ['{"amount": "[…]"}', '{"amount": 2}']
    assert not StaleEvent.objects.exists()


def test_copy__of_somebody_erased__holds_no_event_of_them_and_the_old_file_goes(workspace, source, now):
    ada, bob = people(2, workspace)
    happen(ada, source, "Order", now)
    happen(bob, source, "Order", now)
    copy(workspace, now)
    erasure.erase_person(workspace_id=workspace.pk, identifier=Name("email", ada.value), now=now)
    copy(workspace, now)
    copy(workspace, now + copying.KEPT + timedelta(seconds=1))

    assert [identifier for identifier, *_ in copied(workspace)] == [bob.pk]
    assert len(list(files_of(workspace.pk).iterdir())) == 1


def test_copy__of_many_small_files__gathers_them(workspace, source, now):
    [ada] = people(1, workspace)
    for day in range(rewriting.MOST_SMALL + 1):
        happen(ada, source, "Order", now + timedelta(seconds=day))
        copy(workspace, now)

    assert ColumnarFile.objects.filter(retired_at=None).count() == 1
    assert [at for _, _, at, _ in copied(workspace)] == [
        micros(now + timedelta(seconds=day)) for day in range(rewriting.MOST_SMALL + 1)
    ]


def test_copy__killed_before_its_commit__leaves_garbage_that_the_next_one_sweeps(workspace, source, now, monkeypatch):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    with monkeypatch.context() as patched:
        patched.setattr(copying, "_append", killed_at_the_end(copying._append))
        with pytest.raises(KeyboardInterrupt):
            copy(workspace, now)
    left = set(files_of(workspace.pk).iterdir())
    copy(workspace, now)

    assert len(left) == 1
    assert left.isdisjoint(files_of(workspace.pk).iterdir())
    assert len(copied(workspace)) == 1


def killed_at_the_end(append: Any) -> Any:
    def killed(*given: Any) -> int:
        append(*given)
        raise KeyboardInterrupt

    return killed
