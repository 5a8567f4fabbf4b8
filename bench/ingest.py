"""How fast events come in: accepting batches through the service, storing them as the stage does, and loading records.

The baseline is COPY of the same events, as JSON already parsed into columns, into a plain table without keys, indexes,
partitions, deduplication or row-level security: what the machine could write at best.
"""

import json
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import harness

if TYPE_CHECKING:  # models need the settings that the harness gives
    from cdp.models import Source

BATCHES, EVENTS_A_BATCH, BATCHES_A_STORE = 300, 100, 200  # the last is what the pipeline claims at once
PEOPLE = 5_000
RECORDS = 20_000

PLAIN_TABLE = """
CREATE TEMPORARY TABLE plain_event (
    source_id bigint, identifier text, message_id text, kind text, name text, occurred_at timestamptz,
    received_at timestamptz, properties jsonb, context jsonb
)
"""


def run() -> dict[str, Any]:
    bodies = [_body(batch) for batch in range(BATCHES)]
    events = BATCHES * EVENTS_A_BATCH
    source = _source()
    with harness.stopwatch() as accepting:
        _accept(source, bodies)
    with harness.stopwatch() as storing:
        stored = _store(source.workspace_id)
    if stored != events:
        raise AssertionError(f"{stored} events were stored of {events}")
    with harness.stopwatch() as loading:
        _load(source.workspace_id)
    copy_seconds = harness.best_seconds(lambda: _copy(bodies))
    return {
        "name": "ingest",
        "what": (
            f"{events} events of {PEOPLE} people in batches of {EVENTS_A_BATCH}: accepted (service function, one process),"
            f" stored (one worker); {RECORDS} CSV records loaded; baseline: COPY of the events into a plain table"
        ),
        "figures": {
            "accepted_events_per_second": events / accepting.seconds,
            "accept_milliseconds_per_batch": 1000 * accepting.seconds / BATCHES,
            "stored_events_per_second": events / storing.seconds,
            "loaded_records_per_second": RECORDS / loading.seconds,
        },
        "baseline": {"stored_events_per_second": events / copy_seconds},
        "ratio": copy_seconds / storing.seconds,
    }


def _source() -> "Source":
    from cdp.ingestion.sources import create_source
    from cdp.models.sources import SourceKind
    from cdp.models.tenancy import workspace_scope
    from consent import services as consent

    workspace = consent.open_workspace(slug="ingest", name="Ingest", now=harness.NOW)
    with workspace_scope(workspace.pk):
        return create_source(workspace_id=workspace.pk, name="shop", kind=SourceKind.HTTP)[0]


def _events(batch: int) -> list[dict[str, Any]]:
    """Every twentieth is an identify call with traits, the others look at a page or buy."""
    made = []
    for place in range(EVENTS_A_BATCH):
        number = batch * EVENTS_A_BATCH + place
        person = number * 7919 % PEOPLE
        event = {
            "messageId": f"m{number}",
            "userId": f"u{person}",
            "anonymousId": f"a{person}",
            "timestamp": (harness.NOW - timedelta(seconds=number)).isoformat(),
            "context": {"library": {"name": "bench", "version": "1"}, "page": {"path": f"/p/{number % 97}"}},
        }
        if place % 20 == 0:
            traits = {"email": f"person{person}@example.com", "plan": "pro", "city": "Lyon"}
            event |= {"type": "identify", "traits": traits}
        else:
            event |= {"type": "track", "event": "Product Viewed", "properties": {"sku": number % 997, "price": 9.5}}
        made.append(event)
    return made


def _body(batch: int) -> bytes:
    return json.dumps({"batch": _events(batch), "sentAt": harness.NOW.isoformat()}).encode()


def _accept(source: "Source", bodies: list[bytes]) -> None:
    from cdp.ingestion import services as ingestion
    from cdp.ingestion.sources import known_source

    known = known_source(source)
    for body in bodies:
        ingestion.accept(source=known, body=body, path_kind="batch", received_at=harness.NOW)


def _store(workspace_id: int) -> int:
    """As the pipeline does it, claim and hand-over included. Returns how many events there are."""
    from django.db import connection

    from cdp import pipeline
    from cdp.kernel.purposes import Purpose
    from cdp.models import Stage
    from consent import gate

    while pipeline.advance(Stage.INGESTION, workspace_id=workspace_id, now=harness.NOW):
        pass
    with gate.permit(Purpose.COLLECTION, workspace_id=workspace_id), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM message")
        return int(cursor.fetchone()[0])


def _load(workspace_id: int) -> None:
    from cdp.ingestion import services as ingestion
    from cdp.ingestion.sources import create_source
    from cdp.models.sources import SourceKind

    create_source(workspace_id=workspace_id, name="crm", kind=SourceKind.FILE)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "people.csv"
        rows = (f"{n},Ada{n},Byron,{n}@example.com,Lyon,6900{n % 10}\n" for n in range(RECORDS))
        path.write_text("id,given_name,surname,email,city,postcode\n" + "".join(rows))
        ingestion.load_records(
            workspace_id=workspace_id, source="crm", path=path, clock=lambda: harness.NOW, report=lambda _: None
        )


def _copy(bodies: list[bytes]) -> None:
    import psycopg

    with psycopg.connect(harness.address_of("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute(PLAIN_TABLE)
        with cursor.copy("COPY plain_event FROM STDIN") as copy:
            for body in bodies:
                for event in json.loads(body)["batch"]:
                    properties = json.dumps(event.get("properties") or event["traits"])
                    row = (
                        1, event["userId"], event["messageId"], event["type"], event.get("event", ""),
                        event["timestamp"], harness.NOW, properties, json.dumps(event["context"]),
                    )  # fmt: skip
                    copy.write_row(row)
