"""The pure parts of the contract: codes, times, places, and the pace of requests."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cdp.ingestion.connector import Position, TokenBucket, code_of, moment_of, rewound, text_of

times = st.datetimes(datetime(1971, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))


@given(said=st.text())
@example(said="0" * 63 + ":0")  # cut at a sign that is none of a code
def test_code__of_whatever_another_system_says__is_short_and_plain(said):
    code = code_of(said)

    assert len(code) <= 64
    assert code == code_of(code)
    assert set(code) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("2026-11-01T10:00:00.000+0000", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("2026-11-01T10:00:00.123Z", datetime(2026, 11, 1, 10, 0, 0, 123_000, tzinfo=UTC)),
        ("2026-11-01T10:00:00", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("2026-11-01T10:00:00+02:00", datetime(2026, 11, 1, 8, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        (None, None),
        (1_700_000_000, None),
    ],
)
def test_moment__in_the_spellings_of_systems__is_one_instant(said, read):
    assert moment_of(said) == read


@given(one=times, other=times)
def test_texts_of_times__order_as_the_times_do(one, other):
    earlier, later = sorted([one, other])

    assert text_of(earlier) <= text_of(later)


@given(at=times, minutes=st.integers(0, 60))
def test_rewound__goes_back_by_the_overlap_and_forgets_the_key(at, minutes):
    back = rewound(Position(text_of(at), "4711", "hint"), timedelta(minutes=minutes))

    assert moment_of(back.at) == moment_of(text_of(at)) - timedelta(minutes=minutes)
    assert (back.key, back.hint) == ("", "")


@pytest.mark.parametrize("position", [Position(), Position(key="7"), Position("nonsense", "7")])
def test_rewound__without_a_time__begins_anew(position):
    assert rewound(position, timedelta(minutes=5)) == Position()


class Clock:
    def __init__(self):
        self.now, self.slept = 100.0, []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@given(pauses=st.lists(st.floats(0, 3), min_size=1, max_size=40))
def test_bucket__whatever_the_pauses__keeps_to_its_pace(pauses):
    clock = Clock()
    bucket = TokenBucket(4, burst=2, clock=lambda: clock.now, sleep=clock.sleep)
    taken = []

    for pause in pauses:
        clock.now += pause
        bucket.take()
        taken.append(clock.now)

    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= 2 + (taken[last] - taken[first]) * 4 + 1e-6


def test_bucket__that_is_full__lets_through_at_once():
    clock = Clock()
    bucket = TokenBucket(4, burst=2, clock=lambda: clock.now, sleep=clock.sleep)

    for _ in range(3):
        bucket.take()

    assert clock.slept == [0.25]
