"""What arrives is compared at once, and a later batch has nothing to add: the same pairs, weights, people and ids."""

import itertools
import json

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.ingestion import storing
from cdp.ingestion.storing import Encounter
from cdp.kernel.identifiers import Identifier as Named
from cdp.kernel.purposes import Purpose
from cdp.models import Cause, Identifier, IdentifierTrait, Trait
from cdp.models.digests import identifier_digest
from consent import erasure, gate
from consent.models import ConsentState
from identity import linkage, queries
from identity import records as bulk
from identity import services as identity
from identity import training as identity_training
from identity.live import index, records, stage
from identity.matching import engine, features, few, scoring, training
from identity.models import (
    BlockingIndex,
    BlockingKey,
    IdentityRules,
    Judgement,
    LinkageModel,
    Refusal,
    ReviewPair,
    SurvivorshipRule,
)
from tests.factories import IdentifierFactory, SourceFactory, WorkspaceFactory, febrl, say

pytestmark = pytest.mark.slow

PEOPLE = 60
MANY = 250
SAME = 1_000_000_007  # no sequence comes so far
IS_DAY_FIRST = True  # of dates that nobody has said


def some_people(many):
    chosen = {entity for entity, _ in itertools.islice(febrl.people("4a"), many)}
    return [traits for name in ("4a", "4b") for entity, traits in febrl.people(name) if entity in chosen]


@pytest.fixture(scope="module")
def frozen():
    rows = [
        (place, None, *(person.get(trait) for trait in features.TRAITS))
        for place, person in enumerate(some_people(MANY))
    ]
    with engine.connect(memory_limit="1GB", threads=2) as duck:
        engine.load(duck, rows)
        return training.train(duck)


@pytest.fixture
def workspace(db):
    """Under one id throughout the module, like its model: what is made of a model is made once in a process."""
    made = WorkspaceFactory(pk=SAME)
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('tessera.workspace', %s, true)", [str(made.pk)])
    return made


@pytest.fixture(scope="module", autouse=True)
def nothing_left_in_memory():
    """No model of another module has the same id, and none of this one is left to the next."""
    yield
    for made in (index._few, index._many, index._frozen, index._thresholds):
        made.cache_clear()


@pytest.fixture
def model(workspace, frozen):
    return LinkageModel.objects.create(
        pk=SAME,
        workspace=workspace,
        version=1,
        settings=frozen.settings,
        frequencies=frozen.frequencies,
        metadata=frozen.metadata,
    )


@pytest.fixture
def source(workspace):
    return SourceFactory(workspace=workspace, name="crm")


@pytest.fixture
def live(workspace, model, now):
    """An index of nobody yet, as `build_index` leaves it: whoever comes now is compared at once."""
    BlockingIndex.objects.create(workspace=workspace, model=model, is_day_first=IS_DAY_FIRST, built_at=now)
    return model


def come(workspace, people):
    return Identifier.objects.bulk_create(
        Identifier(workspace=workspace, type="crm:id", value=f"{place}", digest=identifier_digest("crm:id", f"{place}"))
        for place, _ in enumerate(people)
    )


def say_of(identifier, source, traits, now):
    IdentifierTrait.objects.filter(identifier=identifier).delete()
    IdentifierTrait.objects.bulk_create(
        IdentifierTrait(
            workspace_id=identifier.workspace_id, identifier=identifier, source=source, name=name, value=value,
            observed_at=now,
        )
        for name, value in traits.items()
    )  # fmt: skip


def arrive(workspace, identifiers, now, cause=Cause.LEARNT):
    subjects = dict.fromkeys((one.pk for one in identifiers), cause)
    with gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk) as permit:
        return stage.link(permit, subjects, now=now)


def resolve(workspace, now):
    return linkage.resolve(workspace_id=workspace.pk, clock=lambda: now)


def judged():
    current = Judgement.objects.filter(retracts=None, retraction=None, kind="PROBABILISTIC")
    return {(left, right): weight for left, right, weight in current.values_list("left_id", "right_id", "weight")}


def asked():
    return {
        (left, right): weight for left, right, weight in ReviewPair.objects.values_list("left_id", "right_id", "weight")
    }


def profiles():
    return dict(Identifier.objects.values_list("pk", "profile_id"))


