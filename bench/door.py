"""How fast the door answers: batches of a hundred events, and single events, over HTTP, durable before each answer.

The web server alone, as `make serve` runs it, with Postgres and the client on the same machine. What was accepted stays
in the inbox: storing it is measured by `stream`. The baseline is COPY of the same events into a plain table.
"""

import json
from collections.abc import Iterable
from typing import Any

from bench import events, serving

BATCHES, BATCH_CONNECTIONS = 1_000, 8
SINGLES, SINGLE_CONNECTIONS = 10_000, 32
ROUNDS = 3  # the best counts, as of the baseline: what disturbs only ever adds
OFFERED_PER_SECOND, OFFERED_SECONDS = 1_500, 15
PEOPLE = 50_000


def run() -> dict[str, Any]:
    _, key = events.source("door")
    port = serving.free_port()
    bodies = [events.batch(place, people=PEOPLE) for place in range(BATCHES)]
    with serving.tessera(port, only=["web"]):
        serving.send_all(port, _singles(key, port, 500, "w"), connections=SINGLE_CONNECTIONS)  # warm
        requests = [serving.post("/v1/batch", body, key=key, port=port) for body in bodies]
        batches = _best(serving.send_all(port, again, connections=BATCH_CONNECTIONS) for again in [requests] * ROUNDS)
        singles = _best(
            serving.send_all(port, _singles(key, port, SINGLES, f"s{again}-"), connections=SINGLE_CONNECTIONS)
            for again in range(ROUNDS)
        )
        offered = serving.send_offered(
            port, _singles(key, port, OFFERED_PER_SECOND * OFFERED_SECONDS, "o"),
            connections=SINGLE_CONNECTIONS, per_second=OFFERED_PER_SECOND,
        )  # fmt: skip
    accepted = batches["requests_per_second"] * events.EVENTS_A_BATCH
    copied = BATCHES * events.EVENTS_A_BATCH / events.copy_seconds(bodies)
    return {
        "name": "door",
        "what": (
            f"POST /v1/batch of {events.EVENTS_A_BATCH} events over {BATCH_CONNECTIONS} connections; POST /v1/track over"
            f" {SINGLE_CONNECTIONS}, as fast as answered and {OFFERED_PER_SECOND}/s offered; baseline: COPY of the events of"
            " the batches into a plain table, in commits of 500"
        ),
        "figures": {
            "events_per_second_in_batches": accepted,
            "batch_p99_ms": batches["p99_ms"],
            "single_requests_per_second": singles["requests_per_second"],
            "offered_median_ms": offered["median_ms"],
            "offered_p99_ms": offered["p99_ms"],
        },
        "baseline": {"events_per_second_in_batches": copied},
        "ratio": accepted / copied,
    }


def _best(rounds: Iterable[dict[str, float]]) -> dict[str, float]:
    return max(rounds, key=lambda one: one["requests_per_second"])


def _singles(key: str, port: int, count: int, tag: str) -> list[bytes]:
    made = (events.event(number * 20 + 2, people=PEOPLE, tag=tag) for number in range(count))
    return [serving.post("/v1/track", json.dumps(one).encode(), key=key, port=port) for one in made]
