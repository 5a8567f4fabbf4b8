"""A large file is stored by two connections at once, and nothing of it tells: as if one had stored it block by block."""

import time
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.utils import timezone

from cdp.ingestion import blocks, loading, quarantine
from cdp.ingestion import services as ingestion
from cdp.ingestion.loading import Counts
from cdp.kernel.identifiers import Identifier as Named
from cdp.models import Event, Identifier, Run, Sighting
from cdp.models.closing import close_workspace
from consent import erasure
from tests.factories import SourceFactory, WorkspaceFactory
from tests.outbox import subjects_waiting

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ROWS = 400
HEADER = "id,user_id,device,kind,event,timestamp,amount\n"
MAPPED = (
    "{key: id, identifiers: {user_id: user_id, anonymous_id: device}, type: kind, event: event, observed_at: timestamp}"
)


class BlockFailedError(Exception):
    pass


@pytest.fixture
def shop(committed):
    return SourceFactory(workspace=committed, name="shop")


@pytest.fixture(autouse=True)
def many_small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1_000)
    monkeypatch.setattr(loading, "LARGE_BYTES", 0)


def row(number, *, key=None, kind="track", event="Bought"):
    """New people and devices come in every block, and old ones come again in the next."""
    who = f"u{number // 7}" if number % 3 == 0 else ""
    month = 1 + number // 40
    return f"{key or f'm{number}'},{who},d{number // 5},{kind},{event},2026-{month:02}-01T10:00:{number % 60:02}Z,{number}.5\n"


def load(source, path, report=lambda _: None):
    mapping = path.with_suffix(".yaml")
    mapping.write_text(MAPPED)
    return ingestion.load_events(
        workspace_id=source.workspace_id, source=source.name, path=path, mapping=mapping, clock=lambda: NOW,
        report=report,
    )  # fmt: skip


def write(tmp_path, rows, name="events.csv"):
    path = tmp_path / name
    path.write_text(HEADER + "".join(rows))
    return path


def stored(source):
    names = {one.pk: str(one) for one in Identifier.objects.all()}
    run = Run.objects.latest("pk")
    return {
        "identifiers": sorted(names.values()),
        "events": sorted(
            (one.message_id, one.name, names[one.identifier_id], [names[key] for key in one.seen_with], one.occurred_at,
             one.original_at, one.properties["amount"])
            for one in Event.objects.filter(source=source)
        ),
        "met": sorted((*sorted((names[one.left_id], names[one.right_id])),) for one in Sighting.objects.all()),
        "handed over": {names[subject] for subject in subjects_waiting(workspace_id=source.workspace_id)},
        "run": (run.position, run.bookmark, run.counts, run.state),
    }  # fmt: skip


def test_file__stored_by_two_connections__is_stored_as_by_one(shop, tmp_path, monkeypatch):
    path = write(tmp_path, [row(number) for number in range(ROWS)])
    counts = load(shop, path)
    by_two = stored(shop)
    slug = shop.workspace.slug
    close_workspace(slug=slug, now=timezone.now())
    again = SourceFactory(workspace=WorkspaceFactory(slug=slug), name="shop")
    monkeypatch.setattr(loading, "_is_large", lambda _: False)

    assert load(again, path) == counts == Counts(read=ROWS, accepted=ROWS)
    assert stored(again) == by_two


def test_messages__that_come_twice_in_neighbouring_blocks__are_stored_once_and_the_first_counts(shop, tmp_path):
    rows = [row(number, key=f"m{number % 60}", event=f"at {number // 60}") for number in range(ROWS)]

    counts = load(shop, write(tmp_path, rows))

    assert counts == Counts(read=ROWS, accepted=60, duplicates=ROWS - 60)
    assert set(Event.objects.values_list("name", flat=True)) == {"at 0"}
    assert Event.objects.count() == 60


def test_blocks__of_which_some_are_read_row_by_row__are_stored_in_their_order(shop, tmp_path):
    kinds = ["identify" if number % 50 == 0 else "page" if number % 31 == 0 else "track" for number in range(ROWS)]

    counts = load(shop, write(tmp_path, [row(number, kind=kind) for number, kind in enumerate(kinds)]))

    assert counts == Counts(read=ROWS, accepted=ROWS)
    assert sorted(Event.objects.values_list("kind", flat=True)) == sorted(kinds)


@pytest.mark.parametrize("failing", [1, 4, 9])
def test_load__of_which_a_block_fails__keeps_those_before_and_goes_on_with_it(failing, shop, tmp_path, monkeypatch):
    path = write(tmp_path, [row(number) for number in range(ROWS)])
    add = quarantine.add
    times = []

    def fail(*args, **kwargs):
        times.append(1)
        if len(times) == failing:
            raise BlockFailedError
        add(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(quarantine, "add", fail)
        with pytest.raises(BlockFailedError):
            load(shop, path)
    run = Run.objects.get()
    kept = Event.objects.count()

    assert (run.state, run.position, run.error) == ("FAILED", kept, "BlockFailedError")
    assert sorted(Event.objects.values_list("message_id", flat=True)) == sorted(f"m{number}" for number in range(kept))
    assert load(shop, path) == Counts(read=ROWS, accepted=ROWS)
    assert Event.objects.count() == ROWS


@pytest.mark.parametrize("by_two", [True, False])
def test_somebody_erased_while_a_file_is_loaded__comes_back_by_none_of_its_rows(by_two, shop, tmp_path, monkeypatch):
    """The load remembers everybody's id: it must not write it again when nobody has it any more."""
    monkeypatch.setattr(loading, "_is_large", lambda _: by_two)
    rows = [f"m{number},u{number % 3},,track,Bought,2026-01-01T10:00:00Z,1\n" for number in range(ROWS)]
    done = []

    def erase_one(_):
        if not done:
            done.append(
                erasure.erase_person(workspace_id=shop.workspace_id, identifier=Named("user_id", "u1"), now=NOW)
            )

    load(shop, write(tmp_path, rows), erase_one)

    assert done[0].rows["event"] > 0
    assert set(Identifier.objects.values_list("value", flat=True)) == {"u0", "u2"}
    assert set(Event.objects.values_list("identifier_id", flat=True)) == set(
        Identifier.objects.values_list("pk", flat=True)
    )
    assert Event.objects.count() == sum(number % 3 != 1 for number in range(ROWS))


def test_connections__of_the_threads__are_closed_behind_them(shop, tmp_path):
    load(shop, write(tmp_path, [row(number) for number in range(ROWS)]))

    until = time.monotonic() + 10  # a backend ends a moment after its connection
    while others_connected() and time.monotonic() < until:
        time.sleep(0.05)
    assert others_connected() == 0


def others_connected():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND datname = current_database() AND pid <> pg_backend_pid()"
        )
        return cursor.fetchone()[0]