@pytest.fixture
def one_and_other(workspace, live, source, now):
    """Two records of one person: the second one arrives."""
    people = [some_people(MANY)[0], {**some_people(MANY)[0], "city": "elsewhere"}]
    pair = come(workspace, people)
    for identifier, traits in zip(pair, people, strict=True):
        say_of(identifier, source, traits, now)
    arrive(workspace, pair[:1], now)
    return pair


def test_arrival__that_says_what_another_record_says__is_linked_at_once(workspace, one_and_other, live, now):
    one, other = one_and_other

    touched = arrive(workspace, [other], now)

    assert profiles() == {one.pk: one.pk, other.pk: one.pk}
    assert touched == {one.pk: Cause.MERGE, other.pk: Cause.MERGE}
    judgement = Judgement.objects.get()
    assert (judgement.left_id, judgement.right_id, judgement.model_id) == (one.pk, other.pk, live.pk)
    assert judgement.weight >= live.metadata["thresholds"]["upper"]
    assert {"given_name", "surname", "date_of_birth"} <= judgement.evidence.keys()


def test_arrival__again_unchanged__writes_nothing(workspace, one_and_other, now):
    arrive(workspace, one_and_other, now)
    before = judged(), asked(), set(BlockingKey.objects.values_list("key", "identifier_id"))

    arrive(workspace, one_and_other, now)

    assert (judged(), asked(), set(BlockingKey.objects.values_list("key", "identifier_id"))) == before
    assert Judgement.objects.count() == 1


def test_arrival__that_says_something_else_now__is_parted_again(workspace, one_and_other, source, now):
    one, other = one_and_other
    arrive(workspace, [other], now)
    say_of(other, source, some_people(MANY)[7], now)

    arrive(workspace, [other], now)

    assert judged() == {}
    assert Judgement.objects.filter(retracts__isnull=False).count() == 1
    assert profiles() == {one.pk: one.pk, other.pk: other.pk}


def test_arrival__with_one_trait_left__has_no_keys(workspace, one_and_other, source, now):
    one, other = one_and_other
    arrive(workspace, [other], now)
    say_of(other, source, {"city": "Paris"}, now)

    arrive(workspace, [other], now)

    assert not BlockingKey.objects.filter(identifier_id=other.pk).exists()
    assert BlockingKey.objects.filter(identifier_id=one.pk).count() >= 10
    assert judged() == {}


def test_arrival__of_somebody_who_objects__is_not_compared(workspace, one_and_other, now):
    one, other = one_and_other
    say(one, Purpose.IDENTITY, ConsentState.REFUSED)

    arrive(workspace, [other], now)

    assert judged() == {}
    assert asked() == {}


def test_arrival__of_somebody_who_permits_now__is_compared(workspace, one_and_other, now):
    one, other = one_and_other
    say(other, Purpose.IDENTITY, ConsentState.REFUSED)
    arrive(workspace, [other], now)
    assert not BlockingKey.objects.filter(identifier_id=other.pk).exists()
    say(other, Purpose.IDENTITY, ConsentState.GIVEN, at=now)

    arrive(workspace, [other], now, cause=Cause.CONSENT)

    assert judged().keys() == {(one.pk, other.pk)}


def test_erasure__of_a_person__takes_the_keys_along(workspace, one_and_other, source, now):
    one, other = one_and_other
    say_of(other, source, some_people(MANY)[7], now)
    arrive(workspace, [other], now)

    erasure.erase_person(workspace_id=workspace.pk, identifier=Named("crm:id", one.value), now=now)

    assert set(BlockingKey.objects.values_list("identifier_id", flat=True)) == {other.pk}


def test_arrival__after_an_undo__is_not_merged_again(workspace, one_and_other, now):
    one, other = one_and_other
    arrive(workspace, [other], now)
    identity.undo_merge(workspace_id=workspace.pk, left_id=one.pk, right_id=other.pk, author=None, now=now)

    arrive(workspace, [one, other], now)

    assert judged() == {}
    assert asked() == {}


