"""The columnar copy follows the log: nothing is left out, nothing is there twice, what goes of the log is gone at once."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import duckdb
import psycopg
import pytest
from django.core.management import call_command
from django.db import connection

from cdp import embedded
from cdp.kernel.identifiers import Identifier as Name
from cdp.kernel.purposes import Purpose
from cdp.models import Event
from consent import erasure, gate
from consent.models import ConsentState
from segments import evaluation
from segments.columnar import copying, rewriting
from segments.columnar.files import files_of
from segments.columnar.state import State, state_of
from segments.language import parse_text
from segments.models import ColumnarFile, StaleEvent
from tests.factories import SourceFactory, say
from tests.factories.segments import happen, merge, people


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
    monkeypatch.setattr(copying, "FIRST_AT_ONCE", 3)
    monkeypatch.setattr(copying, "MOST_AT_ONCE", 2)

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


# -- readers --------------------------------------------------------------------------------------------------------


def found(workspace: Any, rule: str, now: datetime) -> list[int]:
    with gate.permit(Purpose.SEGMENTATION, workspace_id=workspace.pk) as permit:
        return list(evaluation.ENGINES["duckdb"](permit, parse_text(rule), now=now).members)


def test_reader__of_an_old_copy__sees_what_came_changed_and_went_since(workspace, source, now):
    ada, bob, eve = people(3, workspace)
    for person in (ada, bob):
        happen(person, source, "Order", now, {"amount": 1})
    copy(workspace, now)
    happen(eve, source, "Order", now, {"amount": 1})
    Event.objects.filter(identifier=ada).delete()
    Event.objects.filter(identifier=bob).update(properties={"amount": 2})

    assert found(workspace, 'done "Order"', now) == [bob.pk, eve.pk]
    assert found(workspace, 'done "Order" where "amount" = 2', now) == [bob.pk]
    assert found(workspace, 'done "Order" where "amount" = 1', now) == [eve.pk]


def test_reader__of_somebody_who_withdrew__does_not_see_them_though_they_are_in_the_copy(workspace, source, now):
    ada, bob = people(2, workspace)
    for person in (ada, bob):
        happen(person, source, "Order", now)
    copy(workspace, now)
    say(ada, Purpose.SEGMENTATION, ConsentState.REFUSED)

    assert found(workspace, 'done "Order"', now) == [bob.pk]
    assert found(workspace, 'not done "Order"', now) == []


def test_reader__after_a_merge__counts_the_events_of_both_for_one(workspace, source, now):
    ada, bob = people(2, workspace)
    for person in (ada, bob):
        happen(person, source, "Order", now)
    copy(workspace, now)
    merge(ada, bob)

    assert found(workspace, 'count of "Order" >= 2', now) == [ada.pk]


def test_month__that_was_dropped__is_read_from_postgres_and_copied_again(workspace, source, now):
    [ada] = people(1, workspace)
    old = datetime(2023, 5, 1, tzinfo=UTC)
    with connection.cursor() as cursor:
        cursor.execute("SELECT core.ensure_event_partition('2023-05-01')")
    happen(ada, source, "Order", old)
    happen(ada, source, "Order", now)
    copy(workspace, now)
    with connection.cursor() as cursor:
        cursor.execute("SELECT core.drop_event_partition('2023-05-01')")
        assert cursor.fetchone() == (1,)
    happen(ada, source, "View", old)

    assert found(workspace, 'count of "Order" >= 2', now) == []
    assert found(workspace, 'done "View"', now) == [ada.pk]
    copy(workspace, now)
    assert [(name, at) for _, name, at, _ in copied(workspace)] == [("Order", micros(now)), ("View", micros(old))]


def test_copy__when_its_files_are_lost__begins_anew(workspace, source, now):
    [ada] = people(1, workspace)
    happen(ada, source, "Order", now)
    copy(workspace, now)
    for file in files_of(workspace.pk).iterdir():
        file.unlink()

    assert copy(workspace, now).events == 1
    assert len(copied(workspace)) == 1


def test_command__copies_and_evaluates__with_the_digest_of_postgres(workspace, source, now, tmp_path):
    ada, _ = people(2, workspace)
    happen(ada, source, "Order", now)
    rule = tmp_path / "rule.txt"
    rule.write_text('done "Order"')

    done = called("copy", workspace)
    asked = [
        called("evaluate", workspace, str(rule), "--members", "--at", now.isoformat(), "--engine", engine)
        for engine in ("postgres", "duckdb", "reference")
    ]

    assert (done["events"], done["files"], done["is_behind"]) == (1, 1, False)
    assert [answer["members"] for answer in asked] == [[ada.pk]] * 3
    assert len({answer["digest"] for answer in asked}) == 1


def test_state__of_a_copy__counts_what_waits_and_what_is_missing(workspace, source, now):
    [ada] = people(1, workspace)
    assert state_of(workspace_id=workspace.pk) is None
    happen(ada, source, "Order", now)
    copy(workspace, now)
    happen(ada, source, "Order", now)
    assert state_of(workspace_id=workspace.pk) == State(waiting=1, expected=1, copied=1, stale=0)

    ColumnarFile.objects.update(rows=2)
    assert not state_of(workspace_id=workspace.pk).is_whole


def called(action: str, workspace: Any, *words: str) -> dict[str, Any]:
    said = StringIO()
    call_command("segments", action, *words, "--workspace", workspace.slug, "--json", stdout=said)
    return json.loads(said.getvalue())


# -- who stores meanwhile -------------------------------------------------------------------------------------------

EVENT = """
INSERT INTO core.event (workspace_id, source_id, identifier_id, message_id, kind, name, occurred_at, received_at, seen_with,
    properties, context)
SELECT %s, 1, 1, %s, 'track', 'Order', %s, %s, '{}', '{}', '{}'
"""


def test_copy__while_somebody_stores_below_what_is_seen__waits_and_leaves_nothing_out(committed, now, monkeypatch):
    monkeypatch.setattr(copying, "HORIZON_SECONDS", 0.1)
    address = embedded.default_stack().database_url("postgres", connection.settings_dict["NAME"])
    with psycopg.connect(address) as slow:
        slow.execute("SELECT pg_advisory_xact_lock_shared(4712, %s)", [committed.pk])
        slow.execute(EVENT, [committed.pk, "first", now, now])
        with connection.cursor() as cursor:
            cursor.execute(EVENT, [committed.pk, "second", now, now])
        early = copy(committed, now)
        again = copy(committed, now)
        slow.commit()
    late = copy(committed, now)

    assert [(one.events, one.is_behind) for one in (early, again, late)] == [(0, True), (0, True), (2, False)]
