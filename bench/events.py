"""The events that benchmarks of ingestion send: people who look at pages, buy, and sometimes say who they are."""

import json
from datetime import timedelta
from typing import Any

from bench import harness

EVENTS_A_BATCH = 100


def source(slug: str) -> tuple[Any, str]:
    """A source in a workspace of its own, and its write key."""
    from cdp.ingestion.sources import create_source
    from cdp.models.sources import SourceKind
    from cdp.models.tenancy import workspace_scope
    from consent import services as consent

    workspace = consent.open_workspace(slug=slug, name=slug, now=harness.NOW)
    with workspace_scope(workspace.pk):
        return create_source(workspace_id=workspace.pk, name="shop", kind=SourceKind.HTTP)


def event(number: int, *, people: int, tag: str = "") -> dict[str, Any]:
    """Every twentieth is an identify call with traits, the others look at a product or, one in ten, buy it."""
    person = number * 7919 % people
    made = {
        "messageId": f"m{tag}{number}",
        "userId": f"u{person}",
        "anonymousId": f"a{person}",
        "timestamp": (harness.NOW - timedelta(seconds=number % 86_400)).isoformat(),
        "context": {"library": {"name": "bench", "version": "1"}, "page": {"path": f"/p/{number % 97}"}},
    }
    if number % 20 == 0:
        traits = {"email": f"person{person}@example.com", "plan": "pro" if person % 3 else "free", "city": "Lyon"}
        return made | {"type": "identify", "traits": traits}
    name = "Order Completed" if number % 10 == 1 else "Product Viewed"
    return made | {"type": "track", "event": name, "properties": {"sku": number % 997, "price": 9.5}}


def batch(place: int, *, people: int, tag: str = "") -> bytes:
    numbers = range(place * EVENTS_A_BATCH, (place + 1) * EVENTS_A_BATCH)
    events = [event(number, people=people, tag=tag) for number in numbers]
    return json.dumps({"batch": events, "sentAt": harness.NOW.isoformat()}).encode()


PLAIN_TABLE = """
CREATE TABLE public.plain_event (
    source_id bigint, identifier text, message_id text, kind text, name text, occurred_at timestamptz,
    received_at timestamptz, properties jsonb, context jsonb
)
"""


def copy_seconds(bodies: list[bytes], *, rows_a_commit: int = 500) -> float:
    """The baseline: COPY of these events, already parsed into columns, into a plain table without keys or indexes.

    Best of three. The table is a real one, written durably, in commits of `rows_a_commit`.
    """
    lines = [_line(event) for body in bodies for event in json.loads(body)["batch"]]
    return harness.best_seconds(lambda: _copy(lines, rows_a_commit))


def _line(event: dict[str, Any]) -> str:
    properties = json.dumps(event.get("properties") or event["traits"])
    values = (
        "1", event["userId"], event["messageId"], event["type"], event.get("event", ""), event["timestamp"],
        harness.NOW.isoformat(), properties, json.dumps(event["context"]),
    )  # fmt: skip
    return "\t".join(value.replace("\\", "\\\\") for value in values) + "\n"


def _copy(lines: list[str], rows_a_commit: int) -> None:
    import psycopg

    with psycopg.connect(harness.address_of("postgres"), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS public.plain_event")
        cursor.execute(PLAIN_TABLE)
        for start in range(0, len(lines), rows_a_commit):
            with cursor.copy("COPY public.plain_event FROM STDIN") as copy:
                copy.write("".join(lines[start : start + rows_a_commit]))
        cursor.execute("DROP TABLE public.plain_event")
