"""Laws of quality reports: as long as the sample holds all rows, every figure is that of numpy and scipy on the whole."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from cdp.ingestion.quality import statistics
from cdp.ingestion.quality.profiles import LEAST_SAMPLE, Profiler

NUMBERS = st.integers(-1_000, 1_000).map(lambda number: number / 4 + 0.125)
LISTS = st.lists(NUMBERS, min_size=1, max_size=60)
ROWS = st.lists(
    st.fixed_dictionaries(
        {"amount": st.none() | NUMBERS, "state": st.sampled_from(["a", "b", "", None])},
        optional={"extra": st.integers(0, 3)},
    ),
    min_size=1, max_size=60,
)  # fmt: skip


def many(least, most):
    """Lists that are long enough for a test of distributions, and quick to draw."""

    def drawn(seed, size, spread):
        return [float(number) / 4 for number in np.random.default_rng(seed).integers(-spread, spread, size)]

    return st.builds(drawn, st.integers(0, 2**32), st.integers(least, most), st.sampled_from([2, 20, 1_000]))


def profile_of(rows, cuts=()):
    profiler = Profiler(seed=7)
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        profiler.see(rows[start:end])
    return profiler.finish()


@given(LISTS, st.data())
def test_numbers__are_always_those_of_numpy(values, data):
    cut = data.draw(st.integers(0, len(values)))

    told = profile_of([{"amount": value} for value in values], [cut])[0]["columns"][0]["numbers"]

    assert (told["count"], told["min"], told["max"]) == (len(values), min(values), max(values))
    assert told["mean"] == pytest.approx(np.mean(values))
    assert told["deviation"] == pytest.approx(np.std(values, ddof=1) if len(values) > 1 else 0.0, abs=1e-9)
    assert (told["q1"], told["median"], told["q3"]) == tuple(np.percentile(values, [25, 50, 75]))
    low, high = told["q1"] - 1.5 * stats.iqr(values), told["q3"] + 1.5 * stats.iqr(values)
    assert told["outliers_iqr"]["count"] == sum(not low <= value <= high for value in values)


@given(LISTS)
def test_outliers_by_z__are_always_those_of_scipy(values):
    assume(len(set(values)) > 1)
    scores = stats.zscore(values, ddof=1)

    assert statistics.outliers_by_z(np.array(values))["count"] == int((np.abs(scores) > 3).sum())


@settings(max_examples=50)
@given(many(LEAST_SAMPLE, 200), many(LEAST_SAMPLE, 200))
def test_kolmogorov_smirnov__is_always_that_of_scipy_on_all_rows(before, now):
    (_, old), (_, new) = (profile_of([{"amount": value} for value in values]) for values in (before, now))

    found = statistics.kolmogorov_smirnov(new["amount"], old["amount"])

    statistic = stats.ks_2samp(now, before, method="asymp").statistic
    expected = stats.kstwobign.sf(statistic * math.sqrt(len(now) * len(before) / (len(now) + len(before))))
    assert found == {"statistic": pytest.approx(statistic), "p": pytest.approx(expected)}


@settings(max_examples=50)
@given(many(60, 60), many(60, 60))
def test_correlations__are_always_those_of_scipy(one, other):
    left, right = np.array(one), np.array(other)
    assume(len(set(left)) > 1 and len(set(right)) > 1)

    found = statistics.correlation(left, right)

    assert found == (pytest.approx(stats.pearsonr(left, right)[0]), pytest.approx(stats.spearmanr(left, right)[0]))


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=30, max_size=80))
def test_associations__are_always_those_of_scipy(pairs):
    left, right = zip(*pairs, strict=True)
    assume(len(set(left)) > 1 and len(set(right)) > 1)

    found = statistics.association(left, right)

    table = stats.contingency.crosstab(left, right).count
    assert found == pytest.approx(stats.contingency.association(table, method="cramer"), abs=1e-9)


@given(ROWS, st.data())
def test_report__never_depends_on_the_order_of_rows_or_on_chunks(rows, data):
    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))

    (one, samples), (other, other_samples) = profile_of(rows), profile_of(shuffled, [cut])

    assert samples == other_samples
    assert one["duplicates"] == other["duplicates"]
    by_name = [sorted(profile["columns"], key=lambda column: column["name"]) for profile in (one, other)]
    for left, right in zip(*by_name, strict=True):
        assert left.keys() == right.keys()
        assert {**left, "numbers": 0} == {**right, "numbers": 0}
        for figure in ("mean", "deviation", "q1", "max"):
            numbers = left.get("numbers", {}), right.get("numbers", {})
            assert numbers[0].get(figure) == pytest.approx(numbers[1].get(figure), abs=1e-9)
