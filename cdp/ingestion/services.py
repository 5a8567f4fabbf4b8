"""Ingestion: accept what arrives, store it, load files.

`accept` acknowledges: when it returns, the events are on disk. `store` is the stage of the pipeline that turns them
into facts, identifiers and sightings. Files go the second half of the way at once (see `loading`).
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from itertools import chain, islice
from typing import Final

from django.db import connection

from cdp.ingestion import accepting, backpressure, limits, messages, storing, tokens
from cdp.ingestion.accepting import Accepted, Address, nobody_asks
from cdp.ingestion.corrections import corrections_of
from cdp.ingestion.guessing import Guess
from cdp.ingestion.loading import guess_mapping, load_events, load_records
from cdp.ingestion.normalise import Corrections
from cdp.ingestion.sources import KnownSource, create_source, known_source, regions_of, source_of
from cdp.models import Cause, Source
from consent.gate import Collection, Permit

__all__ = [
    "Accepted",
    "Guess",
    "accept",
    "accept_call",
    "create_source",
    "guess_mapping",
    "load_events",
    "load_records",
    "store",
]


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
    has_gpc: bool = False,
) -> Accepted:
    """As `accept`, for the source of the write key in the header, or else in the body, or else in the query.

    `address` is asked where an event says that it comes straight from the device of its person. Raises also
    `UnknownWriteKeyError`, `TokenRequiredError`, `InvalidTokenError`, `RateLimitedError` and `OverloadedError`, and
    then keeps nothing. `token` is asked of sources that hold a public key. With `has_gpc` the browser asserts Global
    Privacy Control, which is written into the context of the events.
    """
    backpressure.refuse_while_pressed(received_at)
    envelope = accepting.read_request(body=body, path_kind=path_kind)
    if has_gpc:
        envelope = accepting.with_gpc(envelope)
    source = source_of([key for key in (header_key, envelope.write_key, query_key) if key])
    if source.seal:
        tokens.check_token(token, source)
    if source.limit:
        limits.spend(source.limit, source_id=source.id, events=len(envelope.items))
    return accepting.keep(envelope, source=source, path_kind=path_kind, received_at=received_at, address=address)


# Bodies may be large: so many bytes are read at once, and at least one body. While Postgres writes one slice, the next one
# is read.
_SLICE_BYTES: Final = 2 * 2**20
_SIZES = "SELECT id, octet_length(body) FROM inbox WHERE id = ANY(%s) ORDER BY id"
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
    touched: dict[int, Cause] = {}
    corrections = corrections_of(permit.workspace_id)
    for facts in _read_ahead(_taken(list(subjects)), corrections):
        stored = storing.write_facts(permit, facts)
        learnt = {key: cause for key, cause in stored.touched.items() if cause is Cause.LEARNT}
        touched = {**stored.touched, **touched, **learnt}
    return dict(sorted(touched.items()))


Batch = tuple[int, int, datetime, bytes]
"""id, source, when it was received, body"""


def _read_ahead(slices: Iterator[list[Batch]], corrections: Corrections) -> Iterator[list[messages.Fact]]:
    """What the slices say. One of them is being read by a thread while the caller waits for Postgres with another; for
    one alone a thread would cost more than it saves.
    """
    first = list(islice(slices, 2))
    if len(first) < 2:
        yield from (_facts(batches, _regions(batches), corrections) for batches in first)
        return
    with ThreadPoolExecutor(1, "reader") as reader:
        ahead: Future[list[messages.Fact]] | None = None
        for batches in chain(first, slices):
            reading = reader.submit(_facts, batches, _regions(batches), corrections)
            if ahead:
                yield ahead.result()
            ahead = reading
        if ahead:
            yield ahead.result()


def _regions(batches: Iterable[Batch]) -> Mapping[int, str]:
    return regions_of(source_id for _, source_id, _, _ in batches)


def _taken(batches: list[int]) -> Iterator[list[Batch]]:
    for part in _slices(batches):
        with connection.cursor() as cursor:
            cursor.execute(_TAKE, [part])
            yield sorted(cursor.fetchall())


def _slices(batches: list[int]) -> Iterator[list[int]]:
    with connection.cursor() as cursor:
        cursor.execute(_SIZES, [batches])
        sizes = cursor.fetchall()
    part: list[int] = []
    total = 0
    for key, size in sizes:
        if part and total + size > _SLICE_BYTES:
            yield part
            part, total = [], 0
        part.append(key)
        total += size
    if part:
        yield part


def _facts(batches: Iterable[Batch], regions: Mapping[int, str], corrections: Corrections) -> list[messages.Fact]:
    return [fact for batch in batches for fact in _facts_of(batch, regions, corrections)]


def _facts_of(batch: Batch, regions: Mapping[int, str], corrections: Corrections) -> Iterator[messages.Fact]:
    _, source_id, received_at, raw = batch
    body = accepting.read_inbox(raw)
    sent_at = messages.moment(body.sent_at)
    for item in body.batch:
        yield messages.fact(
            accepting.read_accepted(item, body),
            source_id=source_id,
            sent_at=sent_at,
            received_at=received_at,
            region=regions[source_id],
            corrections=corrections,
        )
