"""Whatever the order and however often batches come, the same facts are stored; what comes again changes no row."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from django.db import connection, transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cdp.ingestion import services as ingestion
from cdp.kernel.purposes import Purpose
from cdp.models import Event, Identifier, IdentifierTrait, InboxBatch, OutboxRow, Sighting
from consent import gate
from tests.factories import SourceFactory

RECEIVED = datetime(2026, 11, 21, 12, tzinfo=UTC)
USERS = st.sampled_from(["u1", "u2", "u3"])
DEVICES = st.sampled_from(["a1", "a2", "null"])
VALUES = st.one_of(st.sampled_from(["pro", "free", ""]), st.integers(0, 3), st.booleans(), st.none())
TRAITS = st.dictionaries(st.sampled_from(["plan", "email", "phone"]), VALUES | st.just("Ada@Example.com"))
TIMES = st.integers(0, 3).map(lambda hours: (RECEIVED - timedelta(hours=hours)).isoformat())

EVENTS = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("identify"), "userId": USERS, "timestamp": TIMES, "traits": TRAITS},
        optional={"anonymousId": DEVICES},
    ),
    st.fixed_dictionaries(
        {"type": st.just("track"), "event": st.just("Viewed"), "anonymousId": DEVICES, "timestamp": TIMES},
        optional={"userId": USERS, "properties": TRAITS},
    ),
    st.fixed_dictionaries({"type": st.just("alias"), "previousId": DEVICES, "userId": USERS, "timestamp": TIMES}),
    st.fixed_dictionaries({"type": st.just("group"), "groupId": st.just("g"), "userId": USERS, "traits": TRAITS}),
)


@st.composite
def deliveries(draw):
    """Batches of numbered events, and a second history of the same batches: shuffled, some of them repeated."""
    events = [
        {**event, "messageId": f"m{n}"} for n, event in enumerate(draw(st.lists(EVENTS, min_size=1, max_size=12)))
    ]
    cuts = sorted(draw(st.sets(st.integers(1, len(events)), max_size=4)) | {0, len(events)})
    batches = [events[start:end] for start, end in pairwise(cuts)]
    return batches, draw(st.permutations(batches + draw(st.lists(st.sampled_from(batches), max_size=3))))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories=deliveries(), together=st.booleans())
def test_batches__in_any_order_and_repetition__store_the_same(histories, together, workspace):
    once, again = histories
    assert stored_after(workspace, once, together=False) == stored_after(workspace, again, together=together)


def stored_after(workspace, batches, *, together):
    """What is there when these batches came, and were stored one by one or at once. Undone afterwards."""
    with transaction.atomic():
        source = SourceFactory(workspace=workspace, name="shop")
        for batch in batches:
            body = json.dumps({"batch": batch}).encode()
            ingestion.accept(source=source, body=body, path_kind="batch", received_at=RECEIVED)
            if not together:
                store(workspace)
        store(workspace)
        everything = snapshot()
        transaction.set_rollback(True)
    return everything


def store(workspace):
    waiting = dict(OutboxRow.objects.filter(stage="INGESTION").values_list("subject_id", "cause"))
    OutboxRow.objects.all().delete()
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk) as permit:
        ingestion.store(permit, waiting, now=RECEIVED)


def snapshot():
    names = {one.pk: str(one) for one in Identifier.objects.all()}
    assert not InboxBatch.objects.exists()
    return {
        "identifiers": sorted(names.values()),
        "events": sorted(
            (one.message_id, names[one.identifier_id], sorted(names[key] for key in one.seen_with), one.occurred_at,
             json.dumps(one.properties, sort_keys=True))
            for one in Event.objects.all()
        ),
        "traits": sorted(
            (names[one.identifier_id], one.name, json.dumps(one.value), one.observed_at) for one in IdentifierTrait.objects.all()
        ),
        "sightings": sorted(sorted((names[one.left_id], names[one.right_id])) for one in Sighting.objects.all()),
    }  # fmt: skip


# -- a replay changes no row of any table ---------------------------------------------------------------------------

LATER = RECEIVED + timedelta(days=3)
OF_THE_WORK = {
    "inbox",
    "outbox",
    "run",
    "quality_report",
}  # what is on its way, and of each load its run and its report
REFUSED = st.fixed_dictionaries({"type": st.just("track"), "userId": USERS, "event": st.just("")})
RECORDS = st.lists(
    st.fixed_dictionaries({"id": st.integers(1, 9), "email": st.sampled_from(["", "ada@example.com", "b"]), "plan": VALUES}),
    min_size=1, max_size=6, unique_by=lambda row: row["id"],
)  # fmt: skip


@st.composite
def replays(draw):
    """Batches and a file, and then what comes again of them: prefixes, in any order."""
    events = [
        {**event, "messageId": f"m{n}"}
        for n, event in enumerate(draw(st.lists(EVENTS | REFUSED, min_size=1, max_size=9)))
    ]
    cuts = sorted(draw(st.sets(st.integers(1, len(events)), max_size=3)) | {0, len(events)})
    batches = [events[start:end] for start, end in pairwise(cuts)]
    records = draw(RECORDS)
    prefixes = st.sampled_from([*batches, records]).flatmap(
        lambda whole: st.integers(1, len(whole)).map(lambda length: whole[:length])
    )
    return batches, records, draw(st.lists(prefixes, min_size=1, max_size=5))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=replays())
@example(history=([[{"type": "alias", "previousId": "u1", "userId": "u2", "messageId": "m0"}]], [{"id": 1, "email": "", "plan": 1}],
    [[{"type": "alias", "previousId": "u1", "userId": "u2", "messageId": "m0"}]]))  # fmt: skip
def test_prefixes__of_what_came__that_come_again_in_any_order__change_no_row(history, workspace, tmp_path):
    batches, records, again = history
    with transaction.atomic():
        sources = SourceFactory(workspace=workspace, name="shop"), SourceFactory(workspace=workspace, name="crm")
        for part in (*batches, records):
            bring(sources, part, tmp_path / "first.jsonl", RECEIVED)
        before = every_row()

        for number, part in enumerate(again):
            bring(sources, part, tmp_path / f"again{number}.jsonl", LATER)

        assert every_row() == before
        assert len(before["message"]) + len(before["quarantine"]) > 0
        assert len(before["record"]) == len(records)
        transaction.set_rollback(True)


def bring(sources, part, path, now):
    """A batch to the one source, or a file of records to the other; stored at once."""
    shop, crm = sources
    if "messageId" in part[0]:
        ingestion.accept(source=shop, body=json.dumps({"batch": part}).encode(), path_kind="batch", received_at=now)
        store(shop.workspace)
        return
    path.write_text("".join(json.dumps(row) + "\n" for row in part))
    ingestion.load_records(
        workspace_id=crm.workspace_id, source=crm.name, path=path, clock=lambda: now, report=lambda _: None
    )


def every_row():
    """Whole rows, keys and times included, of every table that belongs to a workspace."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.columns WHERE table_schema = 'core' AND column_name = 'workspace_id'"
        )
        tables = sorted({name for (name,) in cursor.fetchall()} - OF_THE_WORK)
        rows = {}
        for table in tables:
            cursor.execute(f"SELECT to_jsonb(t)::text FROM core.{table} t ORDER BY 1")
            rows[table] = [row for (row,) in cursor.fetchall()]
    return rows
