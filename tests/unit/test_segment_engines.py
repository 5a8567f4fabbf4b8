"""What is refused, and how: engines that are not installed, and rules that have no proven expression."""

import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from segments.columnar import engines
from segments.columnar.compile import UnsupportedRuleError, compile_rules
from segments.columnar.dialects import DIALECTS
from segments.language import parse_text
from segments.language.tree import Comparison, Computed

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def start_anew():
    engines._start.cache_clear()
    yield
    engines._start.cache_clear()


def test_spark__without_its_library__says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)

    with pytest.raises(engines.SparkMissingError, match="make spark"):
        engines._start()


class WithoutJava:
    def appName(self, name):  # noqa: N802  # as Spark calls it
        return self

    def master(self, name):
        return self

    def config(self, **settings):
        return self

    def getOrCreate(self):  # noqa: N802  # as Spark calls it
        raise RuntimeError("[JAVA_GATEWAY_EXITED] Java gateway process exited before sending its port number.")


def test_spark__without_java__names_it():
    with pytest.raises(engines.SparkMissingError, match="Java 17"):
        engines._session(WithoutJava())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_rule__without_a_proven_expression__is_refused_by_its_name_and_that_of_the_engine(dialect):
    rule = Computed("spent", Comparison.EQUALS, Decimal(1))

    with pytest.raises(UnsupportedRuleError, match=f"Computed .* {dialect}"):
        compile_rules([rule], dialect=dialect, now=NOW)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_query__of_a_rule__holds_no_text_of_it(dialect):
    rule = parse_text('trait "qqname" contains "qqvalue" or count of "qqevent" where "qqfield" = "qqtext" >= 1')

    query = compile_rules([rule], dialect=dialect, now=NOW)

    assert "qq" not in query.sql
    assert {"qqname", "qqvalue", "qqevent", "qqtext"} <= set(query.parameters.values())
