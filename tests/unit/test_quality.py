"""The figures of a quality report, on data whose answers are known, and what never gets into one."""

import json

import numpy as np
import pyarrow as pa
import pytest

from cdp.ingestion.quality import cells, comparison, sketches, statistics
from cdp.ingestion.quality.columns import LEAST_SHOWN, MOST_DISTINCT
from cdp.ingestion.quality.comparison import Alert
from cdp.ingestion.quality.profiles import LEAST_SAMPLE, MOST_COLUMNS, MOST_KEPT, Limits, Profiler, normalised
from cdp.ingestion.quality.thresholds import Thresholds


def profile_of(rows, *, key="", chunk=1_000):
    profiler = Profiler(seed=7, key=key)
    for start in range(0, len(rows), chunk):
        profiler.see(rows[start : start + chunk])
    return profiler.finish()


def column_of(values, name="amount", **more):
    profile, _ = profile_of([{name: value} for value in values], **more)
    return profile["columns"][0]


# -- one column -----------------------------------------------------------------------------------------------------


def test_missing__are_absent_null_empty_blank_and_not_a_number():
    rows = [{"a": "x"}, {"a": ""}, {"a": "  "}, {"a": None}, {"a": float("nan")}, {}, {"a": 0}, {"a": False}]

    column = profile_of(rows)[0]["columns"][0]

    assert (column["missing"], column["missing_share"]) == (5, 5 / 8)
    assert column["types"] == {"boolean": 1, "integer": 1, "text": 1}


def test_column__that_comes_late__is_missing_before():
    profile, _ = profile_of([{"a": 1}] * 3 + [{"a": 1, "b": 2}], chunk=1)

    assert {column["name"]: column["missing"] for column in profile["columns"]} == {"a": 0, "b": 3}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "2", "-3"], "integer"), (["1", "2.5"], "number"), ([1, 2.5], "number"), ([1.0, 2.0], "integer"),
        (["0800", "0900"], "text"), (["2026-11-25", "2026-11-25T10:00:00Z"], "date"), ([True, False], "boolean"),
        ([[1], [2]], "list"), ([{"a": 1}], "object"), (["x", "x", "1"], "text"), (["", None], "empty"),
    ],
)  # fmt: skip
def test_type__is_that_of_most_values(values, expected):
    assert column_of(values)["type"] == expected


def test_numbers__are_told_as_numpy_tells_them():
    values = [2.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0, 100.0]

    numbers = column_of(values)["numbers"]

    assert (numbers["count"], numbers["min"], numbers["max"], numbers["mean"]) == (8, 2.0, 100.0, 17.0)
    assert numbers["deviation"] == pytest.approx(np.std(values, ddof=1))
    assert (numbers["q1"], numbers["median"], numbers["q3"]) == (4.0, 5.0, 7.5)
    assert numbers["outliers_iqr"] == {"count": 1, "share": 0.125, "low": -1.25, "high": 12.75}
    assert numbers["outliers_z"] == {"count": 0, "share": 0.0}, "one of eight cannot be three deviations away"
    assert sum(numbers["histogram"]["counts"]) == 8


def test_outliers_by_z__are_those_beyond_three_deviations():
    assert statistics.outliers_by_z(np.array([0.0, 1.0] * 50 + [50.0]))["count"] == 1
    assert statistics.outliers_by_z(np.array([3.0] * 9)) == {"count": 0, "share": 0.0}
    assert statistics.outliers_by_z(np.array([3.0])) == {"count": 0, "share": 0.0}


def test_numbers__of_any_size__never_break_the_report():
    column = column_of([1e308, -1e308, 10**400, float("inf"), "1e99", "9" * 17])

    json.dumps(column, allow_nan=False)


def test_values__that_name_nobody__are_told_with_their_counts():
    column = column_of(["FR"] * 30 + ["DE"] * 20 + ["XX"] * (LEAST_SHOWN - 1), "country")

    assert column["values"] == [
        {"value": "FR", "count": 30}, {"value": "DE", "count": 20}, {"value": None, "count": LEAST_SHOWN - 1},
    ]  # fmt: skip
    assert (column["distinct"], column["is_distinct_exact"]) == (3, True)