def test_arrival__between_the_thresholds__is_asked_and_not_linked(workspace, one_and_other, live, frozen, now):
    newer = LinkageModel.objects.create(
        workspace=workspace, version=2, settings=frozen.settings, frequencies=frozen.frequencies,
        metadata={**frozen.metadata, "thresholds": {"lower": 0.0, "upper": 1000.0}},
    )  # fmt: skip
    index.build_index(workspace_id=workspace.pk, now=now)

    arrive(workspace, one_and_other, now)

    pair = ReviewPair.objects.get()
    assert (pair.left_id, pair.right_id, pair.model_id) == (*(one.pk for one in one_and_other), newer.pk)
    assert 0 < pair.weight < 1000
    assert judged() == {}


def test_arrival__where_the_latest_model_has_no_index__waits_for_the_batch(workspace, one_and_other, frozen, now):
    LinkageModel.objects.create(
        workspace=workspace,
        version=2,
        settings=frozen.settings,
        frequencies=frozen.frequencies,
        metadata=frozen.metadata,
    )
    keys = BlockingKey.objects.count()

    arrive(workspace, one_and_other, now)

    assert judged() == {}
    assert BlockingKey.objects.count() == keys


def test_arrival__whose_key_too_many_share__is_left_to_the_batch(workspace, one_and_other, monkeypatch, now):
    monkeypatch.setattr(records, "MOST_OF_A_KEY", 1)

    arrive(workspace, [one_and_other[1]], now)
    assert judged() == {}
    result = resolve(workspace, now)

    assert result["judgements"] == len(judged()) == 1


def test_arrival__with_more_candidates_than_a_few__is_weighed_by_duckdb_alike(
    workspace, one_and_other, monkeypatch, now
):
    monkeypatch.setattr(index, "FEW", 1)

    arrive(workspace, [one_and_other[1]], now)
    by_duckdb = judged()
    monkeypatch.setattr(index, "FEW", 150)
    arrive(workspace, [one_and_other[1]], now)

    assert list(by_duckdb) == [tuple(one.pk for one in one_and_other)]
    assert judged() == by_duckdb
    assert Judgement.objects.count() == 1


def test_arrival__with_a_model_that_only_duckdb_understands__is_linked_too(
    workspace, one_and_other, monkeypatch, now, log
):
    monkeypatch.setattr(features, "macros", lambda: ())
    index._few.cache_clear()
    few._cleaning.cache_clear()

    arrive(workspace, [one_and_other[1]], now)

    index._few.cache_clear()
    assert len(judged()) == 1
    assert log.has("model.not_read", level="warning", workspace=workspace.pk)


def test_arrival__behind_a_pooler_that_keeps_no_plans__is_linked_too(workspace, one_and_other, settings, now):
    settings.DATABASE_PREPARED_STATEMENTS = False
    before = connection.connection.cursor_factory

    arrive(workspace, [one_and_other[1]], now)

    assert len(judged()) == 1
    assert connection.connection.cursor_factory is before


def test_arrival__under_rules_of_every_kind__is_resolved_alike_with_plans_kept(workspace, live, source, settings, now):
    """What is sent beside a statement has a type: each statement of the stage must take it."""
    IdentityRules.objects.create(
        workspace=workspace, priority=["user_id", "email"], limits={"email": 1}, blocked_patterns=["^phone:.*1$"],
        windows={"phone": {"most": 1, "days": 2}}, shared_after=3,
    )  # fmt: skip
    SurvivorshipRule.objects.create(workspace=workspace, trait="city", choice="LONGEST")
    made = [IdentifierFactory(workspace=workspace, type=kind, value=value) for kind, value in MANY_KINDS]
    for one, city in zip(made, ("Paris", "Marseille", "Lyon", "Nice", "Lille", "Metz"), strict=True):
        say_of(one, source, {**some_people(MANY)[0], "city": city}, now)
    encounters = [
        Encounter((0, 1, 2), source.pk, now),
        Encounter((0, 3, 4), source.pk, now),
        Encounter((1, 5), source.pk, now),
    ]
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace.pk) as permit:
        storing.sight(permit, encounters, {place: one.pk for place, one in enumerate(made)})

    outcomes = []
    for is_kept in (True, False):
        settings.DATABASE_PREPARED_STATEMENTS = is_kept
        with transaction.atomic():
            arrive(workspace, made, now)
            arrive(workspace, made[1:2], now)
            refused = set(Refusal.objects.values_list("left_id", "right_id", "reason"))
            outcomes.append(
                (profiles(), judged(), refused, set(Trait.objects.values_list("profile_id", "name", "rule")))
            )
            transaction.set_rollback(True)

    assert outcomes[0] == outcomes[1]
    assert len(set(outcomes[0][0].values())) < len(made)
    assert outcomes[0][2] != set()
    assert {"longest"} <= {rule for _, _, rule in outcomes[0][3]}


