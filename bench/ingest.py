"""How fast events are stored: accepting batches through the service, and storing them as the stage does, one process.

Twice: people whom nobody knows yet, each of whom becomes identifiers, a profile and permissions; and the same people
again, which is what a day is made of. The baseline is COPY of the same events into a plain table.
"""

from typing import TYPE_CHECKING, Any

from bench import events, harness

if TYPE_CHECKING:  # models need the settings that the harness gives
    from cdp.models import Source

BATCHES, PEOPLE = 300, 5_000


def run() -> dict[str, Any]:
    source, _ = events.source("ingest")
    new, known = ([events.batch(place, people=PEOPLE, tag=tag) for place in range(BATCHES)] for tag in ("n", "k"))
    total = BATCHES * events.EVENTS_A_BATCH
    accepting, storing_new = _through(source, new)
    _, storing_known = _through(source, known)
    _check_all_is_stored(source.workspace_id, 2 * total)
    copied = total / events.copy_seconds(new)
    return {
        "name": "ingest",
        "what": (
            f"{total} events of {PEOPLE} people in batches of {events.EVENTS_A_BATCH}: accepted (service function), stored (one"
            " worker) for people who are new and again for the same people; baseline: COPY of the events into a plain table"
        ),
        "figures": {
            "accepted_events_per_second": total / accepting,
            "stored_events_per_second_of_new_people": total / storing_new,
            "stored_events_per_second": total / storing_known,
        },
        "baseline": {"stored_events_per_second": copied},
        "ratio": total / storing_known / copied,
    }


def _through(source: "Source", bodies: list[bytes]) -> tuple[float, float]:
    """Seconds to accept them, and to store them as the pipeline does, claim and hand-over included."""
    from cdp import pipeline
    from cdp.ingestion import services as ingestion
    from cdp.ingestion.sources import known_source
    from cdp.models import Stage

    known = known_source(source)
    with harness.stopwatch() as accepting:
        for body in bodies:
            ingestion.accept(source=known, body=body, path_kind="batch", received_at=harness.NOW)
    with harness.stopwatch() as storing:
        while pipeline.advance(Stage.INGESTION, workspace_id=source.workspace_id, now=harness.NOW):
            pass
    return accepting.seconds, storing.seconds


def _check_all_is_stored(workspace_id: int, expected: int) -> None:
    from django.db import connection

    from cdp.kernel.purposes import Purpose
    from consent import gate

    with gate.permit(Purpose.COLLECTION, workspace_id=workspace_id), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM message")
        (stored,) = cursor.fetchone()
    if stored != expected:
        raise AssertionError(f"{stored} events were stored of {expected}")
