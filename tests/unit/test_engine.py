"""The bounds of the DuckDB in which people are compared."""

import duckdb
import pytest

from identity.matching import engine, scoring
from identity.matching.scoring import FrozenModel

TOO_MUCH = (
    "CREATE TABLE much AS SELECT range AS n, hash(range) AS h, repeat('x', 100) || range AS t FROM range(2000000)"
)


def test_connect__more_than_the_memory_allows__fails_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with (
        engine.connect(memory_limit="50MB", threads=1) as connection,
        pytest.raises(duckdb.OutOfMemoryException),
    ):
        connection.execute(TOO_MUCH)

    assert list(tmp_path.iterdir()) == []


def test_connect__with_a_directory_to_spill_into__writes_there_and_clears_it(tmp_path):
    with engine.connect(memory_limit="50MB", threads=1, spill_directory=str(tmp_path)) as connection:
        connection.execute(TOO_MUCH)
        during = [path for path in tmp_path.rglob("*") if path.is_file()]

    assert during
    assert list(tmp_path.iterdir()) == []


def settings_of(rules):
    return {"blocking_rules_to_generate_predictions": rules, "probability_two_random_records_match": 0.0}


def test_within_budget__loose_rule__is_left_out_for_many_and_kept_for_few():
    rules = [{"blocking_rule": "l.surname = r.surname"}, {"blocking_rule": "l.city = r.city"}]
    model = FrozenModel(settings_of(rules), {}, {})
    with engine.connect(memory_limit="1GB", threads=1) as connection:
        connection.execute(
            "CREATE TABLE record AS SELECT n AS unique_id, n // 2 AS surname, n % 10 AS city FROM range(1000) AS t (n)"
        )

        few = scoring.within_budget(connection, model, population=1000)
        many = scoring.within_budget(connection, model, population=100_000)

    assert few.settings == model.settings
    assert many.settings == settings_of(rules[:1])


def test_within_budget__rules_that_make_the_same_pairs__cost_no_more_than_one():
    """As of people with many records, whom each rule finds again; a rule that finds as many others is beyond the budget."""
    rules = [{"blocking_rule": f"l.{column} = r.{column}"} for column in ("email", "phone", "surname", "city")]
    model = FrozenModel(settings_of(rules), {}, {})
    with engine.connect(memory_limit="1GB", threads=1) as connection:
        connection.execute(
            "CREATE TABLE record AS SELECT n AS unique_id, n // 40 AS email, n // 40 AS phone, n // 40 AS surname, n % 50 AS city"
            " FROM range(2000) AS t (n)"
        )

        kept = scoring.within_budget(connection, model, population=10_000)

    assert kept.settings == settings_of(rules[:3])
