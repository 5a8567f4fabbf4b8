"""Whatever the order and however often batches come, the same facts are stored."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from django.db import transaction
from hypothesis import HealthCheck, given, settings
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
