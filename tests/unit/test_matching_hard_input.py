"""Input that no file should have and many do: linkage finishes, stays bounded, and says what it set aside."""

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from identity.matching import engine, features, scoring, training

PEOPLE = 200_000
BIRTHDAY = "1970-01-01"


@pytest.fixture(scope="module")
def duck():
    with engine.connect(memory_limit="512MB", threads=1) as connection:
        yield connection


texts = st.one_of(st.text(max_size=20), st.text("aZ é9_-.,@<>Яß王\u0301", max_size=12)).filter(
    lambda text: "\0" not in text
)
records = st.fixed_dictionaries({trait: st.none() | texts for trait in features.TRAITS})


def cleaned(duck, record):
    engine.load(duck, [(0, None, *(record.get(trait) for trait in features.TRAITS))])
    found = duck.execute("SELECT * EXCLUDE (unique_id, unique_in) FROM record")
    names = [column[0] for column in found.description]
    return dict(zip(names, found.fetchall()[0], strict=True))


@settings(max_examples=10, deadline=None)
@given(record=records)
def test_clean__any_texts__makes_one_record_and_no_empty_text(duck, record):
    found = cleaned(duck, record)

    assert set(found) == set(features.COLUMNS)
    assert "" not in found.values()


@settings(max_examples=10, deadline=None)
@given(values=st.lists(texts, min_size=1, max_size=20))
def test_words_of__its_own_words__are_the_same(duck, values):
    features.learn_macros(duck)
    sql = "SELECT words_of(t) FROM (SELECT unnest($texts::VARCHAR[]) AS t)"

    once = [word for (word,) in duck.execute(sql, {"texts": values}).fetchall()]
    again = [word for (word,) in duck.execute(sql, {"texts": once}).fetchall()]

    assert again == once


@pytest.mark.slow
@pytest.mark.slow
def test_train__a_birthday_that_everybody_shares__stays_bounded_and_says_so():
    with duckdb.connect(":memory:", config={"threads": 2, "memory_limit": "2GB"}) as connection:
        nothing = ", ".join(
            f"NULL::VARCHAR AS {trait}"
            for trait in features.TRAITS
            if trait not in {"surname", "date_of_birth", "email"}
        )
        connection.execute(f"""
            CREATE TABLE raw AS SELECT n AS unique_id, NULL::VARCHAR AS unique_in, 'name' || (n // 2) AS surname,
                CASE WHEN n % 10 = 0 THEN (1940 + n // 2 % 60) || '-05-17' ELSE '{BIRTHDAY}' END AS date_of_birth,
                CASE WHEN n % 10 < 2 THEN 'front.desk@mail.example' ELSE 'mail' || (n // 2) || '@mail.example' END AS email,
                {nothing}
            FROM range({PEOPLE}) AS t(n)
        """)
        features.clean(connection)

        model = training.train(connection)

        aside = {one["rule"] for one in model.metadata["set_aside"]}
        assert {"dob", "email"} <= aside
        scoring.score_batch(connection, model)
        [(pairs,)] = connection.execute("SELECT count(*) FROM pair").fetchall()
        assert pairs <= 2 * scoring.PAIRS_OF_SMALL_DATA
