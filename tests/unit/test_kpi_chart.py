"""Pictures and files of figures: where the dots lie, and that no cell is a formula."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segments.kpis.chart import ABOVE, BELOW, HEIGHT, LEFT, RIGHT, WIDTH, Point, chart_of, ticks_of
from segments.kpis.definitions import KINDS, Figure, read_kpi
from segments.kpis.ready_made import READY_MADE
from segments.kpis.sentences import sentence_of
from segments.kpis.series import Series, Value
from segments.kpis.spreadsheet import as_csv
from segments.models import KpiVersion


def written(value: float) -> str:
    return f"{value:g}"


def test_chart__has_a_gap_where_nothing_is_known_and_a_hollow_dot_where_it_runs():
    points = [Point("Jan", 10), Point("Feb", 20), Point("Mar", None), Point("Apr", 15), Point("May", 5, is_open=True)]

    drawn = chart_of(points, [], written)

    assert [tick for _, tick in drawn.ticks] == ["0", "5", "10", "15", "20"]
    assert [len(piece.split()) for piece in drawn.own.pieces] == [2, 2]
    assert [dot.title for dot in drawn.own.dots] == ["Jan: 10", "Feb: 20", "Apr: 15", "May: 5"]
    assert [dot.is_open for dot in drawn.own.dots] == [False, False, False, True]
    assert drawn.own.dots[1].y == ABOVE
    assert [label for _, label in drawn.labels] == ["Jan", "Feb", "Mar", "Apr", "May"]


def test_chart__of_nothing__is_none():
    assert chart_of([Point("Jan", None)], [], written) is None
    assert chart_of([], [], written) is None


def test_chart__of_many_periods__names_a_few_and_always_the_last():
    drawn = chart_of([Point(str(day), day) for day in range(31)], [], written)

    assert [label for _, label in drawn.labels] == ["0", "5", "10", "15", "20", "25", "30"]


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40))
def test_chart__of_any_values__always_holds_them(values):
    drawn = chart_of([Point("", value) for value in values], [], written)

    assert all(LEFT <= dot.x <= WIDTH - RIGHT for dot in drawn.own.dots)
    assert all(ABOVE - 0.1 <= dot.y <= HEIGHT - BELOW + 0.1 for dot in drawn.own.dots)
    assert 2 <= len(drawn.ticks) <= 7


@pytest.mark.parametrize(
    ("least", "most", "ticks"),
    [
        (0, 0, [0, 0.5]),
        (0, 0.31, [0, 0.1, 0.2, 0.3, 0.4]),
        (-3, 7, [-5, 0, 5, 10]),
        (0, 1_234, [0, 500, 1_000, 1_500]),
    ],
)
def test_ticks__are_round_numbers(least, most, ticks):
    assert ticks_of(least, most) == ticks


def test_sentence__of_every_kind__names_all_its_events():
    for told in READY_MADE.values():
        kpi = read_kpi({name: value for name, value in told.items() if name != "name"})
        sentence = sentence_of(kpi)
        assert sentence.endswith(".")
        assert "%(" not in sentence
        assert all(f"“{told[name]}”" in sentence for name in ("event", "due", "opened", "key") if name in told)
    assert '“Visit” (channel = "web")' in sentence_of(
        read_kpi({"kind": "RETENTION", "event": "Visit", "where": {"channel": "web"}})
    )


def test_every_kind__says_how_it_is_measured():
    assert all(issubclass(kind, Figure) and kind.measure for kind in KINDS.values())


def test_csv__of_a_segment_that_begins_like_a_formula__is_harmless():
    january, february = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    value = Value(january, february, -0.5, None, None, 7, False, False, True, february)
    series = Series("-k", "K", KpiVersion(number=2), read_kpi({"kind": "SIZE"}), [value])

    _, line = as_csv("=1+1", [series], ZoneInfo("UTC")).splitlines()

    assert line == (
        "'=1+1,'-k,2,MONTH,2026-01-01,2026-02-01,-0.5,,,7,settled,2026-02-01T00:00:00+00:00,"
        "Members at the end of the period."
    )
