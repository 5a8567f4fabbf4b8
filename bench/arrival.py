"""From an event to the segments, and out of them: how long after an event was accepted, and after a deadline came.

Everything runs as `make serve` runs it, with Postgres, the client and the watcher on the same machine. Two hundred live
segments of mixed kinds; single events of known people, so many a second offered, answered or not. Every tenth is the
first of its kind for its person, who so enters one segment, and leaves it after ten seconds though nothing happens. A
watcher polls the feed of changes for that segment: what it sees is committed. An entry counts from the moment when the
server received the event, an exit from its deadline. The baseline is the same load with that one segment alone.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from statistics import quantiles
from typing import Any

import psutil
import psycopg

from bench import events, harness, serving

PEOPLE, KNOWN_EVENTS = 20_000, 10
PER_SECOND, SECONDS, CONNECTIONS = 1_000, 30, 32
STAY_SECONDS = 10
POLL_SECONDS = 0.01
QUIET_SECONDS = 15
FRESH = "fresh"
PLOT = Path("docs/images/segment-latency.svg")

DAYS, NUMBERS = (7, 14, 21, 30, 45, 60, 90), (1, 2, 3, 4, 5, 6, 8)
HISTORY_SECONDS = 60 * 86_400
KINDS = (
    'count of "Product Viewed" in last {days} days >= {number}',
    'done "Order Completed" in last {days} days and not done "Product Viewed" in last {days} days',
    'sum of "price" of "Order Completed" in last {days} days > {number}0',
    'trait "plan" = "pro" and count of "Product Viewed" where "sku" < {number}00 >= 1',
    'count of "Order Completed" >= {number} or trait "city" in ("Lyon", "Paris")',
    'average of "price" of "Order Completed" in last {days} days > {number}',
    'done "Product Viewed" then "Order Completed" within {days} days',
    'days since last "Order Completed" >= {days}',
    'count of "Product Viewed" in last {number} calendar weeks >= 3',
    'distinct of "sku" of "Product Viewed" in last {days} days >= {number}',
)


def run() -> dict[str, Any]:
    source, key = events.source("arrival")
    port = serving.free_port()
    with serving.tessera(port):
        _know_people(source.workspace_id, key, port)
        idle = _quiet_cost()
        _publish(source.workspace_id, {FRESH: f'done "Signed Up" in last {STAY_SECONDS} seconds'})
        alone = _measured(source.workspace_id, key, port, tag="a")
        _publish(source.workspace_id, dict(_mixed(199)))
        among = _measured(source.workspace_id, key, port, tag="b")
        quiet = _quiet_cost()
    _plot(alone, among)
    figures = {**_percentiles(among), "cpu_seconds_a_quiet_hour": quiet, "segments": 200}
    baseline = {**_percentiles(alone), "cpu_seconds_a_quiet_hour": idle, "segments": 1}
    return {
        "name": "arrival",
        "what": (
            f"{PER_SECOND} single events a second for {SECONDS} s over HTTP, {PEOPLE} known people, 200 live segments of"
            f" mixed kinds: from the event's receipt until its membership is committed, from a deadline until its exit is;"
            " baseline: the same with one live segment"
        ),
        "figures": figures,
        "baseline": baseline,
        "ratio": figures["entry_p95_ms"] / baseline["entry_p95_ms"],
    }


def _know_people(workspace_id: int, key: str, port: int) -> None:
    """With a history over two months: what they do then is seldom the first time."""
    batches = PEOPLE * KNOWN_EVENTS // events.EVENTS_A_BATCH
    bodies = [_history(place) for place in range(batches)]
    serving.send_all(port, [serving.post("/v1/batch", body, key=key, port=port) for body in bodies], connections=4)
    serving.await_nothing_waits(workspace_id)


def _history(place: int) -> bytes:
    made = [
        events.event(place * events.EVENTS_A_BATCH + number, people=PEOPLE, tag="k")
        for number in range(events.EVENTS_A_BATCH)
    ]
    now = datetime.now(tz=UTC)  # noqa: TID251  # an edge
    for number, each in enumerate(made, start=place * events.EVENTS_A_BATCH):
        each["timestamp"] = (now - timedelta(seconds=number * 104_729 % HISTORY_SECONDS)).isoformat()
    return json.dumps({"batch": made, "sentAt": now.isoformat()}).encode()


def _mixed(number: int) -> Iterator[tuple[str, str]]:
    """So many segments, no two alike."""
    ways = product(DAYS, NUMBERS, KINDS)
    rules = dict.fromkeys(kind.format(days=days, number=wanted) for days, wanted, kind in ways)
    for place, rule in zip(range(number), rules, strict=False):
        yield f"s{place}", rule


def _publish(workspace_id: int, rules: Mapping[str, str]) -> None:
    from segments import services as segments

    for slug, rule in rules.items():
        segments.create_segment(
            workspace_id=workspace_id, slug=slug, name=slug, definition=rule, author=None, now=datetime.now(tz=UTC)  # noqa: TID251  # an edge
        )  # fmt: skip
    segments.finish_versions(workspace_id=workspace_id, clock=lambda: datetime.now(tz=UTC))  # noqa: TID251  # an edge


# -- under load -----------------------------------------------------------------------------------------------------


def _measured(workspace_id: int, key: str, port: int, *, tag: str) -> dict[str, list[float]]:
    """Seconds of every entry and exit."""
    requests = [
        serving.post("/v1/track", _event(number, tag), key=key, port=port) for number in range(PER_SECOND * SECONDS)
    ]
    began = datetime.now(tz=UTC)  # noqa: TID251  # an edge
    with _watching(workspace_id, began) as watcher:
        serving.send_offered(port, requests, connections=CONNECTIONS, per_second=PER_SECOND)
        time.sleep(STAY_SECONDS)
        serving.await_nothing_waits(workspace_id)
        time.sleep(2)
    return watcher.seconds()


def _event(number: int, tag: str) -> bytes:
    """Without a time of its own: it happened when it was received."""
    person = number * 7919 % PEOPLE
    made = {
        "messageId": f"{tag}{number}",
        "userId": f"u{person}",
        "context": {"library": {"name": "bench", "version": "1"}},
    }
    if number % 10 == 0:
        made |= {"event": "Signed Up", "userId": f"u{number // 10 * 3 % PEOPLE}"}
    else:
        made |= {"event": "Order Completed" if number % 10 == 1 else "Product Viewed"}
    return json.dumps(made | {"properties": {"sku": number % 997, "price": 9.5}}).encode()


class _Watcher(threading.Thread):
    """Sees when each membership of the segment is there, and when it has ended: each person enters once."""

    def __init__(self, workspace_id: int, began: datetime) -> None:
        super().__init__(daemon=True)
        self._given = {"workspace": workspace_id, "slug": FRESH, "began": began}
        self._entered: dict[int, float] = {}
        self._left: dict[int, tuple[float, float]] = {}
        self._is_done = threading.Event()

    def run(self) -> None:
        with psycopg.connect(harness.address_of("postgres"), autocommit=True) as admin:
            segment, last = admin.execute(_SEGMENT, self._given).fetchone() or (0, 0)
            while not self._is_done.wait(POLL_SECONDS):
                changes = admin.execute(_CHANGES, {**self._given, "segment": segment, "last": last}).fetchall()
                seen = time.time()
                last = max([last, *(change for change, *_ in changes)])
                self._entered |= {profile: seen for _, profile, has_entered, _ in changes if has_entered}
                self._left |= {profile: (at, seen) for _, profile, has_entered, at in changes if not has_entered}

    def stop(self) -> None:
        self._is_done.set()
        self.join()

    def seconds(self) -> dict[str, list[float]]:
        with psycopg.connect(harness.address_of("postgres"), autocommit=True) as admin:
            received = {profile: at.timestamp() for profile, at in admin.execute(_RECEIVED, self._given)}
        return {
            "entry": [seen - received[profile] for profile, seen in self._entered.items()],
            "exit": [seen - left_at for left_at, seen in self._left.values()],
        }


_SEGMENT = """
SELECT s.id, (SELECT COALESCE(max(c.id), 0) FROM core.membership_change c WHERE c.workspace_id = s.workspace_id)
FROM core.segment s WHERE s.workspace_id = %(workspace)s AND s.slug = %(slug)s
"""
_CHANGES = """
SELECT id, profile_id, told_before = 0, extract(epoch FROM at)::float8 FROM core.membership_change
WHERE workspace_id = %(workspace)s AND id > %(last)s AND segment_id = %(segment)s
"""
_RECEIVED = """
SELECT i.profile_id, max(e.received_at) FROM core.event e JOIN core.identifier i ON i.id = e.identifier_id
WHERE e.workspace_id = %(workspace)s AND e.name = 'Signed Up' AND e.occurred_at >= %(began)s GROUP BY i.profile_id
"""


@contextmanager
def _watching(workspace_id: int, began: datetime) -> Iterator[_Watcher]:
    watcher = _Watcher(workspace_id, began)
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.stop()


def _percentiles(measured: Mapping[str, list[float]]) -> dict[str, float]:
    told: dict[str, float] = {}
    for what, seconds in measured.items():
        hundredths = quantiles(seconds, n=100)
        told |= {
            f"{what}_{name}_ms": hundredths[place] * 1000 for name, place in (("median", 49), ("p95", 94), ("p99", 98))
        }
        told[f"{what}_times"] = len(seconds)
    return told


# -- at rest --------------------------------------------------------------------------------------------------------


def _quiet_cost() -> float:
    """Processor seconds of an hour in which nothing happens: of the segments' worker, and of its sessions in Postgres."""
    before, began = _processor_seconds(), time.perf_counter()
    time.sleep(QUIET_SECONDS)
    return (_processor_seconds() - before) / (time.perf_counter() - began) * 3600


