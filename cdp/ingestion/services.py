"""Ingestion: accept what arrives, store it, load files.

`accept` acknowledges: when it returns, the events are on disk. `store` is the stage of the pipeline that turns them
into facts, identifiers and sightings. Files go the second half of the way at once (see `loading`).
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from django.db import connection

from cdp.ingestion import accepting, backpressure, limits, messages, storing, tokens
from cdp.ingestion.accepting import Accepted, Address, nobody_asks
from cdp.ingestion.loading import load_events, load_records
from cdp.ingestion.sources import KnownSource, create_source, known_source, regions_of, source_of
from cdp.models import Cause, Source
from consent.gate import Collection, Permit

__all__ = ["Accepted", "accept", "accept_call", "create_source", "load_events", "load_records", "store"]


def accept(*, source: Source | KnownSource, body: bytes, path_kind: str, received_at: datetime) -> Accepted:
    """Take a request of a known source. `path_kind` is `batch`, `import`, or the type of a single call.

    The events are durable when this returns; one bad event is quarantined and never costs its batch.
    Raises `InvalidJsonError`, `MissingBatchError` or `BodyTooLargeError`, and then keeps nothing.
    """
    envelope = accepting.read_request(body=body, path_kind=path_kind)
    known = source if isinstance(source, KnownSource) else known_source(source)
    return accepting.keep(envelope, source=known, path_kind=path_kind, received_at=received_at)


def accept_call(
    *,
    header_key: str | None,
    body: bytes,
    path_kind: str,
    received_at: datetime,
    query_key: str | None = None,
    token: str | None = None,
    address: Address = nobody_asks,
) -> Accepted:
    """As `accept`, for the source of the write key in the header, or else in the body, or else in the query.

    `address` is asked where an event says that it comes straight from the device of its person. Raises also
    `UnknownWriteKeyError`, `TokenRequiredError`, `InvalidTokenError`, `RateLimitedError` and `OverloadedError`, and
    then keeps nothing. `token` is asked of sources that hold a public key.
    """
    backpressure.refuse_while_pressed(received_at)
    envelope = accepting.read_request(body=body, path_kind=path_kind)
    source = source_of([key for key in (header_key, envelope.write_key, query_key) if key])
    if source.seal:
        tokens.check_token(token, source)
    if source.limit:
        limits.spend(source.limit, source_id=source.id, events=len(envelope.items))
    return accepting.keep(envelope, source=source, path_kind=path_kind, received_at=received_at, address=address)


_TAKE = "DELETE FROM inbox WHERE id = ANY(%s) RETURNING id, source_id, received_at, body"


def store(
    permit: Permit[Collection],
    subjects: Mapping[int, Cause],
    *,
    now: datetime,  # noqa: ARG001  # every stage is told; what arrived knows its own time
) -> Mapping[int, Cause]:
    """Take these batches out of the inbox and write what they say. Returns the identifiers that something new touched.

    An alias whose previous id is a user that is heard of only later is read as one of a device; apart from that the
    order of batches does not matter.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [list(subjects)])
        batches = sorted(cursor.fetchall())
    stored = storing.write_facts(permit, _facts(batches))
    return dict.fromkeys(sorted(stored.touched), Cause.EVENT)


def _facts(batches: list[tuple[Any, ...]]) -> Iterator[messages.Fact]:
    regions = regions_of([source_id for _, source_id, _, _ in batches])
    for _, source_id, received_at, body in batches:
        accepted = msgspec.json.decode(body)
        for event in accepted["batch"]:
            yield messages.fact(
                event,
                source_id=source_id,
                sent_at=accepted["sentAt"],
                received_at=received_at,
                region=regions[source_id],
            )
