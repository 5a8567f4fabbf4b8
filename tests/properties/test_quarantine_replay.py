"""Whatever is replayed, in whatever order and however often: the same tables as if it had come so at first."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.ingestion import replaying
from cdp.ingestion import services as ingestion
from cdp.ingestion.mending import differences, read_mend
from cdp.ingestion.quarantine import Chosen, waiting_in
from cdp.ingestion.rereading import Circumstances, Correction, read_again
from cdp.kernel.purposes import Purpose
from cdp.models import OutboxRow, QuarantinedItem, QuarantineReading, Record, Source, SourceKind
from consent import gate
from tests.factories import SourceFactory
from tests.properties.test_ingestion_replay import TIMES, TRAITS, USERS, snapshot

RECEIVED = datetime(2026, 11, 21, 12, tzinfo=UTC)
MEND = Correction(read_mend("- {rename: user, to: userId}\n- {default: id, value: '7'}"))
NAMED = st.sampled_from(["user", "userId"])

CALLS = st.builds(
    lambda name, user, kind, at, traits: {name: user, "timestamp": at, **kind, "traits": traits},
    NAMED, USERS, st.sampled_from([{"type": "identify"}, {"type": "track", "event": "Viewed"}]), TIMES, TRAITS,
)  # fmt: skip
ROWS = st.fixed_dictionaries({"id": st.sampled_from(["1", "2", ""]), "town": st.sampled_from(["Paris", "Lyon"])})


@st.composite
def histories(draw):
    """Calls, some of them of a message that comes twice, rows of a file, and the order in which items are replayed."""
    calls = [
        {**call, "messageId": f"m{draw(st.integers(0, 6))}"} for call in draw(st.lists(CALLS, min_size=1, max_size=8))
    ]
    rows = draw(st.lists(ROWS, max_size=5))
    return calls, rows, draw(st.randoms(use_true_random=False))


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories(), batch=st.integers(1, 4))
def test_dry_run__counts_what_the_replay_counts(history, batch, workspace, tmp_path):
    calls, rows, _ = history
    with transaction.atomic(), smaller_batches(batch):
        arrive(workspace, tmp_path, calls, rows)
        asked = {"workspace_id": workspace.pk, "chosen": Chosen(), "correction": MEND}
        seen = replaying.preview(**asked)
        counts = replay(workspace, Chosen()) if seen.chosen else {}
        names = ("read", "accepted", "duplicates", "refused")
        transaction.set_rollback(True)

    assert {name: getattr(seen, name) for name in names} == {name: counts.get(name, 0) for name in names}


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories(), batch=st.integers(1, 4))
def test_items__replayed_one_by_one_in_any_order_and_repetition__store_what_all_at_once_do(
    history, batch, workspace, tmp_path
):
    calls, rows, chance = history
    calls = [{**call, "messageId": f"n{number}"} for number, call in enumerate(calls)]

    with transaction.atomic(), smaller_batches(batch):
        arrive(workspace, tmp_path, calls, rows)
        if waiting(workspace):
            replay(workspace, Chosen())
        at_once = everything()
        transaction.set_rollback(True)
    with transaction.atomic():
        arrive(workspace, tmp_path, calls, rows)
        ids = waiting(workspace)
        for item in chance.sample(ids * 2, len(ids) * 2):
            if waiting(workspace, ids=(item,)):
                replay(workspace, Chosen(ids=(item,)))
        one_by_one = everything()
        transaction.set_rollback(True)
    with transaction.atomic():
        arrive(workspace, tmp_path, [mended(call) for call in calls], [{**row, "id": row["id"] or "7"} for row in rows])
        came_so = everything()
        transaction.set_rollback(True)

    assert one_by_one == at_once
    assert came_so == at_once


READINGS = st.sampled_from(
    [
        None,
        {"call": "track", "sentAt": "2026-11-21T12:00:00Z"},
        {"call": "batch", "sentAt": 3, "shared": {"context": {"ip": 1}, "integrations": []}},
        {"rows": "events", "mapping": None, "region": "FR", "columns": ["a", "b"], "has_types": False},
        {"rows": "events", "mapping": {"identifiers": {"email": "a"}}, "region": "", "columns": [], "has_types": True},
        {"rows": "records", "mapping": {"key": "a", "key_type": "crm:id"}, "columns": ["a", "b"], "has_types": False},
        {"rows": "records", "mapping": None, "columns": ["a", "b"], "has_types": True},
    ]
)
WORDS = st.sampled_from(["a", "b", "type", "event", "userId", "context", "traits", "timestamp", "messageId"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(["track", "alias"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=20,
)
TEXTS = JSON.map(json.dumps) | st.text() | st.sampled_from(['1,"x', "a;b", "1,2\n3,4", "\x00", "[" * 5_000])


@settings(max_examples=150, deadline=None)
@given(raw=TEXTS, reading=READINGS, mapping=st.sampled_from([None, {"key": "a"}, {"event": "a"}]), mend=JSON)
def test_anything__that_lies_in_quarantine__is_read_or_refused_with_a_reason(raw, reading, mapping, mend):
    correction = Correction(
        read_mend(json.dumps([{"default": "type", "value": mend}, {"truncate": "a", "length": 3}])), mapping
    )
    item = QuarantinedItem(
        id=1, source=Source(id=1, name="crm"), received_at=RECEIVED, place="track[0]", raw=raw, digest=b"0" * 32,
        reading=reading and QuarantineReading(body=reading),
    )  # fmt: skip

    once, again = (read_again(item, correction, Circumstances("FR")) for _ in range(2))

    assert bool(once.says) is not bool(once.code)
    assert (once.says, once.code) == (again.says, again.code)
    assert list(differences(once.before, once.after)) == [] or once.before is not once.after


def mended(call):
    return {("userId" if name == "user" else name): value for name, value in call.items()}


def arrive(workspace, tmp_path, calls, rows):
    """The calls together, then each row in a file of its own: one at a time, as days pass."""
    shop = SourceFactory(workspace=workspace, name="shop")
    SourceFactory(workspace=workspace, name="crm", kind=SourceKind.FILE)
    body = json.dumps({"batch": calls}).encode()
    ingestion.accept(source=shop, body=body, path_kind="batch", received_at=RECEIVED)
    waiting = dict(OutboxRow.objects.filter(stage="INGESTION").values_list("subject_id", "cause"))
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk) as permit:
        ingestion.store(permit, waiting, now=RECEIVED)
    for number, row in enumerate(rows):
        path = tmp_path / f"row{number}.jsonl"
        path.write_text(json.dumps({**row, "nr": number}) + "\n")
        ingestion.load_records(
            workspace_id=workspace.pk, source="crm", path=path, report=lambda _: None,
            clock=lambda at=RECEIVED + timedelta(days=number): at,
        )  # fmt: skip


def waiting(workspace, **chosen):
    found = waiting_in(Chosen(**chosen), workspace_id=workspace.pk)
    return list(found.order_by("pk").values_list("pk", flat=True))


def replay(workspace, chosen):
    now = RECEIVED + timedelta(days=30)
    run = replaying.order_replay(workspace_id=workspace.pk, chosen=chosen, correction=MEND, asked_by=None, now=now)
    return replaying.work(workspace_id=workspace.pk, run_id=run.pk, clock=lambda: now, seconds=60).counts


def everything():
    records = {record.key: (record.fields, record.loaded_at) for record in Record.objects.all()}
    assert not QuarantinedItem.objects.filter(replayed_at=None).exists()
    return {**snapshot(), "records": records}


class smaller_batches:  # noqa: N801  # a context manager, where hypothesis forbids monkeypatch
    def __init__(self, items):
        self.items = items

    def __enter__(self):
        self.usual, replaying.BATCH_ITEMS = replaying.BATCH_ITEMS, self.items

    def __exit__(self, *_):
        replaying.BATCH_ITEMS = self.usual
