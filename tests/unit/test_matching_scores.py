"""Training and scoring with a frozen model, on a small set of synthetic people."""

import json

import pytest

from identity.matching import engine, features, scoring, thresholds, training
from identity.matching.accuracy import pairwise
from identity.resolver import Judgement, Kind, resolve
from tests import splinks
from tests.factories import febrl

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def entities():
    return dict(enumerate(entity for entity, _ in febrl.people("1")))


@pytest.fixture(scope="module")
def duck():
    with engine.connect(memory_limit="1GB", threads=2) as connection:
        rows = (
            (place, None, *(traits.get(trait) for trait in features.TRAITS))
            for place, (_, traits) in enumerate(febrl.people("1"))
        )
        assert engine.load(connection, rows) == 1000
        yield connection


@pytest.fixture(scope="module")
def model(duck):
    return training.train(duck)


def weights(duck):
    return {(left, right): weight for left, right, weight, _ in engine.pairs_above(duck, scoring.LEAST_WEIGHT)}


def ids(connection):
    return sorted(engine.records(connection).tolist())


@pytest.mark.parametrize(("size", "least", "most"), [(300, 230, 370), (1000, 1000, 1000), (200_000, 1000, 1000)])
def test_sampled__of_a_thousand_records__are_about_so_many_and_all_of_them_stay(duck, size, least, most):
    everybody = ids(duck)

    with engine.sampled(duck, size=size) as sample:
        chosen = ids(sample)
        engine.number_by_content(sample)

    assert least <= len(chosen) <= most
    assert set(chosen) <= set(everybody)
    assert ids(duck) == everybody


def test_train__on_a_sample__learns_what_it_would_from_these_records_and_leaves_nothing(duck, model):
    tables = "SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL"
    before = duck.execute(tables).fetchall()

    with engine.sampled(duck, size=1000) as sample:
        learned = training.train(sample)

    assert (learned.settings, learned.frequencies) == (model.settings, model.frequencies)
    assert duck.execute(tables).fetchall() == before


def test_model__frozen_to_json_and_thawed__scores_the_same(duck, model):
    scoring.score_batch(duck, model)
    before = weights(duck)

    thawed = scoring.FrozenModel(*json.loads(json.dumps([model.settings, model.frequencies, model.metadata])))
    scoring.score_batch(duck, thawed)

    assert len(before) >= 500
    assert weights(duck) == before


def test_score_batch__of_all_records__adds_up_what_splink_does(duck, model):
    scoring.score_batch(duck, model)
    ours = engine.pairs_above(duck, scoring.LEAST_WEIGHT)

    splinks.score_batch(duck, model)

    theirs = engine.pairs_above(duck, scoring.LEAST_WEIGHT)
    assert len(theirs) >= 500
    assert [pair[:2] for pair in ours] == [pair[:2] for pair in theirs]
    assert [pair[2] for pair in ours] == pytest.approx([pair[2] for pair in theirs], abs=1e-9)
    assert [pair[3] for pair in ours] == [pair[3] for pair in theirs]


def test_score_arrivals__of_some_records__equals_the_batch(duck, model):
    scoring.score_batch(duck, model)
    arrivals = list(range(0, 1000, 40))
    batch = {pair: weight for pair, weight in weights(duck).items() if set(pair) & set(arrivals)}

    scoring.score_arrivals(duck, model, arrivals)

    assert weights(duck) == pytest.approx(batch, abs=1e-9)
    assert len(batch) >= 20


def test_score_arrivals__of_one_record__equals_the_batch(duck, model):
    scoring.score_batch(duck, model)
    (one, other), weight = max(weights(duck).items(), key=lambda item: item[1])

    scoring.score_arrivals(duck, model, [one])

    assert weights(duck)[one, other] == pytest.approx(weight, abs=1e-9)


def test_evidence__of_a_pair__adds_up_to_its_weight(duck, model):
    scoring.score_batch(duck, model)
    prior = thresholds.log_odds(model.settings["probability_two_random_records_match"])

    for _, _, weight, parts in engine.pairs_above(duck, 10.0):
        assert prior + sum(parts.values()) == pytest.approx(weight, abs=0.01)


def test_train__without_labels__links_the_right_records(duck, model, entities):
    scoring.score_batch(duck, model)
    pairs = engine.pairs_above(duck, model.metadata["thresholds"]["upper"])
    judgements = [Judgement(left, right, True, Kind.PROBABILISTIC, weight) for left, right, weight, _ in pairs]

    clusters = resolve(dict.fromkeys(entities, "crm:id"), judgements).clusters

    assert pairwise(clusters, entities).f1 >= 0.995


def test_train__with_the_same_seed__gives_the_same_scores(duck, model):
    again = training.train(duck)

    assert again.metadata["digest"] == model.metadata["digest"]
    scoring.score_batch(duck, model)
    first = weights(duck)
    scoring.score_batch(duck, again)
    assert weights(duck) == pytest.approx(first, abs=1e-6)


def test_train__every_level__has_a_weight(model):
    for level in scoring.scored_levels(model.settings):
        assert 0 < level["m_probability"] <= 1
        assert 0 < level["u_probability"] <= 1


def test_records_of_one_source_with_unique_people__are_never_paired(model):
    people = [traits for _, traits in febrl.people("1")][:200]
    rows = [
        (place, "crm:id", *(traits.get(trait) for trait in features.TRAITS)) for place, traits in enumerate(people * 2)
    ]
    with engine.connect(memory_limit="1GB", threads=2) as connection:
        engine.load(connection, rows)
        scoring.score_batch(connection, model)

        assert engine.pairs_above(connection, scoring.LEAST_WEIGHT) == []


def test_train__too_few_records__says_so():
    rows = [(1, None, *("x" for _ in features.TRAITS))]
    with engine.connect(memory_limit="256MB", threads=1) as connection:
        engine.load(connection, rows)

        with pytest.raises(training.TooLittleToLearnError):
            training.train(connection)


def test_train__nobody_twice__says_so():
    """Strangers alone cannot show what one person's records look like."""
    strangers = [traits for entity, traits in febrl.people("4a")][:60]
    rows = [(place, None, *(traits.get(trait) for trait in features.TRAITS)) for place, traits in enumerate(strangers)]
    with engine.connect(memory_limit="256MB", threads=1) as connection:
        engine.load(connection, rows)

        with pytest.raises(training.TooLittleToLearnError):
            training.train(connection)
