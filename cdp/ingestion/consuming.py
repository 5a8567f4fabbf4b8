"""Consume the stream of a source, as its connection is set up."""

import threading
from collections.abc import Callable
from datetime import datetime

from cdp.ingestion.sources import UnknownSourceError, source_named
from cdp.ingestion.stream_registry import mapping_of, open_stream
from cdp.ingestion.streams.consumer import Consumer, Counts
from cdp.ingestion.streams.stream import StreamSettingsError
from cdp.models import Connection
from cdp.models.secrets import decrypted
from cdp.models.tenancy import workspace_scope


def consume_stream(
    *,
    workspace_id: int,
    source: str,
    clock: Callable[[], datetime],
    stop: threading.Event,
    until_idle: bool = False,
    most: int | None = None,
    report: Callable[[Counts], None] = lambda _: None,
) -> Counts:
    """Read until `stop`; with `until_idle` until nothing waits, with `most` until so many messages were read.

    Raises `UnknownSourceError`, `StreamSettingsError`, `MissingExtraError`, and with `until_idle` also
    `StreamAwayError`.
    """
    known = source_named(source, workspace_id=workspace_id)
    with workspace_scope(workspace_id):
        row = Connection.objects.select_related("source").filter(source_id=known.id).first()
    if row is None:
        raise UnknownSourceError(f"The source {source!r} has no connection: it says where the stream is.")
    if not (row.is_enabled and row.source.is_enabled):
        raise StreamSettingsError(f"The connection of {source!r} is switched off.")
    secrets = decrypted(row.secrets) if row.secrets else {}
    mapping = mapping_of(row.config)
    stream = open_stream(row.source.kind, row.config, secrets, group=f"tessera-{known.name}")
    try:
        return Consumer(stream, known, mapping, clock, stop, until_idle, most, report).run()
    finally:
        stream.close()
