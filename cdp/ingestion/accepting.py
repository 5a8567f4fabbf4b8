"""From a request to the inbox: what was acknowledged is on disk before the sender hears of it.

The hot path of the door. Events are checked and then kept as the bytes that they came in: the store reads them again,
which costs less than writing them anew here, while the sender waits.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import msgspec
from django.conf import settings

from cdp.ingestion import messages, plans, quarantine
from cdp.ingestion.appending import append
from cdp.ingestion.bodies import Envelope, InvalidJsonError, read_envelope, read_item
from cdp.ingestion.messages import Call, RefusedEventError
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


class InboxBody(msgspec.Struct, rename="camel", gc=False):
    """What lies in the inbox: accepted events as they came, and what their envelope said of all of them."""

    batch: list[msgspec.Raw]
    sent_at: Any = None
    type: str | None = None
    shared: dict[str, Any] = {}


def nobody_asks() -> None:
    """The address of a sender that is not the person's own device."""


def read_request(*, body: bytes, path_kind: str) -> Envelope:
    """Raises `InvalidJsonError`, `MissingBatchError` or `BodyTooLargeError`: then nothing of it is kept."""
    return read_envelope(body, most_bytes=settings.TRACKING_BODY_BYTES, is_batch=path_kind in {BATCH, IMPORT})


def with_gpc(envelope: Envelope) -> Envelope:
    """The header belongs to all events of its request, as what the envelope says of their context."""
    context = envelope.shared.get("context")
    said = {**(context if isinstance(context, dict) else {}), messages.GPC_IN_CONTEXT: True}
    return replace(envelope, shared={**envelope.shared, "context": said})


def keep(
    envelope: Envelope, *, source: KnownSource, path_kind: str, received_at: datetime, address: Address = nobody_asks
) -> Accepted:
    """One transaction: the good events to the inbox, its wake-up row to the outbox, the bad ones to quarantine."""
    kept: list[bytes] = []
    refused: list[Refused] = []
    rejected: list[Mapping[str, Any]] = []
    reading = quarantine.reading_of_call(path_kind, sent_at=envelope.sent_at, shared=envelope.shared)
    check = plans.open_check(source)
    kind = path_kind if path_kind in messages.KINDS else None
    for index, raw in enumerate(envelope.items):
        try:
            kept.append(_accepted(raw, index, kind, envelope.shared, address, check))
        except (RefusedEventError, InvalidJsonError) as error:
            code = error.reason if isinstance(error, RefusedEventError) else error.code
            refused.append(Refused(f"{path_kind}[{index}]", code, error.message, raw, reading))
            rejected.append({"index": index, "messageId": _message_id(raw), "code": code})
    body = _inbox_body(kept, kind, envelope) if kept else b""
    if not (refused or check.found):
        _append(source, received_at, body)
    else:
        with workspace_scope(source.workspace_id):
            _append(source, received_at, body)
            quarantine.add(refused, source_id=source.id, workspace_id=source.workspace_id, now=received_at)
            check.count(now=received_at)
    return Accepted(source.workspace_id, len(kept), rejected)


def _accepted(
    raw: bytes,
    index: int,
    kind: str | None,
    shared: Mapping[str, object],
    address: Address,
    check: plans.PlanCheck,
) -> bytes:
    """The event as it is kept: strict JSON with a message id. Raises `RefusedEventError` or `InvalidJsonError`."""
    if index >= messages.MOST_EVENTS:
        raise RefusedEventError("too_many_events", f"A batch has at most {messages.MOST_EVENTS} events.")
    if len(raw) > messages.LARGEST_EVENT_BYTES:
        raise RefusedEventError("event_too_large", f"An event has at most {messages.LARGEST_EVENT_BYTES} bytes.")
    call, strict = messages.checked_call(raw, kind=kind, shared=shared)
    if check.plan:
        strict = _as_planned(call, strict, check)
    if call.context and _is_direct(call.context) and (found := address()):
        strict = _with(strict, "context", {**call.context, "ip": found})
    return strict if call.message_id else _with(strict, "messageId", str(uuid.uuid4()))


def _as_planned(call: Call, strict: bytes, check: plans.PlanCheck) -> bytes:
    event = messages.said(call)
    planned = check.applied(event)
    return strict if planned is event else msgspec.json.encode(planned)


def _is_direct(context: Mapping[str, Any]) -> bool:
    """Only a direct call comes from the person's own address; any other may come from a server of the customer."""
    return context.get("direct") is True and not context.get("ip")


def _with(strict: bytes, name: str, value: object) -> bytes:
    """Behind all others: of two values of one name readers take the last. No event without other values is accepted."""
    return b'%s,"%s":%s}' % (strict.rstrip()[:-1], name.encode(), msgspec.json.encode(value))


def _inbox_body(kept: Sequence[bytes], kind: str | None, envelope: Envelope) -> bytes:
    around = msgspec.json.encode({"sentAt": envelope.sent_at, "type": kind, "shared": envelope.shared})
    return b'{"batch":[%s],%s' % (b",".join(kept), around[1:])


def _message_id(raw: bytes) -> str | None:
    """Of a rejected event, as far as it can be told."""
    try:
        event = read_item(raw)
    except InvalidJsonError:
        return None
    given = event.get("messageId") if isinstance(event, dict) else None
    return given if isinstance(given, str) else None


_INBOX_BODY = msgspec.json.Decoder(InboxBody)


def read_inbox(body: bytes) -> InboxBody:
    return _INBOX_BODY.decode(body)


def read_accepted(item: msgspec.Raw, body: InboxBody) -> Call:
    """An event that lay in the inbox, as it was when it was accepted."""
    return messages.accepted_call(item, kind=body.type, shared=body.shared)


def _append(source: KnownSource, received_at: datetime, body: bytes) -> None:
    if body:
        append(workspace_id=source.workspace_id, source_id=source.id, received_at=received_at, body=body)
