"""Whatever order the same events arrive in, and however they are cut into batches, the people are the same."""

from datetime import UTC, datetime, timedelta
from functools import partial

from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.ingestion import storing
from cdp.ingestion.storing import Encounter
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier
from consent import gate
from identity.live import stage
from identity.models import IdentityRules
from tests.factories import IdentifierFactory, SourceFactory

DAY = datetime(2026, 11, 21, 12, tzinfo=UTC)
NODES = (
    ("user_id", "1"), ("user_id", "2"), ("user_id", "3"), ("email", "a@x.fr"), ("email", "b@x.fr"),
    ("email", "info@x.fr"), ("phone", "+33100000001"), ("phone", "+33100000002"), ("anonymous_id", "c"), ("crm:id", "7"),
)  # fmt: skip
TYPES = sorted({kind for kind, _ in NODES})

event = st.tuples(st.lists(st.sampled_from(range(len(NODES))), min_size=2, max_size=3, unique=True), st.integers(0, 6))
windows = st.dictionaries(
    st.sampled_from(TYPES), st.fixed_dictionaries({"most": st.integers(1, 2), "days": st.integers(1, 4)}), max_size=2
)
rules = st.fixed_dictionaries(
    {
        "priority": st.lists(st.sampled_from(TYPES), unique=True),
        "limits": st.dictionaries(st.sampled_from([*TYPES, "*"]), st.integers(1, 3), max_size=3),
        "windows": windows,
        "blocked_values": st.sampled_from([[], ["B@x.fr"]]),
        "blocked_patterns": st.sampled_from([[], ["^phone:.*1$"]]),
        "has_role_addresses_blocked": st.booleans(),
        "shared_after": st.integers(1, 4),
    }
)
on_postgres = partial(
    settings, max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def people_after(workspace, source, batches, laid_down):
    """Store each batch as it comes, resolve whoever is touched, and tell who is together, by name."""
    with transaction.atomic():
        IdentityRules.objects.create(workspace=workspace, **laid_down)
        for batch in batches:
            arrive(workspace, source, batch)
        together = {}
        for kind, value, profile in Identifier.objects.values_list("type", "value", "profile_id"):
            together.setdefault(profile, set()).add((kind, value))
        transaction.set_rollback(True)
    return {frozenset(names) for names in together.values()}


def arrive(workspace, source, batch):
    known = {(one.type, one.value): one.pk for one in Identifier.objects.all()}
    ids = {}
    for nodes, _ in batch:
        for node in nodes:
            kind, value = NODES[node]
            if (kind, value) not in known:
                known[kind, value] = IdentifierFactory(workspace=workspace, type=kind, value=value).pk
            ids[node] = known[kind, value]
    encounters = [Encounter(tuple(nodes), source.pk, DAY + timedelta(days=day)) for nodes, day in batch]
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk) as permit:
        touched = storing.sight(permit, encounters, ids) | set(ids.values())
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk) as permit:
        stage.link(permit, dict.fromkeys(touched, Cause.LEARNT), now=DAY)


@on_postgres()
@given(st.lists(event, min_size=1, max_size=8), rules, st.randoms(use_true_random=False), st.integers(1, 4))
def test_people__in_any_order_and_any_batches__are_the_same(workspace, events, laid_down, random, size):
    source = SourceFactory(workspace=workspace)
    shuffled = random.sample(events, len(events))
    batches = [shuffled[place : place + size] for place in range(0, len(shuffled), size)]

    in_order = people_after(workspace, source, [events], laid_down)
    as_it_came = people_after(workspace, source, batches, laid_down)

    assert as_it_came == in_order
