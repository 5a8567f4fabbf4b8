"""From the door to the segments: events accepted over HTTP until each lies in its profile, its person and its segments.

Everything runs as `make serve` runs it: web server, a worker for each stage, scheduler, with Postgres and the client on
the same machine. The population is known, as in any shop after its first week, and one event in twenty says something new
of somebody. People come in turn, so that nobody comes twice among 20,000 events: what waits can hardly be put together.
The clock stops when nothing waits for any stage. The baseline is COPY of the same events into a plain table.
"""

import time
from typing import Any

from bench import events, harness, serving

PEOPLE, BATCHES, CONNECTIONS = 20_000, 2_500, 4

SEGMENTS = {
    "active": 'count of "Product Viewed" in last 7 days >= 3',
    "buyers": 'done "Order Completed" in last 30 days',
    "silent": 'count of "Order Completed" >= 1 and not done "Product Viewed" in last 60 days',
    "spenders": 'sum of "price" of "Order Completed" > 50',
    "pro": 'trait "plan" = "pro" and count of "Product Viewed" >= 1',
}


def run() -> dict[str, Any]:
    from segments import services as segments

    source, key = events.source("stream")
    for slug, rule in SEGMENTS.items():
        segments.create_segment(
            workspace_id=source.workspace_id, slug=slug, name=slug, definition=rule, author=None, now=harness.NOW
        )
    port = serving.free_port()
    bodies = [events.batch(place, people=PEOPLE, tag="t") for place in range(BATCHES)]
    known = [events.batch(place, people=PEOPLE, tag="k") for place in range(PEOPLE // events.EVENTS_A_BATCH * 2)]
    with serving.tessera(port):
        _through(source.workspace_id, known, key, port)
        seconds, accepted_in = _through(source.workspace_id, bodies, key, port)
    total = BATCHES * events.EVENTS_A_BATCH
    copied = total / events.copy_seconds(bodies)
    return {
        "name": "stream",
        "what": (
            f"{total} events of {PEOPLE} people in batches of {events.EVENTS_A_BATCH}, from the first request until nothing"
            f" waits for any stage, {len(SEGMENTS)} live segments; baseline: COPY of the events into a plain table"
        ),
        "figures": {
            "events_per_second": total / seconds,
            "seconds": seconds,
            "accepted_in_seconds": accepted_in,
        },
        "baseline": {"events_per_second": copied},
        "ratio": total / seconds / copied,
    }


def _through(workspace_id: int, bodies: list[bytes], key: str, port: int) -> tuple[float, float]:
    """Seconds until all is in its segments, and until all was accepted."""
    requests = [serving.post("/v1/batch", body, key=key, port=port) for body in bodies]
    began = time.perf_counter()
    serving.send_all(port, requests, connections=CONNECTIONS)
    accepted = time.perf_counter() - began
    serving.await_nothing_waits(workspace_id)
    return time.perf_counter() - began, accepted
