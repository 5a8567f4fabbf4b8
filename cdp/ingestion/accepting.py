"""From a request to the inbox: what was acknowledged is on disk before the sender hears of it."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from django.conf import settings
from django.db import connection

from cdp.ingestion import messages, quarantine
from cdp.ingestion.bodies import Envelope, InvalidJsonError, read_envelope, read_item
from cdp.ingestion.messages import RefusedEventError
from cdp.ingestion.quarantine import Refused
from cdp.ingestion.sources import KnownSource
from cdp.models.tenancy import workspace_scope

BATCH: Final = "batch"  # the paths that carry many events; every other one carries a single event of its own name
IMPORT: Final = "import"

Address = Callable[[], str | None]  # of the sender; asked only where it is wanted


@dataclass(frozen=True, slots=True)
class Accepted:
    """`rejected` has index, message id and code of each event that lies in quarantine now."""

    workspace_id: int
    accepted: int
    rejected: Sequence[Mapping[str, Any]]


def nobody_asks() -> None:
    """The address of a sender that is not the person's own device."""


def read_request(*, body: bytes, path_kind: str) -> Envelope:
    """Raises `InvalidJsonError`, `MissingBatchError` or `BodyTooLargeError`: then nothing of it is kept."""
    return read_envelope(body, most_bytes=settings.TRACKING_BODY_BYTES, is_batch=path_kind in {BATCH, IMPORT})


def keep(
    envelope: Envelope, *, source: KnownSource, path_kind: str, received_at: datetime, address: Address = nobody_asks
) -> Accepted:
    """One transaction: the good events to the inbox, its wake-up row to the outbox, the bad ones to quarantine."""
    kept: list[Mapping[str, Any]] = []
    refused: list[Refused] = []
    rejected: list[Mapping[str, Any]] = []
    for index, raw in enumerate(envelope.items):
        try:
            kept.append(_with_address(_read_event(raw, index, envelope, path_kind), address))
        except (RefusedEventError, InvalidJsonError) as error:
            code = error.reason if isinstance(error, RefusedEventError) else error.code
            refused.append(Refused(place=f"{path_kind}[{index}]", code=code, message=error.message, raw=raw))
            rejected.append({"index": index, "messageId": _message_id(raw), "code": code})
    body = msgspec.json.encode({"batch": kept, "sentAt": envelope.sent_at})
    with workspace_scope(source.workspace_id):
        if kept:
            _append(source, received_at, body)
        quarantine.add(refused, source_id=source.id, workspace_id=source.workspace_id, now=received_at)
    return Accepted(source.workspace_id, len(kept), rejected)


def _read_event(raw: bytes, index: int, envelope: Envelope, path_kind: str) -> dict[str, Any]:
    if index >= messages.MOST_EVENTS:
        raise RefusedEventError("too_many_events", f"A batch has at most {messages.MOST_EVENTS} events.")
    if len(raw) > messages.LARGEST_EVENT_BYTES:
        raise RefusedEventError("event_too_large", f"An event has at most {messages.LARGEST_EVENT_BYTES} bytes.")
    event = messages.checked(
        _with_shared(read_item(raw), envelope.shared), kind=path_kind if path_kind in messages.KINDS else None
    )
    event.setdefault("messageId", str(uuid.uuid4()))
    return event


def _with_shared(event: object, shared: Mapping[str, object]) -> object:
    """The context and integrations of the envelope belong to each event; where both speak the event wins."""
    if not isinstance(event, dict):
        return event
    for name, common in shared.items():
        own = event.get(name) if event.get(name) is not None else {}
        if isinstance(common, dict) and isinstance(own, dict):
            event[name] = {**common, **own}
    return event


def _with_address(event: dict[str, Any], address: Address) -> dict[str, Any]:
    """Only a direct call comes from the person's own address; any other may come from a server of the customer."""
    context = event.get("context")
    if context and context.get("direct") is True and not context.get("ip") and (found := address()):
        event["context"] = {**context, "ip": found}
    return event


def _message_id(raw: bytes) -> str | None:
    """Of a rejected event, as far as it can be told."""
    try:
        event = read_item(raw)
    except InvalidJsonError:
        return None
    given = event.get("messageId") if isinstance(event, dict) else None
    return given if isinstance(given, str) else None


_APPEND = """
WITH appended AS (
    INSERT INTO inbox (workspace_id, source_id, received_at, body) VALUES (%s, %s, %s, %s) RETURNING id, workspace_id
)
INSERT INTO outbox (workspace_id, stage, subject_id, cause) SELECT workspace_id, 'INGESTION', id, 'EVENT' FROM appended
"""


def _append(source: KnownSource, received_at: datetime, body: bytes) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_APPEND, [source.workspace_id, source.id, received_at, body])
