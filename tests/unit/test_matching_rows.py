"""A few records are cleaned, found and weighed in Python as DuckDB does it, whatever they say."""

import itertools

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from identity.matching import compiled, few, training
from identity.matching.engine import connect, load
from identity.matching.features import TRAITS
from identity.matching.rows import functions, letters
from identity.matching.rows.expressions import Reader, UnknownSQLError
from identity.matching.rows.patterns import UnknownPatternError, python
from tests.factories import febrl

COLUMNS = {"a": "VARCHAR", "b": "VARCHAR", "n": "INTEGER", "x": "DOUBLE"}
# Whatever the rules of matching are made of, and what of it is easily got wrong.
EXPRESSIONS = (
    "a = b", "a <> b OR a IS NULL", "a < b AND NOT n > 2", "NOT (a IN ('a', 'b'))", "a BETWEEN 'a' AND 'c'",
    "CASE WHEN a = b THEN 1 WHEN n >= 1 THEN 2 END", "CASE n WHEN 0 THEN a WHEN 1 THEN b ELSE 'z' END",
    "coalesce(NULLIF(a, ''), b)", "greatest(x, n)", "least(x, 1.5)", "a || '|' || b", "concat_ws(' ', a, b)",
    "length(a)", "strlen(a)", "left(a, 2)", "right(a, 3)", "substr(a, 2)", "lpad(a, 3, '0')", "a[2:3]", "unicode(a)",
    "split_part(a, ' ', 2)", "split_part(a, ' ', -1)", "string_split(a, ' ')[2]", "contains(a, b)",
    "starts_with(a, b)", "replace(replace(a, 'a', 'bb'), 'b', 'c')", "replace(a, b, 'c')", "translate(a, 'aab', 'xyz')",
    "translate(a, 'abc', 'x')", "TRY_CAST(regexp_extract(a, '[0-9]+') AS INT)", "n + x * 2.0 - 1", "x / 4", "round(x, 3)",
    "lower(a)", "strip_accents(a)", "trim(a)", "lower(strip_accents(a))",
    r"regexp_replace(a, '[^\p{L}\p{N}]+', ' ', 'g')", r"regexp_replace(a, '\s', '_')", r"regexp_matches(a, '^\S+$')",
    r"regexp_extract(a, '\b(\w+)$', 1)", r"regexp_extract_all(a, '\d+')", "regexp_matches(a, '^a.*b')",
    "regexp_replace(a, '(a|ab)c?', '', 'g')",
    "list_aggregate(list_transform(string_split(a, ' '), lambda word: left(word, 1)), 'string_agg', '')",
    "list_filter(string_split(a, ' '), lambda word: NOT list_contains(string_split(b, ' '), word))",
    "array_to_string(string_split(a, ''), '.')", "len(list_intersect(string_split(a, ' '), string_split(b, ' ')))",
    "len(list_distinct(list_concat(string_split(a, ' '), string_split(b, ' '))))",
    "jaro_winkler_similarity(a, b)", "jaro_similarity(a, b)", "damerau_levenshtein(a, b)", "levenshtein(a, b)",
    "damerau_levenshtein(a, b) <= 1 OR damerau_levenshtein(a, b) <= 2", "levenshtein(a, b) <= 2",
)  # fmt: skip

texts = st.one_of(
    st.text("ab c", max_size=9),
    st.text("aAbÉéß0129 _.-\t\n\u0301\u00a0Яж", max_size=12),
    st.text(max_size=8),
    st.text(st.characters(min_codepoint=0x1100, max_codepoint=0x11FF) | st.sampled_from("각aé"), max_size=4),
).filter(lambda text: "\0" not in text)
rows = st.fixed_dictionaries(
    {"a": st.none() | texts, "b": st.none() | texts, "n": st.none() | st.integers(0, 3)}
    | {"x": st.none() | st.floats(-1000, 1000).map(lambda x: round(x, 4))}
)


@pytest.fixture(scope="module")
def duck():
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        connection.execute(f"CREATE TABLE given ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})")
        yield connection


@pytest.fixture(scope="module")
def read():
    reader = Reader()
    return [reader.function(one, COLUMNS) for one in EXPRESSIONS]