MANY_KINDS = (
    ("user_id", "1"), ("email", "a@x.fr"), ("phone", "+33100000001"), ("email", "b@x.fr"), ("phone", "+33100000002"),
    ("anonymous_id", "c"),
)  # fmt: skip


def test_index__without_a_model__says_what_to_do(workspace, now):
    with pytest.raises(index.NoModelError, match="identity train"):
        index.build_index(workspace_id=workspace.pk, now=now)

    assert not BlockingIndex.objects.exists()


def test_index__of_nobody__has_no_keys_and_is_there(workspace, model, now):
    built = index.build_index(workspace_id=workspace.pk, now=now)

    assert (built["model"], built["records"], built["keys"]) == (1, 0, 0)
    made = BlockingIndex.objects.get()
    assert (made.pk, made.model_id, made.is_day_first, made.built_at) == (workspace.pk, model.pk, IS_DAY_FIRST, now)


def test_index__built_at_once__has_the_keys_that_arrivals_made(workspace, one_and_other, live, now, capsys):
    arrive(workspace, one_and_other, now)
    made = set(BlockingKey.objects.values_list("key", "identifier_id"))
    BlockingKey.objects.all().delete()

    call_command("identity", "index", "--json", workspace=workspace.slug)

    assert set(BlockingKey.objects.values_list("key", "identifier_id")) == made
    printed = json.loads(capsys.readouterr().out)
    assert (printed["model"], printed["records"], printed["keys"]) == (1, 2, len(made))


def test_keys__of_another_workspace__are_other_hashes(workspace):
    assert index.salt_of(workspace.pk) != index.salt_of(workspace.pk + 1)


# -- any order, any batches -----------------------------------------------------------------------------------------

orders = st.permutations(range(2 * PEOPLE))
cuts = st.lists(st.integers(1, 2 * PEOPLE - 1), max_size=4, unique=True).map(sorted)
changes = st.lists(st.tuples(st.integers(0, 2 * PEOPLE - 1), st.integers(0, 2 * PEOPLE - 1)), max_size=5)


def batch_alone(workspace, model):
    """The pairs that the batch would judge of the same records, without anything that was judged before."""
    rules = queries.rules_of(workspace.pk)
    with (
        gate.permit(Purpose.IDENTITY, workspace_id=workspace.pk),
        engine.connect(memory_limit="1GB", threads=2) as duck,
    ):
        bulk.load(duck, rules, workspace_id=workspace.pk)
        scoring.score_batch(duck, identity_training.thawed(model))
        return {pair[:2]: pair[2] for pair in engine.pairs_above(duck, model.metadata["thresholds"]["upper"])}


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(order=orders, cuts=cuts, changes=changes)
def test_any_order_of_arrival__and_the_batch_after_it__agree(order, cuts, changes, workspace, live, source, now):
    with transaction.atomic():
        people = some_people(PEOPLE)
        identifiers = come(workspace, people)
        for begin, end in itertools.pairwise([0, *cuts, len(order)]):
            for place in order[begin:end]:
                say_of(identifiers[place], source, people[place], now)
            arrive(workspace, [identifiers[place] for place in order[begin:end]], now)
        for who, like in changes:  # somebody says what another one says
            say_of(identifiers[who], source, people[like], now)
            arrive(workspace, [identifiers[who]], now)
        at_once, people_at_once = judged(), profiles()

        later = resolve(workspace, now)
        arrive(workspace, identifiers, now, cause=Cause.MERGE)

        assert at_once == pytest.approx(batch_alone(workspace, live), abs=1e-9)
        assert len(at_once) >= PEOPLE / 2
        assert later["judgements"] == 0
        assert judged() == at_once
        assert profiles() == people_at_once
        transaction.set_rollback(True)