def test_distinct__beyond_what_is_told_apart__is_a_lower_bound():
    column = column_of([f"v{number}" for number in range(MOST_DISTINCT + 1)])

    assert (column["distinct"], column["is_distinct_exact"]) == (MOST_DISTINCT, False)


def test_values__that_came_after_too_many__are_not_counted_again():
    column = column_of([f"v{number}" for number in range(MOST_DISTINCT + 1)] + ["FR"] * 3_000, "country")

    assert "values" not in column
    assert column["types"] == {"text": MOST_DISTINCT + 3_001}


# -- nothing personal -----------------------------------------------------------------------------------------------

PEOPLE = [
    {
        "first_name": "Ada", "userId": f"u{n}", "e-mail": f"ada{n}@example.com", "contact": f"ada{n}@example.com",
        "Geburtsdatum": "1815-12-10", "ref": 3_000_000_017 + n, "remark": f"called Ada {n}", "loyalty": "gold",
    }
    for n in range(200)
]  # fmt: skip


def test_report__holds_no_value_of_a_person():
    profile, samples = profile_of(PEOPLE, key="userId")

    told = json.dumps([profile, samples])
    for secret in ("Ada", "ada", "1815", "3000000", "example", "u17", "called"):
        assert secret not in told
    assert {column["name"] for column in profile["columns"] if not column["is_personal"]} == {"loyalty"}
    assert "gold" in told
    assert samples == {}


def test_personal_columns__are_told_by_their_shapes():
    profile, _ = profile_of(PEOPLE)

    shapes = {column["name"]: column.get("shapes") for column in profile["columns"]}
    assert shapes["e-mail"] == [{"value": "a9@a.a", "count": 200}]
    assert shapes["Geburtsdatum"] == [{"value": "9-9-9", "count": 200}]
    assert shapes["ref"] == [{"value": "9.9", "count": 200}]


def test_column_of_few_texts__is_taken_for_personal():
    assert column_of(["gold"] * 19, "loyalty")["is_personal"]
    assert not column_of(["gold"] * 20, "loyalty")["is_personal"]


@pytest.mark.parametrize("name", ["first_name", "userId", "E-Mail", "customerID", "phone2", "Prénom", "IP", "rue"])
def test_name_of_a_column__that_names_a_person__is_known(name):
    assert cells.names_a_person(name)


@pytest.mark.parametrize("name", ["revenue", "currency", "status", "quantity", "identical", "description"])
def test_name_of_a_column__that_names_none__is_known(name):
    assert not cells.names_a_person(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Ada Lovelace-7", "Aa Aa-9"), ("ada@example.com", "a@a.a"), ("+33 6 12", "+9 9 9"), ("Émilie", "Aa"), ("日本", "a"), ("a|b", "a?a")],
)  # fmt: skip
def test_shape__keeps_the_format_alone(text, expected):
    assert cells.shape(text) == expected


@pytest.mark.parametrize("name", ["ada@example.com", "4711123456", "x" * 101])
def test_names_of_columns__that_look_like_data__are_left_out(name):
    profile, _ = profile_of([{name: 1, "a": 1}])

    assert [column["name"] for column in profile["columns"]] == ["a"]
    assert profile["has_more_columns"]


# -- rows -----------------------------------------------------------------------------------------------------------


def test_duplicates__of_rows_keys_and_near_ones_are_counted():
    rows = [
        {"k": "Dupont-1", "a": 1}, {"k": "Dupont-1", "a": 1}, {"k": "Dupont-1", "a": 2}, {"k": "dupont 1", "a": 1},
        {"k": "Martin", "a": 1}, {"k": "", "a": 9}, {"k": None, "a": 9},
    ]  # fmt: skip

    told = profile_of(rows, key="k")[0]["duplicates"]

    assert told == {
        "rows": {"count": 1, "share": 1 / 7}, "keys": {"count": 2, "share": 2 / 5}, "near": {"count": 1, "share": 1 / 5},
        "is_exact": True,
    }  # fmt: skip


