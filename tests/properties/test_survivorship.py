"""Laws of survivorship, on real Postgres: what is chosen follows from the values alone, and is what a slow reader says."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.kernel.purposes import Purpose
from cdp.models import Identifier, IdentifierTrait, SourceKind, Trait
from consent import gate
from identity import golden
from identity.models import Choice, SurvivorshipRule
from identity.survival import Candidate, Order
from tests.factories import IdentifierFactory, SourceFactory

DAY = datetime(2026, 11, 21, 12, tzinfo=UTC)
SOURCES = (("crm", 50), ("shop", 50), ("survey", 90), ("steward", 50))
IDENTIFIERS = 3

# Few values, days and sources: most choices hang on the second or third thing that is compared.
candidate = st.fixed_dictionaries(
    {
        "identifier": st.integers(0, IDENTIFIERS - 1),
        "source": st.sampled_from([0, 0, 1, 1, 2, 2, 3]),
        "value": st.sampled_from(["Lyon", "Paris", "Saint-Étienne", "Nice", 7, 12345678, True, ["a", "b"]]),
        "day": st.integers(0, 2),
        "confidence": st.sampled_from([0.5, 1.0]),
    }
)
candidates = st.lists(candidate, min_size=1, max_size=8, unique_by=lambda one: (one["identifier"], one["source"]))
rules = st.tuples(
    st.none() | st.sampled_from(Choice), st.lists(st.sampled_from([name for name, _ in SOURCES]), unique=True)
)
on_postgres = partial(
    settings, max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def chosen_slowly(found, rule, trusted):
    """One after the other, by the words of docs/golden-record.md."""
    left = list(found)

    def keep(best):
        left[:] = [one for one in left if best(one) == max(best(other) for other in left)]

    times = Counter(json.dumps(one["value"]) for one in found)
    keep(lambda one: SOURCES[one["source"]][0] == "steward")
    if SOURCES[left[0]["source"]][0] == "steward":
        rule = None
    if rule == Choice.TRUSTED_SOURCE:
        names = [name for name in trusted if any(SOURCES[one["source"]][0] == name for one in left)]
        keep(lambda one: not names or SOURCES[one["source"]][0] == names[0])
        keep(lambda one: SOURCES[one["source"]][1])
    if rule == Choice.MOST_FREQUENT:
        keep(lambda one: times[json.dumps(one["value"])])
    if rule == Choice.LONGEST:
        keep(lambda one: len(one["value"]) if isinstance(one["value"], str) else len(json.dumps(one["value"])))
    keep(lambda one: one["day"])
    keep(lambda one: SOURCES[one["source"]][1])
    keep(lambda one: one["confidence"])
    keep(lambda one: -one["identifier"])
    keep(lambda one: -one["source"])
    (last,) = left
    return last


def chosen_by_postgres(workspace, found, rule, trusted):
    """And by the explanation that people read: the two must name the same one."""
    with transaction.atomic():
        sources = [
            SourceFactory(
                workspace=workspace, name=name, trust=trust,
                kind=SourceKind.STEWARD if name == "steward" else SourceKind.HTTP,
            )
            for name, trust in SOURCES
        ]  # fmt: skip
        ids = [IdentifierFactory(workspace=workspace).pk for _ in range(IDENTIFIERS)]
        Identifier.objects.filter(pk__in=ids).update(profile_id=ids[0])
        if rule:
            SurvivorshipRule.objects.create(workspace=workspace, trait="city", choice=rule, sources=trusted)
        for one in found:
            IdentifierTrait.objects.create(
                workspace=workspace, identifier_id=ids[one["identifier"]], source=sources[one["source"]], name="city",
                value=one["value"], observed_at=DAY + timedelta(days=one["day"]), confidence=one["confidence"],
            )  # fmt: skip
        with gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk) as permit:
            golden.refresh_traits(permit, [ids[0]])
        trait = Trait.objects.get()
        explained = explained_choice(found, ids, sources, trait, trusted)
        transaction.set_rollback(True)
    return (
        (trait.value, ids.index(trait.identifier_id), [one.pk for one in sources].index(trait.source_id)),
        explained,
        trait.rule,
    )


def explained_choice(found, ids, sources, trait, trusted):
    known = [
        Candidate(
            value=one["value"], source_id=sources[one["source"]].pk, source=SOURCES[one["source"]][0],
            trust=SOURCES[one["source"]][1], is_said=SOURCES[one["source"]][0] == "steward",
            identifier_id=ids[one["identifier"]], observed_at=DAY + timedelta(days=one["day"]),
            confidence=one["confidence"],
        )
        for one in found
    ]  # fmt: skip
    order = Order.among(known, trait.rule, trusted)
    first, *others = order.sorted(known)
    assert order.lost_by(first, first) == ""
    assert all(order.lost_by(other, first) for other in others)
    return first.value, ids.index(first.identifier_id), [one.pk for one in sources].index(first.source_id)


@on_postgres()
@given(candidates, rules, st.randoms(use_true_random=False))
def test_choice__whatever_the_rule_and_the_order__is_what_a_slow_reader_says(workspace, found, rule, random):
    choice, trusted = rule
    expected = chosen_slowly(found, choice, trusted)
    shuffled = random.sample(found, len(found))

    chosen, explained, why = chosen_by_postgres(workspace, shuffled, choice, trusted)

    assert chosen == explained == (expected["value"], expected["identifier"], expected["source"])
    is_said = SOURCES[expected["source"]][0] == "steward"
    assert why == ("steward" if is_said else (choice or Choice.MOST_RECENT).value.lower())


@on_postgres(max_examples=30)
@given(candidates, st.sampled_from(Choice))
def test_choice__where_a_steward_spoke__is_the_stewards_word(workspace, found, choice):
    said = {"identifier": 1, "source": 3, "value": "said", "day": 0, "confidence": 0.5}
    others = [one for one in found if one["source"] != 3]

    chosen, _, why = chosen_by_postgres(workspace, [*others, said], choice, [])

    assert (chosen[0], why) == ("said", "steward")


# -- everybody at once ----------------------------------------------------------------------------------------------

several = st.lists(
    st.fixed_dictionaries(
        {
            "identifier": st.integers(0, 5),
            "source": st.sampled_from([0, 0, 1, 2, 3]),
            "name": st.sampled_from(["city", "city", "phone"]),
            "value": st.sampled_from(["Lyon", "Paris", False, 7]),
            "day": st.integers(0, 1),
        }
    ),
    max_size=14,
    unique_by=lambda one: (one["identifier"], one["source"], one["name"]),
)
belonging = st.lists(st.integers(0, 5), min_size=6, max_size=6)


def observed(workspace, sources, ids, found):
    return [
        IdentifierTrait(
            workspace=workspace, identifier_id=ids[one["identifier"]], source=sources[one["source"]], name=one["name"],
            value=one["value"], observed_at=DAY + timedelta(days=one["day"]),
        )
        for one in found
    ]  # fmt: skip


def settle(ids, places):
    with connection.cursor() as cursor:
        for one, place in zip(ids, places, strict=True):
            cursor.execute("UPDATE identifier SET profile_id = %s WHERE id = %s", [ids[place], one])


def lay_down(workspace, sources, ids, known, added, choice):
    """New values, where none stood; and a rule."""
    standing = {(one["identifier"], one["source"], one["name"]) for one in known}
    fresh = [one for one in added if (one["identifier"], one["source"], one["name"]) not in standing]
    IdentifierTrait.objects.bulk_create(observed(workspace, sources, ids, fresh))
    if choice:
        SurvivorshipRule.objects.create(workspace=workspace, trait="city", choice=choice, sources=["shop"])


def golden_records():
    columns = ("value", "source_id", "identifier_id", "observed_at", "confidence", "rule")
    return {(one.profile_id, one.name): [getattr(one, each) for each in columns] for one in Trait.objects.all()}


@on_postgres(max_examples=30)
@given(several, several, belonging, belonging, st.none() | st.sampled_from(Choice), st.booleans())
def test_everybody_at_once__whatever_was_known_before__is_chosen_as_by_the_pipeline(
    workspace, known, added, before, after, choice, are_good_part
):
    with transaction.atomic():
        sources = [SourceFactory(workspace=workspace, name=name, trust=trust) for name, trust in SOURCES]
        ids = sorted(IdentifierFactory(workspace=workspace).pk for _ in range(6))
        IdentifierTrait.objects.bulk_create(observed(workspace, sources, ids, known))
        with gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk) as permit:
            settle(ids, before)
            golden.refresh_traits(permit, ids)
        lay_down(workspace, sources, ids, known, added, choice)
        with gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk) as permit:
            settle(ids, after)
            was = golden_records()
            start = transaction.savepoint()
            golden.refresh_traits(permit, ids)
            by_the_pipeline = golden_records()
            transaction.savepoint_rollback(start)

            changed = golden.refreshed_traits(permit, ids, are_good_part=are_good_part)

            at_once = golden_records()
        transaction.set_rollback(True)
    assert at_once == by_the_pipeline
    assert sorted(changed) == sorted({key[0] for key in was.keys() | at_once if was.get(key) != at_once.get(key)})
