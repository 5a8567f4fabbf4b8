"""The way in for whatever was not sent as a tracking call but reads as one: it is accepted as a batch would be."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from django.conf import settings

from cdp.ingestion import services as ingestion
from cdp.ingestion.accepting import BATCH
from cdp.ingestion.sources import KnownSource

MOST_CALLS: Final = 1_000  # of one batch


def accept_calls(*, source: KnownSource, calls: Sequence[Mapping[str, Any]], received_at: datetime) -> int:
    """Durable when the caller's transaction is. Returns how many were accepted; the others lie in quarantine."""
    accepted = 0
    for body in _bodies(calls):
        accepted += ingestion.accept(source=source, body=body, path_kind=BATCH, received_at=received_at).accepted
    return accepted


def _bodies(calls: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
    """Batches that the door lets in: neither too many calls nor too many bytes."""
    largest = settings.TRACKING_BODY_BYTES // 2
    waiting: list[bytes] = []
    size = 0
    for encoded in map(msgspec.json.encode, calls):
        if waiting and (len(waiting) >= MOST_CALLS or size + len(encoded) > largest):
            yield _batch(waiting)
            waiting, size = [], 0
        waiting.append(encoded)
        size += len(encoded) + 1
    if waiting:
        yield _batch(waiting)


def _batch(encoded: Sequence[bytes]) -> bytes:
    return b'{"batch":[' + b",".join(encoded) + b"]}"