def test_near_duplicates__without_a_key__are_of_whole_rows():
    rows = [{"a": "Émilie", "b": "Du Châtelet"}, {"a": "EMILIE", "b": "du chatelet"}, {"a": "Ada", "b": "Byron"}]

    assert profile_of(rows)[0]["duplicates"]["near"] == {"count": 1, "share": 1 / 3}


@pytest.mark.parametrize(("left", "right"), [("Dupont-Noël ", "dupont noel"), ("STRASSE", "straße"), ("A_b", "ab")])
def test_normalised__are_alike(left, right):
    assert normalised(left) == normalised(right)


def test_correlations__name_the_strong_pairs():
    rows = [{"a": n, "b": -2.0 * n, "c": n % 7, "d": 5, "e": n**3} for n in range(100)]

    profile, _ = profile_of(rows)

    (first, *others) = profile["correlations"]
    assert (first["left"], first["right"]) == ("a", "b")
    assert (first["pearson"], first["spearman"]) == (pytest.approx(-1), pytest.approx(-1))
    assert {(one["left"], one["right"]) for one in others} == {("a", "e"), ("b", "e")}


def test_associations__of_categories_that_tell_each_other__are_named():
    rows = [{"x": "ab"[n % 2], "y": "cd"[n % 2], "z": "efg"[n % 3]} for n in range(120)]

    (found,) = profile_of(rows)[0]["associations"]

    assert (found["left"], found["right"]) == ("x", "y")
    assert found["cramers_v"] == pytest.approx(1)


def test_correlation__of_too_little__is_unknown():
    few, same = np.arange(10.0), np.full(100, 3.0)
    assert statistics.correlation(few, few) is None
    assert statistics.correlation(same, np.arange(100.0)) is None
    assert statistics.association(["a", None] * 20, ["b"] * 40) is None
    assert statistics.association(["a"] * 40, ["b", "c"] * 20) is None


def test_arrow__gives_the_profile_that_rows_give():
    rows = [{"a": n % 5, "b": f"v{n % 3}", "c": n / 4 if n % 2 else None} for n in range(200)]
    profiler = Profiler(seed=7)
    profiler.see_batch(pa.RecordBatch.from_pylist(rows))

    assert profiler.finish() == profile_of(rows)


def test_memory__is_bounded_in_columns_and_sample():
    profiler = Profiler(seed=1, limits=Limits(rows=1_000, cells=5_000, distinct=40))
    profiler.see([{f"c{n}": n + row for n in range(MOST_COLUMNS + 5)} for row in range(50)])

    profile, _ = profiler.finish()

    assert len(profile["columns"]) == MOST_COLUMNS
    assert profile["has_more_columns"]
    assert profile["sampled"] == 5_000 // MOST_COLUMNS
    assert {(column["distinct"], column["is_distinct_exact"]) for column in profile["columns"]} == {(40, False)}


# -- sketches -------------------------------------------------------------------------------------------------------


def test_distinct__beyond_exactness__is_within_three_percent(monkeypatch):
    monkeypatch.setattr(sketches, "MOST_EXACT", 1_000)
    distinct = sketches.Distinct()
    for start in range(0, 60_000, 5_000):
        distinct.see(str(number) for number in range(start, start + 5_000))
        distinct.see(str(number) for number in range(start, start + 5_000))

    assert not distinct.is_exact
    assert distinct.count == pytest.approx(60_000, rel=0.03)


def test_distinct__just_beyond_exactness__still_counts_what_there_is(monkeypatch):
    monkeypatch.setattr(sketches, "MOST_EXACT", 100)
    distinct = sketches.Distinct()
    distinct.see(map(str, range(150)))

    assert distinct.count == 150