def _processor_seconds() -> float:
    with psycopg.connect(harness.address_of("postgres"), autocommit=True) as admin:
        sessions = {pid for (pid,) in admin.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = 'worker_segments'"
        )}  # fmt: skip
    workers = [one for one in psutil.process_iter(["pid", "cmdline"]) if _is_segments(one) or one.pid in sessions]
    return sum(one.cpu_times().user + one.cpu_times().system for one in workers)


def _is_segments(process: psutil.Process) -> bool:
    return any("segments@" in part for part in process.info["cmdline"] or [])


def _plot(alone: Mapping[str, list[float]], among: Mapping[str, list[float]]) -> None:
    """Share of the entries and exits that took no longer, with one live segment and with two hundred."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, what, title in zip(axes, ("entry", "exit"), ("event received → in", "deadline → out"), strict=True):
        for measured, name in ((alone, "1 segment"), (among, "200 segments")):
            values = sorted(seconds * 1000 for seconds in measured[what])
            axis.plot(values, [(place + 1) / len(values) for place in range(len(values))], label=name)
        axis.set(title=title, xlabel="milliseconds", xscale="log")
        axis.axhline(0.95, linewidth=0.5, color="grey")
        axis.legend()
    axes[0].set_ylabel("share that took no longer")
    figure.savefig(PLOT, metadata={"Date": None})