@settings(max_examples=40, deadline=None)
@given(row=rows)
@example(row={"a": "", "b": "", "n": None, "x": 0.0005})
@example(row={"a": "1990-03-12", "b": "1990-12-03", "n": 1, "x": -0.0015})
@example(row={"a": "dwayne", "b": "duane", "n": 3, "x": None})
def test_expressions__of_any_row__say_what_duckdb_says(row, duck, read):
    duck.execute("DELETE FROM given")
    duck.execute("INSERT INTO given VALUES (?, ?, ?, ?)", [row[column] for column in COLUMNS])
    expected = duck.execute(f"SELECT {', '.join(EXPRESSIONS)} FROM given").fetchall()[0]

    said = [function(dict(row)) for function in read]

    different = {
        text: (mine, theirs) for text, mine, theirs in zip(EXPRESSIONS, said, expected, strict=True) if mine != theirs
    }
    assert different == {}


@settings(max_examples=200, deadline=None)
@given(one=st.text("abcd", max_size=8), other=st.text("abcd", max_size=8), most=st.integers(0, 3))
def test_a_distance__that_cannot_be_so_small__is_not(one, other, most):
    if not functions.may_be_within(one, other, most):
        assert functions.damerau_levenshtein(one, other) > most


@pytest.mark.parametrize("sql", ["soundex(a)", "no_such_column", "CAST(a AS DATE)", "regexp_replace(a, 'x*', '')"])
def test_reader__of_what_it_does_not_know__refuses_it_at_once(sql):
    with pytest.raises(UnknownSQLError):
        Reader().function(sql, COLUMNS)


def test_pattern__with_a_class_that_python_has_not__is_refused():
    with pytest.raises(UnknownPatternError):
        python(r"\z")


def test_letters__of_plain_text__need_nothing_of_duckdb(monkeypatch):
    monkeypatch.delattr(letters, "known")

    assert (letters.lower("ÀB"[1]), letters.strip_accents("ab"), letters.trim(" a\t")) == ("b", "ab", "a\t")


# -- whole records ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models():
    chosen = {entity for entity, _ in itertools.islice(febrl.people("4a"), 250)}
    people = [traits for name in ("4a", "4b") for entity, traits in febrl.people(name) if entity in chosen]
    raw = [(place, None, *(traits.get(trait) for trait in TRAITS)) for place, traits in enumerate(people)]
    with connect(memory_limit="1GB", threads=1) as duck:
        load(duck, raw)
        frozen = training.train(duck)
    made = {"is_day_first": True, "salt": "pepper"}
    return raw, few.FewRecords(frozen, **made), compiled.CompiledModel(frozen, **made, memory_limit="1GB")


words = st.sampled_from(
    ["ada", "Bob", "Lovelace", "O'Neil", "Éloïse", "St", "Straße", "ii", "unknown", "Dr", "Иван", "각", "12"]
)
said = st.one_of(
    st.none(),
    st.lists(words, max_size=3).map(" ".join),
    st.sampled_from(
        ["1990-02-03", "3/4/85", "12 mars 1970", "19901231", "a.b+c@x.fr", "info@x.fr", "+33 6 12 34 56 78"]
    ),
    texts,
)
records = st.lists(st.tuples(*(said for _ in TRAITS)), min_size=2, max_size=5)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(values=records, unique=st.booleans())
def test_records__that_say_anything__are_cleaned_found_and_weighed_as_by_duckdb(values, unique, models):
    raw, python_model, duckdb_model = models
    arrived = [(place, "crm:id" if unique and place == 0 else None, *one) for place, one in enumerate(values)]
    arrived += [(place + 100, *one[1:]) for place, one in enumerate(raw[:3])]
    pairs = [(one[0], other[0]) for one in arrived for other in arrived if one[0] < other[0]]

    answers = []
    for model in (python_model, duckdb_model):
        with model.at_work():
            model.add(arrived)
            answers.append((*map(sorted, model.keys()), model.weigh(pairs, -1000)))
    mine, theirs = answers

    assert mine[:2] == theirs[:2]
    assert [pair[:2] for pair in mine[2]] == [pair[:2] for pair in theirs[2]]
    assert [pair[2] for pair in mine[2]] == pytest.approx([pair[2] for pair in theirs[2]], abs=1e-9)
    assert [pair[3] for pair in mine[2]] == [pytest.approx(pair[3], abs=1e-9) for pair in theirs[2]]


@pytest.mark.slow
def test_few_records__after_their_work__are_forgotten(models):
    raw, model, _ = models

    with model.at_work():
        model.add(raw[:2])
        assert len(model.keys()[0]) > 0

    with model.at_work():
        assert model.keys() == ([], [])
        assert model.weigh([(0, 1)], -1000) == []