def test_reservoir__gives_every_row_the_same_chance():
    taken = np.zeros(1_000)
    for seed in range(300):
        sample = {}
        reservoir = sketches.Reservoir(50, seed)
        for start in range(0, 1_000, 100):
            sample.update({place: start + number for number, place in reservoir.places(100)})
        assert len(sample) == 50
        taken[list(sample.values())] += 1

    tenths = taken.reshape(10, 100).sum(axis=1)
    assert tenths.sum() == 15_000
    assert abs(tenths - 1_500).max() < 150


# -- beside the one before ------------------------------------------------------------------------------------------


def compared(before, now):
    (old, old_samples), (new, samples) = profile_of(before), profile_of(now)
    moved = comparison.changes(new, old, samples, old_samples)
    return {**new, "changes": moved, "rows_before": old["rows"]}


def alerted(profile, **limits):
    return [(alert.kind, alert.column) for alert in comparison.alerts(profile, Thresholds(**limits))]


ROWS = [{"amount": n * 37 % 200 + 0.5, "state": "ab"[n % 2], "ref": f"A{n}"} for n in range(200)]


def test_same_data__alerts_nobody():
    profile = compared(ROWS, ROWS)

    assert alerted(profile) == []
    assert {change["column"]: change.get("ks", {}).get("statistic") for change in profile["changes"]}["amount"] == 0.0


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ([{**row, "amount": row["amount"] + 80} for row in ROWS], [("ks", "amount")]),
        ([{**row, "state": "a"} for row in ROWS], [("category_change", "state")]),
        ([{**row, "state": None if n % 3 == 0 else row["state"]} for n, row in enumerate(ROWS)], [("missing_change", "state")]),
        ([{**row, "ref": row["ref"].lower() + "-x"} for row in ROWS], [("category_change", "ref")]),
        ([{"amount": row["amount"], "state": row["state"]} for row in ROWS], [("column_gone", "ref")]),
        ([{**row, "extra": 1} for row in ROWS], [("column_new", "extra")]),
        (ROWS[:80], [("rows_change", "")]),
        (ROWS + ROWS[:20], [("duplicate_rows", "")]),
    ],
    ids=["numbers", "categories", "missing", "format", "gone", "new", "rows", "duplicates"],
)  # fmt: skip
def test_data__that_moved__alerts_for_what_moved(now, expected):
    assert alerted(compared(ROWS, now)) == expected


def test_outliers__beyond_the_threshold__alert():
    rows = [{"amount": 1000.0 if n % 5 == 0 else n % 10} for n in range(200)]

    assert ("outlier_share", "amount") in alerted(compared(rows, rows))


def test_alert__says_the_value_and_the_threshold():
    (alert,) = comparison.alerts(compared(ROWS, ROWS[:80]), Thresholds())

    assert alert == Alert("rows_change", "", 0.6, 0.5)
    assert alerted(compared(ROWS, ROWS[:80]), rows_change=0.7) == []


def test_few_rows__alert_nobody():
    assert alerted(compared(ROWS[:5], ROWS[5:6] * 4)) == []


def test_source_that_went_silent__is_an_alert():
    empty, _ = Profiler(seed=1).finish()

    assert alerted({**empty, "changes": [], "rows_before": 200}) == [("rows_change", "")]


def test_samples__are_sorted_bounded_and_only_of_enough_numbers():
    _, samples = profile_of(
        [{"amount": (n * 7919) % 3_000 + 0.5, "few": 0.5 if n < LEAST_SAMPLE - 1 else None} for n in range(3_000)]
    )

    assert list(samples) == ["amount"]
    assert samples["amount"] == sorted(samples["amount"])
    assert len(samples["amount"]) == MOST_KEPT
    assert (samples["amount"][0], samples["amount"][-1]) == (0.5, 2_999.5)


def test_total_variation__is_the_share_that_would_have_to_change():
    assert statistics.total_variation({"a": 3, "b": 1}, {"a": 30, "b": 10}) == 0.0
    assert statistics.total_variation({"a": 4}, {"b": 4}) == 1.0
    assert statistics.total_variation({"a": 3, "b": 1}, {"a": 2, "b": 2}) == 0.25
    assert statistics.total_variation({}, {}) == 0.0
    assert statistics.total_variation({}, {"a": 1}) == 1.0
