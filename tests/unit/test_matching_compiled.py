"""A model made ready once cleans, finds and weighs as the batch does."""

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from identity.matching import blocking, compiled, engine, features, scoring, training
from tests.factories import febrl

ASKED = "SELECT words_of(t), said(t) FROM (SELECT unnest($texts::VARCHAR[]) AS t)"


@pytest.fixture(scope="module")
def macros():
    """The same functions as the batch and as an arrival has them."""
    with duckdb.connect(":memory:") as batch, duckdb.connect(":memory:") as quick:
        for connection in (batch, quick):
            features.learn_macros(connection)
        for macro in compiled._QUICK_MACROS:
            quick.execute(macro)
        yield batch, quick


texts = st.one_of(st.text(max_size=12), st.text("aZ é9_-.Яß\u0301", max_size=8), st.sampled_from(features.PLACEHOLDERS))


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.none() | texts.filter(lambda text: "\0" not in text), min_size=1, max_size=20))
def test_quick_macros__of_any_texts__say_what_those_of_the_batch_say(macros, values):
    batch, quick = (connection.execute(ASKED, {"texts": values}).fetchall() for connection in macros)

    assert quick == batch


def test_blockings__of_rules__are_their_equalities():
    rules = [
        '(l."surname" = r."surname") AND (left(l."dob", 4) = left(r."dob", 4)) AND (l.unique_in <> r.unique_in)',
        "l.given_name = r.surname AND l.surname = r.given_name AND (l.unique_in <> r.unique_in)",
        "l.city LIKE r.city",
    ]
    model = {"blocking_rules_to_generate_predictions": [{"blocking_rule": rule} for rule in rules]}

    found = blocking.blockings(model)

    assert found == [
        blocking.Blocking(('"surname"', 'LEFT("dob", 4)'), ('"surname"', 'LEFT("dob", 4)')),
        blocking.Blocking(("given_name", "surname"), ("surname", "given_name")),
    ]
    assert [one.is_symmetric for one in found] == [True, False]
    assert blocking.condition_sql({"blocking_rules_to_generate_predictions": [{"blocking_rule": rules[0]}]}) == (
        "(l.unique_in <> r.unique_in)"
    )
    assert blocking.condition_sql(model) == " OR ".join(f"({rule})" for rule in rules)


@pytest.mark.slow
def test_compiled_model__of_all_records__finds_and_weighs_the_pairs_of_the_batch():
    rows = [
        (place, None, *(traits.get(trait) for trait in features.TRAITS))
        for place, (_, traits) in enumerate(febrl.people("1"))
    ]
    with engine.connect(memory_limit="1GB", threads=2) as duck:
        engine.load(duck, rows)
        is_day_first = features.says_day_first(duck)
        frozen = training.train(duck)
        scoring.score_batch(duck, frozen)
        batch = {pair[:2]: pair[2:] for pair in engine.pairs_above(duck, 0)}
    model = compiled.CompiledModel(frozen, is_day_first=is_day_first, salt="pepper", memory_limit="1GB")

    with model.at_work():
        model.add(rows)
        kept, asked = model.keys()
        weighed = {pair[:2]: pair[2:] for pair in model.weigh(sharing(kept, asked), 0)}

    assert weighed.keys() == batch.keys()
    assert len(batch) >= 480
    assert all(weighed[pair][0] == pytest.approx(batch[pair][0], abs=1e-9) for pair in batch)
    assert all(weighed[pair][1] == pytest.approx(batch[pair][1], abs=1e-3) for pair in batch)
    with model.at_work():
        assert model.keys() == ([], [])  # nothing personal outlives its judgement


def sharing(kept, asked):
    by_key = {}
    for record, key in kept:
        by_key.setdefault(key, set()).add(record)
    return [(one, other) for one, key in asked for other in by_key.get(key, ()) if one != other]
